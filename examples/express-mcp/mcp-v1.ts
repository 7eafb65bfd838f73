import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import type { McpAuth } from 'mcp-nextcloud-auth'
import { withNextcloud } from 'mcp-nextcloud-auth/mcp-v1'
import type { McpEndpoint } from './app.js'
import { createNote, listNotes, readNote, tools } from './notes.js'

/**
 * The same tools on MCP SDK v1. It keeps no sessions, so any instance can answer any request; without a session a client
 * cannot be asked within a call, and gets the link to the connect page as text.
 */
export function mcpEndpointV1(auth: McpAuth): McpEndpoint {
  const open = new Set<McpServer>()
  return {
    async handle(req, res) {
      const server = createServer(auth)
      open.add(server)
      res.on('close', () => {
        open.delete(server)
        void server.close()
      })
      const transport = new StreamableHTTPServerTransport()
      await server.connect(transport)
      await transport.handleRequest(req, res, req.body)
    },
    async close() {
      await Promise.all([...open].map((server) => server.close()))
    },
  }
}

function createServer(auth: McpAuth): McpServer {
  const server = new McpServer({ name: 'nextcloud-notes', version: '1.0.0' })
  const { list_notes, read_note, create_note } = tools
  server.registerTool(
    'list_notes',
    { description: list_notes.description },
    withNextcloud(auth, (_extra, nextcloud) => listNotes(nextcloud)),
  )
  server.registerTool(
    'read_note',
    { description: read_note.description, inputSchema: read_note.inputSchema },
    withNextcloud(auth, ({ id }, _extra, nextcloud) => readNote(nextcloud, id)),
  )
  server.registerTool(
    'create_note',
    { description: create_note.description, inputSchema: create_note.inputSchema },
    withNextcloud(auth, (note, _extra, nextcloud) => createNote(nextcloud, note)),
  )
  return server
}
