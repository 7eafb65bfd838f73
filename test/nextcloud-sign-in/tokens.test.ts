import { once } from 'node:events'
import { connect, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { describe, expect, it, onTestFinished } from 'vitest'
import { manualClock } from '../support/clock.js'
import { registeredClient, clientOf, type TokenAnswer } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

const refreshTokenOf = ({ body }: TokenAnswer): string => String(body['refresh_token'])
const accessTokenOf = ({ body }: TokenAnswer): string => String(body['access_token'])

describe('an access token', () => {
  it('is a JWT of ten minutes for this server alone, whose subject is the user id in Nextcloud', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)

    const answer = await client.signIn(server.person('alice'))

    expect(answer.status).toBe(200)
    const token = accessTokenOf(answer)
    expect(decodeProtectedHeader(token)).toMatchObject({ typ: 'at+jwt', alg: 'ES256' })
    const claims = decodeJwt(token)
    expect(claims).toMatchObject({ iss: server.origin, sub: 'alice', aud: server.url, client_id: client.clientId })
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(600)
    expect(await server.auth.verify(token)).toMatchObject({ subject: 'alice', scopes: ['nextcloud'] })
    expect(await server.auth.nextcloudUser({ token })).toMatchObject({ id: 'alice' })
  })

  it('is not given for another resource', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')
    await client.signIn(alice)

    const answer = await client.authorize(alice, { resource: 'https://other.example.com/mcp' })

    expect(answer.get('error')).toBe('invalid_target')
  })
})

describe('a refresh token', () => {
  it('is spent for another one, and ends its family when it comes back later', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ clock })
    const client = await registeredClient(server)
    const first = refreshTokenOf(await client.signIn(server.person('alice')))

    const second = await client.refresh(first)
    expect([second.status, refreshTokenOf(second) === first]).toEqual([200, false])
    clock.advance(31_000)
    const replay = await client.refresh(first)

    expect([replay.status, replay.body['error']]).toEqual([400, 'invalid_grant'])
    expect((await client.refresh(refreshTokenOf(second))).body['error']).toBe('invalid_grant')
  })

  it('may come back within half a minute, because an answer may be lost', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ clock })
    const client = await registeredClient(server)
    const first = refreshTokenOf(await client.signIn(server.person('alice')))

    const answers = await Promise.all([client.refresh(first), client.refresh(first)])
    clock.advance(29_000)

    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    expect((await client.refresh(first)).status).toBe(200)
  })

  it('serves at another instance on the same storage', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const first = refreshTokenOf(await client.signIn(server.person('alice')))

    const { url: origin } = await server.another()
    const there = clientOf({ origin, url: server.url }, client.clientId)

    expect((await there.refresh(first)).status).toBe(200)
  })

  it('ends when Nextcloud has ended the connection, and the next sign-in mends both', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const first = refreshTokenOf(await client.signIn(alice))
    server.nextcloud.state.tokens.splice(0)

    expect((await client.refresh(first)).body['error']).toBe('invalid_grant')

    const again = await client.signIn(server.person('alice'))
    expect(await server.auth.nextcloudUser({ token: accessTokenOf(again) })).toMatchObject({ id: 'alice' })
  })

  it.each([401, 403])('serves on where something in front of Nextcloud answers %i', async (status) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const first = refreshTokenOf(await client.signIn(server.person('alice')))
    const page = { status, headers: { 'content-type': 'text/html' }, body: '<h1>Sign in to the proxy</h1>' }
    server.nextcloud.disturb(({ path }) => (path.includes('/cloud/user') ? page : undefined))

    expect((await client.refresh(first)).status).toBe(200)
  })

  it('gives nothing more for an account that is disabled in Nextcloud', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const first = refreshTokenOf(await client.signIn(server.person('alice')))
    server.nextcloud.occ(['user:disable', 'alice'])

    expect((await client.refresh(first)).body['error']).toBe('invalid_grant')
  })
})

describe('a code', () => {
  it('is good once, and ends what it gave when it comes twice, at every instance', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const { url: origin } = await server.another()
    const code = (await client.authorize(server.person('alice'))).get('code') ?? ''
    const body = await client.redeem(code)

    const replay = await client.redeem(code)

    expect([body.status, replay.status, replay.body['error']]).toEqual([200, 400, 'invalid_grant'])
    expect((await client.refresh(refreshTokenOf(body))).body['error']).toBe('invalid_grant')
    expect((await clientOf({ origin, url: server.url }, client.clientId).refresh(refreshTokenOf(body))).status).toBe(
      400,
    )
  })
})

