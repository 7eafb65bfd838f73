import { None } from 'oauth4webapi'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { DECLARATIONS } from '../../src/config/declarations.js'
import { readConfig } from '../../src/config/read-config.js'
import { mcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
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
}

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
      })
    }
    const variables = [...DECLARATIONS.values()].flatMap(({ environment }) => environment ?? [])
    expect(new Set([...Object.keys(complete), 'TOKEN_ENCRYPTION_KEY', 'NEXTCLOUD_IDENTITY'])).toEqual(
      new Set(variables),
    )
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
  ])('has an empty %s count as one that is not set', (variable, config) => {
    for (const empty of ['', '  ', '\n', undefined]) {
      const environment = { ...complete, [variable]: empty }
      if (config === undefined) expect(refusalOf({}, environment)).toBeDefined()
      else expect(readConfig({}, environment)).toMatchObject(config)
    }
  })

  it('has a secret that gives way to clientAuth without a contradiction', () => {
    const clientAuth = None()
    const { client } = readConfig({ ...LEAST, clientAuth }, { OIDC_CLIENT_ID: 'c', OIDC_CLIENT_SECRET: 's' })

    expect(client).toMatchObject({ id: 'c', secret: undefined, auth: clientAuth })
  })
})

describe('an error names the variable that the value came from', () => {
  const noMode =
    'must be true (token-exchange mode) or false (pass-through mode); refresh-token mode comes with the option storage'

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
  ])('%s from %s: %s', (option, variable, value, reason) => {
    expect(refusalOf({}, { ...complete, [variable]: value })).toEqual(refused(option, reason, variable))
  })

  it('clientSecret from OIDC_CLIENT_SECRET, without a client', () => {
    expect(refusalOf(LEAST, { OIDC_CLIENT_SECRET: 's' })).toEqual(
      refused('clientSecret', 'needs clientId (environment variable OIDC_CLIENT_ID)', 'OIDC_CLIENT_SECRET'),
    )
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
