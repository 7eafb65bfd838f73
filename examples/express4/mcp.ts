import { createMcpHandler, McpServer, type McpHttpHandler } from '@modelcontextprotocol/server'
import type { McpAuth } from 'mcp-nextcloud-auth'

/** The MCP server, with one tool, which asks Nextcloud who the user is. */
export function createMcp(auth: McpAuth): McpHttpHandler {
  return createMcpHandler(() => {
    const server = new McpServer({ name: 'nextcloud', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who I am in Nextcloud' }, async ({ http }) => {
      const answer = await auth.nextcloudFetch(http?.authInfo, '/ocs/v2.php/cloud/user?format=json')
      return { content: [{ type: 'text', text: await answer.text() }], isError: !answer.ok }
    })
    return server
  })
}
