import type { IncomingMessage } from 'node:http'
import type { AuthenticatedRequest } from '../../src/http/authentication.js'
import type { ConnectHandler } from '../../src/http/router.js'
import type { McpAuth } from '../../src/mcp-auth.js'
import type { Handler } from './hosts.js'

/** A request that has got as far as a handler of the app, with or without what the middleware attaches. */
export type PassedRequest = IncomingMessage &
  Partial<Pick<AuthenticatedRequest, 'mcpAuth' | 'getNextcloudToken'>> & { readonly auth?: unknown }

/** Answers with what the middleware has attached. */
export const showCaller: ConnectHandler = (req, res) => {
  res.setHeader('Content-Type', 'application/json')
  res.end(JSON.stringify((req as PassedRequest).mcpAuth ?? null))
}

/** The handlers of an app that lets nobody in without an MCP token. */
export const protectedApp = (auth: McpAuth): Handler[] => [auth, showCaller]
