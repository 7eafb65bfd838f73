import { Agent } from 'node:http'
import { describe, expect, it } from 'vitest'
import { DECLARATIONS } from '../../src/config/declarations.js'
import { strings } from '../../src/config/kinds.js'
import { readOptions } from '../../src/config/read-options.js'
import { readConfig } from '../../src/config/read-config.js'
import { LEAST, refusalOf, refused, withOption } from '../support/refusal.js'

const LARGEST = 2_147_483_647
const number = (what: string, least: number, most: number) => `must be a ${what} from ${least} to ${most}`
const of = (object: string, ...names: string[]) => names.map((name) => `${object}.${name}`)
const CALLBACKS = ['clientAuth', 'scopeSatisfies', 'validateClaims', 'onEvent', 'onError', 'http.fetch']
const ENDPOINTS = ['jwksUri', 'tokenEndpoint', 'introspectionEndpoint', 'revocationEndpoint', 'authorizationEndpoint']
const ADAPTER = 'must be a StorageAdapter: with get, put and delete, and with shared, which is true or false'
const RULE =
  "must be 'sub', { claim: 'preferred_username' }, { userOidc: { providerId: 1 } }, a function, or 'anyone'; in text: sub, claim:preferred_username, user_oidc:1, user_oidc:1:claim, anyone"
const AGENT = 'must be an http.Agent or a function that returns one'

