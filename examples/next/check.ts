import { getRequestListener } from '@hono/node-server'
import { checkFramework } from '../demo/framework-check.js'
import { mcpEndpoint } from './lib/endpoint'
import { createMcp } from './lib/mcp'

type RouteModule = Readonly<Record<string, unknown>>
type Handler = (request: Request) => Response | Promise<Response>

/** Calls the route handlers as Next does: with a `Request`, by the folder that they are in. */
function listenerOf(routes: Readonly<Record<string, RouteModule>>) {
  return getRequestListener((request) => {
    const handler = routes[new URL(request.url).pathname]?.[request.method] as Handler | undefined
    return handler?.(request) ?? new Response(null, { status: 404 })
  })
}

process.exitCode = await checkFramework({
  createMcp,
  async start({ auth, resource, issuer, mcp }) {
    Object.assign(process.env, { NEXTCLOUD_MCP_SERVER_URL: resource, OIDC_ISSUER: issuer })
    Object.assign(globalThis, { mcpAuth: auth })
    const endpoint = await import('./app/mcp/route')
    const metadata = await import('./app/.well-known/oauth-protected-resource/route')
    // The MCP server of the check, in the second app, has a tool that streams.
    const POST = mcpEndpoint(
      () => auth,
      () => mcp,
    )
    const listener = listenerOf({
      '/mcp': { ...endpoint, POST },
      '/.well-known/oauth-protected-resource/mcp': await import('./app/.well-known/oauth-protected-resource/mcp/route'),
      '/.well-known/oauth-protected-resource': metadata,
    })
    return { listener: (req, res) => void listener(req, res), close: () => mcp.close() }
  },
})
