import { decodeJwt, decodeProtectedHeader } from 'jose'
import { describe, expect, it } from 'vitest'
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
