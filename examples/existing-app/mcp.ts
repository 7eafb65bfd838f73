import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import type { RequestHandler } from 'express'
import type { McpAuth } from 'mcp-nextcloud-auth'

/** One tool, which asks Nextcloud who the user is. */
export function createMcp(auth: McpAuth): RequestHandler {
  const handle = toNodeHandler(
    createMcpHandler(() => {
      const server = new McpServer({ name: 'existing-app', version: '1.0.0' })
      server.registerTool('whoami', { description: 'Who I am in Nextcloud' }, async ({ http }) => {
        const answer = await auth.nextcloudFetch(http?.authInfo, '/ocs/v2.php/cloud/user?format=json')
        return { content: [{ type: 'text', text: await answer.text() }], isError: !answer.ok }
      })
      return server
    }),
  )
  // A body that a parser has read already is handed on.
  return (req, res) => void handle(req, res, req.body)
}
