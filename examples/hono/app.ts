import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { McpHttpHandler } from '@modelcontextprotocol/server'
import { Hono, type MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import type { McpAuth, McpAuthInfo } from 'mcp-nextcloud-auth'

interface Env {
  Bindings: HttpBindings
  Variables: { mcpAuth?: McpAuthInfo }
}

/** An app of Hono on Node, with an MCP server at `/mcp`. */
export function createApp(auth: McpAuth, mcp: McpHttpHandler): Hono<Env> {
  const app = new Hono<Env>()
  app.use(nodeRoutes(auth))
  // For MCP clients in browsers. It also answers their preflights.
  app.use('/mcp', cors({ origin: '*', exposeHeaders: ['WWW-Authenticate', 'Mcp-Session-Id'] }))
  app.use('/mcp', verified(auth))
  app.all('/mcp', ({ req, var: { mcpAuth } }) => mcp.fetch(req.raw, mcpAuth && { authInfo: mcpAuth }))
  return app
}

/** The metadata for MCP clients, and the pages on which people connect: they take the request of Node. */
function nodeRoutes(auth: McpAuth): MiddlewareHandler<Env> {
  const routes = auth.routes()
  return ({ env: { incoming, outgoing } }, next) =>
    new Promise((resolve, reject) => {
      outgoing.once('close', () => resolve(RESPONSE_ALREADY_SENT))
      routes(incoming, outgoing, (error) => {
        if (error === undefined) next().then(() => resolve(), reject)
        else reject(error instanceof Error ? error : new Error('A page failed'))
      })
    })
}

/** Lets verified requests pass, with the caller in `mcpAuth`. */
function verified(auth: McpAuth): MiddlewareHandler<Env> {
  return async ({ req, set }, next) => {
    const verdict = await auth.authenticate(req.raw)
    if ('status' in verdict) {
      const { status, headers, body } = verdict
      return Response.json(body, { status, headers })
    }
    if ('info' in verdict) set('mcpAuth', verdict.info)
    await next()
    return undefined
  }
}
