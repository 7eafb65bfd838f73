import { None } from 'oauth4webapi'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config/read-config.js'
import type { Environment } from '../../src/options.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { CLIENT, LEAST, refusalOf, refused, warningsOf } from '../support/refusal.js'

const url = 'https://cloud.example.com/nextcloud'
const withNextcloud = (nextcloud: object, client: object = CLIENT) => ({ ...LEAST, ...client, nextcloud })
const nextcloudOf = (nextcloud: object, client?: object) => readConfig(withNextcloud(nextcloud, client), {}).nextcloud
const refusal = (nextcloud: object, client?: object) => refusalOf(withNextcloud(nextcloud, client))

const OF_TOKEN_REQUEST = [
  ...['grant_type', 'subject_token', 'refresh_token', 'assertion', 'scope', 'audience', 'resource'],
  ...['client_id', 'client_secret', 'client_assertion', 'client_assertion_type'],
]

describe('nextcloud', () => {
  it('has defaults for everything but its URL', () => {
    expect(nextcloudOf({ url })).toEqual({
      url: new URL(url),
      base: `${url}/`,
      publicUrl: new URL(url),
      publicBase: `${url}/`,
      mode: 'token-exchange',
      audience: ['nextcloud'],
      resource: [],
      scopes: [],
      fixedScopes: [],
      parameters: {},
      preset: 'generic',
      timeout: 60_000,
    })
  })

  it('takes every option as it is given', () => {
    const given = {
      url: new URL(url),
      publicUrl: new URL('https://public.example.com/cloud'),
      mode: 'jwt-bearer',
      audience: ['one', 'two'],
      resource: ['https://cloud.example.com'],
      scopes: ['openid', 'profile'],
      parameters: { requested_token_type: 'urn:ietf:params:oauth:token-type:jwt', vendor_hint: '' },
      preset: 'entra',
      timeout: 1,
    }

    expect(nextcloudOf(given)).toEqual({
      ...given,
      base: `${url}/`,
      publicBase: 'https://public.example.com/cloud/',
      fixedScopes: given.scopes,
    })
    expect(nextcloudOf({ url: `${url}/` })?.base).toBe(`${url}/`)
  })

  it('takes scopes as a function, and is the same for no caller then', () => {
    const scopes = () => ['openid']

    expect(nextcloudOf({ url, scopes })).toMatchObject({ scopes, fixedScopes: [] })
  })

  it('needs a URL, without a query, which no path could follow', () => {
    const required = refused('nextcloud.url', 'is required (environment variable NEXTCLOUD_HOST)')
    expect([refusal({ audience: 'nextcloud' }), refusal({})]).toEqual([required, required])
    for (const option of ['url', 'publicUrl']) {
      const given = { url, [option]: `${url}/?a=b` }
      expect(refusal(given)).toEqual(refused(`nextcloud.${option}`, 'must not have a query'))
    }
  })

  it.each(OF_TOKEN_REQUEST)('has no parameter that is set elsewhere: %s', (name) => {
    expect(refusal({ url, parameters: { [name]: 'value' } })).toEqual(
      refused('nextcloud.parameters', `must not hold ${name}, which has an option of its own or is set here`),
    )
  })
})

