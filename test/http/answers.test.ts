import { CompactSign, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ask,
  askWith,
  insufficientScope,
  invalidRequest,
  invalidToken,
  unauthorized,
  type SendOptions,
} from '../support/answers.js'
import { manualClock } from '../support/clock.js'
import { hosts } from '../support/hosts.js'
import { startProtectedApp, type ProtectedApp } from '../support/protected-app.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  signingKey,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.js'

const clock = manualClock()
const now = clock.now() / 1_000

let as: ScriptedAuthorizationServer
let good: string

beforeAll(async () => {
  as = await startAuthorizationServer(clock.now)
  good = await as.mint()
})
afterAll(() => as.close())

type Claims = Record<string, unknown>

/** An ID token of this server's own client. */
const idToken = (claims: Claims = {}) =>
  as.mint(
    { aud: CLIENT_ID, azp: CLIENT_ID, client_id: undefined, scope: undefined, ...claims },
    { header: { typ: 'JWT' } },
  )

/** A JWT whose header does not say what kind of token it is. */
const plainJwt = (claims: Claims) => as.mint(claims, { header: { typ: 'JWT' } })

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

const credentials = (...values: string[]) => values.map((value) => ['Authorization', value] as const)

describe.each(hosts)('on $name', (host) => {
  let app: ProtectedApp

  beforeAll(async () => {
    const options = {
      issuer: as.issuer,
      resource: RESOURCE,
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      requiredScopes: ['notes:read'],
      allowedClients: ['mcp-client', CLIENT_ID],
      validateClaims: ({ tenant }: Readonly<Claims>) => {
        if (tenant === 'unheard of') throw new Error('no such tenant')
        return tenant !== 'closed'
      },
    }
    app = await startProtectedApp(host, options, clock, { maxHeaderSize: 65_536 })
  })
  afterAll(() => app.close())

  it('a request with a good token gets through', async () => {
    const { status, body } = await askWith(app.url, good)

    expect({ status, body }).toMatchObject({ status: 200, body: { subject: 'alice' } })
  })

  const form = 'application/x-www-form-urlencoded'
  const withoutCredentials: [what: string, request: () => SendOptions][] = [
    ['without an Authorization header', () => ({})],
    ['with an empty Authorization header', () => ({ headers: credentials('') })],
    ['with a scheme and no token', () => ({ headers: credentials('Bearer') })],
    ['with a scheme and spaces', () => ({ headers: credentials('Bearer    ') })],
    ['with the Basic scheme', () => ({ headers: credentials('Basic YWxpY2U6c2VjcmV0') })],
    ['with the DPoP scheme', () => ({ headers: credentials(`DPoP ${good}`) })],
    ['with a scheme that only begins like Bearer', () => ({ headers: credentials(`BearerX ${good}`) })],
    ['with a token and no scheme', () => ({ headers: credentials(good) })],
    ['with a token in the query string', () => ({ path: `/?access_token=${good}` })],
    [
      'with a token in a form',
      () => ({ method: 'POST', headers: [['Content-Type', form]], body: `access_token=${good}` }),
    ],
    [
      'with a token in a JSON body',
      () => ({
        method: 'POST',
        headers: [['Content-Type', 'application/json']],
        body: JSON.stringify({ access_token: good }),
      }),
    ],
    ['with a token in X-Authorization', () => ({ headers: [['X-Authorization', `Bearer ${good}`]] })],
    ['with a token in Proxy-Authorization', () => ({ headers: [['Proxy-Authorization', `Bearer ${good}`]] })],
    ['with a token in a cookie', () => ({ headers: [['Cookie', `access_token=${good}`]] })],
    ['with DELETE', () => ({ method: 'DELETE' })],
    ['with OPTIONS that is no preflight', () => ({ method: 'OPTIONS' })],
    ['with OPTIONS and an Origin only', () => ({ method: 'OPTIONS', headers: [['Origin', 'https://app.example']] })],
    [
      'with a preflight that has a body',
      () => ({ method: 'OPTIONS', headers: [['Access-Control-Request-Method', 'POST']], body: '{}' }),
    ],
    [
      'with a preflight that has a body of unknown length',
      () => ({
        method: 'OPTIONS',
        headers: [
          ['Access-Control-Request-Method', 'POST'],
          ['Transfer-Encoding', 'chunked'],
        ],
      }),
    ],
    [
      'with the header of a preflight and another method',
      () => ({ method: 'POST', headers: [['Access-Control-Request-Method', 'POST']] }),
    ],
  ]
  it.each(withoutCredentials)('a request %s has no credentials', async (_what, request) => {
    expect(await ask(app.url, request())).toEqual(unauthorized())
  })

  const malformedRequests: [what: string, headers: () => SendOptions['headers']][] = [
    ['two Authorization headers', () => credentials(`Bearer ${good}`, 'Bearer another')],
    ['the same Authorization header twice', () => credentials(`Bearer ${good}`, `Bearer ${good}`)],
    ['Authorization headers of two schemes', () => credentials('Basic YWxpY2U6c2VjcmV0', `Bearer ${good}`)],
    ['a second Authorization header that is empty', () => credentials(`Bearer ${good}`, '')],
    [
      'Authorization headers in two spellings',
      () => [
        ['authorization', `Bearer ${good}`],
        ['AUTHORIZATION', `Bearer ${good}`],
      ],
    ],
    ['a word behind the token', () => credentials(`Bearer ${good} junk`)],
    ['a tab and a word behind the token', () => credentials(`Bearer ${good}\tjunk`)],
    ['a second scheme behind the token', () => credentials(`Bearer ${good}, Basic YWxpY2U6c2VjcmV0`)],
    ['two tokens in one header', () => credentials(`Bearer ${good},Bearer ${good}`)],
    ['a comma behind the token', () => credentials(`Bearer ${good},`)],
    ['a parameter behind the token', () => credentials(`Bearer ${good} realm="x"`)],
  ]
  it.each(malformedRequests)('a request with %s is malformed', async (_what, headers) => {
    expect(await ask(app.url, { headers: headers() ?? [] })).toEqual(invalidRequest())
  })

  const lacksClaim = 'The access token lacks a required claim'
  const isMalformed = 'The access token is malformed'
  const wrongAlgorithm = 'The access token is signed with an algorithm that is not accepted'
  const wrongSignature = 'The signature of the access token is not valid'
  const wrongIssuer = 'The access token is from another issuer'
  const wrongAudience = 'The access token is for another audience'
  const notYetValid = 'The access token is not valid yet'
  const notAnAccessToken = 'The token is not an access token'
  const senderConstrained = 'The access token is bound to a key and came without proof'
  const clientNotAllowed = 'The client of the access token is not allowed here'
  const isNotActive = 'The access token is not active'
  const notAccepted = 'The claims of the access token are not accepted here'

  const unusable: [what: string, token: () => string | Promise<string>, description: string][] = [
    ['in quotes', () => `"${good}"`, isMalformed],
    ['with a character that no token has', () => `${good};`, isMalformed],
    ['of nothing but padding', () => '====', isMalformed],
    ['with a header that is not JSON', () => 'eyJ.eyJ.AA', isMalformed],
    ['with a payload that is not an object', () => signedText('[]'), isMalformed],
    ['with a payload that is not JSON', () => signedText('{'), isMalformed],
    ['without an alg', () => `${base64url({ kid: 'first' })}.${base64url({})}.AA`, isMalformed],
    ['of more than 16 KiB', () => 'a'.repeat(16_385), 'The access token is too large'],
    [
      'of more than 16 KiB that is genuine',
      () => as.mint({ pad: 'x'.repeat(16_000) }),
      'The access token is too large',
    ],
    ['that is opaque and not active', () => 'a'.repeat(16_384), isNotActive],
    ['that is encrypted', () => `${base64url({ alg: 'dir', enc: 'A256GCM' })}..AA.AA.AA`, isNotActive],
    ['without its signature', () => good.slice(0, good.lastIndexOf('.') + 1), wrongSignature],
    [
      'with another signature',
      async () => `${good.slice(0, good.lastIndexOf('.'))}.${await otherSignature()}`,
      wrongSignature,
    ],
    ['with another payload', () => withPayload(good, { sub: 'admin' }), wrongSignature],
    [
      'signed with a key that only has the right name',
      async () => as.mint({}, { key: await signingKey('first') }),
      wrongSignature,
    ],
    [
      'signed with a key that the issuer does not publish',
      async () => as.mint({}, { key: await signingKey('unheard-of') }),
      'The access token is signed with a key that the issuer does not publish',
    ],
    ['with alg none', () => unsigned('none'), wrongAlgorithm],
    ['with alg None', () => unsigned('None'), wrongAlgorithm],
    ['signed by HS256 with the public key', () => signedWithPublicKey(), wrongAlgorithm],
    ['of another issuer', () => as.mint({ iss: 'https://other.example' }), wrongIssuer],
    ['of an issuer with one slash more', () => as.mint({ iss: `${as.issuer}/` }), wrongIssuer],
    ['with a list of issuers', () => as.mint({ iss: [as.issuer] }), wrongIssuer],
    ['without iss', () => as.mint({ iss: undefined }), lacksClaim],
    ['for another audience', () => as.mint({ aud: 'https://other.example/mcp' }), wrongAudience],
    ['for other audiences', () => as.mint({ aud: ['https://other.example/mcp', 'nextcloud'] }), wrongAudience],
    ['for an audience with two slashes more', () => as.mint({ aud: `${RESOURCE}//` }), wrongAudience],
    ['for an audience that only begins alike', () => as.mint({ aud: `${RESOURCE}2` }), wrongAudience],
    ['for an audience in capitals', () => as.mint({ aud: RESOURCE.toUpperCase() }), wrongAudience],
    ['for the origin only', () => as.mint({ aud: new URL(RESOURCE).origin }), wrongAudience],
    ['without aud', () => as.mint({ aud: undefined }), lacksClaim],
    ['with an empty aud', () => as.mint({ aud: [] }), lacksClaim],
    ['with an aud of numbers', () => as.mint({ aud: [1, 2] }), lacksClaim],
    ['that has expired', () => as.mint({ exp: now - 5 }), 'The access token has expired'],
    ['without exp', () => as.mint({ exp: undefined }), lacksClaim],
    ['with an exp that is text', () => as.mint({ exp: String(now + 600) }), lacksClaim],
    ['that is not valid yet', () => as.mint({ nbf: now + 6 }), notYetValid],
    ['with an nbf that is text', () => as.mint({ nbf: String(now) }), lacksClaim],
    ['from the future', () => as.mint({ iat: now + 6 }), notYetValid],
    ['with an iat that is text', () => as.mint({ iat: String(now) }), lacksClaim],
    ['without sub', () => as.mint({ sub: undefined }), lacksClaim],
    ['with an empty sub', () => as.mint({ sub: '' }), lacksClaim],
    ['with a sub that is a number', () => as.mint({ sub: 7 }), lacksClaim],
    ['bound to a key', () => as.mint({ cnf: { jkt: 'thumbprint' } }), senderConstrained],
    ['bound to a certificate', () => as.mint({ cnf: { 'x5t#S256': 'thumbprint' } }), senderConstrained],
    ['of a client that is not let in', () => as.mint({ client_id: 'stranger' }), clientNotAllowed],
    ['of no client', () => as.mint({ client_id: undefined }), clientNotAllowed],
    [
      'of a stranger with azp of a friend',
      () => as.mint({ client_id: 'stranger', azp: 'mcp-client' }),
      clientNotAllowed,
    ],
    ['that the operator refuses', () => as.mint({ tenant: 'closed' }), notAccepted],
    ['that makes the operator throw', () => as.mint({ tenant: 'unheard of' }), notAccepted],
    ['that is an ID token', () => idToken({ nonce: 'n' }), notAnAccessToken],
    ['that is an ID token with a scope', () => idToken({ nonce: 'n', scope: 'notes:read' }), notAnAccessToken],
    ['that is an ID token without nonce', () => idToken(), notAnAccessToken],
    [
      'that is an ID token for this resource too',
      () => idToken({ aud: [CLIENT_ID, RESOURCE], nonce: 'n' }),
      notAnAccessToken,
    ],
    ['with at_hash', () => plainJwt({ at_hash: 'x' }), notAnAccessToken],
    ['with c_hash', () => plainJwt({ c_hash: 'x' }), notAnAccessToken],
    ['with s_hash', () => plainJwt({ s_hash: 'x' }), notAnAccessToken],
    ['that is a logout token', () => plainJwt({ events: {} }), notAnAccessToken],
    ['that Keycloak calls an ID token', () => plainJwt({ typ: 'ID' }), notAnAccessToken],
    ['that Keycloak calls a refresh token', () => plainJwt({ typ: 'Refresh' }), notAnAccessToken],
    ['that Keycloak calls an offline token', () => plainJwt({ typ: 'Offline' }), notAnAccessToken],
    ['that Keycloak calls a logout token', () => plainJwt({ typ: 'Logout' }), notAnAccessToken],
    ['that Cognito calls an ID token', () => plainJwt({ token_use: 'id' }), notAnAccessToken],
    ['that Hydra calls an ID token', () => plainJwt({ token_use: 'id_token' }), notAnAccessToken],
    ['that Hydra calls a refresh token', () => plainJwt({ token_use: 'refresh_token' }), notAnAccessToken],
    ['of another type', () => as.mint({}, { header: { typ: 'logout+jwt' } }), notAnAccessToken],
    ['that has expired and lacks a scope', () => as.mint({ exp: now - 5, scope: '' }), 'The access token has expired'],
    ['that is for another audience and lacks a scope', () => as.mint({ aud: 'x', scope: '' }), wrongAudience],
  ]
  it.each(unusable)('a token %s is refused', async (_what, token, description) => {
    expect(await askWith(app.url, await token())).toEqual(invalidToken(description))
  })

  it('a HEAD request without credentials gets the same challenge and no body', async () => {
    expect(await ask(app.url, { method: 'HEAD' })).toMatchObject({
      status: 401,
      challenge: unauthorized().challenge,
      cacheControl: 'no-store',
      body: '',
    })
  })

  it('a token that was refused is refused again', async () => {
    const token = await as.mint({ aud: 'https://other.example/mcp' })
    await askWith(app.url, token)

    expect(await askWith(app.url, token)).toEqual(invalidToken(wrongAudience))
  })

  it.each([
    ['no scope at all', { scope: undefined }],
    ['an empty scope', { scope: '' }],
    ['another scope', { scope: 'notes:write' }],
    ['a scope that only begins alike', { scope: 'notes:read:all' }],
    ['the scope in capitals', { scope: 'NOTES:READ' }],
    ['the scope as a part of a list item', { scope: ['notes:read notes:write'] }],
  ])('a good token with %s is told which scope it needs', async (_what, claims) => {
    expect(await askWith(app.url, await as.mint(claims))).toEqual(insufficientScope('notes:read'))
  })

  it('a token verified before is still told which scope it needs', async () => {
    const token = await as.mint({ scope: 'other' })
    await askWith(app.url, token)

    expect(await askWith(app.url, token)).toEqual(insufficientScope('notes:read'))
  })
})

