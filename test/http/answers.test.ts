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

const wrongAudience = 'The access token is for another audience'

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
      validateClaims: ({ tenant }: Readonly<Record<string, unknown>>) => tenant !== 'closed',
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

  // The answers of each reason. Which tokens are refused, and for which reason, is proved in test/verify.
  const unusable: [what: string, token: () => string | Promise<string>, description: string][] = [
    ['with a character that no token has', () => `${good};`, 'The access token is malformed'],
    ['of more than 16 KiB', () => 'a'.repeat(16_385), 'The access token is too large'],
    ['that is opaque and not active', () => 'a'.repeat(16_384), 'The access token is not active'],
    ['without its signature', () => good.slice(0, good.lastIndexOf('.') + 1), 'The signature of the access token is not valid'], // prettier-ignore
    ['of an unknown key', async () => as.mint({}, { key: await signingKey('x') }), 'The access token is signed with a key that the issuer does not publish'], // prettier-ignore
    ['with alg none', () => `${base64url({ alg: 'none' })}.e30.`, 'The access token is signed with an algorithm that is not accepted'], // prettier-ignore
    ['of another issuer', () => as.mint({ iss: 'https://other.example' }), 'The access token is from another issuer'],
    ['for another audience', () => as.mint({ aud: 'https://other.example/mcp' }), wrongAudience],
    ['that has expired', () => as.mint({ exp: now - 5 }), 'The access token has expired'],
    ['that is not valid yet', () => as.mint({ nbf: now + 6 }), 'The access token is not valid yet'],
    ['without sub', () => as.mint({ sub: undefined }), 'The access token lacks a required claim'],
    [
      'bound to a key',
      () => as.mint({ cnf: { jkt: 'x' } }),
      'The access token is bound to a key and came without proof',
    ],
    ['of a client that is not let in', () => as.mint({ client_id: 'stranger' }), 'The client of the access token is not allowed here'], // prettier-ignore
    ['that the operator refuses', () => as.mint({ tenant: 'closed' }), 'The claims of the access token are not accepted here'], // prettier-ignore
    ['of another type', () => as.mint({}, { header: { typ: 'logout+jwt' } }), 'The token is not an access token'],
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
