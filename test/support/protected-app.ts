import type { IncomingMessage } from 'node:http'
import type { McpAuthInfo } from '../../src/auth-info.js'
import type { Clock } from '../../src/clock.js'
import type { AuthenticatedRequest } from '../../src/http/authentication.js'
import type { ConnectHandler } from '../../src/http/router.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import type { Handler, Host, RunningApp } from './hosts.js'

/** A request that has got as far as a handler of the app, with or without what the middleware attaches. */
export type PassedRequest = IncomingMessage &
  Partial<Pick<AuthenticatedRequest, 'mcpAuth' | 'getNextcloudToken'>> & { readonly auth?: unknown }

/** An app that lets nobody in without an MCP token. */
export interface ProtectedApp extends RunningApp {
  readonly auth: McpAuth
  /** Every request that got through. */
  readonly passed: readonly PassedRequest[]
}

interface Surroundings {
  /** Handlers in front of the middleware. */
  readonly before?: readonly Handler[]
  /** Handlers behind the middleware and in front of the one that answers with what the token says. */
  readonly after?: (auth: McpAuth) => readonly Handler[]
  /** Error handlers. */
  readonly last?: (auth: McpAuth) => readonly Handler[]
  readonly maxHeaderSize?: number
}

export async function startProtectedApp(
  host: Host,
  options: McpAuthOptions,
  clock: Clock,
  { before = [], after = () => [], last = () => [], ...serverOptions }: Surroundings = {},
): Promise<ProtectedApp> {
  // A test of warnings says `onEvent: undefined`: without a listener they go to stderr.
  const auth = createMcpAuth({ onEvent: () => undefined, ...options }, clock)
  const passed: PassedRequest[] = []
  const showCaller: ConnectHandler = (req, res) => {
    passed.push(req)
    res.setHeader('Content-Type', 'application/json')
    res.end(JSON.stringify(callerOf(req) ?? null))
  }
  const app = await host.start([...before, auth, ...after(auth), showCaller, ...last(auth)], serverOptions)
  return {
    url: app.url,
    auth,
    passed,
    async close() {
      await app.close()
      await auth.close()
    },
  }
}

/** What the middleware has attached. */
export function callerOf(req: IncomingMessage): McpAuthInfo | undefined {
  return (req as PassedRequest).mcpAuth
}
