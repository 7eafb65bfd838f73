import { afterAll, beforeAll, expect, it } from 'vitest'
import { startServers, type Servers } from '../../examples/demo/start-servers.js'
import { callTool, toolText } from './json-rpc.js'

let servers: Servers

beforeAll(async () => {
  servers = await startServers()
})
afterAll(() => servers.close())

it('50 users with 20 calls each at once: everybody reads their own note, and one token each is exchanged', async () => {
  const { identityProvider, mcpUrl, nextcloud } = servers
  const users = Array.from({ length: 50 }, (_, index) => `user-${index}`)
  const tokens = new Map<string, string>()
  for (const user of users) {
    tokens.set(user, await identityProvider.issueAccessToken({ subject: user, resource: mcpUrl, scope: 'notes:read' }))
  }
  // Every user once, then every user again, so that calls of all users are under way at the same time.
  const calls = Array.from({ length: 20 }, () => users).flat()

  const texts = await Promise.all(
    calls.map(async (user) => toolText(await callTool(mcpUrl, tokens.get(user) ?? '', 'read_note', { id: 1 }))),
  )

  expect(texts).toEqual(calls.map((user) => `Shopping: Bread, olives and coffee for ${user}`))
  expect(nextcloud.received.every(({ status }) => status === 200)).toBe(true)
  expect(identityProvider.exchanges()).toBe(50)
})
