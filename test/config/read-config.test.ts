import { None } from 'oauth4webapi'
import { Agent } from 'node:http'
import { describe, expect, it } from 'vitest'
import { OPTIONS } from '../../src/config/declarations.js'
import { ASYMMETRIC_ALGORITHMS } from '../../src/config/kinds.js'
import { readConfig } from '../../src/config/read-config.js'
import { mcpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { CLIENT, LEAST, refusalOf, refused, warningsOf, withOption } from '../support/refusal.js'

const read = (options: unknown) => readConfig(options, {})
const ENDPOINTS = ['jwksUri', 'tokenEndpoint', 'introspectionEndpoint', 'revocationEndpoint', 'authorizationEndpoint']
const clientAuth = None()
const fetch = () => Promise.reject(new Error('unused'))

describe('the defaults', () => {
  it('are those of the documentation', () => {
    expect(read(LEAST)).toEqual({
      issuer: 'https://idp.example.com',
      isNextcloudByDefault: false,
      others: [],
      endpoints: {},
      challengeScopes: [],
      resource: 'https://mcp.example.com/mcp',
      resourceMetadataUrl: 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp',
      rootMetadata: true,
      legacyMetadata: false,
      audience: ['https://mcp.example.com/mcp'],
      requiredScopes: [],
      scopesSupported: [],
      scopeSatisfies: expect.any(Function) as unknown,
      algorithms: ASYMMETRIC_ALGORITHMS,
      clockTolerance: 5,
      introspection: 'opaque-only',
      missingAudience: 'reject',
      idTokenLookalikes: 'refuse',
      dpop: 'off',
      cache: {
        nextcloudTokens: 10_000,
        verifiedTokens: 10_000,
        verifiedTtl: 300,
        keysMaxAge: 600,
        staleKeys: 3_600,
        grantCheck: 10,
      },
      http: { timeout: 5_000, maxResponseBytes: 1_048_576, retries: 2 },
      warnings: [['challengeScopes', expect.stringContaining('no scope is named for MCP clients to ask for')]],
    })
  })

  it('publish the required scopes but offline_access, and take a scope for satisfied when it is granted', () => {
    const { scopesSupported, scopeSatisfies } = read({ ...LEAST, requiredScopes: ['a', 'offline_access', 'b', 'a'] })

    expect(scopesSupported).toEqual(['a', 'b'])
    expect([scopeSatisfies(['a'], 'a'), scopeSatisfies(['a'], 'b'), scopeSatisfies(['ab'], 'a')]).toEqual([
      true,
      false,
      false,
    ])
  })

  it.each<[object, number]>([
    [{}, 1],
    [{ requiredScopes: ['offline_access'] }, 1],
    [{ requiredScopes: [], scopesSupported: [] }, 1],
    [{ requiredScopes: ['a'] }, 0],
    [{ scopesSupported: ['a'] }, 0],
    [{ challengeScopes: ['a'] }, 0],
    [{ challengeScopes: [] }, 0],
  ])('name no scope for clients to ask for, which is a warning, unless it is meant: %j', (options, count) => {
    expect(read({ ...LEAST, ...options }).warnings.map(([option]) => option)).toEqual(
      Array(count).fill('challengeScopes'),
    )
  })

  it('hold for an option that is undefined', () => {
    const nothing = Object.fromEntries(Object.keys(OPTIONS).map((name) => [name, undefined]))

    expect(read({ ...nothing, ...LEAST })).toEqual(read(LEAST))
  })
})

it('every option that is given is taken as it is', () => {
  const { authorizationServer, clientId, ...plain } = {
    issuer: 'https://idp.example.com/',
    discoveryUrl: new URL('https://internal.example.com/meta?x=1'),
    authorizationServer: Object.fromEntries(ENDPOINTS.map((name) => [name, new URL(`https://h/${name}`)])),
    resource: 'https://MCP.example.com:443',
    audience: ['one', 'two'],
    clientId: 'mcp-server',
    requiredScopes: ['a'],
    scopesSupported: ['a', 'b'],
    challengeScopes: ['b'],
    scopeSatisfies: () => true,
    algorithms: ['ES256', 'EdDSA'],
    clockTolerance: 0.5,
    validateClaims: () => true,
    introspection: 'always',
    missingAudience: 'client',
    idTokenLookalikes: 'accept',
    dpop: 'required',
    cache: {
      nextcloudTokens: 0,
      verifiedTokens: 1,
      renewBefore: 0.5,
      verifiedTtl: 0,
      keysMaxAge: 2.5,
      staleKeys: 1.5,
      grantCheck: 0.5,
    },
    http: { agent: new Agent(), timeout: 1, maxResponseBytes: 1, retries: 0 },
    rootMetadata: false,
    authorizationServers: ['https://front.example.com/'],
    resourceMetadataUrl: 'https://mcp.example.com/metadata',
    legacyMetadata: true,
    resourceName: 'Notes',
    resourceDocumentation: 'https://docs.example.com/mcp',
    onEvent: () => undefined,
    onError: () => undefined,
  } satisfies McpAuthOptions

  expect(
    read({ ...plain, authorizationServer, clientId, clientAuth, allowedClients: ['with, comma', 'other'] }),
  ).toEqual({
    ...plain,
    endpoints: authorizationServer,
    client: { id: 'mcp-server', secret: undefined, auth: clientAuth, hasCredentials: true },
    allowedClients: new Set(['with, comma', 'other']),
    isNextcloudByDefault: false,
    others: [],
    warnings: [],
  })
})

it('the configuration is frozen all the way down', () => {
  const config = read({ ...LEAST, ...CLIENT, nextcloud: { url: 'https://h', parameters: { p: '1' } } })
  const parts = [config, config.cache, config.http, config.audience, config.nextcloud, config.nextcloud?.parameters]

  expect(parts.map((part) => Object.isFrozen(part))).toEqual(parts.map(() => true))
})

it('mcpAuth() refuses at once, before it gives anything back', () => {
  expect(() => mcpAuth({ ...LEAST, requiredScopes: ['a b'] })).toThrow(/^requiredScopes /)
})

describe('the issuer', () => {
  it('is required, or where to find it, in one way or another', () => {
    expect(refusalOf({ resource: LEAST.resource })).toEqual(
      refused('issuer', 'is required (or discoveryUrl, or an environment variable: OIDC_ISSUER, OIDC_DISCOVERY_URL)'),
    )
    expect(refusalOf({ resource: LEAST.resource, discoveryUrl: 'https://idp.example.com/meta' })).toBeUndefined()
  })

  it.each<[problem: string, issuers: readonly string[]]>([
    ['must not have a query (RFC 8414 section 2)', ['https://idp.example.com?tenant=a', 'https://h/realm?a']],
    ['must be the issuer itself: that is a discoveryUrl', ['https://h/.well-known/openid-configuration']],
    [
      'must be https, or http on loopback (RFC 8414 section 2); discoveryUrl may be an internal address',
      ['http://idp.example.com', 'http://10.0.0.1', 'http://keycloak:8080/realms/acme'],
    ],
    ['must be an absolute URL', ['idp.example.com']],
  ])('%s', (problem, issuers) => {
    expect(issuers.map((issuer) => refusalOf({ ...LEAST, issuer }))).toEqual(
      issuers.map(() => refused('issuer', problem)),
    )
  })

  it.each([
    ...['http://localhost:8080/realms/acme', 'http://127.0.0.1:8080', 'http://[::1]:8080'],
    ...['https://idp.example.com', 'https://idp.example.com/', 'https://IDP.example.com:443/Realm'],
  ])('may be %s, and is kept to the letter', (issuer) => {
    expect(read({ ...LEAST, issuer }).issuer).toBe(issuer)
    expect(warningsOf({ ...LEAST, issuer })).toEqual([])
  })
})

describe('the resource', () => {
  it('is required', () => {
    expect(refusalOf({ issuer: LEAST.issuer })).toEqual(
      refused('resource', 'is required: the URL of this MCP server (environment variable NEXTCLOUD_MCP_SERVER_URL)'),
    )
    expect(refusalOf(LEAST)).toBeUndefined()
  })

  it.each([
    ...[' https://h', 'https://h ', 'https://h/a b', 'https://h/m\ncp', 'https://h/mcp\n', '\thttps://h'],
    ...['https:h', 'https:/h', 'https:\\\\h', 'https://h\\mcp', 'https://h/?a=\\b'],
  ])('is written as a URL is, because it is published to the letter: not %j', (resource) => {
    expect(refusalOf({ ...LEAST, resource })).toEqual(
      refused('resource', 'must be an absolute URL, written without spaces'),
    )
  })
})

describe('plain http off loopback', () => {
  const endpoints = ENDPOINTS.map((name) => `authorizationServer.${name}`)

  it.each(['discoveryUrl', 'resource', 'nextcloud.url', 'nextcloud.publicUrl', ...endpoints])(
    'is taken with a warning: %s',
    (option) => {
      const warningsAt = (url: string) => warningsOf(withOption(option, url))

      expect(warningsAt('http://service:8080/x')).toEqual([
        [option, `${option} is plain http off loopback: tokens can be read and keys replaced on the way`],
      ])
      expect([...warningsAt('http://localhost:8080/x'), ...warningsAt('https://service/x')]).toEqual([])
    },
  )
})

describe('a contradiction is refused:', () => {
  const noClient = 'needs clientId (environment variable OIDC_CLIENT_ID)'
  const noSecret = "is 'always', which needs clientId and clientSecret (or clientAuth)"
  const twice = 'contradicts http.fetch, which has its own ways to set one'

  it.each<[what: string, options: object, option: string, problem: string]>([
    ['a secret without a client', { clientSecret: 's' }, 'clientSecret', noClient],
    ['clientAuth without a client', { clientAuth }, 'clientAuth', noClient],
    ['clientAuth and a secret', { ...CLIENT, clientAuth }, 'clientAuth', 'contradicts clientSecret: give one of them'],
    ['an agent and a fetch', { http: { fetch, agent: new Agent() } }, 'http.agent', twice],
    ['introspection without a client', { introspection: 'always' }, 'introspection', noSecret],
    ['introspection without a secret', { introspection: 'always', clientId: 'c' }, 'introspection', noSecret],
  ])('%s', (_what, options, option, problem) => {
    expect(refusalOf({ ...LEAST, ...options })).toEqual(refused(option, problem))
  })

  it('but no client for verification alone, nor introspection with clientAuth', () => {
    const client = { id: 'mcp-server', secret: undefined, auth: undefined, hasCredentials: false }
    expect(read({ ...LEAST, clientId: 'mcp-server' }).client).toEqual(client)
    expect(refusalOf({ ...LEAST, clientId: 'mcp-server', clientAuth, introspection: 'always' })).toBeUndefined()
    expect(read({ ...LEAST, http: { fetch } }).http.fetch).toBe(fetch)
  })
})

it('no refusal repeats a secret', () => {
  const wrong = [
    { issuer: 'https://user:hunter2@idp.example.com' },
    { clientSecret: ['hunter2'] },
    { clientSecret: 'hunter2', clientId: undefined },
    { nextcloud: { url: 'https://cloud.example.com', parameters: { client_secret: 'hunter2' } } },
    { http: { agent: 'http://user:hunter2@proxy' } },
  ]

  for (const options of wrong) {
    const refusal = refusalOf({ ...LEAST, ...CLIENT, ...options })
    expect(refusal?.code).toBe('ERR_CONFIGURATION')
    expect(refusal?.message).not.toContain('hunter2')
  }
})
