import { createDiscovery, type Discovery } from '../../src/authorization-server/discovery.js'
import { createTransport } from '../../src/transport/transport.js'
import { readConfig } from '../../src/config/read-config.js'
import { createEvents } from '../../src/events.js'
import type { McpAuthOptions } from '../../src/options.js'
import { manualClock, type ManualClock } from './clock.js'
import { RESOURCE } from './scripted-authorization-server.js'

export const ISSUER = 'https://idp.example.com/realms/acme'
export const OIDC = `${ISSUER}/.well-known/openid-configuration`
export const RFC_8414 = 'https://idp.example.com/.well-known/oauth-authorization-server/realms/acme'
export const INTERNAL = 'http://keycloak.internal:8080/realms/acme/.well-known/openid-configuration'
export const METADATA = {
  issuer: ISSUER,
  jwks_uri: `${ISSUER}/keys`,
  token_endpoint: `${ISSUER}/token`,
  introspection_endpoint: `${ISSUER}/introspect`,
}

export type Answer = Record<string, unknown> | (() => Response)
export const notFound = (): Response => Response.json({ error: 'not_found' }, { status: 404 })
export const failing = (): Response => Response.json({}, { status: 500 })

export interface Asked {
  readonly discovery: Discovery
  readonly clock: ManualClock
  /** The URLs fetched so far. */
  readonly urls: string[]
  /** What is answered at which URL; anywhere else it is 404. */
  readonly answers: Record<string, Answer>
}

/** Discovery on an Internet where only these answers are. */
export function discover(options: McpAuthOptions, answers: Record<string, Answer>): Asked {
  const clock = manualClock()
  const urls: string[] = []
  const config = readConfig(
    {
      resource: RESOURCE,
      ...options,
      onEvent: () => undefined,
      http: {
        retries: 0,
        fetch: (url: string) => {
          urls.push(url)
          const answer = answers[url] ?? notFound
          return Promise.resolve(typeof answer === 'function' ? answer() : Response.json(answer))
        },
      },
    },
    {},
  )
  const transport = createTransport(config.http, clock, createEvents(config.onEvent, clock))
  return { discovery: createDiscovery(config, transport, clock), clock, urls, answers }
}

export const outage = (retryAfter?: number): object => ({
  status: 503,
  code: 'ERR_UPSTREAM_UNAVAILABLE',
  ...(retryAfter !== undefined && { retryAfter }),
})
export const misconfigured = (option: string | undefined): object => ({
  status: 500,
  code: 'ERR_CONFIGURATION',
  option,
})