async function otherSignature(): Promise<string> {
  const token = await as.mint({ sub: 'bob' })
  return token.slice(token.lastIndexOf('.') + 1)
}

function withPayload(token: string, claims: Claims): string {
  const [header, payload = '', signature] = token.split('.')
  const present = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Claims
  return [header, base64url({ ...present, ...claims }), signature].join('.')
}

function unsigned(alg: string): string {
  const claims = {
    iss: as.issuer,
    sub: 'alice',
    aud: RESOURCE,
    client_id: 'mcp-client',
    scope: 'notes:read',
    exp: now + 600,
  }
  return `${base64url({ alg, typ: 'at+jwt' })}.${base64url(claims)}.`
}

/** The algorithm confusion attack: what is public is taken as a secret. */
function signedWithPublicKey(): Promise<string> {
  return new SignJWT({ iss: as.issuer, sub: 'alice', aud: RESOURCE, client_id: 'mcp-client', scope: 'notes:read' })
    .setExpirationTime(now + 600)
    .setProtectedHeader({ alg: 'HS256', kid: as.key.kid, typ: 'at+jwt' })
    .sign(Buffer.from(JSON.stringify(as.key.publicJwk)))
}

/** What the issuer's key has signed, whatever it says. */
function signedText(text: string): Promise<string> {
  return new CompactSign(Buffer.from(text))
    .setProtectedHeader({ alg: as.key.alg, kid: as.key.kid })
    .sign(as.key.privateKey)
}
