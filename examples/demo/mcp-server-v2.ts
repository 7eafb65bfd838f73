import { McpServer, type CallToolResult, type ServerContext } from '@modelcontextprotocol/server'
import type { McpAuth } from 'mcp-nextcloud-auth'
import { scopedTools } from 'mcp-nextcloud-auth/mcp-v2'
import { createNote, listNotes, newNote, noteId, readNote, toolScopes, type NextcloudFetch } from './notes.js'

/** The note tools on MCP SDK v2, which serves each request with a server of its own. */
export function createNotesServer(auth: McpAuth): McpServer {
  const server = new McpServer({ name: 'notes', version: '1.0.0' })
  scopedTools(auth, server, toolScopes)
  server.registerTool('list_notes', { description: 'List your notes' }, async (ctx) =>
    text(await listNotes(nextcloudFor(ctx))),
  )
  server.registerTool('read_note', { description: 'Read one note', inputSchema: noteId }, async ({ id }, ctx) =>
    text(await readNote(nextcloudFor(ctx), id)),
  )
  server.registerTool('create_note', { description: 'Write a note', inputSchema: newNote }, async (content, ctx) =>
    text(await createNote(nextcloudFor(ctx), content)),
  )
  return server

  function nextcloudFor({ http }: ServerContext): NextcloudFetch {
    const who = http?.authInfo
    if (who === undefined) throw new Error('This tool is only served behind mcpAuth')
    return (path, init) => auth.nextcloudFetch(who, path, init)
  }
}

function text(content: string): CallToolResult {
  return { content: [{ type: 'text', text: content }] }
}
