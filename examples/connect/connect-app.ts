import type { McpHttpHandler } from '@modelcontextprotocol/server'
import connect, { type Server } from 'connect'
import type { McpAuth } from 'mcp-nextcloud-auth'
import { allowBrowsers } from './for-browsers.js'
import { nodeHandler } from './node-handler.js'

/** An app of Connect, with an MCP server at `/mcp`. */
export function createConnectApp(auth: McpAuth, mcp: McpHttpHandler): Server {
  const app = connect()
  const handle = nodeHandler(mcp)
  // The metadata for MCP clients, and the pages on which people connect.
  app.use(auth.routes())
  app.use('/mcp', (req, res, next) => {
    if (!allowBrowsers(req, res)) next()
  })
  app.use('/mcp', auth)
  app.use('/mcp', handle)
  app.use(auth.errorHandler())
  return app
}
