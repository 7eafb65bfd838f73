import { describe, expect, it } from 'vitest'
import { InvalidTokenError, type McpAuthError, UpstreamUnavailableError } from '../../src/index.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import { manualClock } from '../support/clock.js'
import { startAuthorizationServer } from '../support/scripted-authorization-server.js'
import { twoIssuers } from '../support/two-issuers.js'

/** The reason for which a token is refused. */
const reasonOf = (refusal: Promise<unknown>): Promise<string> =>
  refusal.then(
    () => 'accepted',
    (error: unknown) => (error instanceof InvalidTokenError ? error.reason : (error as McpAuthError).detail),
  )
const secretSent = (authorization: string | undefined): string =>
  decodeURIComponent(Buffer.from((authorization ?? '').split(' ')[1] ?? '', 'base64').toString())
const opaqueToken = 'opaque-token-of-somebody'

describe('a JWT', () => {
  it('is verified by the keys of its own issuer, and the other issuer is not asked', async () => {
    const { a, b, open } = await twoIssuers()
    const auth = open()
    expect(await auth.verify(await b.mint({ sub: 'bob' }))).toMatchObject({ issuer: b.issuer, subject: 'bob' })
    expect(a.received()).toEqual([])
    expect(await auth.verify(await a.mint({ sub: 'bob' }))).toMatchObject({ issuer: a.issuer, subject: 'bob' })
    expect(auth.stats()).toMatchObject({ verified: 2, sizes: { verifiedTokens: 2 } })
  })

  it('that says one issuer and is signed by the other is refused, under a kid that both have, one that neither has, and none', async () => {
    const { a, b, open } = await twoIssuers()
    const auth = open()
    // Both have a key of the name `first`.
    await auth.verify(await a.mint())
    await auth.verify(await b.mint())
    expect(await reasonOf(auth.verify(await b.mint({ iss: a.issuer })))).toBe('signature')
    expect(await reasonOf(auth.verify(await a.mint({ iss: b.issuer })))).toBe('signature')
    expect(await reasonOf(auth.verify(await b.mint({ iss: a.issuer }, { header: { kid: 'of nobody' } })))).toBe('key')
    expect(await reasonOf(auth.verify(await b.mint({ iss: a.issuer }, { header: { kid: undefined } as object })))).toBe(
      'signature',
    )
  })

  it('that says one issuer under a kid of the other is refused, though the other publishes that key', async () => {
    const { a, b, open } = await twoIssuers()
    Object.assign(b.key.publicJwk, { kid: 'second' })
    const auth = open()
    await auth.verify(await b.mint({}, { header: { kid: 'second' } }))
    expect(await reasonOf(auth.verify(await b.mint({ iss: a.issuer }, { header: { kid: 'second' } })))).toBe('key')
  })

  it('of the other issuer is another token, with the same subject, client and jti', async () => {
    const { a, b, open } = await twoIssuers()
    const auth = open()
    const claims = { sub: 'alice', jti: 'one', client_id: 'mcp-client' }
    const [ofA, ofB] = [await auth.verify(await a.mint(claims)), await auth.verify(await b.mint(claims))]
    expect([ofA.issuer, ofB.issuer]).toEqual([a.issuer, b.issuer])
  })

  it.each([
    ['another issuer', 'https://elsewhere.example.com', /^iss, unverified, is .*elsewhere\.example\.com.*, none of /],
    ['one with a slash more', 'slash', /^iss, unverified, is .*none of /],
    ['no issuer', undefined, /^iss, unverified, is missing, none of /],
    ['a list of both', 'list', /none of /],
    ['a number', 5, /none of /],
  ])('that says %s is refused before any key is fetched', async (_name, claimed, message) => {
    const { a, b, events, open } = await twoIssuers()
    const iss = claimed === 'slash' ? `${a.issuer}/` : claimed === 'list' ? [a.issuer, b.issuer] : claimed
    expect(await reasonOf(open().verify(await a.mint({ iss })))).toBe('issuer')
    expect([...a.received(), ...b.received()]).toEqual([])
    const rejected = events.find(({ type }) => type === 'token.rejected') as { readonly message: string }
    expect(rejected.message).toMatch(message)
  })

  it('whose payload is no JSON is malformed, whichever issuer is unavailable', async () => {
    const { a, b, open } = await twoIssuers()
    const [header, , signature] = (await a.mint()).split('.')
    await a.stop()
    await b.stop()
    const auth = open()
    for (const payload of ['bm8', 'W10', 'bnVsbA'])
      expect(await reasonOf(auth.verify(`${header}.${payload}.${signature}`))).toBe('malformed')
  })

  it('is for the audience of its own entry', async () => {
    const { a, b, open } = await twoIssuers()
    const auth = open({}, { audience: 'api-a' }, { audience: 'api-b' })
    expect(await reasonOf(auth.verify(await a.mint({ aud: 'api-a' })))).toBe('accepted')
    expect(await reasonOf(auth.verify(await a.mint({ aud: 'api-b' })))).toBe('audience')
    expect(await reasonOf(auth.verify(await b.mint({ aud: 'api-b' })))).toBe('accepted')
    expect(await reasonOf(auth.verify(await b.mint({ aud: 'api-a' })))).toBe('audience')
  })

  it('for the client of the other entry is refused: its id is in no default audience of this one', async () => {
    const { a, b, open } = await twoIssuers()
    const auth = open()
    expect(await reasonOf(auth.verify(await a.mint({ aud: 'server-at-a' })))).toBe('accepted')
    expect(await reasonOf(auth.verify(await a.mint({ aud: 'server-at-b' })))).toBe('audience')
    expect(await reasonOf(auth.verify(await b.mint({ aud: 'server-at-a' })))).toBe('audience')
  })

  it('without an audience is judged by missingAudience of its own entry', async () => {
    const { a, b, open } = await twoIssuers()
    const auth = open({}, {}, { missingAudience: () => true })
    expect(await reasonOf(auth.verify(await a.mint({ aud: undefined })))).toBe('missing_claim')
    expect(await reasonOf(auth.verify(await b.mint({ aud: undefined })))).toBe('accepted')
  })

  it('is introspected where its own entry says always, by that client, and nowhere else', async () => {
    const { a, b, open } = await twoIssuers()
    const claims = { active: true, sub: 'alice', aud: 'server-at-b', client_id: 'mcp', exp: 4_000_000_000 }
    b.script('/introspect', { json: claims })
    const auth = open({}, {}, { introspection: 'always' })
    expect(await auth.verify(await b.mint())).toMatchObject({ issuer: b.issuer })
    expect(a.received()).toEqual([])
    expect(b.received('/introspect').map(({ headers }) => secretSent(headers.authorization))).toEqual([
      'server-at-b:canary-secret-of-b',
    ])
    await auth.verify(await a.mint())
    expect([a.received('/introspect'), b.received('/introspect').length]).toEqual([[], 1])
  })
})

