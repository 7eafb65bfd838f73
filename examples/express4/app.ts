import { toNodeHandler } from '@modelcontextprotocol/node'
import type { McpHttpHandler } from '@modelcontextprotocol/server'
import express, { type Express, type RequestHandler } from 'express4'
import type { McpAuth } from 'mcp-nextcloud-auth'

/** An app of Express 4, with an MCP server at `/mcp`. */
export function createApp(auth: McpAuth, mcp: McpHttpHandler): Express {
  const app = express()
  const handle = toNodeHandler(mcp)
  app.disable('x-powered-by')
  // The metadata for MCP clients, and the pages on which people connect.
  app.use(auth.routes())
  // Express 4 does not see a promise that rejects; this handler answers its own failures.
  app.all('/mcp', forBrowsers, auth, (req, res) => void handle(req, res, req.body))
  app.use(auth.errorHandler())
  return app
}

/** Lets MCP clients in browsers send requests and read the answers (CORS). */
const forBrowsers: RequestHandler = ({ method }, res, next) => {
  res.set({
    'Access-Control-Allow-Origin': '*',
    'Access-Control-Allow-Methods': 'GET, POST, DELETE',
    'Access-Control-Allow-Headers': 'Authorization, Content-Type, Last-Event-ID, MCP-Protocol-Version, Mcp-Session-Id',
    'Access-Control-Expose-Headers': 'WWW-Authenticate, Mcp-Session-Id',
  })
  if (method === 'OPTIONS') res.status(204).end()
  else next()
}
