import { onTestFinished } from 'vitest'
import { mcpAuth, type McpAuth, type McpAuthEvent, type McpAuthOptions } from '../../../src/index.js'
import { IMPORTED } from './keycloak-server.js'
import type { Realm } from './realm.js'

export interface Middleware {
  readonly auth: McpAuth
  readonly events: McpAuthEvent[]
}

/** A middleware of the MCP server in a realm, as docs/keycloak.md sets it up, until the test ends. */
export function openMiddleware(realm: Realm, options: McpAuthOptions = {}): Middleware {
  const events: McpAuthEvent[] = []
  const auth = mcpAuth({
    issuer: realm.issuer,
    resource: IMPORTED.MCP_RESOURCE,
    clientId: 'mcp-server',
    clientSecret: realm.clientSecret,
    onEvent: (event) => events.push(event),
    ...options,
    nextcloud: { url: IMPORTED.NEXTCLOUD_URL, audience: 'nextcloud', preset: 'keycloak', ...options.nextcloud },
  })
  onTestFinished(() => auth.close())
  return { auth, events }
}
