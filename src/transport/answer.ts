import { Readable } from 'node:stream'
import type { Clock } from '../clock.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { nameOfFailure } from '../errors/failure-name.js'
import { nameOf } from './url-name.js'

/** An answer that has been read to its end. */
export interface WholeAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: Uint8Array<ArrayBuffer>
}

/** Seconds. A Retry-After beyond this is not believed. */
const LONGEST_RETRY_AFTER = 3_600
/** RFC 6585 §4, RFC 9110 §15.6.4: the server says that it did not get to the request. */
const TURNED_AWAY = [429, 503]
/**
 * Failures before any byte of the request was sent: no address, no connection, no certificate to trust. `EPROTO` and `ERR_SSL_…` are not
 * among them, because TLS can also fail in the answer.
 */
const NOT_SENT =
  /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|UND_ERR_CONNECT_TIMEOUT|ERR_TLS_CERT_\w+|HOSTNAME_MISMATCH|CERT_\w+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+)$/
/** RFC 9110 §15.4: the statuses with a Location to go on at. */
const REDIRECTS = [301, 302, 303, 307, 308]
/** Answers to which the Fetch standard gives no body. */
export const NULL_BODY_STATUSES = [204, 205, 304]

/**
 * Reads an answer to its end.
 *
 * @param limit bytes
 * @throws {UpstreamUnavailableError} it is a redirect, 429 or 5xx, or too long
 */
export async function readWhole(response: Response, url: string, limit: number, clock: Clock): Promise<WholeAnswer> {
  const { status, headers } = response
  // Status 0 is how a browser-like fetch shows a redirect that it was told not to follow.
  if (status === 0 || (status >= 300 && status < 400)) {
    throw new UpstreamUnavailableError(`${nameOf(url)} redirects instead of answering`, { httpStatus: status })
  }
  if (status === 429 || status >= 500) {
    throw new UpstreamUnavailableError(`${nameOf(url)} answers with status ${status}`, {
      httpStatus: status,
      unprocessed: TURNED_AWAY.includes(status),
      statedRetryAfter: readRetryAfter(headers.get('retry-after'), clock),
    })
  }
  return { status, headers, body: await readBody(response, url, limit) }
}

/** @throws {UpstreamUnavailableError} the body is longer than `limit` bytes */
export async function readBody(response: Response, url: string, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let length = 0
  // A web stream with undici's fetch, a Node stream with node-fetch: both are iterated in the same way.
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.byteLength
    if (length > limit) {
      throw new UpstreamUnavailableError(`${nameOf(url)} answers with more than ${limit} bytes`, {
        httpStatus: response.status,
      })
    }
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks, length))
}

/** Returns the address that an answer redirects to; undefined if it does not. */
export function redirectTarget(
  { status, headers }: Pick<Response, 'status' | 'headers'>,
  from: string,
): URL | undefined {
  const location = REDIRECTS.includes(status) ? headers.get('location') : null
  return location !== null && URL.canParse(location, from) ? new URL(location, from) : undefined
}

/** Closes the connection of an answer that is not read to its end: it would be held for as long as the server likes. */
export function leaveUnread(body: Response['body'] | undefined): void {
  if (body instanceof Readable) body.destroy()
  else if (body?.locked === false) body.cancel().catch(() => undefined)
}

/** @throws {UpstreamUnavailableError} the app's own fetch has answered with something that is not a response */
export function asResponse({ status, headers, body }: WholeAnswer, url: string): Response {
  try {
    return new Response(NULL_BODY_STATUSES.includes(status) ? null : body, { status, headers: [...headers] })
  } catch (error) {
    throw unreachable(nameOf(url), error)
  }
}

/** Returns a failure to get any answer. It keeps only a code, because the app's own fetch may put the whole request into its errors. */
export function unreachable(server: string, error: unknown): UpstreamUnavailableError {
  const code = failureCode(error)
  return new UpstreamUnavailableError(`${server} cannot be reached (${code})`, { unprocessed: NOT_SENT.test(code) })
}

/** Returns the system's or the library's code for a network failure, such as ECONNREFUSED, with no text of the request in it. */
export function failureCode(error: unknown): string {
  return nameOfFailure(error) ?? (error instanceof Error ? 'Error' : 'unknown failure')
}

/** Returns the failure of a request whose connection was there before, and had been closed by the other side. */
export function fromStaleConnection(error: unknown): Error {
  return Object.assign(error as Error, { staleConnection: true })
}

export function isFromStaleConnection(error: unknown): boolean {
  return error instanceof Error && 'staleConnection' in error
}

/** RFC 9110 §10.2.3: seconds or a date. Undefined when there is none, or none that makes sense. */
function readRetryAfter(value: string | null, clock: Clock): number | undefined {
  if (value === null) return undefined
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - clock.now()) / 1_000
  return seconds >= 0 ? Math.min(seconds, LONGEST_RETRY_AFTER) : undefined
}
