import { afterEach, beforeEach, expect, it } from 'vitest'
import { startServers, type Servers } from '../../examples/demo/start-servers.js'
import { callTool, toolText } from './json-rpc.js'

let servers: Servers

beforeEach(async () => {
  servers = await startServers()
})
afterEach(() => servers.close())

const notesOf = (user: string) => `Shopping: Bread, olives and coffee for ${user}`

it('a provider that is down is an outage, 503 with Retry-After, and never a bad token', async () => {
  const token = await readerToken('alice')
  await servers.identityProvider.close()

  const { status, headers, body } = await callTool(servers.mcpUrl, token, 'list_notes')

  expect(status).toBe(503)
  expect(headers.get('WWW-Authenticate')).toBeNull()
  expect(Number(headers.get('Retry-After'))).toBeGreaterThan(0)
  expect(body).toEqual({
    error: 'temporarily_unavailable',
    error_description: 'The authorization server is not available',
  })
})

it('tokens that are known serve on while the provider is down', async () => {
  const token = await readerToken('alice')
  await callTool(servers.mcpUrl, token, 'read_note', { id: 1 })
  await servers.identityProvider.close()

  const answer = await callTool(servers.mcpUrl, token, 'read_note', { id: 1 })

  expect(answer.status).toBe(200)
  expect(toolText(answer)).toBe(notesOf('alice'))
})

it('a user whose exchange fails in an outage gets an error, and nothing reaches Nextcloud', async () => {
  const [alice, bob] = await Promise.all([readerToken('alice'), readerToken('bob')])
  await callTool(servers.mcpUrl, alice, 'read_note', { id: 1 })
  await servers.identityProvider.close()

  const answer = await callTool(servers.mcpUrl, bob, 'read_note', { id: 1 })

  expect(answer.body).toMatchObject({ result: { isError: true } })
  expect(toolText(answer)).not.toContain('for alice')
  expect(servers.nextcloud.received.map(({ claims }) => claims?.sub)).toEqual(['alice'])
})

it('the provider may change its signing key, and tokens of both keys are good', async () => {
  const { identityProvider, mcpUrl } = servers
  const before = await readerToken('alice')
  await callTool(mcpUrl, before, 'list_notes')
  await identityProvider.rotateSigningKey()
  const after = await readerToken('bob')

  const answers = await Promise.all([
    callTool(mcpUrl, after, 'read_note', { id: 1 }),
    callTool(mcpUrl, before, 'read_note', { id: 1 }),
  ])

  expect(answers.map(toolText)).toEqual([notesOf('bob'), notesOf('alice')])
})

function readerToken(subject: string): Promise<string> {
  return servers.identityProvider.issueAccessToken({ subject, resource: servers.mcpUrl, scope: 'notes:read' })
}
