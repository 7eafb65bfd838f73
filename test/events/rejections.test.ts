import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import * as errors from 'jose/errors'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { InsufficientScopeError, InvalidTokenError } from '../../src/errors/errors.js'
import { createEvents, reportFailure, type McpAuthEvent, type RejectionReason } from '../../src/events.js'
import type { McpAuthOptions } from '../../src/options.js'
import { joseRejection } from '../../src/verify/jose-failures.js'
import { REMEDIES } from '../../src/verify/rejections.js'
import { ask } from '../support/answers.js'
import { manualClock } from '../support/clock.js'
import { bareHost } from '../support/hosts.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  signingKey,
  type MintOptions,
} from '../support/scripted-authorization-server.js'
import { captureWarnings } from '../support/warnings.js'
import { world, type World } from '../support/world.js'

let bed: World
beforeEach(async () => {
  bed = await world({ mode: 'none' })
})

const AT_HOST =
  'that is another URL on the host of this server: if MCP clients reach this server by it, set resource (NEXTCLOUD_MCP_SERVER_URL) to it; if it belongs to another server, set the URL in the MCP client to resource'
const OF_APPLICATION =
  "that is the name that Entra gives to this server's own app: make the Application ID URI of the app the URL of this server (docs/entra.md), or list the name in audience, beside resource"
const CLIENT = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }
const NOW = Date.UTC(2026, 0, 1) / 1_000
const PLAIN = { header: { typ: 'JWT' } }

/** The event of a token that was turned away, without its type and time. */
async function rejectionOf(token: string, options: McpAuthOptions = {}): Promise<object> {
  const events: McpAuthEvent[] = []
  const auth = bed.open({ ...CLIENT, onEvent: (event) => events.push(event), ...options })
  await expect(auth.verify(token)).rejects.toThrow()
  expect(events.map(({ type }) => type)).toEqual(['token.rejected'])
  expect(Object.values(auth.stats().rejected)).toEqual([1])
  return Object.fromEntries(Object.entries(events[0] ?? {}).filter(([name]) => name !== 'type' && name !== 'at'))
}

const rejectionOfClaims = async (claims: object, options?: McpAuthOptions, mint?: MintOptions): Promise<object> =>
  rejectionOf(await bed.as.mint({ ...claims }, mint), options)

interface Verified {
  readonly claims: object
  readonly options?: McpAuthOptions
  readonly mint?: MintOptions
  readonly reason: string
  readonly claim?: string
  readonly expected?: readonly unknown[]
  readonly found?: readonly unknown[]
  /** The sentence, or with a `…` its beginning, which the remedy of the reason follows. */
  readonly message: string
}

