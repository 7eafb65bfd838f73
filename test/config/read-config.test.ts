import { None } from 'oauth4webapi'
import { Agent } from 'node:http'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config/read-config.js'
import { mcpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { CLIENT, LEAST, refusalOf, refused, withOption } from '../support/refusal.js'

const read = (options: unknown) => readConfig(options, {})

describe('the defaults', () => {
  it('are those of the documentation', () => {
    expect(read(LEAST)).toEqual({
      issuer: 'https://idp.example.com',
      discoveryUrl: undefined,
      endpoints: { jwksUri: undefined, tokenEndpoint: undefined, introspectionEndpoint: undefined },
      resource: 'https://mcp.example.com/mcp',
      resourceMetadataUrl: 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp',
      rootMetadata: true,
      resourceName: undefined,
      resourceDocumentation: undefined,
      audience: ['https://mcp.example.com/mcp'],
      client: undefined,
      requiredScopes: [],
      scopesSupported: [],
      scopeSatisfies: expect.any(Function) as unknown,
      allowedClients: undefined,
      algorithms: [
        ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'Ed25519', 'EdDSA'],
        ...['ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87'],
      ],
      clockTolerance: 5,
      validateClaims: undefined,
      introspection: 'opaque-only',
      nextcloud: undefined,
      grants: undefined,
      cache: {
        nextcloudTokens: 10_000,
        verifiedTokens: 10_000,
        renewBefore: 60,
        verifiedTtl: 300,
        staleKeys: 3_600,
        grantCheck: 10,
      },
      http: { fetch: undefined, agent: undefined, timeout: 5_000, maxResponseBytes: 1_048_576, retries: 2 },
      onEvent: undefined,
      onError: undefined,
      warnings: [],
    })
  })

  it('accept this server’s own client as audience beside the resource', () => {
    expect(read({ ...LEAST, ...CLIENT }).audience).toEqual(['https://mcp.example.com/mcp', 'mcp-server'])
  })

  it('publish the required scopes, and take a scope for satisfied when it is granted', () => {
    const { scopesSupported, scopeSatisfies } = read({ ...LEAST, requiredScopes: ['a', 'b', 'a'] })

    expect(scopesSupported).toEqual(['a', 'b'])
    expect([scopeSatisfies(['a'], 'a'), scopeSatisfies(['a'], 'b'), scopeSatisfies(['ab'], 'a')]).toEqual([
      true,
      false,
      false,
    ])
  })
})

it('every option that is given is taken as it is', () => {
  const given = {
    issuer: 'https://idp.example.com/',
    discoveryUrl: new URL('https://internal.example.com/meta?x=1'),
    authorizationServer: {
      jwksUri: 'https://internal.example.com/jwks',
      tokenEndpoint: new URL('https://internal.example.com/token'),
      introspectionEndpoint: 'https://internal.example.com/introspect',
      revocationEndpoint: 'https://internal.example.com/revoke',
      authorizationEndpoint: new URL('https://idp.example.com/authorize'),
    },
    resource: 'https://MCP.example.com:443',
    audience: ['one', 'two'],
    clientId: 'mcp-server',
    clientAuth: None(),
    requiredScopes: ['a'],
    scopesSupported: ['a', 'offline_access', 'b'],
    scopeSatisfies: () => true,
    allowedClients: ['client, with comma', 'other'],
    algorithms: ['ES256', 'EdDSA'],
    clockTolerance: 0.5,
    validateClaims: () => true,
    introspection: 'always',
    cache: { nextcloudTokens: 0, verifiedTokens: 1, renewBefore: 0.5, verifiedTtl: 0, staleKeys: 1.5, grantCheck: 0.5 },
    http: { agent: new Agent(), timeout: 1, maxResponseBytes: 1, retries: 0 },
    rootMetadata: false,
    resourceName: 'Notes',
    resourceDocumentation: 'https://docs.example.com/mcp',
    onEvent: () => undefined,
    onError: () => undefined,
  } satisfies McpAuthOptions

  expect(read(given)).toEqual({
    issuer: given.issuer,
    discoveryUrl: given.discoveryUrl,
    endpoints: {
      jwksUri: new URL('https://internal.example.com/jwks'),
      tokenEndpoint: new URL('https://internal.example.com/token'),
      introspectionEndpoint: new URL('https://internal.example.com/introspect'),
      revocationEndpoint: new URL('https://internal.example.com/revoke'),
      authorizationEndpoint: new URL('https://idp.example.com/authorize'),
    },
    resource: 'https://MCP.example.com:443',
    resourceMetadataUrl: 'https://mcp.example.com/.well-known/oauth-protected-resource',
    audience: ['one', 'two'],
    client: { id: 'mcp-server', secret: undefined, auth: given.clientAuth, hasCredentials: true },
    requiredScopes: ['a'],
    scopesSupported: ['a', 'b'],
    scopeSatisfies: given.scopeSatisfies,
    allowedClients: new Set(['client, with comma', 'other']),
    algorithms: ['ES256', 'EdDSA'],
    clockTolerance: 0.5,
    validateClaims: given.validateClaims,
    introspection: 'always',
    nextcloud: undefined,
    grants: undefined,
    cache: given.cache,
    http: { fetch: undefined, ...given.http },
    rootMetadata: false,
    resourceName: 'Notes',
    resourceDocumentation: 'https://docs.example.com/mcp',
    onEvent: given.onEvent,
    onError: given.onError,
    warnings: [],
  })
})

