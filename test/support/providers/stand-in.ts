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

/** Leaves out the claims that the scripted server adds and this provider does not have. */
export const NONE = { client_id: undefined, scope: undefined }
/** The secret of every client that has one. */
export const STAND_IN_SECRET = 'a-secret-of-the-stand-in'

/** One issuer of a provider that tests cannot have: all that it shares with the others. */
export interface StandIn {
  readonly as: ScriptedAuthorizationServer
  /** Scheme, host and port. */
  readonly origin: string
  readonly issuer: string
  /** Issues an access token; claims of undefined are left out. */
  readonly mint: (claims: Record<string, unknown>, options?: MintOptions) => Promise<string>
  /** Returns the claims of an access token of this issuer that is alive; undefined for any other text. */
  readonly open: (token: string) => Promise<Record<string, unknown> | undefined>
  /** Answers requests of clients at a path. */
  readonly tokenEndpoint: (path: string, answer: TokenEndpoint) => void
  /** Seconds since the epoch. */
  readonly seconds: () => number
}

export interface Refusal {
  readonly status?: number
  readonly error: string
  readonly error_description?: string
  readonly [field: string]: unknown
}

/** Returns the answer to a request of a client. One without `access_token` is a refusal, unless it says its status. */
export type TokenEndpoint = (
  form: URLSearchParams,
  client: Presented,
) => Promise<Record<string, unknown>> | Record<string, unknown>

/** The id and secret of a client in a request. */
export interface Presented {
  readonly id: string
  readonly secret: string
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
    seconds: () => Math.floor(clock.now() / 1_000),
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
        const { status, ...json } = await answer(request.form, presented(request))
        const code = typeof status === 'number' ? status : 'access_token' in json ? 200 : 400
        res.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(json))
      })
    },
  }
}

export function refusal(error: string, error_description?: string, more: Record<string, unknown> = {}): Refusal {
  return { error, ...(error_description !== undefined && { error_description }), ...more }
}

/** Reads the client of a request: from its body if that names one, else from its header. */
function presented({ headers, form }: ReceivedRequest): Presented {
  const basic = Buffer.from((headers.authorization ?? '').replace(/^Basic /, ''), 'base64').toString()
  const inBody = form.has('client_id')
  const [id, secret] = inBody ? [form.get('client_id'), form.get('client_secret')] : basic.split(':')
  return { id: decodeURIComponent(id ?? ''), secret: decodeURIComponent(secret ?? '') }
}

export function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [value]
}

function absolute(origin: string, value: unknown): unknown {
  return typeof value === 'string' && value.startsWith('/') ? origin + value : value
}