describe('the answer to an introspection', () => {
  it.each(['a', 'b'] as const)(
    'that names the other issuer than the one asked is refused: asked was %s',
    async (asked) => {
      const servers = await twoIssuers()
      const other = asked === 'a' ? servers.b : servers.a
      const answer = {
        active: true,
        iss: other.issuer,
        sub: 'alice',
        aud: 'https://mcp.example.com/mcp',
        exp: 4_000_000_000,
      }
      servers[asked].script('/introspect', { json: answer })
      const auth = servers.open({}, { introspection: asked === 'a' ? 'opaque-only' : false })
      expect(await reasonOf(auth.verify(opaqueToken))).toBe('issuer')
    },
  )
})

describe('an opaque token', () => {
  const active = {
    active: true,
    sub: 'alice',
    aud: 'https://mcp.example.com/mcp',
    client_id: 'mcp',
    exp: 4_000_000_000,
  }
  const asked = async (prepare: (two: Awaited<ReturnType<typeof twoIssuers>>) => unknown, ...more: object[]) => {
    const two = await twoIssuers()
    for (const server of [two.a, two.b]) server.script('/introspect', { json: active })
    await prepare(two)
    const [ofA, ofB] = more
    const auth = two.open({}, ofA, ofB)
    const outcome = await auth.verify(opaqueToken).then(
      ({ issuer }) => (issuer === two.a.issuer ? 'a' : 'b'),
      (error: unknown) => (error instanceof InvalidTokenError ? error.reason : error),
    )
    const requests = [two.a, two.b].map((server) => server.received('/introspect').length)
    return { outcome, requests }
  }
  const without = (server: 'a' | 'b') => (two: Awaited<ReturnType<typeof twoIssuers>>) =>
    delete two[server].metadata['introspection_endpoint']
  const nothing = () => undefined

  it('goes to the first entry', async () => {
    expect(await asked(nothing)).toEqual({ outcome: 'a', requests: [1, 0] })
  })

  it('goes to the first alone, also when that says it is not active', async () => {
    const inactive = ({ a }: Awaited<ReturnType<typeof twoIssuers>>) =>
      a.script('/introspect', { json: { active: false } })
    expect(await asked(inactive)).toEqual({ outcome: 'inactive', requests: [1, 0] })
  })

  it('goes past an entry that does not introspect', async () => {
    expect(await asked(nothing, { introspection: false })).toEqual({ outcome: 'b', requests: [0, 1] })
  })

  it('goes past a server without an endpoint', async () => {
    expect(await asked(without('a'))).toEqual({ outcome: 'b', requests: [0, 1] })
  })

  it('goes past an entry without credentials', async () => {
    const none = { clientId: undefined, clientSecret: undefined }
    expect(await asked(nothing, none)).toEqual({ outcome: 'b', requests: [0, 1] })
  })

  it('is refused where no entry can be asked', async () => {
    expect(await asked(without('a'), {}, { introspection: false })).toEqual({ outcome: 'opaque', requests: [0, 0] })
  })

  it('waits for a server that does not say whether it has an endpoint: it is none of the next', async () => {
    const { outcome, requests } = await asked(({ a }) => a.stop())
    expect(outcome).toBeInstanceOf(UpstreamUnavailableError)
    expect(requests).toEqual([0, 0])
  })
})