it('a single audience may be given without a list', () => {
  expect(read({ ...LEAST, audience: 'one' }).audience).toEqual(['one'])
})

it('a fetch, or an agent that is a function, is taken as it is', () => {
  const fetch = () => Promise.reject(new Error('unused'))
  const agent = () => new Agent()

  expect(read({ ...LEAST, http: { fetch } }).http.fetch).toBe(fetch)
  expect(read({ ...LEAST, http: { agent } }).http.agent).toBe(agent)
})

it('an option that is undefined is one that is not given', () => {
  const names = Object.keys({ ...withOption('http', undefined), cache: 0, nextcloud: 0, audience: 0, algorithms: 0 })
  const nothing = Object.fromEntries(names.map((name) => [name, undefined]))

  expect({ ...read({ ...nothing, ...LEAST }), scopeSatisfies: 0 }).toEqual({ ...read(LEAST), scopeSatisfies: 0 })
})

it('what is changed in the options later changes nothing', () => {
  const options = {
    ...LEAST,
    ...CLIENT,
    discoveryUrl: new URL('https://idp.example.com/meta'),
    audience: ['one'],
    requiredScopes: ['a'],
    allowedClients: ['c'],
    algorithms: ['ES256'],
    nextcloud: { url: new URL('https://cloud.example.com'), audience: ['n'], parameters: { p: '1' } },
  }
  const config = read(options)
  const before = structuredClone({ ...config, scopeSatisfies: 0, discoveryUrl: 0, nextcloud: 0 })

  options.discoveryUrl.host = 'evil.example'
  options.nextcloud.url.host = 'evil.example'
  options.nextcloud.parameters.p = '2'
  for (const list of [options.audience, options.requiredScopes, options.allowedClients, options.algorithms])
    list.push('x')

  expect({ ...config, scopeSatisfies: 0, discoveryUrl: 0, nextcloud: 0 }).toEqual(before)
  expect(config.discoveryUrl?.href).toBe('https://idp.example.com/meta')
  expect(config.nextcloud).toMatchObject({
    url: { host: 'cloud.example.com' },
    audience: ['n'],
    parameters: { p: '1' },
  })
  expect([config, config.cache, config.http, config.nextcloud].map((part) => Object.isFrozen(part))).toEqual([
    true,
    true,
    true,
    true,
  ])
})

describe('options that are no object', () => {
  it.each([null, 5, 'https://idp.example.com', [], new URL('https://idp.example.com'), () => undefined])(
    'are refused: %j',
    (options) => {
      expect(refusalOf(options)).toEqual({
        ...refused('options', 'must be an object'),
        option: undefined,
      })
    },
  )
})

