import { None } from 'oauth4webapi'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { readConfig } from '../../src/config/read-config.js'
import type { ConnectHandler } from '../../src/http/router.js'
import { mcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import type { Environment, McpAuthOptions } from '../../src/options.js'
import { ask, askWith, invalidToken, METADATA_URL } from '../support/answers.js'
import { bareHost, type RunningApp } from '../support/hosts.js'
import { CLIENT, LEAST, refusalOf, refused } from '../support/refusal.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.js'

/** Enough for everything, so that one variable can be looked at at a time. */
const complete: Environment = {
  OIDC_ISSUER: 'https://idp.example.com',
  OIDC_DISCOVERY_URL: 'https://internal.example.com/meta',
  NEXTCLOUD_MCP_SERVER_URL: 'https://mcp.example.com/mcp',
  OIDC_CLIENT_ID: 'from-environment',
  OIDC_CLIENT_SECRET: 'secret',
  ALLOWED_MCP_CLIENTS: 'one, two ,three',
  NEXTCLOUD_HOST: 'https://cloud.example.com',
  ENABLE_TOKEN_EXCHANGE: 'true',
  NEXTCLOUD_RESOURCE_URI: 'https://cloud.example.com/resource',
}

const expected = {
  issuer: 'https://idp.example.com',
  discoveryUrl: new URL('https://internal.example.com/meta'),
  resource: 'https://mcp.example.com/mcp',
  client: { id: 'from-environment', secret: 'secret', auth: undefined },
  audience: ['https://mcp.example.com/mcp', 'from-environment'],
  allowedClients: new Set(['one', 'two', 'three']),
  nextcloud: {
    url: new URL('https://cloud.example.com'),
    mode: 'token-exchange',
    audience: ['https://cloud.example.com/resource'],
  },
}

describe('the environment', () => {
  it('stands in for every option that has a variable', () => {
    expect(readConfig(undefined, complete)).toMatchObject(expected)
    expect(readConfig({}, complete)).toMatchObject(expected)
  })

  it('is read with the white space round a value cut off', () => {
    const padded = Object.fromEntries(Object.entries(complete).map(([name, value]) => [name, ` ${value ?? ''}\n`]))

    expect(readConfig({}, padded)).toMatchObject(expected)
  })

  it.each([
    ['OIDC_DISCOVERY_URL', { discoveryUrl: undefined }],
    ['OIDC_ISSUER', { issuer: undefined }],
    ['ALLOWED_MCP_CLIENTS', { allowedClients: undefined }],
    ['NEXTCLOUD_HOST', { nextcloud: undefined }],
    ['ENABLE_TOKEN_EXCHANGE', { nextcloud: { mode: 'token-exchange' } }],
    ['NEXTCLOUD_RESOURCE_URI', { nextcloud: { audience: ['nextcloud'] } }],
  ])('has an empty %s count as one that is not set', (variable, config) => {
    for (const empty of ['', '  ', '\n', undefined]) {
      expect(readConfig({}, { ...complete, [variable]: empty })).toMatchObject(config)
    }
  })

  it('has an empty NEXTCLOUD_MCP_SERVER_URL and an empty OIDC_CLIENT_ID count as missing', () => {
    expect(refusalOf({}, { ...complete, NEXTCLOUD_MCP_SERVER_URL: '' })).toMatchObject({ option: 'resource' })
    expect(refusalOf({}, { ...complete, OIDC_CLIENT_ID: '' })).toMatchObject({ option: 'clientSecret' })
    expect(refusalOf({}, { ...complete, OIDC_CLIENT_SECRET: '' })).toMatchObject({ option: 'clientSecret' })
  })

  it.each<[variable: string, given: McpAuthOptions, config: object]>([
    ['OIDC_ISSUER', { issuer: 'https://given.example' }, { issuer: 'https://given.example' }],
    [
      'OIDC_DISCOVERY_URL',
      { discoveryUrl: 'https://given.example' },
      { discoveryUrl: new URL('https://given.example') },
    ],
    ['NEXTCLOUD_MCP_SERVER_URL', { resource: 'https://given.example' }, { resource: 'https://given.example' }],
    ['OIDC_CLIENT_ID', { clientId: 'given' }, { client: { id: 'given' } }],
    ['OIDC_CLIENT_SECRET', { clientSecret: 'given' }, { client: { secret: 'given' } }],
    ['ALLOWED_MCP_CLIENTS', { allowedClients: ['given'] }, { allowedClients: new Set(['given']) }],
    [
      'NEXTCLOUD_HOST',
      { nextcloud: { url: 'https://given.example' } },
      { nextcloud: { url: new URL('https://given.example') } },
    ],
    ['NEXTCLOUD_RESOURCE_URI', { nextcloud: { audience: 'given' } }, { nextcloud: { audience: ['given'] } }],
    ['ENABLE_TOKEN_EXCHANGE', { nextcloud: { mode: 'jwt-bearer' } }, { nextcloud: { mode: 'jwt-bearer' } }],
  ])('gives way to an option: %s', (_variable, given, config) => {
    expect(readConfig(given, complete)).toMatchObject(config)
  })

  it('is not looked at, however wrong, where the option is given', () => {
    const wrong = { OIDC_ISSUER: 'nonsense', NEXTCLOUD_MCP_SERVER_URL: 'nonsense', ENABLE_TOKEN_EXCHANGE: 'perhaps' }
    const nextcloud = { url: 'https://cloud.example.com', mode: 'pass-through' }

    expect(refusalOf({ ...LEAST, nextcloud }, wrong)).toBeUndefined()
  })

  it('has a secret that gives way to clientAuth without a contradiction', () => {
    const clientAuth = None()

    const { client } = readConfig({ ...LEAST, clientAuth }, { OIDC_CLIENT_ID: 'c', OIDC_CLIENT_SECRET: 's' })

    expect(client).toMatchObject({ id: 'c', secret: undefined, auth: clientAuth })
  })

  it.each([
    ['true', 'token-exchange'],
    ['false', 'pass-through'],
  ])('has ENABLE_TOKEN_EXCHANGE=%s mean %s', (value, mode) => {
    expect(readConfig({}, { ...complete, ENABLE_TOKEN_EXCHANGE: value }).nextcloud?.mode).toBe(mode)
  })

  it('may hold a single audience with a comma in it', () => {
    expect(readConfig({}, { ...complete, NEXTCLOUD_RESOURCE_URI: 'a,b' }).nextcloud?.audience).toEqual(['a,b'])
  })
})

describe('an error names the variable that the value came from', () => {
  it.each([
    ['issuer', 'OIDC_ISSUER', 'idp.example.com', 'must be an absolute URL'],
    [
      'issuer',
      'OIDC_ISSUER',
      'http://idp.example.com',
      'must be https, or http on loopback (RFC 8414 section 2); discoveryUrl may be an internal address',
    ],
    ['issuer', 'OIDC_ISSUER', 'https://idp.example.com?a', 'must not have a query (RFC 8414 section 2)'],
    ['discoveryUrl', 'OIDC_DISCOVERY_URL', 'meta', 'must be an absolute URL'],
    ['resource', 'NEXTCLOUD_MCP_SERVER_URL', '/mcp', 'must be an absolute URL'],
    ['resource', 'NEXTCLOUD_MCP_SERVER_URL', 'https://h/#f', 'must not have a fragment'],
    [
      'allowedClients',
      'ALLOWED_MCP_CLIENTS',
      'one,,two',
      'must be a list of strings, with no empty list and no empty string',
    ],
    ['nextcloud.url', 'NEXTCLOUD_HOST', 'cloud.example.com', 'must be an absolute URL'],
    ['nextcloud.url', 'NEXTCLOUD_HOST', 'https://cloud.example.com?a=b', 'must not have a query'],
    [
      'nextcloud.mode',
      'ENABLE_TOKEN_EXCHANGE',
      'refresh-token',
      'must be true (token-exchange mode) or false (pass-through mode); refresh-token mode comes with the option storage',
    ],
  ])('%s from %s: %s', (option, variable, value, reason) => {
    expect(refusalOf({}, { ...complete, [variable]: value })).toEqual(refused(option, reason, variable))
  })

  it('clientSecret from OIDC_CLIENT_SECRET, without a client', () => {
    expect(refusalOf(LEAST, { OIDC_CLIENT_SECRET: 's' })).toEqual(
      refused('clientSecret', 'needs clientId (environment variable OIDC_CLIENT_ID)', 'OIDC_CLIENT_SECRET'),
    )
  })

  it('and only then', () => {
    const environment = { NEXTCLOUD_MCP_SERVER_URL: 'https://mcp.example.com' }

    expect(refusalOf({ ...LEAST, ...CLIENT, resource: '/mcp' }, environment)).toEqual(
      refused('resource', 'must be an absolute URL'),
    )
  })
})

describe('mcpAuth() without an argument', () => {
  let as: ScriptedAuthorizationServer | undefined
  let auth: McpAuth | undefined
  let app: RunningApp | undefined
  const theApp: ConnectHandler = (_req, res) => res.end('reached')

  afterEach(async () => {
    vi.unstubAllEnvs()
    await app?.close()
    await auth?.close()
    await as?.close()
  })

  it('lives from the environment alone', async () => {
    as = await startAuthorizationServer()
    const environment = {
      ...complete,
      OIDC_ISSUER: '',
      OIDC_DISCOVERY_URL: `${as.issuer}/.well-known/openid-configuration`,
      OIDC_CLIENT_ID: CLIENT_ID,
      OIDC_CLIENT_SECRET: CLIENT_SECRET,
      ALLOWED_MCP_CLIENTS: 'mcp-client',
    }
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
    auth = mcpAuth()
    app = await bareHost.start([auth.routes(), auth, theApp])

    expect(as.received()).toEqual([])
    expect(await askWith(app.url, await as.mint())).toMatchObject({ status: 200, body: 'reached' })
    expect(await askWith(app.url, await as.mint({ client_id: 'stranger' }))).toEqual(
      invalidToken('The client of the access token is not allowed here', ''),
    )
    expect(await ask(app.url, { path: new URL(METADATA_URL).pathname })).toMatchObject({
      status: 200,
      body: { resource: RESOURCE, authorization_servers: [as.issuer] },
    })
    expect(await auth.getNextcloudToken({ token: await as.mint() })).toBe('nextcloud-token-1')
    expect(as.received('/token').map(({ form }) => form.getAll('audience'))).toEqual([
      ['https://cloud.example.com/resource'],
    ])
  })

  it('says what is missing when there is nothing', () => {
    for (const name of Object.keys(complete)) vi.stubEnv(name, '')

    expect(() => mcpAuth()).toThrow(
      'issuer is required (or discoveryUrl, or an environment variable: OIDC_ISSUER, OIDC_DISCOVERY_URL)',
    )
  })

  it('reads the environment once, and later changes nothing', async () => {
    for (const [name, value] of Object.entries(complete)) vi.stubEnv(name, value)
    auth = mcpAuth()
    vi.stubEnv('NEXTCLOUD_MCP_SERVER_URL', 'https://other.example.com')
    app = await bareHost.start([auth])

    expect(await ask(app.url)).toMatchObject({
      status: 401,
      challenge: `Bearer realm="mcp", resource_metadata="${METADATA_URL}"`,
    })
  })
})
