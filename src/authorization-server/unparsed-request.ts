import { InternalError } from '../errors/errors.js'
import type { WholeAnswer } from '../transport/answer.js'
import type { Ask, IdpFetch } from '../transport/transport.js'

/** Made with the first request, because `Response` loads the whole of Node's fetch. */
let unread: Response | undefined

/**
 * Sends a request of oauth4webapi's whose answer is read here and not by the library. The library gets an empty `Response` in its
 * place, the same each time, because to build one and read it again takes a tenth of the whole exchange.
 *
 * @param ask sends the request
 * @param request a call of the library, with its `customFetch`
 */
export async function sendUnparsed(ask: Ask, request: (fetch: IdpFetch) => Promise<Response>): Promise<WholeAnswer> {
  let answer: WholeAnswer | undefined
  await request(async (url, init) => {
    answer = await ask(url, init)
    return (unread ??= new Response())
  })
  if (answer === undefined) throw new InternalError('oauth4webapi has sent no request')
  return answer
}
