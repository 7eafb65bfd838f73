import type { ServerResponse } from 'node:http'
import { jwtVerify } from 'jose'
import { onTestFinished } from 'vitest'
import type { ManualClock } from '../clock.js'
import {
  startAuthorizationServer,
  type MintOptions,
  type ReceivedRequest,
  type ScriptedAuthorizationServer,
} from '../scripted-authorization-server.js'

/** The secret of every client that has one. */
export const STAND_IN_SECRET = 'a-secret-of-the-stand-in'

/** One issuer of a provider that tests cannot have: what it shares with all others. */
export interface StandIn {
  readonly as: ScriptedAuthorizationServer
  /** Scheme, host and port. */
  readonly origin: string
  readonly issuer: string
  /** An access token of this issuer; claims of undefined are left out. */
  readonly mint: (claims: Record<string, unknown>, options?: MintOptions) => Promise<string>
  /** The claims of an access token of this issuer that is alive; undefined for any other text. */
  readonly open: (token: string) => Promise<Record<string, unknown> | undefined>
  /** Answers token requests at a path. */
  readonly tokenEndpoint: (path: string, answer: TokenEndpoint) => void
}

export interface Refusal {
  readonly status?: number
  readonly error: string
  readonly error_description?: string
  readonly [field: string]: unknown
}

/** What a token request comes to. A refusal is one without `access_token`. */
export type TokenEndpoint = (request: ReceivedRequest) => Promise<Record<string, unknown>> | Record<string, unknown>

/** How a client says who it is. */
export interface Presented {
  readonly id: string | undefined
  readonly secret: string | undefined
  readonly in: 'header' | 'body'
}

/**
 * @param issuerPath what the issuer has behind its origin
 * @param metadata further fields; a path becomes a URL
 */
export async function startStandIn(
  clock: ManualClock,
  issuerPath: string,
  metadata: Record<string, unknown> = {},
  on?: ScriptedAuthorizationServer,
): Promise<StandIn> {
  const as = on ?? (await startAuthorizationServer(clock.now))
  if (on === undefined) onTestFinished(() => as.close())
  const origin = new URL(as.issuer).origin
  const issuer = origin + issuerPath
  const document = {
    issuer,
    jwks_uri: `${origin}/jwks`,
    response_types_supported: ['code'],
    ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, absolute(origin, value)])),
  }
  as.script(`${issuerPath.replace(/\/$/, '')}/.well-known/openid-configuration`, { json: document })

  return {
    as,
    origin,
    issuer,
    mint: (claims, options) => as.mint({ iss: issuer, ...claims }, { header: { typ: 'JWT' }, ...options }),
    async open(token) {
      const currentDate = new Date(clock.now())
      try {
        return (await jwtVerify(token, as.key.publicJwk, { issuer, currentDate })).payload
      } catch {
        return undefined
      }
    },
    tokenEndpoint(path, answer) {
      as.script(path, async (request: ReceivedRequest, res: ServerResponse) => {
        const { status, ...json } = await answer(request)
        const code = typeof status === 'number' ? status : 'access_token' in json ? 200 : 400
        res.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(json))
      })
    },
  }
}

export function refusal(error: string, error_description?: string, more: Record<string, unknown> = {}): Refusal {
  return { error, ...(error_description !== undefined && { error_description }), ...more }
}

/** The client of a request: what its header says, else its body. */
export function presented({ headers, form }: ReceivedRequest): Presented {
  const [, basic] = /^Basic (.*)$/.exec(headers.authorization ?? '') ?? []
  if (basic === undefined) {
    return { id: form.get('client_id') ?? undefined, secret: form.get('client_secret') ?? undefined, in: 'body' }
  }
  const [id = '', secret = ''] = Buffer.from(basic, 'base64').toString().split(':')
  return { id: decodeURIComponent(id), secret: decodeURIComponent(secret), in: 'header' }
}

export function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [value]
}

function absolute(origin: string, value: unknown): unknown {
  return typeof value === 'string' && value.startsWith('/') ? origin + value : value
}