describe('a name that is not an option', () => {
  it.each([
    ['__proto__', Object.assign(JSON.parse('{"__proto__":1}') as object, LEAST)],
    ['toString', { ...LEAST, toString: 1 }],
    ['authorizationServer.issuer', { ...LEAST, authorizationServer: { issuer: 'https://h' } }],
    ['nextcloud.host', { ...LEAST, nextcloud: { host: 'https://h' } }],
    ['cache.size', { ...LEAST, cache: { size: 1 } }],
    ['http.proxy', { ...LEAST, http: { proxy: 'http://h' } }],
  ])('is refused: %s', (option, options) => {
    expect(refusalOf(options)).toEqual(refused(option, 'is not an option'))
  })

  it.each([
    ['isuer', 'issuer', { ...LEAST, isuer: 'https://idp.example.com' }],
    ['Issuer', 'issuer', { ...LEAST, Issuer: undefined }],
    [
      'authorizationServer.jwks_uri',
      'authorizationServer.jwksUri',
      { ...LEAST, authorizationServer: { jwks_uri: 'https://h' } },
    ],
    ['nextcloud.audiences', 'nextcloud.audience', { ...LEAST, nextcloud: { audiences: 'nextcloud' } }],
  ])('is refused, with the one that it looks like: %s', (option, meant, options) => {
    expect(refusalOf(options)).toEqual(refused(option, `is not an option: did you mean ${meant}?`))
  })
})

describe('mcpAuth()', () => {
  it('refuses at once, before it gives anything back', () => {
    expect(() => mcpAuth({ ...LEAST, requiredScopes: ['a b'] })).toThrow(/^requiredScopes /)
  })
})

describe('what has to be there', () => {
  it('is the issuer, or where to find it, in one way or another', () => {
    expect(refusalOf({ resource: LEAST.resource })).toEqual(
      refused('issuer', 'is required (or discoveryUrl, or an environment variable: OIDC_ISSUER, OIDC_DISCOVERY_URL)'),
    )
    expect(refusalOf({ resource: LEAST.resource, discoveryUrl: 'https://idp.example.com/meta' })).toBeUndefined()
  })

  it('is the resource', () => {
    expect(refusalOf({ issuer: LEAST.issuer })).toEqual(
      refused('resource', 'is required: the URL of this MCP server (environment variable NEXTCLOUD_MCP_SERVER_URL)'),
    )
  })

  it('is nothing else', () => {
    expect(refusalOf(LEAST)).toBeUndefined()
  })
})

describe('a contradiction', () => {
  const clientAuth = None()
  const fetch = () => Promise.reject(new Error('unused'))

  it.each<[string, object, ReturnType<typeof refused>]>([
    [
      'clientAuth beside clientSecret',
      { ...CLIENT, clientAuth },
      refused('clientAuth', 'contradicts clientSecret: give one of them'),
    ],
    [
      'clientSecret without clientId',
      { clientSecret: 's' },
      refused('clientSecret', 'needs clientId (environment variable OIDC_CLIENT_ID)'),
    ],
    [
      'clientAuth without clientId',
      { clientAuth },
      refused('clientAuth', 'needs clientId (environment variable OIDC_CLIENT_ID)'),
    ],
    [
      'an agent beside a fetch',
      { http: { fetch, agent: new Agent() } },
      refused('http.agent', 'contradicts http.fetch, which has its own ways to set one'),
    ],
    [
      'introspection always without a client',
      { introspection: 'always' },
      refused('introspection', "is 'always', which needs clientId and clientSecret (or clientAuth)"),
    ],
    [
      'introspection always with a client that has no secret',
      { introspection: 'always', clientId: 'mcp-server' },
      refused('introspection', "is 'always', which needs clientId and clientSecret (or clientAuth)"),
    ],
  ])('is refused: %s', (_what, options, refusal) => {
    expect(refusalOf({ ...LEAST, ...options })).toEqual(refusal)
  })

  it('is none: introspection always with clientAuth', () => {
    expect(refusalOf({ ...LEAST, clientId: 'mcp-server', clientAuth, introspection: 'always' })).toBeUndefined()
  })

  it('is none: a client without a secret, for verification only', () => {
    expect(read({ ...LEAST, clientId: 'mcp-server' }).client).toEqual({
      id: 'mcp-server',
      secret: undefined,
      auth: undefined,
      hasCredentials: false,
    })
  })
})
