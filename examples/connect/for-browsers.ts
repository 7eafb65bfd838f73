import type { IncomingMessage, ServerResponse } from 'node:http'

/**
 * Lets MCP clients in browsers send requests and read the answers (CORS).
 *
 * @returns true if the request was a preflight, which is answered then
 */
export function allowBrowsers({ method }: IncomingMessage, res: ServerResponse): boolean {
  res.setHeader('Access-Control-Allow-Origin', '*')
  res.setHeader('Access-Control-Allow-Methods', 'GET, POST, DELETE')
  res.setHeader(
    'Access-Control-Allow-Headers',
    'Authorization, Content-Type, Last-Event-ID, MCP-Protocol-Version, Mcp-Session-Id',
  )
  res.setHeader('Access-Control-Expose-Headers', 'WWW-Authenticate, Mcp-Session-Id')
  if (method === 'OPTIONS') res.writeHead(204).end()
  return method === 'OPTIONS'
}