const ONLY = { allowedClients: ['claude', 'inspector'] }
const WAYS_TO: Readonly<Record<string, string>> = {
  exp: 'have the authorization server give access tokens a lifetime, such as five minutes',
  sub: 'have the authorization server put it into access tokens (Keycloak: the client scope basic, and no lightweight access token)',
  aud: 'have the authorization server put resource into it (Keycloak: a client scope of the MCP client with an audience mapper whose "Included Custom Audience" is resource); if it cannot, as Cognito, Hydra, Clerk and GitLab, set missingAudience to \'client\' and list the client ids of your MCP clients in allowedClients (ALLOWED_MCP_CLIENTS)',
}
const missing = (claim: string, value: unknown, message: string): Verified => ({
  claims: { [claim]: value },
  reason: 'missing_claim',
  claim,
  ...(value !== undefined && { found: [value].flat() }),
  message: `${message}: ${WAYS_TO[claim] ?? 'have the authorization server put it into access tokens'}`,
})
const otherKind = (claims: object, told: string, rest: Partial<Verified> = {}): Verified => ({
  claims,
  mint: PLAIN,
  reason: 'token_type',
  message: `${told}, which is not what an access token has: the client must send its access_token, not the id_token or refresh_token`,
  ...rest,
})
const lookalike = (claims: object, told: string, rest: Partial<Verified> = {}): Verified => {
  const { message, ...other } = otherKind(claims, told, rest)
  const option =
    'if the access tokens of the provider look like this, too (Dex, Cloudflare Access), set idTokenLookalikes to accept'
  return { ...other, message: `${message}; ${option}` }
}
const early = (claim: string): Verified => ({
  claims: { [claim]: NOW + 60 },
  reason: 'not_yet_valid',
  claim,
  expected: ['2026-01-01T00:00:00Z'],
  found: ['2026-01-01T00:01:00Z'],
  message: `${claim} is "2026-01-01T00:01:00Z" and it is "2026-01-01T00:00:00Z" here, with a clockTolerance of 5 s: ${REMEDIES.not_yet_valid}`,
})
const otherClient = (told: string, rest: Pick<Verified, 'claims' | 'claim' | 'found'>): Verified => ({
  ...rest,
  options: ONLY,
  reason: 'client',
  expected: ONLY.allowedClients,
  message: `${told}, and only ["claude", "inspector"] may come in: allowedClients (ALLOWED_MCP_CLIENTS) would have to list it`,
})
const refusedByApp = (verdict: string, validateClaims: () => boolean): Verified => ({
  claims: {},
  options: { validateClaims },
  reason: 'claims',
  message: `validateClaims ${verdict} for the claims: look there for the condition`,
})
const notProven = (verdict: string, missingAudience: unknown): Verified => ({
  claims: { aud: undefined },
  options: { missingAudience } as McpAuthOptions,
  reason: 'claims',
  message: `missingAudience ${verdict} for the claims: look there for the condition`,
})

