import { None } from 'oauth4webapi'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { DECLARATIONS } from '../../src/config/declarations.js'
import { readConfig } from '../../src/config/read-config.js'
import { mcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import type { Environment, McpAuthOptions } from '../../src/options.js'
import { METADATA_URL } from '../support/answers.js'
import { manualClock } from '../support/clock.js'
import { LEAST, refusalOf, refused } from '../support/refusal.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE } from '../support/scripted-authorization-server.js'
import { world } from '../support/world.js'

const url = 'https://given.example'

/** Enough for everything, so that one variable can be looked at at a time. */
const complete = {
  OIDC_ISSUER: 'https://idp.example.com',
  OIDC_DISCOVERY_URL: 'https://internal.example.com/meta',
  NEXTCLOUD_MCP_SERVER_URL: RESOURCE,
  OIDC_CLIENT_ID: 'c',
  OIDC_CLIENT_SECRET: 's',
  ALLOWED_MCP_CLIENTS: 'one, two ,three',
  NEXTCLOUD_HOST: 'https://cloud.example.com',
  NEXTCLOUD_PUBLIC_URL: 'https://public.example.com',
  ENABLE_TOKEN_EXCHANGE: 'false',
  NEXTCLOUD_RESOURCE_URI: 'a,b',
  NEXTCLOUD_OIDC_SCOPES: 'openid notes.read',
}

/** Other names of variables → the names before which they give way. */
const ALIASES = {
  NEXTCLOUD_OIDC_CLIENT_ID: 'OIDC_CLIENT_ID',
  NEXTCLOUD_OIDC_CLIENT_SECRET: 'OIDC_CLIENT_SECRET',
  MCP_DEPLOYMENT_MODE: 'ENABLE_TOKEN_EXCHANGE',
} as const

describe('the environment', () => {
  it('stands in for every option that has a variable, with the white space round a value cut off', () => {
    const padded = Object.fromEntries(Object.entries(complete).map(([name, value]) => [name, ` ${value}\n`]))

    for (const config of [readConfig(undefined, complete), readConfig({}, padded)]) {
      expect(config).toMatchObject({
        issuer: 'https://idp.example.com',
        discoveryUrl: new URL('https://internal.example.com/meta'),
        resource: RESOURCE,
        client: { id: 'c', secret: 's' },
        audience: [RESOURCE, 'c'],
        allowedClients: new Set(['one', 'two', 'three']),
        nextcloud: { url: new URL('https://cloud.example.com'), mode: 'pass-through', audience: ['a,b'] },
        challengeScopes: ['openid', 'notes.read'],
        scopesSupported: [],
      })
    }
    const variables = [...DECLARATIONS.values()].flatMap(({ environment }) => environment ?? [])
    const others = ['TOKEN_ENCRYPTION_KEY', 'NEXTCLOUD_IDENTITY']
    expect(new Set([...Object.keys(complete), ...Object.keys(ALIASES), ...others])).toEqual(new Set(variables))
  })

  it.each<[variable: string, option: McpAuthOptions, config: object]>([
    ['OIDC_ISSUER', { issuer: url }, { issuer: url }],
    ['OIDC_DISCOVERY_URL', { discoveryUrl: url }, { discoveryUrl: new URL(url) }],
    ['NEXTCLOUD_MCP_SERVER_URL', { resource: url }, { resource: url }],
    ['OIDC_CLIENT_ID', { clientId: 'given' }, { client: { id: 'given' } }],
    ['OIDC_CLIENT_SECRET', { clientSecret: 'given' }, { client: { secret: 'given' } }],
    ['ALLOWED_MCP_CLIENTS', { allowedClients: ['given'] }, { allowedClients: new Set(['given']) }],
    [
      'NEXTCLOUD_PUBLIC_URL',
      { nextcloud: { url, publicUrl: url } },
      { nextcloud: { publicUrl: new URL(url), publicBase: `${url}/` } },
    ],
    ['NEXTCLOUD_HOST', { nextcloud: { url } }, { nextcloud: { url: new URL(url) } }],
    ['NEXTCLOUD_RESOURCE_URI', { nextcloud: { audience: 'given' } }, { nextcloud: { audience: ['given'] } }],
    ['ENABLE_TOKEN_EXCHANGE', { nextcloud: { mode: 'jwt-bearer' } }, { nextcloud: { mode: 'jwt-bearer' } }],
    ['NEXTCLOUD_OIDC_SCOPES', { challengeScopes: ['given'] }, { challengeScopes: ['given'] }],
  ])('gives way to an option, and is not looked at then: %s', (variable, option, config) => {
    expect(readConfig(option, complete)).toMatchObject(config)
    expect(readConfig(option, { ...complete, [variable]: 'https://user:password@nonsense' })).toMatchObject(config)
  })

  it.each<[variable: string, config: object | undefined]>([
    ['OIDC_ISSUER', { issuer: undefined }],
    ['OIDC_DISCOVERY_URL', { discoveryUrl: undefined }],
    ['NEXTCLOUD_MCP_SERVER_URL', undefined],
    ['OIDC_CLIENT_ID', undefined],
    ['OIDC_CLIENT_SECRET', { client: { secret: undefined } }],
    ['ALLOWED_MCP_CLIENTS', { allowedClients: undefined }],
    ['NEXTCLOUD_HOST', { nextcloud: undefined }],
    ['ENABLE_TOKEN_EXCHANGE', { nextcloud: { mode: 'token-exchange' } }],
    ['NEXTCLOUD_RESOURCE_URI', { nextcloud: { audience: ['nextcloud'] } }],
    ['NEXTCLOUD_OIDC_SCOPES', { challengeScopes: [] }],
  ])('has an empty %s count as one that is not set', (variable, config) => {
    for (const empty of ['', '  ', '\n', undefined]) {
      const environment = { ...complete, [variable]: empty }
      if (config === undefined) expect(refusalOf({}, environment)).toBeDefined()
      else expect(readConfig({}, environment)).toMatchObject(config)
    }
  })

  it('has a variable of this package come before its alias, which is not looked at then', () => {
    const nonsense = Object.fromEntries(Object.keys(ALIASES).map((alias) => [alias, 'nonsense']))
    expect(readConfig({}, { ...complete, ...nonsense })).toEqual(readConfig({}, complete))
  })

  it.each(['', ' ', undefined])('has an alias count where the variable itself is not set, but %j', (empty) => {
    const renamed = {
      ...complete,
      OIDC_CLIENT_ID: empty,
      OIDC_CLIENT_SECRET: empty,
      NEXTCLOUD_OIDC_CLIENT_ID: 'c',
      NEXTCLOUD_OIDC_CLIENT_SECRET: 's',
    }
    expect(readConfig({}, renamed)).toEqual(readConfig({}, complete))
  })

  it.each([
    ['OIDC_CLIENT_ID', 'NEXTCLOUD_OIDC_CLIENT_SECRET'],
    ['NEXTCLOUD_OIDC_CLIENT_ID', 'OIDC_CLIENT_SECRET'],
  ])('gives the client of %s no secret of %s, which is of another', (id, secret) => {
    const none = { OIDC_CLIENT_ID: '', OIDC_CLIENT_SECRET: '' }
    const { client } = readConfig({}, { ...complete, ...none, [id]: 'c', [secret]: 's' })
    expect(client).toMatchObject({ id: 'c', hasCredentials: false })
    expect(client?.secret).toBeUndefined()
  })

  it.each<[variables: Environment, secret: string | undefined]>([
    [{ OIDC_CLIENT_SECRET: 'own' }, 'own'],
    [{ NEXTCLOUD_OIDC_CLIENT_SECRET: 'python' }, 'python'],
    [{ NEXTCLOUD_OIDC_CLIENT_SECRET: 'python', OIDC_CLIENT_ID: ' ', OIDC_CLIENT_SECRET: '' }, 'python'],
    [{ OIDC_CLIENT_SECRET: 'own', NEXTCLOUD_OIDC_CLIENT_SECRET: 'python' }, 'own'],
    [{ OIDC_CLIENT_SECRET: 'own', NEXTCLOUD_OIDC_CLIENT_ID: 'other' }, 'own'],
    [{ OIDC_CLIENT_SECRET: 'own', NEXTCLOUD_OIDC_CLIENT_ID: 'mine' }, 'own'],
    [{ OIDC_CLIENT_SECRET: 'own', NEXTCLOUD_OIDC_CLIENT_ID: 'other', NEXTCLOUD_OIDC_CLIENT_SECRET: 'python' }, 'own'],
    [{ OIDC_CLIENT_SECRET: 'own', NEXTCLOUD_OIDC_CLIENT_ID: 'mine', NEXTCLOUD_OIDC_CLIENT_SECRET: 'python' }, 'python'],
    [{ NEXTCLOUD_OIDC_CLIENT_ID: ' mine\n', NEXTCLOUD_OIDC_CLIENT_SECRET: 'python' }, 'python'],
    [{ OIDC_CLIENT_ID: 'other', NEXTCLOUD_OIDC_CLIENT_ID: 'mine', NEXTCLOUD_OIDC_CLIENT_SECRET: 'python' }, 'python'],
    [
      {
        OIDC_CLIENT_ID: 'mine',
        OIDC_CLIENT_SECRET: 'own',
        NEXTCLOUD_OIDC_CLIENT_ID: 'mine',
        NEXTCLOUD_OIDC_CLIENT_SECRET: 'python',
      },
      'own',
    ],
    [{ NEXTCLOUD_OIDC_CLIENT_ID: 'other', NEXTCLOUD_OIDC_CLIENT_SECRET: 'python' }, undefined],
    [{ OIDC_CLIENT_ID: 'other', NEXTCLOUD_OIDC_CLIENT_SECRET: 'python' }, undefined],
    [{ OIDC_CLIENT_ID: 'mine', NEXTCLOUD_OIDC_CLIENT_SECRET: 'python' }, undefined],
  ])('gives a clientId that is an option the secret that is its own, of %j: %s', (variables, secret) => {
    const issuers = [{ issuer: 'https://a.example.com' }, { issuer: 'https://b.example.com' }]
    for (const options of [LEAST, { ...LEAST, issuer: undefined, issuers }]) {
      const { client } = readConfig({ ...options, clientId: 'mine' }, variables)
      expect(client).toMatchObject({ id: 'mine', hasCredentials: secret !== undefined })
      expect(client?.secret).toBe(secret)
    }
  })

  it.each(['login_flow', 'LOGIN_FLOW', ' Login_Flow\n'])(
    'has MCP_DEPLOYMENT_MODE=%j mean app-password mode',
    (text) => {
      const { ENABLE_TOKEN_EXCHANGE, ...others } = { ...complete, NEXTCLOUD_IDENTITY: 'sub', MCP_DEPLOYMENT_MODE: text }

      expect(readConfig({}, others).nextcloud?.mode).toBe('app-password')
      expect(readConfig({}, { ...others, ENABLE_TOKEN_EXCHANGE }).nextcloud?.mode).toBe('pass-through')
    },
  )

  it.each<[options: McpAuthOptions, scopes: readonly string[]]>([
    [{}, []],
    [{ scopesSupported: ['a', 'b'] }, ['a', 'b']],
    [{ scopesSupported: ['a', 'b'], requiredScopes: ['a'] }, ['a']],
    [{ scopesSupported: ['a', 'b'], requiredScopes: ['a'], challengeScopes: [] }, []],
  ])('or the options %j say the scopes of a 401: %j', (options, challengeScopes) => {
    expect(readConfig({ ...LEAST, ...options }, {})).toMatchObject({ challengeScopes })
    const tabbed = { NEXTCLOUD_OIDC_SCOPES: 'openid \tnotes.read\nopenid' }
    expect(readConfig({ ...LEAST, ...options }, tabbed)).toMatchObject({
      challengeScopes: options.challengeScopes ?? ['openid', 'notes.read'],
    })
  })

  it.each(['https://cloud.example.com', 'https://cloud.example.com/', 'https://example.com/cloud'])(
    'has Nextcloud itself be the provider where nothing names another: %s',
    (host) => {
      const { OIDC_ISSUER, OIDC_DISCOVERY_URL, ...others } = { ...complete, NEXTCLOUD_HOST: host }
      const ofNextcloud = new URL(`${host.replace(/\/$/, '')}/.well-known/openid-configuration`)

      expect(readConfig({}, others)).toMatchObject({ issuer: undefined, discoveryUrl: ofNextcloud })
      expect(readConfig({}, { ...others, OIDC_ISSUER })).toMatchObject({ issuer: OIDC_ISSUER, discoveryUrl: undefined })
      expect(readConfig({}, { ...others, OIDC_DISCOVERY_URL })).toMatchObject({
        discoveryUrl: new URL(OIDC_DISCOVERY_URL),
      })
      expect(refusalOf({ nextcloud: { url: host } }, others)).toMatchObject({ option: 'issuer' })
    },
  )

  it('has a secret that gives way to clientAuth without a contradiction', () => {
    const clientAuth = None()
    const { client } = readConfig({ ...LEAST, clientAuth }, { OIDC_CLIENT_ID: 'c', OIDC_CLIENT_SECRET: 's' })

    expect(client).toMatchObject({ id: 'c', secret: undefined, auth: clientAuth })
  })
})

describe('an error names the variable that the value came from', () => {
  const noMode =
    'must be true (token-exchange mode) or false (pass-through mode); refresh-token mode comes with the option storage'

  const NO_SCOPES = 'must be a list of scopes, each without spaces, quotes or backslashes (RFC 6749 section 3.3)'

  it.each([
    ['issuer', 'OIDC_ISSUER', 'idp.example.com', 'must be an absolute URL'],
    ['issuer', 'OIDC_ISSUER', 'https://idp.example.com?a', 'must not have a query (RFC 8414 section 2)'],
    ['discoveryUrl', 'OIDC_DISCOVERY_URL', 'meta', 'must be an absolute URL'],
    ['resource', 'NEXTCLOUD_MCP_SERVER_URL', '/mcp', 'must be an absolute URL'],
    [
      'allowedClients',
      'ALLOWED_MCP_CLIENTS',
      'a,,b',
      'must be a list of strings, with no empty list and no empty string',
    ],
    ['nextcloud.url', 'NEXTCLOUD_HOST', 'https://cloud.example.com?a=b', 'must not have a query'],
    ['nextcloud.mode', 'ENABLE_TOKEN_EXCHANGE', 'refresh-token', noMode],
    ['nextcloud.mode', 'ENABLE_TOKEN_EXCHANGE', 'constructor', noMode],
    ['challengeScopes', 'NEXTCLOUD_OIDC_SCOPES', 'openid "a"', NO_SCOPES],
  ])('%s from %s: %s', (option, variable, value, reason) => {
    expect(refusalOf({}, { ...complete, [variable]: value })).toEqual(refused(option, reason, variable))
  })

  it.each(['OIDC_CLIENT_SECRET', 'NEXTCLOUD_OIDC_CLIENT_SECRET'])('clientSecret from %s, without a client', (name) => {
    expect(refusalOf(LEAST, { [name]: 's' })).toEqual(
      refused('clientSecret', 'needs clientId (environment variable OIDC_CLIENT_ID)', name),
    )
  })

  it.each([
    ['single_user_basic', 'passwords of Nextcloud are not taken'],
    ['multi_user_basic', 'passwords of Nextcloud are not taken'],
    ['oauth_single_audience', 'ENABLE_TOKEN_EXCHANGE=false'],
    ['oauth_token_exchange', 'ENABLE_TOKEN_EXCHANGE=true'],
    ['true', 'must be login_flow (app-password mode)'],
  ])('nextcloud.mode from MCP_DEPLOYMENT_MODE, with what fits in its place: %s', (value, advice) => {
    const { option, message } =
      refusalOf({}, { ...complete, ENABLE_TOKEN_EXCHANGE: '', MCP_DEPLOYMENT_MODE: value }) ?? {}

    expect(option).toBe('nextcloud.mode')
    expect(message).toMatch(/^nextcloud\.mode \(environment variable MCP_DEPLOYMENT_MODE\) must be login_flow /)
    expect(message?.split('\n').find((line) => line.includes(advice))).toContain(value === 'true' ? '' : value)
  })

  it('and only then', () => {
    expect(refusalOf({ resource: '/mcp' }, complete)).toEqual(refused('resource', 'must be an absolute URL'))
  })
})

describe('mcpAuth() without an argument', () => {
  afterEach(() => vi.unstubAllEnvs())

  /** The middleware of these variables, until the test ends. */
  function fromEnvironment(variables: Readonly<Record<string, string>>): McpAuth {
    for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
    const auth = mcpAuth()
    onTestFinished(() => auth.close())
    return auth
  }

  it('lives from the environment alone', async () => {
    const { as } = await world({ mode: 'none', clock: manualClock(Date.now()) })
    const auth = fromEnvironment({
      ...complete,
      OIDC_ISSUER: '',
      OIDC_DISCOVERY_URL: `${as.issuer}/.well-known/openid-configuration`,
      OIDC_CLIENT_ID: CLIENT_ID,
      OIDC_CLIENT_SECRET: CLIENT_SECRET,
      ALLOWED_MCP_CLIENTS: 'mcp-client',
      ENABLE_TOKEN_EXCHANGE: 'true',
    })
    expect(as.received()).toEqual([])

    expect(await auth.getNextcloudToken({ token: await as.mint() })).toBe('nextcloud-token-1')
    expect(as.received('/token').map(({ form }) => form.getAll('audience'))).toEqual([['a,b']])
    await expect(auth.verify(await as.mint({ client_id: 'stranger' }))).rejects.toMatchObject({
      reason: 'client',
      headers: { 'WWW-Authenticate': expect.stringContaining(METADATA_URL) as string },
    })
  })

  it('reads the environment once, and later changes nothing', async () => {
    const auth = fromEnvironment(complete)
    vi.stubEnv('NEXTCLOUD_MCP_SERVER_URL', 'https://other.example.com')

    await expect(auth.verify('')).rejects.toMatchObject({
      headers: { 'WWW-Authenticate': expect.stringContaining(METADATA_URL) as string },
    })
  })
})
