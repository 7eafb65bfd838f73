import { decodeJwt } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { browserOf, connectNotesClient, connectNotesClientV1 } from '../../examples/demo/client.js'
import { startServers, type Servers } from '../../examples/demo/start-servers.js'

let servers: Servers

beforeEach(async () => {
  // With a listener, so that warnings of an outage do not go to stderr.
  servers = await startServers({ onEvent: () => undefined })
})
afterEach(() => servers.close())

const pairs = [
  { name: 'an SDK v2 client on 2026-07-28 and an SDK v2 server', connect: connectNotesClient, server: 'mcpUrl' },
  {
    name: 'an SDK v2 client on 2025-11-25 and an SDK v2 server',
    connect: (options: Parameters<typeof connectNotesClient>[0]) =>
      connectNotesClient({ ...options, protocol: 'legacy' }),
    server: 'mcpUrl',
  },
  { name: 'an SDK v1 client and an SDK v2 server', connect: connectNotesClientV1, server: 'mcpUrl' },
  { name: 'an SDK v1 client and an SDK v1 server', connect: connectNotesClientV1, server: 'mcpV1Url' },
  { name: 'an SDK v2 client and an SDK v1 server', connect: connectNotesClient, server: 'mcpV1Url' },
] as const

describe.each(pairs)('between $name', ({ connect, server }) => {
  it('a user signs in and reads a note with a token that is for Nextcloud', async () => {
    const url = servers[server]
    const client = await connect({ url, browser: browserOf('alice') })

    expect(await client.callTool('read_note', { id: 1 })).toBe('Shopping: Bread, olives and coffee for alice')

    const sent = decodeJwt(client.oauth.accessToken())
    const received = servers.nextcloud.received.at(-1)?.claims
    expect(sent).toMatchObject({ aud: url, sub: 'alice', scope: 'notes:read' })
    expect(received).toMatchObject({ aud: 'nextcloud', sub: 'alice', client_id: 'mcp-server' })
    expect(received?.jti).not.toBe(sent.jti)
    await client.close()
  })

  it('the client asks for the wider scope when a tool needs it, and the tool then runs', async () => {
    const client = await connect({ url: servers[server], browser: browserOf('bob') })

    const created = await client.callTool('create_note', { title: 'Trip', content: 'Pack a map' })
    const [, id] = /^Created note (\d+), Trip$/.exec(created) ?? []

    expect(decodeJwt(client.oauth.accessToken())).toMatchObject({ scope: 'notes:read notes:write' })
    expect(await client.callTool('read_note', { id: Number(id) })).toBe('Trip: Pack a map')
    await client.close()
  })
})

describe('a tool call', () => {
  it('without a token is refused with a challenge that leads to the provider', async () => {
    const { mcpUrl, identityProvider } = servers

    const { status, headers, body } = await post(mcpUrl, undefined, { jsonrpc: '2.0', id: 1, method: 'tools/list' })

    expect(status).toBe(401)
    expect(headers.get('WWW-Authenticate')).toBe(
      `Bearer realm="mcp", resource_metadata="${metadataUrl()}", scope="notes:read"`,
    )
    expect(body).toMatchObject({ error: 'unauthorized' })
    const metadata: unknown = await (await fetch(metadataUrl())).json()
    expect(metadata).toMatchObject({
      resource: mcpUrl,
      authorization_servers: [identityProvider.issuer],
      scopes_supported: ['notes:read', 'notes:write'],
    })
  })

  it.each([
    ['the other MCP server', () => servers.mcpV1Url],
    ['Nextcloud', () => 'nextcloud'],
  ])('with a genuine token that is for %s is refused', async (_whose, resource) => {
    const { identityProvider, mcpUrl, nextcloud } = servers
    const scope = 'notes:read notes:write'
    const token = await identityProvider.issueAccessToken({ subject: 'alice', resource: resource(), scope })

    const { status, headers, body } = await callTool(mcpUrl, token, 'list_notes')

    expect(status).toBe(401)
    expect(headers.get('WWW-Authenticate')).toContain(`resource_metadata="${metadataUrl()}"`)
    expect(body).toEqual({ error: 'invalid_token', error_description: 'The access token is for another audience' })
    expect(nextcloud.received).toEqual([])
  })

  describe.each(['mcpUrl', 'mcpV1Url'] as const)('at %s', (server) => {
    it.each<[string, (call: object) => object, string]>([
      ['by itself', (call) => call, 'application/json'],
      ['in a batch', (call) => [{ ...call, id: 0, method: 'ping' }, call], 'application/json'],
      ['as what only looks like JSON', (call) => call, 'text/plain; a=application/json'],
    ])('of a tool that writes, %s, needs notes:write and names all scopes', async (_form, message, contentType) => {
      const url = servers[server]
      const token = await readerToken('alice', url)
      const call = {
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'create_note', arguments: { title: 'Trip', content: 'Pack a map' } },
      }

      const { status, headers, body } = await post(url, token, message(call), contentType)

      expect(servers.nextcloud.received).toEqual([])
      // SDK v2 reads nothing but JSON.
      if (server === 'mcpUrl' && contentType !== 'application/json') return expect(status).toBe(415)
      expect(status).toBe(403)
      const challenge = headers.get('WWW-Authenticate')
      expect(challenge).toContain('error="insufficient_scope", ')
      expect(challenge).toContain(`resource_metadata="${metadataUrl(url)}"`)
      expect(challenge).toContain('scope="notes:read notes:write"')
      expect(body).toMatchObject({ error: 'insufficient_scope' })
    })
  })
})

