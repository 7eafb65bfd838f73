import { describe, expect, it, vi } from 'vitest'
import type { McpAuthInfo, NextcloudOptions } from '../../src/index.js'
import { failureOf, setUp } from '../support/broker-setup.js'
import { CLIENT_ID, CLIENT_SECRET } from '../support/scripted-authorization-server.js'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

/** Everything that a token request for `alice` says, in alphabetical order, and her MCP token. */
async function requestWith(nextcloud: NextcloudOptions, options?: { scopes?: string[]; audience?: string | string[] }) {
  const { as, signIn } = await setUp({ nextcloud })
  const info = await signIn()
  await info.extra.getNextcloudToken(options)
  const [request] = as.received('/token')
  return { form: sorted([...request!.form]), request: request!, mcpToken: info.token }
}

function sorted(parameters: [string, string][]): [string, string][] {
  return parameters.sort((a, b) => (a.join('=') < b.join('=') ? -1 : 1))
}

describe('a token-exchange request', () => {
  it('says what RFC 8693 asks for, and no more', async () => {
    const { form, mcpToken } = await requestWith({})
    expect(form).toEqual([
      ['audience', 'nextcloud'],
      ['grant_type', 'urn:ietf:params:oauth:grant-type:token-exchange'],
      ['requested_token_type', ACCESS_TOKEN],
      ['subject_token', mcpToken],
      ['subject_token_type', ACCESS_TOKEN],
    ])
  })

  it('is a form, posted with the credentials of this client in its header', async () => {
    const { request } = await requestWith({})
    expect(request.method).toBe('POST')
    expect(request.headers['content-type']).toMatch(/^application\/x-www-form-urlencoded\b/)
    expect(request.headers.accept).toBe('application/json')
    const credentials = request.headers.authorization!.replace(/^Basic /, '')
    const [id, secret] = Buffer.from(credentials, 'base64').toString().split(':')
    expect([id, new URLSearchParams(`secret=${secret}`).get('secret')]).toEqual([CLIENT_ID, CLIENT_SECRET])
  })

  it('names each audience and each resource, and joins the scopes', async () => {
    const { form } = await requestWith({
      audience: ['nextcloud', 'files'],
      resource: ['https://a.example.com', 'https://b.example.com'],
      scopes: ['read', 'write'],
    })
    expect(form.filter(([name]) => ['audience', 'resource', 'scope'].includes(name))).toEqual([
      ['audience', 'files'],
      ['audience', 'nextcloud'],
      ['resource', 'https://a.example.com'],
      ['resource', 'https://b.example.com'],
      ['scope', 'read write'],
    ])
  })

  it('takes the scopes and the audience of the call instead of the configured ones', async () => {
    const configured = { audience: 'nextcloud', scopes: ['read'] }
    const { form } = await requestWith(configured, { scopes: ['write', 'share'], audience: ['files', 'talk'] })
    expect(form.filter(([name]) => ['audience', 'scope'].includes(name))).toEqual([
      ['audience', 'files'],
      ['audience', 'talk'],
      ['scope', 'write share'],
    ])
  })

  it('asks for no scope when the call lists none', async () => {
    const { request } = await requestWith({ scopes: ['read'] }, { scopes: [] })
    expect(request.form.has('scope')).toBe(false)
  })

  it('holds nextcloud.parameters, which may replace the kinds of token and nothing else', async () => {
    const jwt = 'urn:ietf:params:oauth:token-type:jwt'
    const { form, mcpToken } = await requestWith({ parameters: { requested_token_type: jwt, connection: 'nextcloud' } })
    expect(form).toEqual([
      ['audience', 'nextcloud'],
      ['connection', 'nextcloud'],
      ['grant_type', 'urn:ietf:params:oauth:grant-type:token-exchange'],
      ['requested_token_type', jwt],
      ['subject_token', mcpToken],
      ['subject_token_type', ACCESS_TOKEN],
    ])
  })
})

