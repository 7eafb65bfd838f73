import { describe, expect, it, onTestFinished } from 'vitest'
import { MemoryStorage, UpstreamUnavailableError } from '../../src/index.js'
import type { McpAuthOptions, StorageAdapter, Who } from '../../src/index.js'
import { ENCRYPTION_KEY, MCP_CLIENT } from '../support/grant-constants.js'
import { listen } from '../support/hosts.js'
import { createRefreshTokens } from '../support/refresh-tokens.js'
import {
  RESOURCE,
  type ReceivedRequest,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.js'
import { CLIENTS, twoIssuers, type TwoIssuers } from '../support/two-issuers.js'
import { openGrants } from '../support/world.js'

const url = 'https://cloud.example.com'
const EXCHANGE: McpAuthOptions = { nextcloud: { url, mode: 'token-exchange' } }
/** The client of a request, by whichever way it was authenticated. */
const clientOf = ({ headers, form }: ReceivedRequest): string => {
  const basic = Buffer.from((headers.authorization ?? '').split(' ')[1] ?? '', 'base64').toString()
  return headers.authorization === undefined ? `body ${form.get('client_id')}` : `header ${basic.split(':')[0]}`
}
const sent = (as: ScriptedAuthorizationServer, path: string, field: string) =>
  as.received(path).map((request) => [clientOf(request), request.form.get(field)])
const answersWith = (as: ScriptedAuthorizationServer, token: string) =>
  as.script('/token', { json: { access_token: token, token_type: 'Bearer', expires_in: 300 } })

describe('an exchange', () => {
  it('goes to the issuer of the token, with the client there, and nothing of it to the other', async () => {
    const { a, b, open } = await twoIssuers()
    answersWith(a, 'nextcloud-token-of-a')
    answersWith(b, 'nextcloud-token-of-b')
    const auth = open(EXCHANGE)
    const [tokenA, tokenB] = [await a.mint(), await b.mint()]
    expect(await auth.getNextcloudToken({ token: tokenB })).toBe('nextcloud-token-of-b')
    expect(a.received()).toEqual([])
    expect(await auth.getNextcloudToken({ token: tokenA })).toBe('nextcloud-token-of-a')
    expect(sent(a, '/token', 'subject_token')).toEqual([['header server-at-a', tokenA]])
    expect(sent(b, '/token', 'subject_token')).toEqual([['header server-at-b', tokenB]])
  })

  it('of the same subject, client and jti at both issuers is two tokens in one cache', async () => {
    const { a, b, events, open } = await twoIssuers()
    answersWith(a, 'nextcloud-token-of-a')
    answersWith(b, 'nextcloud-token-of-b')
    const auth = open(EXCHANGE)
    const claims = { sub: 'alice', client_id: 'same', jti: 'same' }
    const [ofA, ofB] = [await auth.verify(await a.mint(claims)), await auth.verify(await b.mint(claims))]
    for (let round = 0; round < 2; round += 1) {
      expect(await auth.getNextcloudToken(ofA)).toBe('nextcloud-token-of-a')
      expect(await auth.getNextcloudToken(ofB)).toBe('nextcloud-token-of-b')
    }
    expect(auth.stats()).toMatchObject({ exchanges: 2, nextcloudCacheHits: 2, sizes: { nextcloudTokens: 2 } })
    const got = events.filter(({ type }) => type === 'nextcloud.token') as { issuer?: string }[]
    expect(got.map(({ issuer }) => issuer)).toEqual([a.issuer, b.issuer, a.issuer, b.issuer])
  })

  it('keeps to the size of the cache for all issuers together', async () => {
    const { a, b, open } = await twoIssuers()
    const auth = open({ ...EXCHANGE, cache: { nextcloudTokens: 1 } })
    for (const as of [a, b]) await auth.getNextcloudToken({ token: await as.mint() })
    expect(auth.stats()).toMatchObject({ evictions: 1, sizes: { nextcloudTokens: 1 } })
  })

  it('of one issuer that is unavailable is 503, and the other goes on', async () => {
    const { a, b, events, open } = await twoIssuers()
    a.script('/token', { status: 503 })
    const auth = open(EXCHANGE)
    const ofA = await auth.verify(await a.mint())
    await expect(auth.getNextcloudToken(ofA)).rejects.toBeInstanceOf(UpstreamUnavailableError)
    expect(await auth.getNextcloudToken({ token: await b.mint() })).toMatch(/^nextcloud-token/)
    expect(events.filter(({ type }) => type === 'nextcloud.failed')).toMatchObject([{ issuer: a.issuer }])
  })

  it('has the ways of the preset of its own entry', async () => {
    const { a, b, clock, open } = await twoIssuers()
    const keeping = {
      storage: new MemoryStorage(),
      encryptionKey: ENCRYPTION_KEY,
      nextcloud: { url, mode: 'refresh-token' },
    } as const
    const auth = open(keeping, {}, { preset: 'nextcloud-oidc-app' })
    for (const as of [a, b]) {
      await connect({ a, b, clock }, keeping, as, 'refresh-token-of-nobody')
      await auth.getNextcloudToken({ issuer: as.issuer, subject: 'alice' }).catch(() => undefined)
    }
    expect(sent(a, '/token', 'grant_type')).toEqual([['header server-at-a', 'refresh_token']])
    expect(sent(b, '/token', 'grant_type')).toEqual([['body server-at-b', 'refresh_token']])
  })
})

it('a Nextcloud that refuses a fresh token is told of with the switch of the server of that token', async () => {
  const { a, b, clock, events, open } = await twoIssuers()
  const nextcloud = await listen((_req, res) => res.writeHead(401).end())
  onTestFinished(nextcloud.close)
  const mode = { url: nextcloud.url, mode: 'refresh-token' } as const
  const keeping = { storage: new MemoryStorage(), encryptionKey: ENCRYPTION_KEY, nextcloud: mode }
  const auth = open(keeping, {}, { preset: 'nextcloud-oidc-app' })
  await connect({ a, b, clock }, keeping, b, 'refresh-token')
  await auth.nextcloudFetch({ issuer: b.issuer, subject: 'alice' }, '/ocs/v2.php/cloud/user')
  const warnings = events.flatMap((event) => (event.type === 'config.warning' ? [event.message] : []))
  expect(warnings.join()).toContain('oidc_provider_bearer_validation --value=true')
})

/** Stores a grant of alice at one issuer, as the pages would. */
async function connect(
  { a, b, clock }: Pick<TwoIssuers, 'a' | 'b' | 'clock'>,
  options: McpAuthOptions & { readonly storage: StorageAdapter },
  { issuer }: ScriptedAuthorizationServer,
  refreshToken: string,
): Promise<void> {
  const issuers = [
    { issuer: a.issuer, ...CLIENTS.a },
    { issuer: b.issuer, ...CLIENTS.b },
  ]
  const { storage } = options
  const { store, fingerprint } = openGrants({ resource: RESOURCE, issuers, ...options }, storage, clock)
  const connection = { refreshToken, fingerprint: fingerprint(refreshToken), clientId: MCP_CLIENT, scopes: [] }
  await store.connect({ issuer, subject: 'alice' }, connection)
}

describe('a grant', () => {
  async function keeping() {
    const two = await twoIssuers()
    const storage = new MemoryStorage(undefined, two.clock)
    const options = { storage, encryptionKey: ENCRYPTION_KEY, nextcloud: { url, mode: 'refresh-token' } } as const
    const tokens = { a: createRefreshTokens(), b: createRefreshTokens() }
    two.a.script('/token', tokens.a.answer)
    two.b.script('/token', tokens.b.answer)
    for (const as of [two.a, two.b]) as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`
    for (const as of [two.a, two.b]) as.script('/revoke', { status: 200 })
    const connectAt = async (at: 'a' | 'b'): Promise<string> => {
      const refreshToken = tokens[at].issue()
      await connect(two, options, two[at], refreshToken)
      return refreshToken
    }
    const who = (at: 'a' | 'b') => ({ issuer: two[at].issuer, subject: 'alice' })
    return { ...two, options, connectAt, who, auth: two.open(options) }
  }

  it.each(['issuer', 'discoveryUrl'])('of the issuer before a move serves nobody after it: %s', async (option) => {
    const { b, connectAt, who, options, open } = await keeping()
    await connectAt('a')
    const address = option === 'issuer' ? b.issuer : `${b.issuer}/.well-known/openid-configuration`
    const auth = open({ ...options, issuers: undefined, [option]: address, ...CLIENTS.a })
    const refused = 'who must name one of the issuers that are configured'
    const calls = [
      auth.getNextcloudToken(who('a')),
      auth.createConnectUrl(who('a')),
      auth.waitForConnection(who('a'), 1),
      auth.rotate(who('a')),
      auth.revoke(who('a')),
    ]
    for (const call of calls) await expect(call).rejects.toThrow(refused)
    expect([...b.received('/token'), ...b.received('/revoke')]).toEqual([])
    expect([await auth.isProvisioned(who('a')), await auth.isProvisioned(who('b'))]).toEqual([false, false])
    expect((await auth.connections()).connections).toMatchObject([{ state: 'active' }])
  })

  it('of one issuer serves the same subject of the other in nothing', async () => {
    const { a, b, auth, connectAt, who } = await keeping()
    await connectAt('a')
    expect([await auth.isProvisioned(who('a')), await auth.isProvisioned(who('b'))]).toEqual([true, false])
    const ofB = await auth.verify(await b.mint({ client_id: MCP_CLIENT }))
    await expect(auth.getNextcloudToken(ofB)).rejects.toMatchObject({ code: 'ERR_NOT_PROVISIONED', reason: 'never' })
    const ofA = await auth.verify(await a.mint({ client_id: MCP_CLIENT }))
    expect(await auth.getNextcloudToken(ofA)).toMatch(/./)
    // Still, with the token of the other in the cache.
    await expect(auth.getNextcloudToken(ofB)).rejects.toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
    expect(b.received('/token')).toEqual([])
  })

  it('is refreshed at its own issuer, with the client there', async () => {
    const { a, b, auth, connectAt, who } = await keeping()
    const [first, second] = [await connectAt('a'), await connectAt('b')]
    await auth.getNextcloudToken(who('b'))
    expect(a.received('/token')).toEqual([])
    await auth.getNextcloudToken(who('a'))
    expect(sent(a, '/token', 'refresh_token')).toEqual([['header server-at-a', first]])
    expect(sent(b, '/token', 'refresh_token')).toEqual([['header server-at-b', second]])
    await auth.rotate(who('b'))
    expect([a.received('/token').length, b.received('/token').length]).toEqual([1, 2])
  })

  it('is revoked at its own issuer, and the other one lives', async () => {
    const { a, b, auth, connectAt, who } = await keeping()
    await connectAt('a')
    const second = await connectAt('b')
    expect(await auth.revoke(who('b'))).toEqual({ revoked: true })
    expect(sent(b, '/revoke', 'token')).toEqual([['header server-at-b', second]])
    expect(a.received('/revoke')).toEqual([])
    expect([await auth.isProvisioned(who('a')), await auth.isProvisioned(who('b'))]).toEqual([true, false])
  })

  it.each(['a', 'b'] as const)('that is to end is not held up by an issuer that is unavailable: %s', async (down) => {
    const { clock, auth, connectAt, who, ...two } = await keeping()
    const up = down === 'a' ? 'b' : 'a'
    for (const at of ['a', 'b'] as const) {
      await connectAt(at)
      two[at].script('/revoke', { status: 503 })
      expect(await auth.revoke(who(at))).toEqual({ revoked: 'pending' })
    }
    const before = two[up].received('/revoke').length
    two[up].script('/revoke', { status: 200 })
    clock.advance(61_000)
    await auth.isProvisioned(who(up))
    await auth.close()
    expect(two[up].received('/revoke').length).toBeGreaterThan(before)
    const ended = two.events.flatMap((event) =>
      event.type === 'grant.revoked' && event.revoked === true ? [event.issuer] : [],
    )
    expect(ended).toEqual([two[up].issuer])
  })

  it('is seen whatever the order of the entries, and by the same issuer alone', async () => {
    const { a, b, open, options, connectAt, who } = await keeping()
    for (const at of ['a', 'b'] as const) await connectAt(at)
    const [ofA, ofB] = [
      { issuer: a.issuer, ...CLIENTS.a },
      { issuer: b.issuer, ...CLIENTS.b },
    ]
    const turned = open({ ...options, issuers: [ofB, ofA] })
    for (const at of ['a', 'b'] as const) expect(await turned.isProvisioned(who(at))).toBe(true)
    for (const [at, only] of [
      ['a', ofA],
      ['b', ofB],
    ] as const) {
      const alone = open({ ...options, ...only, issuers: undefined })
      expect(await alone.isProvisioned(who(at))).toBe(true)
    }
  })

  it('is listed with those of the other issuer', async () => {
    const { a, b, auth, connectAt } = await keeping()
    for (const at of ['a', 'b'] as const) await connectAt(at)
    const { connections } = await auth.connections()
    expect(connections.map(({ issuer }) => issuer).sort()).toEqual([a.issuer, b.issuer].sort())
  })

  it('of one issuer is no reason to say that the connections are elsewhere', async () => {
    const { auth, events, connectAt, who } = await keeping()
    await connectAt('a')
    await auth.isProvisioned(who('b'))
    await auth.close()
    expect(
      events.filter((event) => event.type === 'config.warning' && /no connection in the store/.test(event.message)),
    ).toEqual([])
  })

  it('of an issuer that is not configured any more is sent to nobody', async () => {
    const { a, b, clock, open, options, connectAt, who, auth } = await keeping()
    await connectAt('b')
    b.script('/revoke', { status: 503 })
    expect(await auth.revoke(who('b'))).toEqual({ revoked: 'pending' })
    const asked = b.received().length
    const third = { issuer: 'https://c.example.com', ...CLIENTS.a }
    const later = open({ ...options, issuers: [{ issuer: a.issuer, ...CLIENTS.a }, third] })
    clock.advance(61_000)
    await later.isProvisioned(who('a'))
    await later.close()
    expect([a.received('/revoke').length, b.received().length]).toEqual([0, asked])
  })

  it('belongs to a user whom the app must name with the issuer, and one of the issuers', async () => {
    const { auth } = await keeping()
    const unnamed = { subject: 'alice' }
    const unknown = { subject: 'alice', issuer: 'https://c.example.com' }
    for (const name of ['getNextcloudToken', 'isProvisioned', 'createConnectUrl', 'revoke', 'rotate'] as const) {
      const ask = (who: Who): Promise<unknown> => auth[name](who)
      await expect(ask(unnamed)).rejects.toThrow(new TypeError('who must name its issuer, because there are several'))
      await expect(ask(unknown)).rejects.toThrow(new TypeError('who must name one of the issuers that are configured'))
    }
  })
})

it('no event, error or counter shows a secret of either client', async () => {
  const { a, b, events, open } = await twoIssuers()
  for (const as of [a, b])
    as.script('/token', { status: 400, json: { error: 'invalid_client', error_description: 'canary' } })
  const auth = open(EXCHANGE)
  const failures: unknown[] = []
  for (const as of [a, b])
    await auth.getNextcloudToken({ token: await as.mint() }).catch((error: unknown) => failures.push(error))
  expect(failures.length).toBe(2)
  expect(JSON.stringify([events, failures, auth.stats()])).not.toMatch(/canary-secret/)
})