it('Nextcloud refuses the MCP token itself, so passing it on would be no use', async () => {
  const headers = { Authorization: `Bearer ${await readerToken('alice')}`, 'OCS-APIRequest': 'true' }

  const { status } = await fetch(`${servers.nextcloud.url}/ocs/v2.php/cloud/user`, { headers })

  expect(status).toBe(401)
})

it('50 users with 20 calls each at once: everybody reads their own note, and one token each is exchanged', async () => {
  const { identityProvider, mcpUrl, nextcloud } = servers
  const users = Array.from({ length: 50 }, (_, index) => `user-${index}`)
  const tokens = new Map<string, string>()
  for (const user of users) tokens.set(user, await readerToken(user))
  // Every user once, then every user again, so that calls of all users are under way at the same time.
  const calls = Array.from({ length: 20 }, () => users).flat()

  const texts = await Promise.all(calls.map((user) => readNote(mcpUrl, tokens.get(user) ?? '')))

  expect(texts).toEqual(calls.map(notesOf))
  expect(nextcloud.received.every(({ status }) => status === 200)).toBe(true)
  expect(identityProvider.exchanges()).toBe(50)
})

it('while the provider is down, a user who is known reads on, and one who is not gets an error and nothing of others', async () => {
  const { identityProvider, mcpUrl, nextcloud } = servers
  const [alice, bob] = await Promise.all([readerToken('alice'), readerToken('bob')])
  await readNote(mcpUrl, alice)
  await identityProvider.close()

  expect(await readNote(mcpUrl, alice)).toBe(notesOf('alice'))
  const answer = await callTool(mcpUrl, bob, 'read_note', { id: 1 })
  expect(answer.body).toMatchObject({ result: { isError: true } })
  expect(toolText(answer)).not.toContain('for alice')
  expect(nextcloud.received.map(({ claims }) => claims?.sub)).toEqual(['alice', 'alice'])
})

it('the provider may change its signing key, and tokens of both keys are good', async () => {
  const { identityProvider, mcpUrl } = servers
  const before = await readerToken('alice')
  await readNote(mcpUrl, before)
  await identityProvider.rotateSigningKey()
  const after = await readerToken('bob')

  const texts = await Promise.all([readNote(mcpUrl, after), readNote(mcpUrl, before)])

  expect(texts).toEqual([notesOf('bob'), notesOf('alice')])
})

const notesOf = (user: string) => `Shopping: Bread, olives and coffee for ${user}`
const readNote = async (url: string, token: string) => toolText(await callTool(url, token, 'read_note', { id: 1 }))

function readerToken(subject: string, resource = servers.mcpUrl): Promise<string> {
  return servers.identityProvider.issueAccessToken({ subject, resource, scope: 'notes:read' })
}

function metadataUrl(resource = servers.mcpUrl): string {
  return resource.replace('/mcp', '/.well-known/oauth-protected-resource/mcp')
}

/** What a plain HTTP client sees of one JSON-RPC request: nothing here retries, signs in or hides a status. */
interface RpcAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
}

/** Calls a tool as a 2025 client without a session does. */
function callTool(url: string, token: string, name: string, args: Record<string, unknown> = {}): Promise<RpcAnswer> {
  return post(url, token, { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } })
}

async function post(
  url: string,
  token: string | undefined,
  message: unknown,
  contentType = 'application/json',
): Promise<RpcAnswer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
      Accept: 'application/json, text/event-stream',
      'Content-Type': contentType,
      'MCP-Protocol-Version': '2025-11-25',
    },
    body: JSON.stringify(message),
  })
  const text = await response.text()
  // As an event stream, the one message is behind `data: `.
  const json = text.slice(text.indexOf('{'))
  return { status: response.status, headers: response.headers, body: json === '' ? undefined : JSON.parse(json) }
}

/** The text that a tool gave. */
function toolText({ body }: RpcAnswer): string {
  const { result } = body as { result?: { content: { text: string }[] } }
  return result?.content.map(({ text }) => text).join('\n') ?? ''
}
