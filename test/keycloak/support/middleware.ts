import { onTestFinished } from 'vitest'
import { systemClock, type Clock } from '../../../src/clock.js'
import type { McpAuthEvent, McpAuthOptions } from '../../../src/index.js'
import { createMcpAuth, type McpAuth } from '../../../src/mcp-auth.js'
import { IMPORTED } from './keycloak-server.js'
import type { Realm } from './realm.js'

export interface Middleware {
  readonly auth: McpAuth
  readonly events: McpAuthEvent[]
}

/** A middleware of the MCP server in a realm, as docs/keycloak.md sets it up, until the test ends. */
export function openMiddleware(realm: Realm, options: McpAuthOptions = {}, clock: Clock = systemClock): Middleware {
  const events: McpAuthEvent[] = []
  const auth = createMcpAuth(
    {
      issuer: realm.issuer,
      resource: IMPORTED.MCP_RESOURCE,
      clientId: 'mcp-server',
      clientSecret: realm.clientSecret,
      onEvent: (event) => events.push(event),
      ...options,
      nextcloud: { url: IMPORTED.NEXTCLOUD_URL, audience: 'nextcloud', preset: 'keycloak', ...options.nextcloud },
    },
    clock,
  )
  onTestFinished(() => auth.close())
  return { auth, events }
}

/** The real clock, which a test can put forward; Keycloak's own goes its way. */
export function adjustableClock(): { readonly clock: Clock; readonly advance: (ms: number) => void } {
  let ahead = 0
  return {
    clock: {
      ...systemClock,
      now: () => systemClock.now() + ahead,
      monotonic: () => systemClock.monotonic() + ahead,
    },
    advance(ms) {
      ahead += ms
    },
  }
}
