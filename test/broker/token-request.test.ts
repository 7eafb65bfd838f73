import { describe, expect, it, vi } from 'vitest'
import type { AuthorizationServerClient } from '../../src/authorization-server/client.js'
import { createExchange } from '../../src/broker/modes/exchange.js'
import { createTokenKeys } from '../../src/broker/token-keys.js'
import { readConfig } from '../../src/config/read-config.js'
import type { McpAuthInfo, NextcloudOptions, NextcloudTokenOptions } from '../../src/index.js'
import { LEAST } from '../support/refusal.js'
import { failureOf } from '../support/promises.js'
import { world } from '../support/world.js'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

const ANSWER = { accessToken: 'token', expiresIn: undefined, sentAt: 0 }

/** Returns what is sent for an MCP token, in alphabetical order. */
async function requestWith(nextcloud: Partial<NextcloudOptions>, options?: NextcloudTokenOptions) {
  const given = { url: 'https://cloud.example.com', ...nextcloud }
  const config = readConfig({ ...LEAST, clientId: 'a', clientSecret: 'b', nextcloud: given }, {})
  const exchange = vi.fn<AuthorizationServerClient['exchange']>().mockResolvedValue(ANSWER)
  const rooms = {
    config,
    nextcloud: config.nextcloud!,
    client: { exchange } as Partial<AuthorizationServerClient> as AuthorizationServerClient,
  }
  const { target } = createTokenKeys(config, config.nextcloud!, { boundToMcpToken: true })
  const session = { scopes: () => config.nextcloud!.fixedScopes }
  await createExchange(rooms)({ token: 'mcp-token' }, target(session, options))
  const [grantType, token, parameters] = exchange.mock.calls[0]!
  expect(token).toBe('mcp-token')
  return [['grant_type', grantType], ...parameters].sort((a, b) => (a.join('=') < b.join('=') ? -1 : 1))
}

const OF_THE_TARGET = ['audience', 'resource', 'scope']
const targetOf = (form: string[][]) => form.filter(([name]) => OF_THE_TARGET.includes(name!))

describe('a token-exchange request', () => {
  it('has what RFC 8693 asks for, and no more', async () => {
    expect(await requestWith({})).toEqual([
      ['audience', 'nextcloud'],
      ['grant_type', TOKEN_EXCHANGE],
      ['requested_token_type', ACCESS_TOKEN],
      ['subject_token', 'mcp-token'],
      ['subject_token_type', ACCESS_TOKEN],
    ])
  })

  it('is a form, posted', async () => {
    const { as, signIn } = await world()
    await (await signIn()).extra.getNextcloudToken()
    const [{ method, headers }] = as.received('/token') as [ReturnType<typeof as.received>[number]]
    expect([method, headers.accept]).toEqual(['POST', 'application/json'])
    expect(headers['content-type']).toMatch(/^application\/x-www-form-urlencoded\b/)
  })

  it('names each audience and each resource, and joins the scopes', async () => {
    const resource = ['https://a.example.com', 'https://b.example.com']
    const form = await requestWith({ audience: ['nextcloud', 'files'], resource, scopes: ['read', 'write'] })
    expect(targetOf(form)).toEqual([
      ['audience', 'files'],
      ['audience', 'nextcloud'],
      ['resource', 'https://a.example.com'],
      ['resource', 'https://b.example.com'],
      ['scope', 'read write'],
    ])
  })

  it('takes the scopes and the audience of the call instead of the configured ones', async () => {
    const configured = { audience: 'nextcloud', scopes: ['read'] }
    const form = await requestWith(configured, { scopes: ['write', 'share'], audience: ['files', 'talk'] })
    expect(targetOf(form)).toEqual([
      ['audience', 'files'],
      ['audience', 'talk'],
      ['scope', 'write share'],
    ])
    expect(targetOf(await requestWith(configured, { scopes: [], audience: 'files' }))).toEqual([['audience', 'files']])
  })

  it('holds nextcloud.parameters, which may replace the kinds of token and nothing else', async () => {
    const jwt = 'urn:ietf:params:oauth:token-type:jwt'
    expect(await requestWith({ parameters: { requested_token_type: jwt, connection: 'nextcloud' } })).toEqual([
      ['audience', 'nextcloud'],
      ['connection', 'nextcloud'],
      ['grant_type', TOKEN_EXCHANGE],
      ['requested_token_type', jwt],
      ['subject_token', 'mcp-token'],
      ['subject_token_type', ACCESS_TOKEN],
    ])
  })
})

