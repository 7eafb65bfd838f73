import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import type { McpAuth } from 'mcp-nextcloud-auth'
import { scopedTools, withNextcloud } from 'mcp-nextcloud-auth/mcp-v2'
import type { McpEndpoint } from './app.js'
import { createNote, listNotes, readNote, tools, toolScopes } from './notes.js'

/** The tools on MCP SDK v2: a client that can show links is sent to the connect page within the call. */
export function mcpEndpointV2(auth: McpAuth): McpEndpoint {
  const mcp = createMcpHandler(() => {
    const server = new McpServer({ name: 'nextcloud-notes', version: '1.0.0' })
    scopedTools(auth, server, toolScopes)
    const { list_notes, read_note, create_note } = tools
    server.registerTool(
      'list_notes',
      { description: list_notes.description },
      withNextcloud(auth, (_ctx, nextcloud) => listNotes(nextcloud)),
    )
    server.registerTool(
      'read_note',
      { description: read_note.description, inputSchema: read_note.inputSchema },
      withNextcloud(auth, ({ id }, _ctx, nextcloud) => readNote(nextcloud, id)),
    )
    server.registerTool(
      'create_note',
      { description: create_note.description, inputSchema: create_note.inputSchema },
      withNextcloud(auth, (note, _ctx, nextcloud) => createNote(nextcloud, note)),
    )
    return server
  })
  const handle = toNodeHandler(mcp)
  return { handlers: [(req, res) => void handle(req, res, req.body)], close: () => mcp.close() }
}
