import type { IncomingMessage, ServerResponse } from 'node:http'
import { toNodeHandler } from '@modelcontextprotocol/node'
import type { McpHttpHandler } from '@modelcontextprotocol/server'

/** Serves the MCP server on the request of Node, whose method and URL are optional by its type, though a server's request has both. */
export function nodeHandler(mcp: McpHttpHandler): (req: IncomingMessage, res: ServerResponse) => void {
  const handle = toNodeHandler(mcp)
  return (req, res) => {
    const { method = 'GET', url = '/' } = req
    void handle(Object.assign(req, { method, url }), res)
  }
}
