import { toNodeHandler, type NodeMcpRequestHandler } from '@modelcontextprotocol/node'
import type { McpHttpHandler } from '@modelcontextprotocol/server'
import { All, Controller, Inject, Req, Res, UseGuards } from '@nestjs/common'
import type { Response } from 'express'
import { McpAuthGuard, type VerifiedRequest } from './mcp-auth.guard.js'

/** The token under which the MCP server is injected. */
export const MCP_SERVER = Symbol('mcpServer')

@Controller('mcp')
@UseGuards(McpAuthGuard)
export class McpController {
  private readonly handler: NodeMcpRequestHandler

  constructor(@Inject(MCP_SERVER) mcp: McpHttpHandler) {
    this.handler = toNodeHandler(mcp)
  }

  /** Nest has parsed the body, and leaves the answer to the MCP server, which may stream it. */
  @All()
  handle(@Req() req: VerifiedRequest, @Res() res: Response): Promise<void> {
    return this.handler(req, res, req.body)
  }
}
