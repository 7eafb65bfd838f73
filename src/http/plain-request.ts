import type { IncomingMessage } from 'node:http'
import type { GetNextcloudToken, McpAuthInfo } from '../auth-info.js'
import { authenticate, isPreflight, type AuthenticatedRequest, type HttpRooms } from './authentication.js'

/** A request of any server, as far as its token goes. */
export interface PlainRequest {
  readonly method: string
  /** The whole URL, or its path and query, as the client sent it. */
  readonly url: string | URL
  /** Names in any case; a header that came several times is a list. */
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>
}

/** The verdict on a request. */
export type AuthenticationVerdict =
  /** The token is good. */
  | { readonly info: McpAuthInfo; readonly getNextcloudToken: GetNextcloudToken }
  /** The request does not pass: the answer to send. `body` is an object, to be sent as JSON. */
  | {
      readonly status: number
      readonly headers: Readonly<Record<string, string>>
      readonly body: Readonly<Record<string, string>>
    }
  /** It is a CORS preflight, which has no token: the CORS handler of the server answers it. */
  | { readonly preflight: true }

/**
 * Returns the verdict of the middleware on a request.
 *
 * Rejects with {@link TypeError} when it is given no request.
 */
export async function judge(rooms: HttpRooms, given: PlainRequest): Promise<AuthenticationVerdict> {
  const req = requestOf(isObject(given) ? given : ({} as PlainRequest))
  if (isPreflight(req)) return { preflight: true }
  try {
    await authenticate(rooms, req)
  } catch (error) {
    const { status, headers, body } = rooms.reported(error)
    return { status, headers: { ...headers, 'Content-Type': 'application/json' }, body: { ...body } }
  }
  const { mcpAuth, getNextcloudToken } = req as AuthenticatedRequest
  return { info: mcpAuth, getNextcloudToken }
}

/** The request in the form that Node gives requests: names in lower case, repeated ones in `rawHeaders`. */
function requestOf({ method, url, headers }: PlainRequest): IncomingMessage {
  if (typeof method !== 'string' || (typeof url !== 'string' && !(url instanceof URL)) || !isObject(headers)) {
    throw new TypeError('authenticate() takes { method, url, headers }')
  }
  const pairs = pairsOf(headers)
  const joined = new Map<string, string>()
  for (const [name, value] of pairs) {
    const before = joined.get(name)
    joined.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  const plain = { method, url: String(url), headers: Object.fromEntries(joined), rawHeaders: pairs.flat() }
  return plain as unknown as IncomingMessage
}

function pairsOf(headers: PlainRequest['headers']): [name: string, value: string][] {
  const entries = headers instanceof Headers ? [...headers] : Object.entries(headers)
  return entries.flatMap(([name, value]) =>
    [value ?? []].flat().map((each): [string, string] => [name.toLowerCase(), each]),
  )
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null
}
