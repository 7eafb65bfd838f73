import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import type { RequestHandler } from 'express'
import type { McpAuth } from 'mcp-nextcloud-auth'
import { scopedTools, withNextcloud } from 'mcp-nextcloud-auth/mcp-v1'
import type { McpEndpoint } from './app.js'
import { createNote, listNotes, readNote, tools, toolScopes } from './notes.js'

/**
 * The same tools on MCP SDK v1. It keeps no sessions, so any instance can answer any request; without a session a client
 * cannot be asked within a call, and gets the link to the connect page as text.
 */
export function mcpEndpointV1(auth: McpAuth): McpEndpoint {
  const open = new Set<McpServer>()
  const handle: RequestHandler = async (req, res) => {
    const server = createServer(auth)
    open.add(server)
    res.on('close', () => {
      open.delete(server)
      void server.close()
    })
    const transport = new StreamableHTTPServerTransport()
    await server.connect(transport)
    await transport.handleRequest(req, res, req.body)
  }
  return {
    handlers: [requireToolScopes(auth), handle],
    async close() {
      await Promise.all([...open].map((server) => server.close()))
    },
  }
}

function createServer(auth: McpAuth): McpServer {
  const server = new McpServer({ name: 'nextcloud-notes', version: '1.0.0' })
  scopedTools(auth, server, toolScopes)
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

/**
 * Asks the MCP client for the scopes of the tools that a request calls (step-up): 403 with a challenge, where they are missing. SDK v1 begins
 * its HTTP answer before it looks at the call, so that `scopedTools` by itself can only refuse by a text there.
 */
function requireToolScopes(auth: McpAuth): RequestHandler {
  return (req, res, next) => {
    // JSON-RPC messages may come as a batch.
    const messages = [req.body as unknown].flat() as ({ method?: unknown; params?: { name?: unknown } } | undefined)[]
    const called = messages
      .filter((message) => message?.method === 'tools/call')
      .map((message) => message?.params?.name)
    const needed = Object.entries(toolScopes).flatMap(([name, scopes]) => (called.includes(name) ? scopes : []))
    if (needed.length === 0) next()
    else auth.requireScopes(...new Set(needed))(req, res, next)
  }
}
