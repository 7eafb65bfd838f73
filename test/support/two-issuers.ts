import { onTestFinished } from 'vitest'
import type { McpAuthEvent, McpAuthOptions } from '../../src/index.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import type { IssuerOptions } from '../../src/options.js'
import { manualClock, type ManualClock } from './clock.js'
import { NO_SCOPES } from './refusal.js'
import {
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from './scripted-authorization-server.js'

/** Two authorization servers, each with a client of its own, and a server that takes the tokens of both. */
export interface TwoIssuers {
  readonly a: ScriptedAuthorizationServer
  readonly b: ScriptedAuthorizationServer
  readonly clock: ManualClock
  /** Events of all instances. */
  readonly events: McpAuthEvent[]
  /** An instance, with these options, and with these in the entries. */
  readonly open: (options?: McpAuthOptions, ofA?: Partial<IssuerOptions>, ofB?: Partial<IssuerOptions>) => McpAuth
}

/** The clients: `CLIENTS.a` is this server at the first issuer. */
export const CLIENTS = {
  a: { clientId: 'server-at-a', clientSecret: 'canary-secret-of-a' },
  b: { clientId: 'server-at-b', clientSecret: 'canary-secret-of-b' },
}

/** Starts them. They are closed with the test. */
export async function twoIssuers(): Promise<TwoIssuers> {
  const clock = manualClock()
  const [a, b] = [await startAuthorizationServer(clock.now), await startAuthorizationServer(clock.now)]
  onTestFinished(a.close)
  onTestFinished(b.close)
  const events: McpAuthEvent[] = []
  return {
    a,
    b,
    clock,
    events,
    open(options = {}, ofA = {}, ofB = {}) {
      const issuers = [
        { issuer: a.issuer, ...CLIENTS.a, ...ofA },
        { issuer: b.issuer, ...CLIENTS.b, ...ofB },
      ]
      const given = { resource: RESOURCE, ...NO_SCOPES, onEvent: (event: McpAuthEvent) => events.push(event), issuers }
      const auth = createMcpAuth({ ...given, ...options }, clock)
      onTestFinished(() => auth.close())
      return auth
    },
  }
}