describe('a jwt-bearer request', () => {
  const own = (use = 'on_behalf_of') => [
    ['assertion', 'mcp-token'],
    ['grant_type', JWT_BEARER],
    ['requested_token_use', use],
  ]

  it('has what Entra asks for, and never names an audience', async () => {
    expect(await requestWith({ mode: 'jwt-bearer', audience: 'nextcloud' })).toEqual(own())
    const scopes = ['api://nextcloud/.default', 'offline']
    expect(await requestWith({ mode: 'jwt-bearer', scopes })).toEqual([
      ...own(),
      ['scope', 'api://nextcloud/.default offline'],
    ])
  })

  it('holds each resource, the scopes of the call and nextcloud.parameters', async () => {
    const resource = ['https://a.example.com', 'https://b.example.com']
    const parameters = { requested_token_use: 'other', tenant: 'acme' }
    const form = await requestWith(
      { mode: 'jwt-bearer', scopes: ['read'], resource, parameters },
      { scopes: ['write'] },
    )
    expect(form).toEqual([
      ...own('other'),
      ['resource', 'https://a.example.com'],
      ['resource', 'https://b.example.com'],
      ['scope', 'write'],
      ['tenant', 'acme'],
    ])
  })
})

describe('nextcloud.scopes as a function', () => {
  it('chooses the scopes by the verified token, once for each token, unless the call lists its own', async () => {
    const scopes = vi.fn((info: McpAuthInfo) => info.scopes.map((scope) => `nextcloud:${scope}`))
    const { as, auth, clock, signIn } = await world({ options: { nextcloud: { scopes } } })
    const reader = await signIn({ scope: 'read' })
    const writer = await signIn({ sub: 'bob', scope: 'write share' })

    await reader.extra.getNextcloudToken({ scopes: ['own'] })
    expect(scopes).not.toHaveBeenCalled()
    for (const info of [reader, reader, writer]) await info.extra.getNextcloudToken()
    clock.advance(300_000)
    for (const info of [reader, writer]) await auth.getNextcloudToken(info)

    const read = 'nextcloud:read'
    const write = 'nextcloud:write nextcloud:share'
    expect(as.received('/token').map(({ form }) => form.get('scope'))).toEqual(['own', read, write, read, write])
    expect(scopes.mock.calls).toEqual([[reader], [writer]])
  })

  it('is a failure of this server when it throws, for that call alone', async () => {
    const bug = new Error('the database of roles is unavailable')
    const scopes = vi
      .fn(() => ['read'])
      .mockImplementationOnce(() => {
        throw bug
      })
    const { exchanges, signIn } = await world({ options: { nextcloud: { scopes } } })
    const { getNextcloudToken } = (await signIn()).extra

    const failure = await failureOf(getNextcloudToken())
    expect(failure).toMatchObject({ name: 'InternalError', code: 'ERR_INTERNAL', status: 500, cause: bug })
    expect(exchanges()).toBe(0)
    expect(await getNextcloudToken()).toBe('nextcloud-token-1')
  })

  it.each([[['read write']], [undefined]])('is a failure of this server when it chooses %j', async (chosen) => {
    const { exchanges, signIn } = await world({ options: { nextcloud: { scopes: () => chosen as string[] } } })
    expect(await failureOf((await signIn()).extra.getNextcloudToken())).toMatchObject({ status: 500 })
    expect(exchanges()).toBe(0)
  })
})