it.each<Verified>([
  {
    claims: { aud: ['account'] },
    reason: 'audience',
    claim: 'aud',
    expected: [RESOURCE, CLIENT_ID],
    found: ['account'],
    message: `aud is ["account"], none of ["https://mcp.example.com/mcp", "mcp-server"]: ${REMEDIES.audience}`,
  },
  ...[
    [new URL(RESOURCE).origin, AT_HOST],
    [RESOURCE.replace('https:', 'http:'), AT_HOST],
    [`api://${CLIENT_ID}`, OF_APPLICATION],
  ].map(([aud, advice]): Verified => ({
    claims: { aud },
    reason: 'audience',
    claim: 'aud',
    expected: [RESOURCE, CLIENT_ID],
    found: [aud],
    message: `aud is [${JSON.stringify(aud)}], none of ["https://mcp.example.com/mcp", "mcp-server"]: ${advice}`,
  })),
  {
    claims: { aud: undefined, client_id: undefined, appid: 'x' },
    options: { missingAudience: 'client' },
    reason: 'missing_claim',
    claim: 'aud',
    expected: [RESOURCE, CLIENT_ID],
    found: ['x'],
    message:
      'aud is missing, and its client (appid) is "x", while audience and allowedClients list ["https://mcp.example.com/mcp", "mcp-server"]: to let this client in, add its id to allowedClients (ALLOWED_MCP_CLIENTS), which then lets in only the clients that it lists',
  },
  {
    claims: { exp: NOW - 60 },
    reason: 'expired',
    claim: 'exp',
    expected: ['2026-01-01T00:00:00Z'],
    found: ['2025-12-31T23:59:00Z'],
    message:
      'exp is "2025-12-31T23:59:00Z" and it is "2026-01-01T00:00:00Z" here: that is usual, and the client renews it by itself; if fresh ones are refused too, compare the clocks of this machine and of the authorization server (NTP)',
  },
  early('nbf'),
  early('iat'),
  missing('sub', undefined, 'sub is missing'),
  missing('sub', 7, 'sub is 7, not a string that is not empty'),
  missing('sub', '', 'sub is "", not a string that is not empty'),
  missing('exp', undefined, 'exp is missing'),
  missing('exp', 'soon', 'exp is "soon", not a number'),
  missing('aud', undefined, 'aud is missing'),
  missing('aud', [], 'aud is [], not a string or a list of strings'),
  missing('iss', undefined, 'iss is missing'),
  otherKind({ typ: 'ID' }, 'typ is "ID"', { claim: 'typ', found: ['ID'] }),
  otherKind({ token_use: 'id' }, 'token_use is "id"', { claim: 'token_use', found: ['id'] }),
  lookalike({ at_hash: 'x' }, 'there is a claim at_hash', { claim: 'at_hash' }),
  otherKind({ nonce: 'n', aud: CLIENT_ID }, 'there is a claim nonce', { claim: 'nonce' }),
  otherKind({ at_hash: 'x', nonce: 'n' }, 'there is a claim at_hash', { claim: 'at_hash' }),
  lookalike(
    { aud: CLIENT_ID, client_id: undefined, scope: undefined },
    'there is none of scope, client_id, scp, cid, uid, appid, azpacr, appidacr, idtyp',
  ),
  otherKind({}, 'the header has typ "logout+jwt"', {
    mint: { header: { typ: 'logout+jwt' } },
    claim: 'typ',
    found: ['logout+jwt'],
  }),
  otherClient('azp is "x"', { claims: { client_id: undefined, azp: 'x' }, claim: 'azp', found: ['x'] }),
  otherClient('client_id is missing', { claims: { client_id: undefined }, claim: 'client_id' }),
  {
    claims: { cnf: { jkt: 'thumbprint' } },
    reason: 'sender_constrained',
    claim: 'cnf',
    found: ['jkt'],
    message: `cnf binds the token to a key (["jkt"]), and proofs of it are not verified here: ${REMEDIES.sender_constrained}`,
  },
  {
    claims: { cnf: { 'x5t#S256': 'thumbprint' } },
    reason: 'sender_constrained',
    claim: 'cnf',
    found: ['x5t#S256'],
    message:
      'cnf binds the token to a key (["x5t#S256"]), and proofs of it are not verified here: it is bound to a client certificate (mTLS): switch that off for MCP clients at the provider (Keycloak: the client, Advanced, "OAuth 2.0 Mutual TLS Certificate Bound Access Tokens Enabled")',
  },
  {
    claims: { scope: 'notes:read profile' },
    options: { requiredScopes: ['notes:read', 'notes:write'] },
    reason: 'scope',
    claim: 'scope',
    expected: ['notes:read', 'notes:write'],
    found: ['notes:read', 'profile'],
    message:
      'scope is ["notes:read", "profile"] and this operation needs ["notes:read", "notes:write"]: the authorization server has not granted what is missing: define it there as a scope, and let the MCP client have it (Keycloak: a client scope of that name, at the client); the 403 tells the client to ask for it. If requests should not need it, remove it from requiredScopes (for one route or tool: from auth.requireScopes() or scopedTools())',
  },
  refusedByApp('returned false', () => false),
  notProven('returned false', () => Promise.resolve(false)),
  notProven('did not return true', () => undefined),
  notProven('did not return true', () => 1),
  notProven('threw an error', () => Promise.reject(new Error('secret'))),
  refusedByApp('threw an error', () => { throw new Error('secret') }), // prettier-ignore
])('a verified token: $message', async ({ claims, options, mint, ...rejection }) => {
  expect(await rejectionOfClaims(claims, options, mint)).toEqual({ verified: true, ...rejection })
})

it.each([() => true, () => Promise.resolve(true)])(
  'a token without an audience that the operator proves to be for this server is good, by %s',
  async (proves) => {
    const asked: unknown[] = []
    const missingAudience = (claims: object): boolean | Promise<boolean> => {
      asked.push(claims)
      return proves()
    }
    const auth = bed.open({ ...CLIENT, missingAudience })

    const info = await auth.verify(await bed.as.mint({ aud: [] }))
    expect([info.audience, info.subject, asked]).toEqual([[], 'alice', [info.claims]])
    await auth.verify(await bed.as.mint())
    expect(asked).toHaveLength(1)
  },
)

