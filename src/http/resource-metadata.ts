import type { Config } from '../config/config.js'
import { McpAuthError } from '../errors/errors.js'
import { answer } from './challenge.js'
import { withoutEndSlash, type RouteHandler, type Routes } from './router.js'

const ROOT_FORM = '/.well-known/oauth-protected-resource'

/**
 * Returns the routes of this server's protected resource metadata (RFC 9728 §3): the path that goes with `resource` and, unless
 * switched off, the root, which clients try next.
 */
export function resourceMetadataRoutes(config: Config, issuer: () => string | Promise<string>): Routes {
  const path = withoutEndSlash(new URL(config.resourceMetadataUrl).pathname)
  const methods = { GET: serveDocument(config, issuer), OPTIONS: allowEveryOrigin }
  return new Map([[path, methods], ...(config.rootMetadata ? [[ROOT_FORM, methods] as const] : [])])
}

function serveDocument(config: Config, issuer: () => string | Promise<string>): RouteHandler {
  return async (_req, res) => {
    res.setHeader('Access-Control-Allow-Origin', '*')
    let document: string
    try {
      document = JSON.stringify(resourceMetadata(config, await issuer()))
    } catch (error) {
      if (!(error instanceof McpAuthError)) throw error
      return answer(res, error)
    }
    res.setHeader('Content-Type', 'application/json')
    res.setHeader('Cache-Control', 'public, max-age=300')
    res.end(document)
  }
}

/** `resource` is the very string that was configured: clients compare it, and a URL object would add a slash. */
function resourceMetadata(config: Config, issuer: string): Record<string, unknown> {
  return {
    resource: config.resource,
    authorization_servers: [issuer],
    ...(config.scopesSupported.length > 0 && { scopes_supported: config.scopesSupported }),
    bearer_methods_supported: ['header'],
    ...(config.dpop !== 'off' && {
      dpop_bound_access_tokens_required: config.dpop === 'required',
      dpop_signing_alg_values_supported: config.algorithms,
    }),
    ...(config.resourceName !== undefined && { resource_name: config.resourceName }),
    ...(config.resourceDocumentation !== undefined && { resource_documentation: config.resourceDocumentation }),
  }
}

const allowEveryOrigin: RouteHandler = (_req, res) => {
  res.statusCode = 204
  res.setHeader('Access-Control-Allow-Origin', '*')
  res.setHeader('Access-Control-Allow-Methods', 'GET, HEAD, OPTIONS')
  // Clients send MCP-Protocol-Version here, among others.
  res.setHeader('Access-Control-Allow-Headers', '*')
  res.end()
}
