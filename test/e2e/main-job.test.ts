import { decodeJwt } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { browserOf, connectNotesClient, connectNotesClientV1 } from '../../examples/demo/client.js'
import { startServers, type Servers } from '../../examples/demo/start-servers.js'
import { callTool, post, toolText } from './json-rpc.js'

let servers: Servers

beforeEach(async () => {
  servers = await startServers()
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

    expect(await client.callTool('create_note', { title: 'Trip', content: 'Pack a map' })).toBe('Created note 3, Trip')

    expect(decodeJwt(client.oauth.accessToken())).toMatchObject({ scope: 'notes:read notes:write' })
    expect(await client.callTool('read_note', { id: 3 })).toBe('Trip: Pack a map')
    await client.close()
  })
})

describe('a tool call', () => {
  it('that is repeated takes the Nextcloud token from the cache and asks the provider nothing', async () => {
    const { identityProvider, notes, mcpUrl, nextcloud } = servers
    const token = await readerToken('alice')
    await callTool(mcpUrl, token, 'read_note', { id: 1 })
    const before = notes.auth.stats()

    await callTool(mcpUrl, token, 'read_note', { id: 2 })

    const after = notes.auth.stats()
    expect(after.nextcloudCacheHits).toBe(before.nextcloudCacheHits + 1)
    expect(after.verifiedCacheHits).toBe(before.verifiedCacheHits + 1)
    expect(after.idpRequests).toBe(before.idpRequests)
    expect(identityProvider.exchanges()).toBe(1)
    expect(nextcloud.received.map(({ status }) => status)).toEqual([200, 200])
  })

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
    expect(headers.get('WWW-Authenticate')).toBe(
      `Bearer realm="mcp", error="invalid_token", resource_metadata="${metadataUrl()}", scope="notes:read", error_description="The access token is for another audience"`,
    )
    expect(body).toEqual({ error: 'invalid_token', error_description: 'The access token is for another audience' })
    expect(nextcloud.received).toEqual([])
  })

  describe.each(['mcpUrl', 'mcpV1Url'] as const)('at %s', (server) => {
    it.each([
      ['by itself', (call: object): object => call, 'application/json'],
      ['in a batch', (call: object): object => [{ ...call, id: 0, method: 'ping' }, call], 'application/json'],
      ['as what only looks like JSON', (call: object): object => call, 'text/plain; a=application/json'],
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

      const description = 'The access token lacks a scope that this operation needs'
      expect(status).toBe(403)
      expect(headers.get('WWW-Authenticate')).toBe(
        `Bearer realm="mcp", error="insufficient_scope", resource_metadata="${metadataUrl(url)}", scope="notes:read notes:write", error_description="${description}"`,
      )
      expect(body).toEqual({ error: 'insufficient_scope', error_description: description })
      expect(servers.nextcloud.received).toEqual([])
    })
  })

  it('of one user never shows what belongs to another', async () => {
    const answers = await Promise.all(
      ['alice', 'bob'].map(async (user) => callTool(servers.mcpUrl, await readerToken(user), 'read_note', { id: 1 })),
    )

    expect(answers.map(toolText)).toEqual([
      'Shopping: Bread, olives and coffee for alice',
      'Shopping: Bread, olives and coffee for bob',
    ])
  })
})

it('Nextcloud refuses the MCP token itself, so passing it on would be no use', async () => {
  const headers = { Authorization: `Bearer ${await readerToken('alice')}`, 'OCS-APIRequest': 'true' }

  const { status } = await fetch(`${servers.nextcloud.url}/ocs/v2.php/cloud/user`, { headers })

  expect(status).toBe(401)
})

function readerToken(subject: string, resource = servers.mcpUrl): Promise<string> {
  return servers.identityProvider.issueAccessToken({ subject, resource, scope: 'notes:read' })
}

function metadataUrl(resource = servers.mcpUrl): string {
  return resource.replace('/mcp', '/.well-known/oauth-protected-resource/mcp')
}
