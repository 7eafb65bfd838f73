import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

const EVIL = 'https://evil.example:444'

/** Asks as a proxy may: the target of the request names another host than the one that is asked (RFC 9112 §3.2.2). */
async function ask(origin: string, path: string) {
  const sent = request(origin, { path: EVIL + path }).end()
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

describe('a request target in absolute form does not say who the server is', () => {
  it.each(['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration'])(
    'in the metadata at %s, which caches keep for five minutes',
    async (path) => {
      const { origin } = await startSignInServer()

      const { status, headers, body } = await ask(origin, path)

      expect([status, headers['cache-control']]).toEqual([200, 'public, max-age=300'])
      expect(JSON.parse(body)).toEqual(await (await fetch(origin + path)).json())
      expect(body).toContain(`"token_endpoint":"${origin}/oauth/token"`)
    },
  )

  it('in the address at which a question goes on', async () => {
    const server = await startSignInServer()
    const { pathname, search } = (await registeredClient(server)).authorizationUrl()

    const { status, headers } = await ask(server.origin, pathname + search)
    const question = new URL(headers.location ?? '', server.origin)
    const cookie = (headers['set-cookie'] ?? []).map((each) => each.split(';')[0]).join('; ')
    const html = await (await fetch(question, { headers: { cookie } })).text()
    const token = /name="token" value="([^"]+)"/.exec(html)?.[1] ?? ''
    const body = new URLSearchParams({ token, answer: 'no' })
    const answer = await fetch(question, { method: 'POST', body, headers: { cookie } })

    expect([status, question.origin, answer.status]).toEqual([303, server.origin, 200])
    expect(answer.headers.get('refresh')).toBe(
      `0; url=${question.href.replace('/oauth/sign-in/', '/oauth/authorize/')}`,
    )
  })
})
