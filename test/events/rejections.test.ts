import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { InsufficientScopeError, InvalidTokenError } from '../../src/errors/errors.js'
import { createEvents, reportFailure, type McpAuthEvent } from '../../src/events.js'
import type { McpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { ask, askWith } from '../support/answers.js'
import { manualClock } from '../support/clock.js'
import { bareHost } from '../support/hosts.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE, signingKey } from '../support/scripted-authorization-server.js'
import { startTestBed, type TestBed } from '../support/test-bed.js'

let clock: TestBed['clock']
let as: TestBed['as']
let open: TestBed['open']
let close: TestBed['close']
let events: McpAuthEvent[]

beforeEach(async () => {
  ;({ clock, as, open, close } = await startTestBed())
  events = []
})
afterEach(() => close())

const CLIENT = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }
const seconds = (): number => clock.now() / 1_000

/** The event of a request that was turned away, less what all of them have. */
async function rejectionOf(request: (url: string) => Promise<unknown>, options: McpAuthOptions = {}): Promise<object> {
  const auth = open({ ...CLIENT, onEvent: (event) => events.push(event), ...options })
  const app = await bareHost.start([auth], { maxHeaderSize: 65_536 })
  await request(app.url)
  await app.close()
  const [event, ...others] = events.filter(({ type }) => type === 'token.rejected')
  expect(others).toEqual([])
  return Object.fromEntries(Object.entries(event ?? {}).filter(([name]) => name !== 'type' && name !== 'at'))
}

const rejectionOfToken = (token: string, options?: McpAuthOptions) => rejectionOf((url) => askWith(url, token), options)

