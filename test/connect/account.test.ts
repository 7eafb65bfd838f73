import { describe, expect, it } from 'vitest'
import { ask, invalidToken, rejection, unauthorized } from '../support/answers.js'
import { bareHost } from '../support/hosts.js'
import { faultyStorage } from '../support/storages.js'
import { world } from '../support/world.js'

const CONNECT = { mode: 'refresh-token', host: bareHost } as const

const STATUS = '/nextcloud/status'
const DISCONNECT = '/nextcloud/disconnect'

const json = (body: unknown) => ({
  status: 200,
  challenge: undefined,
  cacheControl: 'no-store',
  exposed: undefined,
  retryAfter: undefined,
  contentType: 'application/json',
  body,
})

describe('the status', () => {
  it('of a user without a grant says why, and where to connect', async () => {
    const { askWith, link } = await world(CONNECT)

    expect(await askWith(STATUS, 'GET')).toEqual(json({ connected: false, reason: 'never', connect_url: await link() }))
  })

  it.each([
    ['the client that is connected', 'per-client', {}, { connected: true }],
    ['another client of the user', 'per-client', { client_id: 'second' }, { connected: false, reason: 'consent' }],
    ['any client, where consent is per user', 'per-user', { client_id: 'second' }, { connected: true }],
    ['another user', 'per-client', { sub: 'bob' }, { connected: false, reason: 'never' }],
  ] as const)('of %s', async (_whose, consent, claims, body) => {
    const { askWith, connect, link } = await world({ ...CONNECT, options: { connect: { consent } } })
    await connect()
    const { sub, client_id: clientId } = { sub: 'alice', client_id: 'mcp-client', ...claims }

    expect(await askWith(STATUS, 'GET', claims)).toEqual(
      json({ ...body, ...(!body.connected && { connect_url: await link(sub, clientId) }) }),
    )
  })

  it('comes without a body on HEAD', async () => {
    const { askWith } = await world(CONNECT)

    expect(await askWith(STATUS, 'HEAD')).toMatchObject({ status: 200, body: '' })
  })

  it.each([1, 2])('is a 503 when the store fails at call %i', async (call) => {
    const store = faultyStorage()
    const { askWith } = await world({ ...CONNECT, storage: store })
    store.failFrom(call)

    expect(await askWith(STATUS, 'GET')).toEqual(
      rejection(503, 'temporarily_unavailable', 'The storage of connections is not available', { retryAfter: '5' }),
    )
  })

  it('is a 500 when the grant cannot be opened', async () => {
    const { askWith, storage, grants, as } = await world(CONNECT)
    await storage.put(grants.store.keyOf({ issuer: as.issuer, subject: 'alice' }), 'not to be opened', null)

    expect(await askWith(STATUS, 'GET')).toEqual(
      rejection(500, 'server_error', 'The server failed to handle the request'),
    )
  })
})

describe('a disconnection by an MCP client', () => {
  it('takes the consent of that client, and the grant with the last one', async () => {
    const { askWith, connect, stored, as } = await world(CONNECT)
    as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`
    as.script('/revoke', {})
    const tokens = [await connect(), await connect('alice', { clientId: 'second' })]

    expect(await askWith(DISCONNECT, 'POST')).toEqual(json({ revoked: false }))
    expect(await stored()).toMatchObject({ state: 'active', clients: ['second'] })
    expect(as.received('/revoke')).toEqual([])

    expect(await askWith(DISCONNECT, 'POST', { client_id: 'second' })).toEqual(json({ revoked: true }))
    expect(await stored()).toMatchObject({ state: 'disconnected' })
    expect(
      as
        .received('/revoke')
        .map(({ form }) => form.get('token'))
        .sort(),
    ).toEqual(tokens.sort())
  })

  it('takes the whole grant where consent is per user', async () => {
    const { askWith, connect, stored } = await world({ ...CONNECT, options: { connect: { consent: 'per-user' } } })
    await connect()
    await connect('alice', { clientId: 'second' })

    expect(await askWith(DISCONNECT, 'POST')).toEqual(json({ revoked: 'unsupported' }))

    expect(await stored()).toMatchObject({ state: 'disconnected' })
  })

  it('is a 503 when the store fails, and nothing is gone', async () => {
    const store = faultyStorage()
    const { askWith, connect, stored } = await world({ ...CONNECT, storage: store })
    await connect()
    store.failFrom(1)

    expect(await askWith(DISCONNECT, 'POST')).toMatchObject({ status: 503, retryAfter: '5' })

    store.heal()
    expect(await stored()).toMatchObject({ state: 'active' })
  })
})

describe.each([
  ['GET', STATUS],
  ['POST', DISCONNECT],
])('%s %s', (method, path) => {
  it('is a 401 with the challenge of the MCP server, without a token', async () => {
    const { url, connect, stored } = await world(CONNECT)
    await connect()

    expect(await ask(url, { method, path })).toEqual(unauthorized(''))
    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it('is a 401 with a bad token, and reported', async () => {
    const { askWith, events } = await world(CONNECT)

    expect(await askWith(path, method, { exp: 1 })).toEqual(invalidToken('The access token has expired', ''))
    expect(events).toContainEqual(expect.objectContaining({ type: 'token.rejected', reason: 'expired' }))
  })

  it('is a 405 with another method', async () => {
    const { url } = await world(CONNECT)

    const answer = await ask(url, { method: method === 'GET' ? 'POST' : 'GET', path })

    expect(answer).toMatchObject({
      status: 405,
      contentType: 'application/json',
      body: { error: 'method_not_allowed' },
    })
  })

  it('answers as the app wants it to, where it takes over', async () => {
    const { url } = await world({
      ...CONNECT,
      options: { onError: (error, _req, res) => res.writeHead(418).end(error.code) },
    })

    expect(await ask(url, { method, path })).toMatchObject({ status: 418, body: 'ERR_UNAUTHORIZED' })
  })

  it('does nothing for a request that the app lets pass without a token', async () => {
    const { url } = await world({ ...CONNECT, options: { onError: (_error, _req, _res, next) => next() } })

    expect(await ask(url, { method, path })).toMatchObject({ status: 500, body: 'An access token is required' })
  })

  it('is passed on with an error, whatever the app makes of it', async () => {
    const options = {
      onError: (_error: unknown, _req: unknown, _res: unknown, next: (error?: unknown) => void) => next('no Error'),
    }
    const { url } = await world({ ...CONNECT, options })

    expect(await ask(url, { method, path })).toMatchObject({
      status: 500,
      body: 'The server failed to handle the request',
    })
  })

  it('is not there where the pages are switched off', async () => {
    const { url } = await world({ ...CONNECT, options: { connect: false } })

    expect(await ask(url, { method, path })).toMatchObject({ status: 404 })
  })
})