describe('nextcloud.mode', () => {
  it('is refresh-token by default where a storage is given, and what the environment says before that', () => {
    const modeOf = (environment: Environment) =>
      readConfig({ ...withNextcloud({ url }), storage: new MemoryStorage() }, environment).nextcloud?.mode

    expect(modeOf({})).toBe('refresh-token')
    expect(modeOf({ ENABLE_TOKEN_EXCHANGE: 'true' })).toBe('token-exchange')
    expect(modeOf({ ENABLE_TOKEN_EXCHANGE: 'false' })).toBe('pass-through')
  })

  it('with refresh tokens has one set of scopes for all callers', () => {
    const problem = 'must be a list in refresh-token mode: a grant has one set of scopes for all callers'
    expect(refusal({ url, mode: 'refresh-token', scopes: () => ['openid'] })).toEqual(
      refused('nextcloud.scopes', problem),
    )
  })

  it('is to be chosen where neither a client nor a storage says it', () => {
    const choice = (client: object, environment?: Environment) =>
      refusalOf({ ...LEAST, ...client, ...(environment === undefined && { nextcloud: { url } }) }, environment)
    const fromHost = choice({}, { NEXTCLOUD_HOST: url })

    expect([choice({}), choice({ clientId: 'mcp-server' }), fromHost].map((refusal) => refusal?.option)).toEqual([
      'clientId',
      'clientSecret',
      'clientId',
    ])
    const lines = fromHost?.message.split('\n') ?? []
    expect(lines.at(0)).toMatch(
      /^clientId is required \(.* OIDC_CLIENT_ID, .*or nextcloud\.mode: .*nextcloud\.url \(environment variable NEXTCLOUD_HOST\)\. Choose:$/,
    )
    expect(lines.slice(1, -1).map((line) => /^- '([\w-]+)', with .*: ./.exec(line)?.[1])).toEqual([
      'token-exchange',
      'refresh-token',
      'app-password',
    ])
    expect(lines.at(-1)).toContain('docs/modes.md of mcp-nextcloud-auth')
    expect(choice(CLIENT)).toBeUndefined()
    expect(refusalOf({ ...LEAST, nextcloud: { url }, storage: new MemoryStorage() })?.message).toContain(
      'in refresh-token mode',
    )
  })

  it.each(['token-exchange', 'jwt-bearer', 'refresh-token'])(
    'needs a client that can prove who it is when it is %s',
    (mode) => {
      const missing = (option: string) => ({
        option,
        message: `${option} is required: in ${mode} mode (nextcloud.mode) the authorization server must know this server, by clientId and clientSecret or clientAuth (environment variables OIDC_CLIENT_ID, OIDC_CLIENT_SECRET; nextcloud.url came from nextcloud.url)`,
      })
      expect(refusal({ url, mode }, {})).toMatchObject(missing('clientId'))
      expect(refusal({ url, mode }, { clientId: 'mcp-server' })).toMatchObject(missing('clientSecret'))
      expect(refusal({ url, mode }, { clientId: 'mcp-server', clientAuth: None() })).toBeUndefined()
    },
  )

  it('needs no client when it is pass-through', () => {
    expect(refusal({ url, mode: 'pass-through' }, {})).toBeUndefined()
  })

  it.each(['allowed', 'required'])(
    'cannot be pass-through with dpop %s, because a bound token is worth nothing from here',
    (dpop) => {
      expect(refusal({ url, mode: 'pass-through' }, { dpop })).toEqual(
        refused(
          'dpop',
          'contradicts pass-through mode: a token that is bound to a key of the MCP client cannot be passed on',
        ),
      )
      expect(refusal({ url, mode: 'token-exchange' }, { ...CLIENT, dpop })).toBeUndefined()
      expect(refusal({ url, mode: 'pass-through' }, { dpop: 'off' })).toBeUndefined()
    },
  )

  const given = { audience: 'a', resource: 'https://cloud.example.com', scopes: ['read'], parameters: { a: 'b' } }
  const useless = { 'pass-through': ['resource', 'scopes', 'parameters'], 'app-password': Object.keys(given) }
  const cases = Object.entries(useless).flatMap(([mode, names]) => names.map((name) => ({ mode, name })))

  it.each(cases)('$mode has no use for nextcloud.$name', ({ mode, name }) => {
    expect(refusal({ url, mode, [name]: given[name as keyof typeof given] })).toEqual(
      refused(`nextcloud.${name}`, `has no use in ${mode} mode`),
    )
  })

  it('has a variable for nothing, which may be there for another server, without a word', () => {
    const options = { ...withNextcloud({ url, mode: 'app-password' }), connect: { identity: 'sub' } }
    expect(refusalOf(options, { NEXTCLOUD_RESOURCE_URI: 'https://cloud.example.com' })).toBeUndefined()
  })
})

describe('nextcloud.preset', () => {
  it.each(
    ['nextcloud-oidc-app', 'nextcloud-oauth2-app'].flatMap((preset) =>
      ['token-exchange', 'jwt-bearer'].map((mode) => ({ preset, mode })),
    ),
  )('$preset contradicts $mode mode', ({ preset, mode }) => {
    expect(refusal({ url, preset, mode })).toEqual(
      refused('nextcloud.preset', `contradicts ${mode} mode, which that server does not have: use refresh-token mode`),
    )
  })

  it('entra has a warning in token-exchange mode, which Entra does not have, and in no other', () => {
    const warningsWith = (nextcloud: object) => warningsOf(withNextcloud({ url, ...nextcloud }))
    const message =
      "nextcloud.preset is 'entra', a server without token-exchange mode: set nextcloud.mode to 'jwt-bearer'"

    expect(warningsWith({ preset: 'entra' })).toEqual([['nextcloud.preset', message]])
    expect(warningsWith({ preset: 'entra', mode: 'jwt-bearer' })).toEqual([])
    expect(warningsWith({ preset: 'keycloak' })).toEqual([])
  })
})

describe('a storage without nextcloud.mode', () => {
  const warningsWith = (nextcloud: object, environment?: Environment) =>
    warningsOf(
      { ...withNextcloud({ url, ...nextcloud }), storage: new MemoryStorage(), allowedClients: ['claude'] },
      environment,
    )
  const looksLike = (sign: string) => [
    [
      'nextcloud.mode',
      `storage is given and nextcloud.mode is not, which means refresh-token mode: nothing is exchanged, and each user has to connect Nextcloud once. ${sign} looks like an exchange: set nextcloud.mode to 'token-exchange', with which instances share exchanged tokens in storage, or to 'refresh-token' if that is meant`,
    ],
  ]

  it('has a warning where the rest looks like an exchange', () => {
    expect(warningsWith({ audience: 'nextcloud' })).toEqual(looksLike('nextcloud.audience'))
    expect(warningsWith({ preset: 'keycloak' })).toEqual(looksLike("nextcloud.preset 'keycloak'"))
    expect(warningsWith({}, { NEXTCLOUD_RESOURCE_URI: 'nextcloud' })).toEqual(
      looksLike('nextcloud.audience (environment variable NEXTCLOUD_RESOURCE_URI)'),
    )
  })

  it('has none where the mode is given, nothing looks like an exchange, or the server has none', () => {
    const preset = 'keycloak'
    for (const mode of ['token-exchange', 'refresh-token'])
      expect(warningsWith({ preset, audience: 'nextcloud', mode })).toEqual([])
    expect(warningsWith({ preset }, { ENABLE_TOKEN_EXCHANGE: 'true' })).toEqual([])
    expect(warningsWith({})).toEqual([])
    expect(warningsWith({ preset: 'nextcloud-oidc-app', audience: 'nextcloud' })).toEqual([])
    expect(warningsOf(withNextcloud({ url, preset, audience: 'nextcloud' }))).toEqual([])
  })
})

describe('allowedClients', () => {
  const warningsWith = (options: object, environment?: Environment) =>
    warningsOf({ ...LEAST, ...CLIENT, storage: new MemoryStorage(), ...options }, environment).flatMap(
      ([option, message]) => (option === 'allowedClients' ? message : []),
    )

  it('is missed where every client of Nextcloud itself would be let in, and nowhere else', () => {
    const nextcloud = { url, preset: 'nextcloud-oidc-app' }

    expect(warningsWith({ nextcloud })).toEqual([
      expect.stringMatching(/^allowedClients \(environment variable ALLOWED_MCP_CLIENTS\) is not given: /),
    ])
    expect(warningsWith({ nextcloud, allowedClients: ['claude'] })).toEqual([])
    expect(warningsWith({ issuer: url.replace(/\/$/, ''), nextcloud: { url } })).toHaveLength(1)
    expect(warningsWith({ issuer: `${url}/realm`, nextcloud: { url } })).toEqual([])
    // Its issuer is another server, which may be at the same address.
    const ofItself = { url, preset: 'nextcloud-oauth2-app' }
    expect(warningsWith({ issuer: url, nextcloud: ofItself, connect: { identity: 'sub' } })).toEqual([])
    for (const preset of ['generic', 'keycloak', 'entra'])
      expect(warningsWith({ nextcloud: { url, preset } })).toEqual([])
  })

  it.each(['https://cloud.example.com', 'https://cloud.example.com/'])(
    'is missed where the issuer %s is the address of Nextcloud for browsers',
    (issuer) => {
      const nextcloud = { url: 'http://nextcloud', publicUrl: 'https://cloud.example.com' }

      expect(warningsWith({ issuer, nextcloud })).toHaveLength(1)
      expect(warningsWith({ issuer, nextcloud, allowedClients: ['claude'] })).toEqual([])
    },
  )

  it.each([
    [{ nextcloud: { mode: 'refresh-token' } }],
    [{ nextcloud: { preset: 'nextcloud-oauth2-app' }, connect: { identity: 'sub' } }],
  ])('is missed where nothing names an issuer but NEXTCLOUD_HOST, with %j', (given) => {
    const environment = { NEXTCLOUD_HOST: url, ALLOWED_MCP_CLIENTS: '' }
    const options = { issuer: undefined, ...given }

    expect(warningsWith(options, environment)).toHaveLength(1)
    expect(warningsWith(options, { ...environment, ALLOWED_MCP_CLIENTS: 'claude' })).toEqual([])
  })

  it.each<[at: string, url: string, publicUrl: string, times: number]>([
    ['http://nextcloud/.well-known/openid-configuration', 'http://nextcloud', 'https://cloud.example.com', 1],
    ['http://nextcloud/index.php/apps/oidc/openid-configuration', 'http://nextcloud/', 'https://cloud.example.com', 1],
    [
      'https://example.com/cloud/index.php/.well-known/openid-configuration',
      'http://a',
      'https://example.com/cloud',
      1,
    ],
    ['https://example.com/realms/a/.well-known/openid-configuration', 'http://a', 'https://example.com', 0],
    ['https://example.com/.well-known/openid-configuration', 'http://a', 'https://example.com/cloud', 0],
  ])(
    'where the document at %s names the issuer, Nextcloud is at %s and %s: %d',
    (discoveryUrl, url, publicUrl, times) => {
      const options = { issuer: undefined, discoveryUrl, nextcloud: { url, publicUrl } }

      expect(warningsWith(options)).toHaveLength(times)
    },
  )
})