it('while one issuer is unavailable its tokens are 503, and those of the other go on', async () => {
  const { a, b, clock, events, open } = await twoIssuers()
  const auth = open()
  await a.stop()
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await expect(auth.verify(await a.mint({ jti: String(attempt) }))).rejects.toBeInstanceOf(UpstreamUnavailableError)
    expect(await reasonOf(auth.verify(await b.mint({ jti: String(attempt) })))).toBe('accepted')
  }
  const outages = events.flatMap((event) => (event.type === 'idp.unavailable' ? [event.issuer] : []))
  expect(new Set(outages)).toEqual(new Set([a.issuer]))
  await a.restart()
  clock.advance(60_000)
  expect(await reasonOf(auth.verify(await a.mint()))).toBe('accepted')
})

it('introspection that has failed at one issuer cools down there alone', async () => {
  const { a, b, open } = await twoIssuers()
  a.script('/introspect', { status: 401 })
  b.script('/introspect', {
    json: { active: true, sub: 'alice', aud: 'server-at-b', client_id: 'mcp', exp: 4_000_000_000 },
  })
  const auth = open({}, { introspection: 'always' }, { introspection: 'always' })
  expect(await reasonOf(auth.verify(await a.mint()))).toContain('introspection')
  expect(await reasonOf(auth.verify(await b.mint()))).toBe('accepted')
})

it('is ready when all issuers are, and says which is not', async () => {
  const { b, open } = await twoIssuers()
  await open().ready()
  await b.stop()
  await expect(open().ready()).rejects.toMatchObject({
    detail: expect.stringContaining(new URL(b.issuer).host) as string,
  })
})

describe('Entra', () => {
  const TENANT = '3b4c0c4e-6e5e-4d1f-9c6a-0c6f0a8b9d11'
  const V1 = `https://sts.windows.net/${TENANT}/`
  const V2 = `https://login.microsoftonline.com/${TENANT}/v2.0`
  const OTHER = 'https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0'

  async function adviceOn(configured: readonly string[], iss: string): Promise<string> {
    const clock = manualClock()
    const as = await startAuthorizationServer(clock.now)
    const messages: string[] = []
    const auth = createMcpAuth(
      {
        resource: 'https://mcp.example.com/mcp',
        issuers: configured.map((issuer) => ({ issuer, authorizationServer: { jwksUri: `${as.issuer}/jwks` } })),
        onEvent: (event) => event.type === 'token.rejected' && messages.push(event.message),
      },
      clock,
    )
    expect(await reasonOf(auth.verify(await as.mint({ iss })))).toBe('issuer')
    await auth.close()
    await as.close()
    return messages.join()
  }

  it.each([
    ['a token of version 1.0 where 2.0 is configured', [V2], V1, '1.0', /accessTokenAcceptedVersion\) to 2/],
    ['a token of version 2.0 where 1.0 is configured', [V1], V2, '2.0', /make \S+\/v2\.0 the issuer/],
    ['a token of version 1.0 beside another tenant', [OTHER, V2], V1, '1.0', /accessTokenAcceptedVersion\) to 2/],
  ])('%s: the setting, or both issuers', async (_name, configured, iss, version, setting) => {
    const message = await adviceOn(configured, iss)
    expect(message).toContain(`of version ${version} of Entra: `)
    expect(message).toMatch(setting)
    expect(message).toContain(`replace issuer by issuers with ${V1} (1.0) and ${V2} (2.0)`)
  })

  it('a token of another tenant: list it', async () => {
    expect(await adviceOn([V2], OTHER)).toContain('of another tenant of Entra: if its users are to come in, list')
    expect(await adviceOn([V1, V2], OTHER)).toContain('list the issuer of that tenant with issuers')
  })

  it('a token of another provider gets no such advice, nor one of Entra where none of it is configured', async () => {
    expect(await adviceOn([V2], 'https://idp.example.com')).not.toContain('Entra')
    expect(await adviceOn(['https://idp.example.com'], V2)).not.toContain('of Entra')
  })

  it('a discovery document for all tenants is refused with the words for its operator', async () => {
    const as = await startAuthorizationServer()
    const metadata = `${as.issuer}/.well-known/openid-configuration`
    as.metadata['issuer'] = 'https://login.microsoftonline.com/{tenantid}/v2.0'
    const auth = createMcpAuth(
      { resource: 'https://mcp.example.com/mcp', discoveryUrl: metadata, onEvent: () => undefined },
      manualClock(),
    )
    await expect(auth.ready()).rejects.toThrow(/which is for all tenants, and no token has it: list the tenants/)
    await auth.close()
    await as.close()
  })
})
