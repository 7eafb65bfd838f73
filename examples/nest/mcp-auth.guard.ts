import { HttpException, Inject, Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common'
import type { Request, Response } from 'express'
import type { McpAuth, McpAuthInfo } from 'mcp-nextcloud-auth'

/** The token under which the app's `mcpAuth()` is injected. */
export const MCP_AUTH = Symbol('mcpAuth')

/** A request with its caller, as MCP handlers look for it. */
export interface VerifiedRequest extends Request {
  auth?: McpAuthInfo
}

/** Lets verified requests pass, with the caller in `req.auth`. */
@Injectable()
export class McpAuthGuard implements CanActivate {
  private readonly auth: McpAuth

  constructor(@Inject(MCP_AUTH) auth: McpAuth) {
    this.auth = auth
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const http = context.switchToHttp()
    const req = http.getRequest<VerifiedRequest>()
    // A header that came twice is there twice.
    const { method, originalUrl: url, headersDistinct: headers } = req
    const verdict = await this.auth.authenticate({ method, url, headers })
    if ('status' in verdict) {
      http.getResponse<Response>().set(verdict.headers)
      // Its body is sent as it is.
      throw new HttpException(verdict.body, verdict.status)
    }
    if ('info' in verdict) req.auth = verdict.info
    return 'info' in verdict
  }
}
