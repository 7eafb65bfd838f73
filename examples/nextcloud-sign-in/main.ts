import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import express from 'express'
import { mcpAuth } from 'mcp-nextcloud-auth'
import { nextcloudSignIn } from 'mcp-nextcloud-auth/authorization-server'
import { withNextcloud } from 'mcp-nextcloud-auth/mcp-v2'

// A server of your own with the same sign-in: one tool, and grants in memory, which end with the process.
const { NEXTCLOUD_MCP_SERVER_URL: resource = '', NEXTCLOUD_HOST: url = '', PORT = '3000' } = process.env
const { NEXTCLOUD_OIDC_CLIENT_ID: clientId = '', NEXTCLOUD_OIDC_CLIENT_SECRET: clientSecret = '' } = process.env

const signIn = await nextcloudSignIn({
  resource,
  nextcloud: { url, clientId, clientSecret },
  scopes: { profile: 'See your name in Nextcloud' },
})
const auth = mcpAuth(signIn.options)

const mcp = createMcpHandler(() => {
  const server = new McpServer({ name: 'alone', version: '1.0.0' })
  server.registerTool(
    'whoami',
    { description: 'The account of the user in Nextcloud' },
    withNextcloud(auth, async (_ctx, nextcloud) => {
      const { id } = await nextcloud.user()
      return { content: [{ type: 'text', text: id }] }
    }),
  )
  return server
})
const handle = toNodeHandler(mcp)

const app = express()
app.use(signIn.routes())
app.use(auth.routes())
app.all(new URL(resource).pathname, auth, (req, res) => void handle(req, res, req.body))
app.listen(Number(PORT), '127.0.0.1', () => process.stdout.write(`Listening on http://127.0.0.1:${PORT}\n`))