describe('a second sign-in of the same person', () => {
  it('asks for consent and does not lead to Nextcloud again', async () => {
    const server = await startSignInServer()
    const alice = server.person('alice')
    await (await registeredClient(server)).signIn(alice)
    const asked = server.nextcloud.requests.length

    const other = await registeredClient(server, { client_name: 'Another client' })
    const answer = await other.signIn(alice)

    expect(answer.status).toBe(200)
    const pages = server.nextcloud.requests.slice(asked).filter(({ path }) => path.includes('/apps/oauth2/authorize'))
    expect(pages).toEqual([])
  })
})

describe('a user who disconnects', () => {
  it('ends what one client has, and no other client', async () => {
    const server = await startSignInServer()
    const alice = server.person('alice')
    const [one, other] = [await registeredClient(server), await registeredClient(server)]
    const [first, second] = [await one.signIn(alice), await other.signIn(alice)]

    await server.auth.nextcloudUser({ token: accessTokenOf(second) })
    const { origin } = server
    const ended = await fetch(`${origin}/nextcloud/disconnect`, {
      method: 'POST',
      headers: { authorization: `Bearer ${accessTokenOf(first)}` },
    })

    expect(await ended.json()).toEqual({ revoked: false })
    expect((await one.refresh(refreshTokenOf(first))).body['error']).toBe('invalid_grant')
    expect((await other.refresh(refreshTokenOf(second))).status).toBe(200)
    const status = await fetch(`${origin}/nextcloud/status`, {
      headers: { authorization: `Bearer ${accessTokenOf(first)}` },
    })
    expect(await status.json()).toMatchObject({ connected: false, reason: 'consent' })
    // The client's next sign-in is one question.
    const again = await one.signIn(alice)
    expect(await server.auth.nextcloudUser({ token: accessTokenOf(again) })).toMatchObject({ id: 'alice' })
  })
})

describe('a form over HTTP/2', () => {
  /** Sends it in two parts, without a `Content-Length` unless there is one among the headers. */
  async function start() {
    const server = await startSignInServer()
    const routes = server.signIn.routes()
    const other = createServer((req, res) => routes(req as never, res as never, () => res.destroy()))
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const session = connect(`http://127.0.0.1:${(other.address() as AddressInfo).port}`)
    onTestFinished(() => {
      session.destroy()
      other.close()
    })
    const post = async (path: string, fields: Record<string, string>, headers: Record<string, string> = {}) => {
      const type = { 'content-type': 'application/x-www-form-urlencoded' }
      const stream = session.request({ ':method': 'POST', ':path': path, ...type, ...headers })
      const form = String(new URLSearchParams(fields))
      stream.write(form.slice(0, 20))
      stream.end(form.slice(20))
      const answered = once(stream, 'response')
      let body = ''
      for await (const chunk of stream.setEncoding('utf8')) body += String(chunk)
      const [{ ':status': status }] = (await answered) as [{ ':status': number }]
      return { status, body: body === '' ? {} : (JSON.parse(body) as Record<string, unknown>) }
    }
    return { server, post }
  }

  it('gets tokens and ends them, with or without a Content-Length', async () => {
    const { server, post } = await start()
    const client = await registeredClient(server)
    const { clientId: client_id } = client
    let refresh_token = refreshTokenOf(await client.signIn(server.person('alice')))

    for (const hasLength of [false, true]) {
      const fields = { client_id, grant_type: 'refresh_token', refresh_token }
      const length = { 'content-length': String(String(new URLSearchParams(fields)).length) }
      const refreshed = await post('/oauth/token', fields, hasLength ? length : {})
      expect(refreshed).toMatchObject({ status: 200, body: { token_type: 'Bearer' } })
      refresh_token = String(refreshed.body['refresh_token'])
    }
    expect(await post('/oauth/revoke', { client_id, token: refresh_token })).toEqual({ status: 200, body: {} })
    expect((await client.refresh(refresh_token)).body).toMatchObject({ error: 'invalid_grant' })
  })

  it('that is longer than 56 KiB is refused', async () => {
    const { post } = await start()

    const { status, body } = await post('/oauth/token', { client_id: 'x'.repeat(60_000), grant_type: 'refresh_token' })

    expect([status, body['error']]).toEqual([400, 'invalid_request'])
  })
})
