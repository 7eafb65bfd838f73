import { mcpAuth, type McpAuth } from 'mcp-nextcloud-auth'

export const SCOPES = ['notes:read']

const kept = globalThis as { mcpAuth?: McpAuth }

/**
 * The one `mcpAuth()` of the process. It is made with the first request, because a build has no configuration, and kept where a reload in
 * development does not lose it. Issuer, resource, client and Nextcloud are read from the environment by mcpAuth() itself.
 */
export const getAuth = (): McpAuth => (kept.mcpAuth ??= mcpAuth({ requiredScopes: SCOPES, scopesSupported: SCOPES }))
