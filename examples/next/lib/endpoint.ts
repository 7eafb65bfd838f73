import type { McpHttpHandler } from '@modelcontextprotocol/server'
import type { McpAuth } from 'mcp-nextcloud-auth'

type RouteHandler = (request: Request) => Promise<Response>

/** Headers for MCP clients in browsers. */
const CORS = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Expose-Headers': 'WWW-Authenticate, Mcp-Session-Id',
}

/** Returns the handler of the MCP endpoint: verified requests go on to the MCP server. */
export function mcpEndpoint(getAuth: () => McpAuth, getMcp: () => McpHttpHandler): RouteHandler {
  return async (request) => {
    const verdict = await getAuth().authenticate(request)
    if ('preflight' in verdict) return preflight(request)
    if ('status' in verdict) {
      const { status, headers, body } = verdict
      return withCors(Response.json(body, { status, headers }))
    }
    return withCors(await getMcp().fetch(request, { authInfo: verdict.info }))
  }
}

function preflight(request: Request): Response {
  const asked = request.headers.get('Access-Control-Request-Headers') ?? 'authorization, content-type'
  const headers = {
    ...CORS,
    'Access-Control-Allow-Methods': 'GET, POST, DELETE',
    'Access-Control-Allow-Headers': asked,
  }
  return new Response(null, { status: 204, headers: { ...headers, 'Access-Control-Max-Age': '86400' } })
}

function withCors({ body, status, headers }: Response): Response {
  const all = new Headers(headers)
  for (const [name, value] of Object.entries(CORS)) all.set(name, value)
  return new Response(body, { status, headers: all })
}

/** Returns the handler of the metadata for MCP clients (RFC 9728). `resource` is what was configured, to the letter. */
export function metadataEndpoint(document: () => { resource: string; issuer: string; scopes: readonly string[] }) {
  return (): Response => {
    const { resource, issuer, scopes } = document()
    return Response.json(
      { resource, authorization_servers: [issuer], scopes_supported: scopes, bearer_methods_supported: ['header'] },
      { headers: { 'Access-Control-Allow-Origin': '*', 'Cache-Control': 'public, max-age=300' } },
    )
  }
}