it('an introspection answer without an audience is judged in the same way', async () => {
  bed.as.script('/introspect', { json: { active: true, sub: 'alice', exp: NOW + 60, client_id: 'claude' } })
  const auth = bed.open({ ...CLIENT, missingAudience: 'client', allowedClients: ['claude'] })

  expect(await auth.verify('opaque')).toMatchObject({ audience: [], clientId: 'claude' })
})

it('a verified token of another issuer', async () => {
  expect(await rejectionOfClaims({ iss: 'https://other.example' })).toEqual({
    reason: 'issuer',
    verified: true,
    claim: 'iss',
    expected: [bed.as.issuer],
    found: ['https://other.example'],
    message: `iss is "https://other.example", not "${bed.as.issuer}": issuer (or one of issuers) must be, to the letter, what the authorization server writes into its tokens`,
  })
})

describe('of a token that has not been verified, which anybody can have written, it says so', () => {
  const notVerified = (reason: string, message: string, rest: object = {}): object => ({
    reason,
    verified: false,
    message,
    ...rest,
  })
  const CHANGED = (why: string): string =>
    `the client must get a fresh token, because its key was withdrawn${why}, or it was changed or forged`

  it('an algorithm that is not accepted', async () => {
    expect(await rejectionOfClaims({}, { algorithms: ['RS256', 'PS256'] })).toEqual(
      notVerified(
        'algorithm',
        'alg is "ES256", none of ["RS256", "PS256"]: add it to algorithms, or have the authorization server sign access tokens with one of these',
        { claim: 'alg', expected: ['RS256', 'PS256'], found: ['ES256'] },
      ),
    )
  })

  it('a header that asks for what cannot be done, with an algorithm that is accepted', async () => {
    const [, ...rest] = (await bed.as.mint()).split('.')
    const header = Buffer.from(JSON.stringify({ alg: 'ES256', crit: ['x'], x: 1 })).toString('base64url')
    expect(await rejectionOf([header, ...rest].join('.'))).toMatchObject(
      notVerified(
        'algorithm',
        'alg is "ES256", and the header asks for something that cannot be verified here: have the authorization server leave it out',
      ),
    )
  })

  it.each([
    ['from there', {}, '', CHANGED(' in a rotation of keys')],
    [
      'from elsewhere',
      { iss: 'https://idp.example/realms/b' },
      '; iss, unverified, is "https://idp.example/realms/b"',
      'the token seems to be from another authorization server or realm: if people are to sign in there, make it issuer (OIDC_ISSUER); else the client must sign in at that of this server again',
    ],
  ])('a key that the issuer does not publish, of a token that says it is %s', async (_name, claims, told, advice) => {
    expect(await rejectionOfClaims(claims, {}, { key: await signingKey('other') })).toEqual(
      notVerified('key', `kid is "other", and the keys of "${bed.as.issuer}" are ["first"]${told}: ${advice}`, {
        claim: 'kid',
        expected: ['first'],
        found: ['other'],
      }),
    )
  })

  it('a token for Microsoft Graph', async () => {
    const mint = { key: await signingKey('first'), header: { nonce: 'n' } }
    const advice = expect.stringMatching(
      /: it seems to be for Microsoft Graph .* scope of this server by its whole name .* challengeScopes \(NEXTCLOUD_OIDC_SCOPES\)/,
    ) as string
    expect(await rejectionOfClaims({}, {}, mint)).toMatchObject(notVerified('signature', advice))
    expect(await rejectionOfClaims({}, {}, { ...mint, key: await signingKey('other') })).not.toMatchObject({
      message: advice,
    })
  })

  it.each([
    ['https://acme.okta.com', 'key', true],
    ['https://acme.oktapreview.com', 'key', true],
    ['https://acme.okta.com', 'signature', false],
    ['https://acme.okta.com/oauth2/default', 'key', false],
    ['https://acme.notokta.com', 'key', false],
  ])('a token of the issuer %s that fits none by its %s: of an organisation server %s', async (issuer, fault, told) => {
    const failure = fault === 'key' ? new errors.JWKSNoMatchingKey() : new errors.JWSSignatureVerificationFailed()
    const verification = { issuer, algorithms: [], clockTolerance: 5, nowSeconds: NOW, publishedKeys: () => [] }
    const rejection = joseRejection(failure, await bed.as.mint({ iss: issuer }), verification)
    expect((rejection as InvalidTokenError).details.message.includes('organisation server')).toBe(told)
  })

  it('an encrypted one, whatever keeps it from being introspected', async () => {
    const header = Buffer.from(JSON.stringify({ alg: 'dir', enc: 'A256GCM' })).toString('base64url')
    const message = expect.stringMatching(
      /^the token is encrypted \(a JWE\), .*: have the .* sign access tokens/,
    ) as string
    for (const options of [{ introspection: false }, { clientSecret: undefined }] as const) {
      expect(await rejectionOf(`${header}..iv.text.tag`, options)).toEqual(notVerified('opaque', message))
      expect(await rejectionOf('a.b.c.d.e', options)).toMatchObject({
        message: expect.stringMatching('not a JWT') as string,
      })
    }
  })

  it('a signature that is not by the key that it names', async () => {
    expect(await rejectionOfClaims({}, {}, { key: await signingKey('first') })).toEqual(
      notVerified(
        'signature',
        `the signature does not fit the key of "${bed.as.issuer}" (kid is "first"): ${CHANGED('')}`,
        { claim: 'kid', found: ['first'] },
      ),
    )
  })

  it.each([
    [
      "introspection is false here: set introspection to 'opaque-only', or have the authorization server issue JWTs",
      { introspection: false },
    ],
    [
      'there is no clientSecret (or clientAuth) here to have it introspected with: set clientSecret (OIDC_CLIENT_SECRET) to that of clientId, or have the authorization server issue JWTs',
      { clientSecret: undefined },
    ],
    [`the metadata of the authorization server has no introspection_endpoint: ${REMEDIES.opaque}`, {}],
  ] as const)('an opaque one: %s', async (why, options) => {
    delete bed.as.metadata['introspection_endpoint']
    expect(await rejectionOf('opaque', options)).toEqual(notVerified('opaque', `the token is not a JWT, and ${why}`))
  })

  const NOT_WHOLE = 'the client must send the whole access token and nothing else'
  it.each([
    ['inactive', 'opaque', `the authorization server says that the token is not active: ${REMEDIES.inactive}`],
    ['malformed', 'a"b', `the token has characters that no token has (RFC 6750 section 2.1): ${NOT_WHOLE}`],
    ['malformed', 'eyJhbGciOjd9.e30.AAAA', `the token looks like a JWT, and cannot be read as one: ${NOT_WHOLE}`],
    [
      'too_large',
      'a'.repeat(16_385),
      'the token has 16385 characters, and 16384 is the most: have the authorization server put fewer groups and roles into access tokens (Keycloak: remove their mappers from the client scopes of the MCP client); the limit is fixed',
    ],
  ])('one that is %s', async (reason, token, message) => {
    expect(await rejectionOf(token)).toEqual(notVerified(reason, message))
  })
})