describe('token.rejected tells in one line why, and what was found and expected', () => {
  it('an audience mapper that is missing', async () => {
    expect(await rejectionOfToken(await as.mint({ aud: ['account'] }))).toEqual({
      reason: 'audience',
      verified: true,
      claim: 'aud',
      expected: [RESOURCE, CLIENT_ID],
      found: ['account'],
      message:
        'aud is ["account"], none of ["https://mcp.example.com/mcp", "mcp-server"]: add an audience mapper for this server at the authorization server',
    })
  })

  it('another issuer', async () => {
    expect(await rejectionOfToken(await as.mint({ iss: 'https://other.example' }))).toEqual({
      reason: 'issuer',
      verified: true,
      claim: 'iss',
      expected: [as.issuer],
      found: ['https://other.example'],
      message: `iss is "https://other.example", not "${as.issuer}": issuer has to be, to the letter, what the authorization server writes into its tokens`,
    })
  })

  it('a token that has expired, with both times', async () => {
    expect(await rejectionOfToken(await as.mint({ exp: seconds() - 60 }))).toEqual({
      reason: 'expired',
      verified: true,
      claim: 'exp',
      expected: ['2026-01-01T00:00:00Z'],
      found: ['2025-12-31T23:59:00Z'],
      message:
        'exp is "2025-12-31T23:59:00Z" and it is "2026-01-01T00:00:00Z" here: the client has to renew it; if it just did, compare the clocks',
    })
  })

  it.each(['nbf', 'iat'])('a token that is not valid yet by its %s, with both times', async (claim) => {
    expect(await rejectionOfToken(await as.mint({ [claim]: seconds() + 60 }))).toEqual({
      reason: 'not_yet_valid',
      verified: true,
      claim,
      expected: ['2026-01-01T00:00:00Z'],
      found: ['2026-01-01T00:01:00Z'],
      message: `${claim} is "2026-01-01T00:01:00Z" and it is "2026-01-01T00:00:00Z" here: compare the clocks, of which 5 s of difference are tolerated (clockTolerance)`,
    })
  })

  it.each([
    ['sub', undefined, {}, 'sub is missing'],
    ['sub', 7, { found: [7] }, 'sub is 7, not a string that is not empty'],
    ['sub', '', { found: [''] }, 'sub is "", not a string that is not empty'],
    ['exp', undefined, {}, 'exp is missing'],
    ['exp', 'soon', { found: ['soon'] }, 'exp is "soon", not a number'],
    ['aud', undefined, {}, 'aud is missing'],
    ['aud', [], { found: [] }, 'aud is [], not a string or a list of strings'],
    ['iss', undefined, {}, 'iss is missing'],
  ])('a claim that is missing or no such thing: %s of %j', async (claim, value, found, message) => {
    expect(await rejectionOfToken(await as.mint({ [claim]: value }))).toEqual({
      reason: 'missing_claim',
      verified: true,
      claim,
      ...found,
      message,
    })
  })

  it.each([
    ['typ', { typ: 'ID' }, { found: ['ID'] }, 'typ is "ID"'],
    ['token_use', { token_use: 'id' }, { found: ['id'] }, 'token_use is "id"'],
    ['at_hash', { at_hash: 'x' }, {}, 'there is a claim at_hash'],
    ['nonce', { nonce: 'n', aud: CLIENT_ID }, {}, 'there is a claim nonce'],
  ])('an ID token, and by what it is told: %s', async (claim, claims, found, told) => {
    expect(await rejectionOfToken(await as.mint(claims, { header: { typ: 'JWT' } }))).toEqual({
      reason: 'token_type',
      verified: true,
      claim,
      ...found,
      message: `${told}, which is not what an access token has: the client has to send its access token, no ID or refresh token`,
    })
  })

  it('a token that has nothing of an access token', async () => {
    const claims = { aud: CLIENT_ID, client_id: undefined, scope: undefined }
    expect(await rejectionOfToken(await as.mint(claims, { header: { typ: 'JWT' } }))).toEqual({
      reason: 'token_type',
      verified: true,
      message:
        'there is none of scope, scp, client_id, cid, which is not what an access token has: the client has to send its access token, no ID or refresh token',
    })
  })

  it('a header that says what other kind of token it is', async () => {
    expect(await rejectionOfToken(await as.mint({}, { header: { typ: 'logout+jwt' } }))).toMatchObject({
      claim: 'typ',
      found: ['logout+jwt'],
      message: expect.stringMatching(/^the header has typ "logout\+jwt", /) as string,
    })
  })

  it('a client that is not among the allowed ones', async () => {
    const allowedClients = ['claude', 'inspector']
    expect(await rejectionOfToken(await as.mint({ client_id: undefined, azp: 'x' }), { allowedClients })).toEqual({
      reason: 'client',
      verified: true,
      claim: 'azp',
      expected: allowedClients,
      found: ['x'],
      message:
        'azp is "x", and only ["claude", "inspector"] may come in: allowedClients (ALLOWED_MCP_CLIENTS) would have to list it',
    })
  })

  it('a token that names no client where only some may come in', async () => {
    expect(await rejectionOfToken(await as.mint({ client_id: undefined }), { allowedClients: ['a'] })).toEqual({
      reason: 'client',
      verified: true,
      claim: 'client_id',
      expected: ['a'],
      message:
        'client_id is missing, and only ["a"] may come in: allowedClients (ALLOWED_MCP_CLIENTS) would have to list it',
    })
  })

  it('a key that the token is bound to, by its kind alone', async () => {
    expect(await rejectionOfToken(await as.mint({ cnf: { jkt: 'thumbprint' } }))).toEqual({
      reason: 'sender_constrained',
      verified: true,
      claim: 'cnf',
      found: ['jkt'],
      message:
        'cnf binds the token to a key (["jkt"]), and proofs of it are not verified here: switch DPoP or mTLS binding off for MCP clients',
    })
  })

  it('scopes, those granted and those required', async () => {
    const requiredScopes = ['notes:read', 'notes:write']
    expect(await rejectionOfToken(await as.mint({ scope: 'notes:read profile' }), { requiredScopes })).toEqual({
      reason: 'scope',
      verified: true,
      claim: 'scope',
      expected: requiredScopes,
      found: ['notes:read', 'profile'],
      message:
        'scope is ["notes:read", "profile"] and this operation needs ["notes:read", "notes:write"]: the client has to ask for them, and the authorization server to grant them',
    })
  })

  it.each([
    ['returned false for the claims', () => false],
    ['threw an error at the claims', () => { throw new Error('secret') }], // prettier-ignore
  ])("the operator's own check, which %s", async (what, validateClaims) => {
    expect(await rejectionOfToken(await as.mint(), { validateClaims })).toEqual({
      reason: 'claims',
      verified: true,
      message: `validateClaims ${what}`,
    })
  })

  it('a request without credentials, and one with more than a token', async () => {
    expect(await rejectionOf((url) => ask(url))).toEqual({
      reason: 'no_credentials',
      message: 'the request has no Bearer token, as the first one of an MCP client has none',
    })
    events.length = 0
    expect(await rejectionOfToken('a b')).toEqual({
      reason: 'invalid_request',
      message: 'the request has two Authorization headers, or something behind the token: look at what proxies add',
    })
  })
})