describe('a jwt-bearer request', () => {
  it('says what Entra asks for, and never names an audience', async () => {
    const { form, mcpToken } = await requestWith({
      mode: 'jwt-bearer',
      audience: 'nextcloud',
      scopes: ['api://nextcloud/.default', 'offline'],
    })
    expect(form).toEqual([
      ['assertion', mcpToken],
      ['grant_type', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
      ['requested_token_use', 'on_behalf_of'],
      ['scope', 'api://nextcloud/.default offline'],
    ])
  })

  it('says nothing of scopes and resources that are not set', async () => {
    const { form, mcpToken } = await requestWith({ mode: 'jwt-bearer' })
    expect(form).toEqual([
      ['assertion', mcpToken],
      ['grant_type', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
      ['requested_token_use', 'on_behalf_of'],
    ])
  })

  it('holds each resource, the scopes of the call and nextcloud.parameters', async () => {
    const { form, mcpToken } = await requestWith(
      {
        mode: 'jwt-bearer',
        scopes: ['read'],
        resource: ['https://a.example.com', 'https://b.example.com'],
        parameters: { requested_token_use: 'other', tenant: 'acme' },
      },
      { scopes: ['write'] },
    )
    expect(form).toEqual([
      ['assertion', mcpToken],
      ['grant_type', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
      ['requested_token_use', 'other'],
      ['resource', 'https://a.example.com'],
      ['resource', 'https://b.example.com'],
      ['scope', 'write'],
      ['tenant', 'acme'],
    ])
  })
})

describe('nextcloud.scopes as a function', () => {
  it('chooses the scopes by the verified token, once for each token', async () => {
    const scopes = vi.fn((info: McpAuthInfo) => info.scopes.map((scope) => `nextcloud:${scope}`))
    const { as, auth, clock, signIn } = await setUp({ nextcloud: { scopes } })
    const reader = await signIn({ scope: 'read' })
    const writer = await signIn({ sub: 'bob', scope: 'write share' })

    for (const info of [reader, reader, writer]) await info.extra.getNextcloudToken()
    clock.advance(300_000)
    for (const info of [reader, writer]) await auth.getNextcloudToken(info)

    const read = 'nextcloud:read'
    const write = 'nextcloud:write nextcloud:share'
    expect(as.received('/token').map(({ form }) => form.get('scope'))).toEqual([read, write, read, write])
    expect(scopes.mock.calls).toEqual([[reader], [writer]])
  })

  it('is not asked when the call lists its own scopes', async () => {
    const scopes = vi.fn(() => ['read'])
    const { as, signIn } = await setUp({ nextcloud: { scopes } })
    const info = await signIn()
    await info.extra.getNextcloudToken({ scopes: ['write'] })
    expect(as.received('/token')[0]!.form.get('scope')).toBe('write')
    expect(scopes).not.toHaveBeenCalled()
  })

  it('fails only the call when it throws, and is asked again by the next', async () => {
    const scopes = vi.fn(() => ['read']).mockImplementationOnce(throwing)
    const { exchanges, signIn } = await setUp({ nextcloud: { scopes } })
    const { getNextcloudToken } = (await signIn()).extra

    expect(await failureOf(getNextcloudToken())).toBeInstanceOf(Error)
    expect(exchanges()).toBe(0)
    expect(await getNextcloudToken()).toBe('nextcloud-token-1')
  })

  it('is a failure of this server when it throws', async () => {
    const { signIn } = await setUp({ nextcloud: { scopes: throwing } })
    const failure = await failureOf((await signIn()).extra.getNextcloudToken())
    expect(failure).toMatchObject({ name: 'InternalError', code: 'ERR_INTERNAL', status: 500 })
    expect(failure).toHaveProperty('cause.message', 'the database of roles is away')
  })

  it.each([[['read write']], [undefined]])(
    'is a failure of this server when it chooses %j, which is no list of scopes',
    async (chosen) => {
      const { exchanges, signIn } = await setUp({ nextcloud: { scopes: () => chosen as string[] } })
      const failure = await failureOf((await signIn()).extra.getNextcloudToken())
      expect(failure).toMatchObject({ status: 500 })
      expect(exchanges()).toBe(0)
    },
  )
})

function throwing(): never {
  throw new Error('the database of roles is away')
}