it.each([
  ['refresh_token', 'token_type', REMEDIES.token_type],
  ['DPoP', 'sender_constrained', REMEDIES.sender_constrained],
])('an introspection answer tells a token of another kind by its token_type: %s', async (type, reason, advice) => {
  bed.as.script('/introspect', { json: { active: true, token_type: type } })

  expect(await rejectionOf('opaque')).toEqual({
    reason,
    verified: true,
    claim: 'token_type',
    expected: ['Bearer'],
    found: [type],
    message: `the introspection answer has token_type "${type}", and ["Bearer"] is needed: ${advice}`,
  })
})

it('the token itself is not shown, though an introspection answer repeats it', async () => {
  bed.as.script('/introspect', { json: { active: true, sub: 'alice', exp: NOW + 60, aud: ['opaque-token', 'x'] } })

  expect(await rejectionOf('opaque-token')).toMatchObject({ reason: 'audience', found: ['[token]', 'x'] })
})

it.each<[string, RejectionReason, string, readonly string[]]>([
  [
    'without credentials',
    'no_credentials',
    'the request has no Bearer token, which is usual for the first request of an MCP client',
    [],
  ],
  [
    'with two headers',
    'invalid_request',
    'the request has two Authorization headers: a proxy',
    ['Bearer a', 'Bearer b'],
  ],
  ['with two in one', 'invalid_request', 'the Authorization header has a comma in it: a proxy', ['Bearer a, Basic b']],
  ['with more than a token', 'invalid_request', 'the Authorization header has a blank behind', ['Bearer a b']],
  ['with a tab in the token', 'invalid_request', 'the Authorization header has a blank behind', ['Bearer a\tb']],
])('a request %s', async (_name, reason, message, credentials) => {
  const events: McpAuthEvent[] = []
  const app = await bareHost.start([bed.open({ ...CLIENT, onEvent: (event) => events.push(event) })])
  const answer = await ask(app.url, { headers: credentials.map((value) => ['Authorization', value]) })
  await app.close()

  expect(events).toMatchObject([
    { type: 'token.rejected', reason, message: expect.stringContaining(message) as string },
  ])
  // What the operator is told is not for the client.
  expect(JSON.stringify(answer.body)).not.toContain('proxy')
})