describe('of a token that has not been verified, which anybody can have written, it says so', () => {
  it('an algorithm that is not accepted', async () => {
    expect(await rejectionOfToken(await as.mint(), { algorithms: ['RS256', 'PS256'] })).toEqual({
      reason: 'algorithm',
      verified: false,
      claim: 'alg',
      expected: ['RS256', 'PS256'],
      found: ['ES256'],
      message:
        'alg is "ES256", none of ["RS256", "PS256"]: have the authorization server sign access tokens with one of these',
    })
  })

  it('a header that asks for what cannot be done, with an algorithm that is accepted', async () => {
    const [, ...rest] = (await as.mint()).split('.')
    const header = Buffer.from(JSON.stringify({ alg: 'ES256', crit: ['x'], x: 1 })).toString('base64url')
    expect(await rejectionOfToken([header, ...rest].join('.'))).toMatchObject({
      reason: 'algorithm',
      verified: false,
      message: 'alg is "ES256", and the header asks for something that cannot be verified here',
    })
  })

  it('a key that the issuer does not publish, of a token that says it is from there', async () => {
    expect(await rejectionOfToken(await as.mint({}, { key: await signingKey('other') }))).toEqual({
      reason: 'key',
      verified: false,
      claim: 'kid',
      expected: ['first'],
      found: ['other'],
      message: `kid is "other", and the keys of "${as.issuer}" are ["first"]: its key was withdrawn, or it was changed or forged`,
    })
  })

  it('a key that the issuer does not publish, of a token that says it is from elsewhere', async () => {
    const token = await as.mint({ iss: 'https://idp.example/realms/b' }, { key: await signingKey('other') })
    expect(await rejectionOfToken(token)).toMatchObject({
      reason: 'key',
      verified: false,
      message: `kid is "other", and the keys of "${as.issuer}" are ["first"]: its iss, unverified, is "https://idp.example/realms/b", so the client seems to use another authorization server or realm`,
    })
  })

  it('a signature that is not by the key that it names', async () => {
    expect(await rejectionOfToken(await as.mint({}, { key: await signingKey('first') }))).toEqual({
      reason: 'signature',
      verified: false,
      claim: 'kid',
      found: ['first'],
      message: `the signature does not fit the key of "${as.issuer}" (kid is "first"): its key was withdrawn, or it was changed or forged`,
    })
  })

  it.each([
    ['no introspection', { introspection: false }, 'introspection is switched off here: have the authorization server issue JWTs'], // prettier-ignore
    ['no credentials', { clientSecret: undefined }, 'there is no clientSecret (or clientAuth) here to have it introspected with: set one, or have the authorization server issue JWTs'], // prettier-ignore
    ['no endpoint', {}, 'the metadata of the authorization server has no introspection_endpoint: have it issue JWTs'],
  ] as const)('an opaque one, and why it is not introspected: %s', async (_name, options, why) => {
    delete as.metadata['introspection_endpoint']
    expect(await rejectionOfToken('opaque', options)).toEqual({
      reason: 'opaque',
      verified: false,
      message: `the token is not a JWT, and ${why}`,
    })
  })

  it('an opaque one that the authorization server does not vouch for', async () => {
    expect(await rejectionOfToken('opaque')).toMatchObject({
      reason: 'inactive',
      verified: false,
      message: expect.stringMatching(/^the authorization server says that the token is not active: /) as string,
    })
  })

  it.each([
    ['malformed', 'a"b', 'the token has characters that no token has (RFC 6750 section 2.1)'],
    ['malformed', 'eyJhbGciOjd9.e30.AAAA', 'the token looks like a JWT, and cannot be read as one'],
    ['too_large', 'a'.repeat(16_385), 'the token has 16385 characters, and 16384 is the most: put fewer claims (groups, roles) in it'], // prettier-ignore
  ])('one that is %s', async (reason, token, message) => {
    expect(await rejectionOfToken(token)).toEqual({ reason, verified: false, message })
  })
})

it('an introspection answer about another kind of token is told by its token_type', async () => {
  as.script('/introspect', { json: { active: true, token_type: 'refresh_token' } })

  expect(await rejectionOfToken('opaque')).toEqual({
    reason: 'token_type',
    verified: true,
    claim: 'token_type',
    expected: ['Bearer'],
    found: ['refresh_token'],
    message:
      'the introspection answer has token_type "refresh_token", and ["Bearer"] is needed: the client has to send a plain access token',
  })
})

it('the token itself is not shown, though an introspection answer repeats it', async () => {
  as.script('/introspect', { json: { active: true, sub: 'alice', exp: seconds() + 60, aud: ['opaque-token', 'x'] } })

  expect(await rejectionOfToken('opaque-token')).toMatchObject({ reason: 'audience', found: ['[token]', 'x'] })
})

it('the error of auth.verify() has the same details, and its answer has none of them', async () => {
  const auth: McpAuth = open(CLIENT)

  const error = await auth.verify(await as.mint({ aud: 'x' })).then(
    () => undefined,
    (reason: unknown) => reason as InvalidTokenError,
  )

  expect(error?.details).toMatchObject({ verified: true, claim: 'aud', found: ['x'] })
  expect(JSON.stringify(error)).not.toContain('audience mapper')
  expect(error?.body).toEqual({
    error: 'invalid_token',
    error_description: 'The access token is for another audience',
  })
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

  it('by nobody where nobody listens', () => {
    const { counters, ...rest } = createEvents(undefined, manualClock())

    reportFailure({ counters, ...rest }, error)

    expect(describeFault).not.toHaveBeenCalled()
    expect(counters.rejected).toEqual({ claims: 1 })
  })

  it('once for onEvent and the diagnostics channel', () => {
    subscribe('mcp-nextcloud-auth', listener)

    reportFailure(createEvents(listener, manualClock()), error)

    expect(listener).toHaveBeenCalledTimes(2)
    expect(describeFault).toHaveBeenCalledTimes(1)
  })
})