/** A refusal of -1 and of null, which no option accepts → the options that refuse them so. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  'must be a string that is not empty': [...['issuer', 'resource', 'clientId', 'clientSecret', 'resourceName']],
  'must be an absolute URL': [
    ...['discoveryUrl', 'nextcloud.url', 'nextcloud.publicUrl', 'connect.returnTo', 'resourceDocumentation'],
    ...['resourceMetadataUrl'],
    ...of('authorizationServer', ...ENDPOINTS),
  ],
  'must be a list of strings, with no empty list and no empty string': [
    ...['audience', 'allowedClients', 'algorithms', 'authorizationServers', 'nextcloud.audience', 'nextcloud.resource'],
  ],
  'must be a list of scopes, each without spaces, quotes or backslashes (RFC 6749 section 3.3)': [
    ...['requiredScopes', 'scopesSupported', 'challengeScopes', 'nextcloud.scopes', 'connect.scopes'],
  ],
  'must be an object of strings': ['nextcloud.parameters', 'connect.authorizationParameters'],
  'must be a path such as /nextcloud: with a slash at its start, none at its end, and nothing encoded': [
    'connect.path',
  ],
  'must be a list of objects, each with issuer, and not be empty': ['issuers'],
  'must be a function': [...CALLBACKS, ...of('connect', 'authenticateBrowser', 'clientName')],
  [RULE]: ['connect.identity'],
  'must be true or false': ['rootMetadata', 'legacyMetadata'],
  "must be 'opaque-only', 'always' or false": ['introspection'],
  "must be 'reject' or 'client', or a function": ['missingAudience'],
  "must be 'refuse' or 'accept'": ['idTokenLookalikes'],
  "must be 'off', 'allowed' or 'required'": ['dpop'],
  "must be 'per-client' or 'per-user'": ['connect.consent'],
  "must be 'token-exchange', 'refresh-token', 'app-password', 'jwt-bearer' or 'pass-through'": ['nextcloud.mode'],
  "must be 'generic', 'keycloak', 'entra', 'nextcloud-oidc-app' or 'nextcloud-oauth2-app'": ['nextcloud.preset'],
  'must be a key, or a list of keys, of 32 bytes in base64url or base64; make one with `npx mcp-nextcloud-auth keygen`':
    ['encryptionKey'],
  [ADAPTER]: ['storage'],
  [AGENT]: ['http.agent'],
  [number('number of seconds', 0, 600)]: ['clockTolerance'],
  [number('number of seconds', 0, LARGEST)]: of(
    'cache',
    'renewBefore',
    'verifiedTtl',
    'keysMaxAge',
    'staleKeys',
    'grantCheck',
  ),
  [number('whole number of milliseconds', 1, LARGEST)]: ['nextcloud.timeout', 'http.timeout'],
  [number('whole number of entries', 0, 10_000_000)]: of('cache', 'nextcloudTokens', 'verifiedTokens'),
  [number('whole number of bytes', 1, LARGEST)]: ['http.maxResponseBytes'],
  [number('whole number of attempts', 0, 10)]: ['http.retries'],
}
const cases = Object.entries(KINDS).flatMap(([message, options]) => options.map((option) => ({ option, message })))

describe('an option', () => {
  it.each(cases)('is refused for its type: $option', ({ option, message }) => {
    expect([-1, null].map((value) => refusalOf(withOption(option, value)))).toEqual(
      [-1, null].map(() => refused(option, message)),
    )
  })

  it('is declared with a type, each of them', () => {
    expect(new Set(cases.map(({ option }) => option))).toEqual(new Set(DECLARATIONS.keys()))
  })

  it.each([
    null,
    'redis',
    {},
    ...['get', 'put', 'delete', 'shared'].map((missing) => [missing, undefined]),
    ['shared', 'yes'],
    ['put', 1],
  ])('storage is an adapter, and not %j', (wrong) => {
    const method = () => Promise.resolve(undefined)
    const adapter = { shared: true, get: method, put: method, delete: method }
    const storage: unknown = Array.isArray(wrong) ? { ...adapter, [wrong[0] as string]: wrong[1] as unknown } : wrong
    expect(refusalOf({ ...LEAST, storage })).toEqual(refused('storage', ADAPTER))
    expect(refusalOf({ ...LEAST, storage: adapter })).toBeUndefined()
  })

  it('http.agent may be an agent, or a function that returns one', () => {
    const [agent, choose] = [new Agent(), () => new Agent()]
    const agentOf = (value: unknown) => readConfig({ ...LEAST, http: { agent: value } }, {}).http.agent
    expect([agentOf(agent), agentOf(choose)]).toEqual([agent, choose])
    for (const value of ['http://proxy', true])
      expect(refusalOf(withOption('http.agent', value))).toEqual(refused('http.agent', AGENT))
  })
})

describe('an object of options', () => {
  const noObject = ['text', 5, true, null, [], new URL('https://h'), () => ({})]

  it.each(['authorizationServer', 'nextcloud', 'connect', 'cache', 'http'])('is an object: %s', (name) => {
    const refusals = noObject.map((value) => refusalOf({ ...LEAST, [name]: value }))
    expect(refusals).toEqual(noObject.map(() => refused(name, 'must be an object')))
  })

  it.each([null, 5, 'https://idp.example.com', [], new URL('https://idp.example.com'), () => undefined])(
    'is all of them together too: not %j',
    (options) => {
      expect(refusalOf(options)).toEqual({ ...refused('options', 'must be an object'), option: undefined })
    },
  )

  it.each([
    ['__proto__', Object.assign(JSON.parse('{"__proto__":1}') as object, LEAST)],
    ['toString', { ...LEAST, toString: 1 }],
    ['authorizationServer.issuer', { ...LEAST, authorizationServer: { issuer: 'https://h' } }],
    ['nextcloud.host', { ...LEAST, nextcloud: { host: 'https://h' } }],
    ['connect.redirect', { ...LEAST, connect: { redirect: true } }],
    ['cache.size', { ...LEAST, cache: { size: 1 } }],
    ['http.proxy', { ...LEAST, http: { proxy: 'http://h' } }],
  ])('has no option that is not declared: %s', (option, options) => {
    expect(refusalOf(options)).toEqual(refused(option, 'is not an option'))
  })

  it.each([
    ['isuer', 'issuer', { ...LEAST, isuer: 'https://idp.example.com' }],
    ['Issuer', 'issuer', { ...LEAST, Issuer: undefined }],
    ['authorizationServer.jwks_uri', 'authorizationServer.jwksUri', { authorizationServer: { jwks_uri: 'https://h' } }],
    ['nextcloud.audiences', 'nextcloud.audience', { nextcloud: { audiences: 'nextcloud' } }],
  ])('names the option that one looks like: %s', (option, meant, options) => {
    expect(refusalOf({ ...LEAST, ...options })).toEqual(refused(option, `is not an option: did you mean ${meant}?`))
  })
})

it('a default is read as if it were given', () => {
  expect(readOptions({ a: { kind: strings, default: 'x' } }, {}).values.a).toEqual(['x'])
})
