import type { IncomingMessage } from 'node:http'
import { digest, flowOf } from '../connect/cookies.js'
import { ONE_TIME_LIFE, randomSecret } from '../connect/one-time.js'
import type { WayOfQuestion } from './question-cookies.js'
import type { PurposeOfSignIn, SignInRooms } from './sign-in-rooms.js'

/**
 * Begins the way to Nextcloud in this browser: the address that it leads to, and the cookies that it is bound to. A question has one way,
 * however often it is answered.
 */
export async function leaveForNextcloud(
  { codeGrant, cookies, pending, questions }: SignInRooms,
  purpose: PurposeOfSignIn,
  req: IncomingMessage,
): Promise<{ readonly url: string; readonly cookies: readonly string[] }> {
  await codeGrant.checkClient()
  const as = await codeGrant.metadata()
  const secrets = codeGrant.secrets()
  const { state, flow, value } =
    'visit' in purpose ? freshWay(secrets.state) : await questions.wayOf(purpose.interaction)
  const cookie = cookies.issue(req, flow, { value, life: ONE_TIME_LIFE })
  const { verifier } = await pending.ensure(
    { ...purpose, verifier: secrets.verifier, cookieHash: digest(value) },
    state,
  )
  const url = await codeGrant.authorizationUrl(as, { ...secrets, state, verifier }, false)
  return { url: url.href, cookies: cookie.headers }
}

const freshWay = (state: string): WayOfQuestion => ({ state, flow: flowOf(state), value: randomSecret() })
