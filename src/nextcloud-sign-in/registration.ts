import { IncomingMessage, type ServerResponse } from 'node:http'
import type { Clock } from '../clock.js'
import { createNetworkShares, type AddressShares } from '../http/address-shares.js'
import { parseObject } from '../json.js'
import { clientOf, redirectProblem } from './redirect-uri.js'

/** The metadata of a client (RFC 7591 §2) that counts here. */
export interface ClientMetadata extends ReturnType<typeof clientOf> {
  readonly client_name?: string
  readonly client_uri?: string
  readonly token_endpoint_auth_method: 'none'
  readonly grant_types: readonly string[]
  readonly response_types: readonly string[]
}

/** The refusal of a request. */
export interface Refusal {
  readonly status: number
  readonly error: 'invalid_request' | 'invalid_redirect_uri' | 'invalid_client_metadata' | 'temporarily_unavailable'
  readonly error_description: string
  /** Seconds. */
  readonly retryAfter?: number
}

/** Bytes of a registration. */
const LONGEST_BODY = 16_384
const MOST_REDIRECT_URIS = 10
const LONGEST_URI = 2_000
const LONGEST_NAME = 200

/**
 * Registrations of one address, which may be that of a large house, or of a maker's machines that register a client for each person, and of
 * the two networks around it.
 */
const MOST_AN_HOUR = [500, 1_000, 2_000] as const
const HOUR = 3_600_000

/** Returns what each address may register. */
export const registrationShares = (clock: Clock): AddressShares => createNetworkShares(clock, MOST_AN_HOUR, HOUR)

/** Reads the client metadata that a registration asks for; or the reason why not. Everything that is not needed is left out. */
export function readMetadata(body: unknown): ClientMetadata | Refusal {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    return refused('invalid_client_metadata', 'The body must be a JSON object')
  const { redirect_uris: uris, client_name: name, client_uri: uri } = body as Record<string, unknown>
  if (!Array.isArray(uris) || uris.length === 0 || uris.length > MOST_REDIRECT_URIS) {
    return refused('invalid_redirect_uri', `redirect_uris must hold 1 to ${MOST_REDIRECT_URIS} URIs`)
  }
  const bad = uris.map(redirectProblem).find((problem) => problem !== undefined)
  if (bad !== undefined) return refused('invalid_redirect_uri', bad)
  return {
    ...clientOf(uris as string[]),
    ...(typeof name === 'string' && name !== '' && { client_name: name.slice(0, LONGEST_NAME) }),
    ...(isWebPage(uri) && { client_uri: uri }),
    // Public clients with PKCE: a secret that anybody may register proves nothing.
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  }
}

/** Returns the refusal of a request that is at fault. */
export function refused(error: Refusal['error'], description: string): Refusal {
  return { status: 400, error, error_description: description }
}

function isWebPage(uri: unknown): uri is string {
  return typeof uri === 'string' && uri.length <= LONGEST_URI && /^https:\/\//.test(uri) && URL.canParse(uri)
}

/** The refusal of an address that has taken its share. @param wait milliseconds */
export function tooMany(wait: number): Refusal {
  return {
    status: 429,
    error: 'temporarily_unavailable',
    error_description: 'Too many requests have come from your address lately',
    retryAfter: Math.ceil(wait / 1_000),
  }
}

/** Reads the body of a registration, also if a parser of the app's has done so. Undefined: it is no JSON, or too long. */
export async function readBody(req: IncomingMessage): Promise<unknown> {
  if (req.readableDidRead) return parsed((req as { readonly body?: unknown }).body)
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      length += chunk.byteLength
      if (length > LONGEST_BODY) return undefined
      chunks.push(chunk)
    }
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown
  } catch {
    // It is no JSON, or the client is gone.
    return undefined
  }
}

/** What a parser of the app's has made of a body: an object, or the text. */
function parsed(body: unknown): unknown {
  if (typeof body !== 'string' && !Buffer.isBuffer(body)) return body
  return body.length > LONGEST_BODY ? undefined : parseObject(body.toString())
}

/** The header of a registration in which oidc-provider finds the id of the new client. */
export const NEW_CLIENT_ID = 'mcp-nextcloud-new-client-id'

/** Returns the request with another body, because oidc-provider reads bodies itself, and with the id that the client gets. */
export function withBody(req: IncomingMessage, metadata: ClientMetadata, clientId: string): IncomingMessage {
  const body = Buffer.from(JSON.stringify(metadata))
  const copy = new IncomingMessage(req.socket)
  const { method, url, headers } = req
  const own = {
    ...headers,
    'transfer-encoding': undefined,
    [NEW_CLIENT_ID]: clientId,
    'content-type': 'application/json',
    'content-length': String(body.length),
  }
  // A message that is complete leaves its connection open.
  Object.assign(copy, { method, url, headers: own, complete: true })
  copy.push(body)
  copy.push(null)
  return copy
}

/** Answers with an error in JSON (RFC 6749 §5.2, RFC 7591 §3.2.2). */
export function refuse(res: ServerResponse, { status, retryAfter, ...body }: Refusal): void {
  res.statusCode = status
  res.setHeader('Content-Type', 'application/json')
  res.setHeader('Cache-Control', 'no-store')
  if (retryAfter !== undefined) res.setHeader('Retry-After', String(retryAfter))
  res.end(JSON.stringify(body))
}
