import type { Config } from '../config/config.js'
import { named } from '../config/declarations.js'
import { wellKnownUrl } from '../config/values.js'
import { ConfigurationError, McpAuthError } from '../errors/errors.js'
import { answer } from './challenge.js'
import { withoutEndSlash, type RouteHandler, type Routes } from './router.js'

/** `Cache-Control` of metadata. Without it, a cache on the way keeps a document for as long as it thinks fit. */
export const METADATA_CACHE = 'public, max-age=300'

const ROOT_FORM = '/.well-known/oauth-protected-resource'
const LEGACY_FORM = '/.well-known/oauth-authorization-server'

/** What the issuers' own metadata say that is published. */
export interface Published {
  /** In the order of the configuration. */
  readonly issuers: () => Promise<readonly string[]>
  /** The metadata of the first issuer. */
  readonly document: () => Promise<object>
}

/**
 * Returns the routes of this server's protected resource metadata (RFC 9728 §3): the path that goes with `resource`, that of
 * `resourceMetadataUrl` if it is here, and, unless switched off, the root, which clients try next. With `legacyMetadata` also the issuer's
 * own metadata, which clients of MCP 2025-03-26 look for here.
 *
 * @throws {ConfigurationError} `resourceMetadataUrl` has the path of `legacyMetadata`
 */
export function resourceMetadataRoutes(config: Config, published: Published): Routes {
  const { origin } = new URL(config.resource)
  const urls = [new URL(wellKnownUrl(config.resource)), new URL(config.resourceMetadataUrl)]
  const paths = urls.filter((url) => url.origin === origin).map(({ pathname }) => withoutEndSlash(pathname))
  if (config.legacyMetadata && paths.includes(LEGACY_FORM)) {
    throw new ConfigurationError(
      `${named('resourceMetadataUrl')} has the path of ${named('legacyMetadata')}, ${LEGACY_FORM}: change it, or switch that off`,
      'resourceMetadataUrl',
    )
  }
  const own = documentMethods(async () => resourceMetadata(config, await published.issuers()))
  return new Map([
    ...[...paths, ...(config.rootMetadata ? [ROOT_FORM] : [])].map((path) => [path, own] as const),
    ...(config.legacyMetadata ? [[LEGACY_FORM, documentMethods(published.document)] as const] : []),
  ])
}

function documentMethods(document: () => Promise<object>): Readonly<Record<string, RouteHandler>> {
  return { GET: serveDocument(document), OPTIONS: allowEveryOrigin }
}

function serveDocument(document: () => Promise<object>): RouteHandler {
  return async (_req, res) => {
    res.setHeader('Access-Control-Allow-Origin', '*')
    let text: string
    try {
      text = JSON.stringify(await document())
    } catch (error) {
      if (!(error instanceof McpAuthError)) throw error
      return answer(res, error)
    }
    res.setHeader('Content-Type', 'application/json')
    res.setHeader('Cache-Control', METADATA_CACHE)
    res.end(text)
  }
}

/** `resource` is the very string that was configured: clients compare it, and a URL object would add a slash. */
function resourceMetadata(config: Config, issuers: readonly string[]): Record<string, unknown> {
  return {
    resource: config.resource,
    authorization_servers: config.authorizationServers ?? issuers,
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