it('the error of auth.verify() has the same details, and its answer has none of them', async () => {
  const error = await bed
    .open(CLIENT)
    .verify(await bed.as.mint({ aud: 'x' }))
    .catch((reason: unknown) => reason as InvalidTokenError)

  expect(error).toBeInstanceOf(InvalidTokenError)
  const { details, diagnosis, body } = error as InvalidTokenError
  expect(details).toMatchObject({ verified: true, claim: 'aud', found: ['x'] })
  expect(`${diagnosis.finding}: ${diagnosis.advice}`).toBe(details.message)
  expect(JSON.stringify(error)).not.toContain('audience mapper')
  expect(body).toEqual({ error: 'invalid_token', error_description: 'The access token is for another audience' })
})

it('an error that an app makes by itself has at least its own words', () => {
  expect(new InvalidTokenError('client').details).toEqual({
    message: 'The client of the access token is not allowed here',
  })
  expect(new InsufficientScopeError(['a']).details).toMatchObject({ expected: ['a'], claim: 'scope' })
})

describe('the words are put together', () => {
  const describeFault = vi.fn(() => ({ sentence: () => 'words' }))
  const error = new InvalidTokenError('claims', undefined, describeFault)
  const listener = vi.fn()
  afterEach(() => {
    unsubscribe('mcp-nextcloud-auth', listener)
    vi.clearAllMocks()
  })

  it('once a minute when there is no listener', () => {
    captureWarnings()
    const clock = manualClock()
    const events = createEvents(undefined, clock)

    for (let count = 0; count < 3; count += 1) reportFailure(events, error)
    expect(describeFault).toHaveBeenCalledTimes(1)
    clock.advance(60_000)
    reportFailure(events, error)

    expect(describeFault).toHaveBeenCalledTimes(2)
    expect(events.counters.rejected).toEqual({ claims: 4 })
  })

  it('once for onEvent and the diagnostics channel', () => {
    subscribe('mcp-nextcloud-auth', listener)

    reportFailure(createEvents(listener, manualClock()), error)

    expect(listener).toHaveBeenCalledTimes(2)
    expect(describeFault).toHaveBeenCalledTimes(1)
  })
})
