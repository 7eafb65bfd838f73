import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js'
import type { CallToolResult, ServerNotification, ServerRequest } from '@modelcontextprotocol/sdk/types.js'
import type { McpAuth } from 'mcp-nextcloud-auth'
import { scopedTools } from 'mcp-nextcloud-auth/mcp-v1'
import { createNote, listNotes, newNote, noteId, readNote, toolScopes, type NextcloudFetch } from './notes.js'

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>

/** The same note tools on MCP SDK v1. */
export function createNotesServerV1(auth: McpAuth): McpServer {
  const server = new McpServer({ name: 'notes', version: '1.0.0' })
  scopedTools(auth, server, toolScopes)
  server.registerTool('list_notes', { description: 'List your notes' }, async (extra) =>
    text(await listNotes(nextcloudFor(extra))),
  )
  server.registerTool('read_note', { description: 'Read one note', inputSchema: noteId }, async ({ id }, extra) =>
    text(await readNote(nextcloudFor(extra), id)),
  )
  server.registerTool('create_note', { description: 'Write a note', inputSchema: newNote }, async (content, extra) =>
    text(await createNote(nextcloudFor(extra), content)),
  )
  return server

  function nextcloudFor({ authInfo }: Extra): NextcloudFetch {
    if (authInfo === undefined) throw new Error('This tool is only served behind mcpAuth')
    return (path, init) => auth.nextcloudFetch(authInfo, path, init)
  }
}

function text(content: string): CallToolResult {
  return { content: [{ type: 'text', text: content }] }
}
