import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import express from 'express'
import { logEvents, mcpAuth } from 'mcp-nextcloud-auth'
import { withNextcloud } from 'mcp-nextcloud-auth/mcp-v2'
import { SqliteStorage } from 'mcp-nextcloud-auth/sqlite'
import { DatabaseSync } from 'node:sqlite'

// All else is in .env.
const [claude] = /[^\s,]+/.exec(process.env.ALLOWED_MCP_CLIENTS ?? '') ?? [] // the first client that .env lets in
const auth = mcpAuth({
  resourceName: 'Acme notes', // the name of this server that people see
  storage: new SqliteStorage(new DatabaseSync('grants.db')),
  connect: { clientName: (id) => (id === claude ? 'Claude' : undefined) },
  onEvent: logEvents(console), // who called, and why something failed; never a token
})
const mcp = toNodeHandler(
  createMcpHandler(() => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    server.registerTool(
      'list_notes',
      { description: 'List my notes' },
      withNextcloud(auth, async (_ctx, nextcloud) => {
        const answer = await nextcloud.fetch('/index.php/apps/notes/api/v1/notes')
        return { content: [{ type: 'text', text: await answer.text() }], isError: !answer.ok }
      }),
    )
    return server
  }),
)
const app = express()
app.set('trust proxy', 1) // the one proxy, and the only way in, names the callers, whom limits count
app.use(auth.routes())
app.all('/mcp', auth, (req, res) => void mcp(req, res, req.body))
app.listen(3000)
