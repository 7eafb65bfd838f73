import { inspect } from 'node:util'
import type { McpAuthEvent } from 'mcp-nextcloud-auth'
import { afterEach, expect, it } from 'vitest'
import { runScenario } from '../../examples/demo/scenario.js'
import { startServers, type Servers } from '../../examples/demo/start-servers.js'
import { createTimeline } from '../../examples/demo/timeline.js'
import { callTool } from './json-rpc.js'

let servers: Servers

afterEach(() => servers.close())

/** The beginning of any JWT: `{"` in base64url. */
const jwt = /eyJ[\w-]{8}/

it('no event and no printed line of a whole session holds a token or the client secret', async () => {
  const events: McpAuthEvent[] = []
  let printed = ''
  servers = await startServers({ onEvent: (event) => events.push(event) })
  const timeline = createTimeline({ write: (text) => (printed += text) })

  await runScenario(servers, timeline)

  expect(timeline.summary()).toBe(true)
  expect(events.map(({ type }) => type)).toContain('nextcloud.token')
  for (const text of [printed, inspect(events, { depth: Infinity })]) {
    expect(text).not.toMatch(jwt)
    expect(text).not.toContain(servers.identityProvider.client.clientSecret)
    expect(text).not.toMatch(/code=|code_verifier/)
  }
})

it('no error and no answer about a bad token repeats the token', async () => {
  servers = await startServers()
  const { identityProvider, mcpUrl, notes } = servers
  const issue = (resource: string, lifetime: number) =>
    identityProvider.issueAccessToken({ subject: 'alice', resource, scope: 'notes:read', lifetime })
  const good = await issue(mcpUrl, 600)
  const bad = [await issue(mcpUrl, -60), await issue(servers.mcpV1Url, 600), `${good.slice(0, -8)}AAAAAAAA`]

  for (const token of bad) {
    const error: unknown = await notes.auth.verify(token).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(Error)
    expect(inspect(error, { depth: Infinity, showHidden: true })).not.toMatch(jwt)
    const { headers, body } = await callTool(mcpUrl, token, 'list_notes')
    expect(inspect([...headers, body])).not.toMatch(jwt)
  }
})
