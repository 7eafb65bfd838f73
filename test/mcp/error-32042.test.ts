import { expect, it } from 'vitest'
import type { McpClientKind } from '../support/mcp-clients.js'
import type { McpServerKind } from '../support/mcp-servers.js'
import { setUpMcp, toolCalls } from '../support/mcp-setup.js'

const pairs: readonly [McpClientKind, McpServerKind][] = [
  ['SDK v1, 2025-11-25', 'SDK v1 with sessions, in JSON'],
  ['SDK v2, 2025-11-25', 'SDK v1 with sessions, in JSON'],
  ['SDK v1, 2025-11-25', 'SDK v2 with sessions, in JSON'],
  ['SDK v2, 2025-11-25', 'SDK v2 with sessions, in JSON'],
]

it.each(pairs)(
  'between a client (%s) and a server (%s), which answers in JSON, a call fails with URLElicitationRequiredError, and another one goes on',
  async (clientKind, serverKind) => {
    const { client, connect, link } = await setUpMcp(serverKind)
    const { callTool, questions, sent } = await client(clientKind, { answer: () => Promise.resolve('accept') })

    const failure = await callTool('read_note', { id: 7 }).catch((error: unknown) => error)

    const { elicitationId, connectUrl: url } = link
    const message = 'Nextcloud is not connected yet. Open this page to connect it.'
    expect(failure).toMatchObject({
      code: -32042,
      data: { elicitations: [{ mode: 'url', elicitationId, url, message }] },
      // A client that does not know the code shows the message.
      message: expect.stringContaining(url) as string,
    })
    expect(questions).toEqual([])
    expect(toolCalls(sent)).toBe(1)
    await connect()
    expect(await callTool('read_note', { id: 7 })).toEqual({ text: 'note 7', isError: false })
    expect(questions).toEqual([])
  },
)
