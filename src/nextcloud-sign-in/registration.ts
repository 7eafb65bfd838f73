import { IncomingMessage, type ServerResponse } from 'node:http'
import type { Clock } from '../clock.js'
import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { change } from '../grants/change.js'
import { recordKey, type RecordOwner } from '../grants/record-key.js'
import type { Records } from '../grants/records.js'
import { clientOf } from './provider.js'

/** The rooms that registrations need. */
export interface RegistrationRooms {
  readonly records: Records
  readonly owner: RecordOwner
  readonly clock: Clock
}

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
  readonly error: 'invalid_redirect_uri' | 'invalid_client_metadata' | 'temporarily_unavailable'
  readonly error_description: string
  /** Seconds. */
  readonly retryAfter?: number
}

/** Bytes of a registration. */
const LONGEST_BODY = 16_384
const MOST_REDIRECT_URIS = 10
const LONGEST_URI = 2_000
const LONGEST_NAME = 200

/** Registrations of all instances. A client registers once for each person, so that an hour has room for a large house's first day. */
const MOST_AN_HOUR = 500
/** Registrations in the days for which an unused one is kept. */
const MOST_IN_ALL = 10_000
const HOUR = 3_600_000
/** Milliseconds. */
const COUNTED_FOR = 30 * 24 * HOUR

/** Reads the client metadata that a registration asks for; or the reason why not. Everything that is not needed is left out. */
export function readMetadata(body: unknown): ClientMetadata | Refusal {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    return refused('invalid_client_metadata', 'The body must be a JSON object')
  const { redirect_uris: uris, client_name: name, client_uri: uri } = body as Record<string, unknown>
  if (!Array.isArray(uris) || uris.length === 0 || uris.length > MOST_REDIRECT_URIS) {
    return refused('invalid_redirect_uri', `redirect_uris must hold 1 to ${MOST_REDIRECT_URIS} URIs`)
  }
  const bad = uris.map(problemOf).find((problem) => problem !== undefined)
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

function refused(error: Refusal['error'], description: string): Refusal {
  return { status: 400, error, error_description: description }
}

/** Names the reason why an address may not get codes. Undefined: it may. */
function problemOf(uri: unknown): string | undefined {
  if (typeof uri !== 'string' || uri.length > LONGEST_URI || !URL.canParse(uri)) return 'A redirect URI is not a URL'
  const { protocol, hostname, username, password } = new URL(uri)
  if (uri.includes('#')) return 'A redirect URI must not have a fragment (RFC 6749 section 3.1.2)'
  if (username !== '' || password !== '') return 'A redirect URI must not hold a user name or password'
  if (protocol === 'http:' && !LOOPBACK.test(hostname)) return 'A redirect URI must be https, or http on loopback'
  return /^(?:javascript|data|vbscript|file|blob|about|ws|wss|ftp):$/.test(protocol)
    ? 'A redirect URI has a scheme that is not for apps'
    : undefined
}

const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])$/

function isWebPage(uri: unknown): uri is string {
  return typeof uri === 'string' && uri.length <= LONGEST_URI && /^https:\/\//.test(uri) && URL.canParse(uri)
}

/** Counts a registration among those of all instances. Undefined: there is room. */
export function countRegistration({ records, owner, clock }: RegistrationRooms): Promise<Refusal | undefined> {
  const key = recordKey('sign-in', owner, 'registrations')
  return change('the registrations', async () => {
    const record = await records.read(key).catch(ifError(SealedValueError, () => records.peek(key)))
    const hour = Math.floor(clock.now() / HOUR)
    const counted = Object.entries((record?.value as Record<string, number> | undefined) ?? {})
    const recent = new Map(counted.filter(([at]) => Number(at) > hour - COUNTED_FOR / HOUR))
    const thisHour = recent.get(String(hour)) ?? 0
    if (thisHour >= MOST_AN_HOUR) return full((hour + 1) * HOUR - clock.now())
    if ([...recent.values()].reduce((sum, count) => sum + count, 0) >= MOST_IN_ALL) return full(HOUR)
    recent.set(String(hour), thisHour + 1)
    const version = await records.write(key, Object.fromEntries(recent), record?.version ?? null, COUNTED_FOR)
    return version === null ? 'late' : undefined
  })
}

function full(wait: number): Refusal {
  return {
    status: 429,
    error: 'temporarily_unavailable',
    error_description: 'Too many clients have registered here lately',
    retryAfter: Math.ceil(wait / 1_000),
  }
}

/** Reads the body of a registration, also if a parser of the app's has done so. Undefined: it is no JSON, or too long. */
export async function readBody(req: IncomingMessage): Promise<unknown> {
  if (req.readableDidRead) return 'body' in req ? req.body : undefined
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.byteLength
    if (length > LONGEST_BODY) return undefined
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as unknown
  } catch {
    return undefined
  }
}

/** Returns the request with another body: oidc-provider reads bodies itself. */
export function withBody(req: IncomingMessage, metadata: ClientMetadata): IncomingMessage {
  const body = Buffer.from(JSON.stringify(metadata))
  const copy = new IncomingMessage(req.socket)
  const { method, url, headers } = req
  const own = {
    ...headers,
    'transfer-encoding': undefined,
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
