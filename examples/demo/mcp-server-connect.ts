import { McpServer, type CallToolResult } from '@modelcontextprotocol/server'
import type { McpAuth } from 'mcp-nextcloud-auth'
import { scopedTools, withNextcloud } from 'mcp-nextcloud-auth/mcp-v2'
import { createNote, listNotes, newNote, noteId, readNote, toolScopes } from './notes.js'

/** The note tools for users who connect Nextcloud once: whoever has not, is asked to by the MCP client, within the call. */
export function createConnectingNotesServer(auth: McpAuth): McpServer {
  const server = new McpServer({ name: 'notes', version: '1.0.0' })
  scopedTools(auth, server, toolScopes)
  server.registerTool(
    'list_notes',
    { description: 'List your notes' },
    withNextcloud(auth, async (_ctx, { fetch }) => text(await listNotes(fetch))),
  )
  server.registerTool(
    'read_note',
    { description: 'Read one note', inputSchema: noteId },
    withNextcloud(auth, async ({ id }, _ctx, { fetch }) => text(await readNote(fetch, id))),
  )
  server.registerTool(
    'create_note',
    { description: 'Write a note', inputSchema: newNote },
    withNextcloud(auth, async (content, _ctx, { fetch }) => text(await createNote(fetch, content))),
  )
  return server
}

function text(content: string): CallToolResult {
  return { content: [{ type: 'text', text: content }] }
}
