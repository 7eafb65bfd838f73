import { Agent } from 'node:http'
import { describe, expect, it } from 'vitest'
import { DECLARATIONS, named, OPTIONS } from '../../src/config/declarations.js'
import { readOptions } from '../../src/config/read-options.js'
import { readConfig } from '../../src/config/read-config.js'
import { LEAST, refusalOf, refused, withOption } from '../support/refusal.js'

const STRINGS = 'must be a list of strings, with no empty list and no empty string'
const SCOPES = 'must be a list of scopes, each without spaces, quotes or backslashes (RFC 6749 section 3.3)'
const URL_ = 'must be an absolute URL'
const TEXT = 'must be a string that is not empty'
const CALLBACK = 'must be a function'
const ADAPTER = 'must be a StorageAdapter: with get, put and delete, and with shared, which is true or false'
const MODES = "must be 'token-exchange', 'refresh-token', 'app-password', 'jwt-bearer' or 'pass-through'"
const PRESETS = "must be 'generic', 'keycloak', 'entra', 'nextcloud-oidc-app' or 'nextcloud-oauth2-app'"
const upTo = (most: number, what: string, least = 0) => `must be a ${what} from ${least} to ${most}`
const LARGEST = 2_147_483_647
const SECONDS = upTo(LARGEST, 'number of seconds')
const MILLISECONDS = upTo(LARGEST, 'whole number of milliseconds', 1)
const ENTRIES = upTo(10_000_000, 'whole number of entries')

/** Option → its refusal of -1, which no option accepts. */
const KINDS: Readonly<Record<string, string>> = {
  issuer: TEXT,
  discoveryUrl: URL_,
  'authorizationServer.jwksUri': URL_,
  'authorizationServer.tokenEndpoint': URL_,
  'authorizationServer.introspectionEndpoint': URL_,
  'authorizationServer.revocationEndpoint': URL_,
  'authorizationServer.authorizationEndpoint': URL_,
  resource: TEXT,
  audience: STRINGS,
  clientId: TEXT,
  clientSecret: TEXT,
  clientAuth: CALLBACK,
  requiredScopes: SCOPES,
  scopesSupported: SCOPES,
  scopeSatisfies: CALLBACK,
  allowedClients: STRINGS,
  algorithms: STRINGS,
  clockTolerance: upTo(600, 'number of seconds'),
  validateClaims: CALLBACK,
  introspection: "must be 'opaque-only', 'always' or false",
  'nextcloud.url': URL_,
  'nextcloud.mode': MODES,
  'nextcloud.audience': STRINGS,
  'nextcloud.resource': STRINGS,
  'nextcloud.scopes': SCOPES,
  'nextcloud.parameters': 'must be an object of strings',
  'nextcloud.preset': PRESETS,
  'nextcloud.timeout': MILLISECONDS,
  storage: ADAPTER,
  encryptionKey:
    'must be a key, or a list of keys, of 32 bytes in base64url or base64; make one with `npx mcp-nextcloud-auth keygen`',
  'connect.path': TEXT,
  'connect.consent': "must be 'per-client' or 'per-user'",
  'connect.scopes': SCOPES,
  'connect.authorizationParameters': 'must be an object of strings',
  'connect.returnTo': URL_,
  'connect.authenticateBrowser': CALLBACK,
  'connect.identity': CALLBACK,
  'cache.nextcloudTokens': ENTRIES,
  'cache.verifiedTokens': ENTRIES,
  'cache.renewBefore': SECONDS,
  'cache.verifiedTtl': SECONDS,
  'cache.staleKeys': SECONDS,
  'cache.grantCheck': SECONDS,
  'http.fetch': CALLBACK,
  'http.agent': 'must be an http.Agent or a function that returns one',
  'http.timeout': MILLISECONDS,
  'http.maxResponseBytes': upTo(LARGEST, 'whole number of bytes', 1),
  'http.retries': upTo(10, 'whole number of attempts'),
  rootMetadata: 'must be true or false',
  resourceName: TEXT,
  resourceDocumentation: URL_,
  onEvent: CALLBACK,
  onError: CALLBACK,
}

describe('an option', () => {
  it.each(Object.entries(KINDS))('is refused for its type: %s', (option, message) => {
    expect(refusalOf(withOption(option, -1))).toEqual(refused(option, message))
    expect(refusalOf(withOption(option, null))).toEqual(refused(option, message))
  })

  it('is declared with a type of its own, each of them', () => {
    expect([...DECLARATIONS.keys()]).toEqual(Object.keys(KINDS))
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

  it.each([null, 'http://proxy', true])('http.agent is not %j', (value) => {
    expect(refusalOf(withOption('http.agent', value))).toEqual(refused('http.agent', KINDS['http.agent']!))
  })

  it('http.agent may be an agent, or a function that returns one', () => {
    const [agent, choose] = [new Agent(), () => new Agent()]
    const agentOf = (value: unknown) => readConfig({ ...LEAST, http: { agent: value } }, {}).http.agent
    expect([agentOf(agent), agentOf(choose)]).toEqual([agent, choose])
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

it('messages name an option with its variable', () => {
  expect(named('issuer')).toBe('issuer (environment variable OIDC_ISSUER)')
})

it('a default is read as if it were given', () => {
  expect(readOptions(OPTIONS, {}).values.nextcloud.audience).toEqual(['nextcloud'])
})
