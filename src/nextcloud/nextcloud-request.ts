import { Readable } from 'node:stream'
import type { NextcloudConfig } from '../config/config.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { NULL_BODY_STATUSES, unreachable } from '../transport/answer.js'
import type { Transport } from '../transport/transport.js'
import { authorizationOf, type Secret } from './credential.js'
import { isWithin } from './nextcloud-path.js'

/** The body of a request to Nextcloud: one of the Fetch standard, or a Node stream. */
export type NextcloudRequestBody = NonNullable<RequestInit['body']> | NodeJS.ReadableStream

/** A request to Nextcloud: the part of the Fetch standard's `RequestInit` that makes sense here. */
export interface NextcloudRequest {
  /** Default `GET`. */
  readonly method?: string | undefined
  /** `Authorization`, `OCS-APIRequest` and `Cookie` are not the caller's to set. */
  readonly headers?: RequestInit['headers'] | undefined
  /** A stream is sent once: after a 401 it cannot be sent again, and the 401 is the answer. */
  readonly body?: NextcloudRequestBody | null | undefined
  /** Ends the request, and this caller's wait for a token. */
  readonly signal?: AbortSignal | null | undefined
}

/** The rooms that a request needs. */
export interface RequestRooms {
  readonly nextcloud: Pick<NextcloudConfig, 'base' | 'timeout'>
  readonly transport: Pick<Transport, 'fetch'>
}

/** A request on the way, with the changes that redirects made. */
interface Outgoing extends Pick<NextcloudRequest, 'body' | 'signal'> {
  readonly url: URL
  readonly method: string
  readonly headers: Headers
}

const REDIRECTS = [301, 302, 303, 307, 308]
const MOST_REDIRECTS = 5
/**
 * Fetch standard, forbidden request-headers: with `Host`, node-fetch would even check the certificate of another server. A
 * cookie beside the token would make Nextcloud ask for a CSRF token.
 */
const NOT_THE_CALLERS = [
  'connection',
  'content-length',
  'cookie',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]
const OF_THE_BODY = ['content-encoding', 'content-language', 'content-location', 'content-type']

/** Sends a request with a secret, and follows redirects within this Nextcloud. */
export async function sendRequest(
  rooms: RequestRooms,
  url: URL,
  init: NextcloudRequest,
  secret: Secret,
): Promise<Response> {
  const base = new URL(rooms.nextcloud.base)
  const method = (init.method ?? 'GET').toUpperCase()
  let out: Outgoing = { ...init, url, method, headers: requestHeaders(init.headers, secret) }
  for (let redirects = 0; ; redirects += 1) {
    const response = await sendOnce(rooms, out)
    const target = REDIRECTS.includes(response.status) ? redirectTarget(response, out.url) : undefined
    // The token must not leave this Nextcloud. The caller can look at the redirect.
    if (target === undefined || !isWithin(base, target) || redirects >= MOST_REDIRECTS) return response
    out = { ...redirected(out, response.status), url: target }
    if (!isRepeatable(out.body)) return response
    await response.body?.cancel()
  }
}

/** Fetch standard, HTTP-redirect fetch: a request that becomes a GET loses its body, and the headers about it. */
function redirected(out: Outgoing, status: number): Outgoing {
  if (status !== 303 && !(status < 303 && out.method === 'POST')) return out
  for (const name of OF_THE_BODY) out.headers.delete(name)
  return { ...out, method: out.method === 'HEAD' ? 'HEAD' : 'GET', body: undefined }
}

async function sendOnce({ nextcloud, transport }: RequestRooms, out: Outgoing): Promise<Response> {
  const { url, method, headers, body, signal } = out
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(), nextcloud.timeout).unref()
  try {
    const response = await transport.fetch(url.href, {
      method,
      headers: Object.fromEntries(headers),
      // The Fetch standard wants `duplex` beside a stream. It does not know Node streams.
      ...(body != null && { body: body as NonNullable<RequestInit['body']>, duplex: 'half' }),
      redirect: 'manual',
      signal: signal ? AbortSignal.any([signal, controller.signal]) : controller.signal,
    })
    return standardResponse(response)
  } catch (error) {
    signal?.throwIfAborted()
    if (!controller.signal.aborted) throw unreachable('Nextcloud', error).with({ service: 'Nextcloud' })
    const message = `Nextcloud cannot be reached (no answer within ${nextcloud.timeout} ms)`
    throw new UpstreamUnavailableError(message, { service: 'Nextcloud' })
  } finally {
    clearTimeout(timer)
  }
}

function requestHeaders(given: NextcloudRequest['headers'], secret: Secret): Headers {
  const headers = new Headers(given)
  for (const name of NOT_THE_CALLERS) headers.delete(name)
  headers.set('authorization', authorizationOf(secret))
  // Without it #[CORS] app routes (Notes, Deck, Tables) answer 401 to a bearer token.
  headers.set('ocs-apirequest', 'true')
  return headers
}

function redirectTarget(response: Response, from: URL): URL | undefined {
  const location = response.headers.get('location')
  return location !== null && URL.canParse(location, from.href) ? new URL(location, from) : undefined
}

/** Whether a body can be sent a second time: a stream cannot. */
export function isRepeatable(body: NextcloudRequestBody | null | undefined): boolean {
  return typeof body !== 'object' || body === null || !(Symbol.asyncIterator in body)
}

/** Returns the answer as the Fetch standard's Response. One of node-fetch has a Node stream as its body. */
function standardResponse(response: Response): Response {
  if (response instanceof Response) return response
  const { status, statusText, url } = response as Response
  const stream = (response as { body: unknown }).body
  const body = stream instanceof Readable && !NULL_BODY_STATUSES.includes(status) ? webStream(stream) : null
  const standard = new Response(body, { status, statusText, headers: [...(response as Response).headers] })
  return Object.defineProperty(standard, 'url', { value: url })
}

/**
 * Returns a web stream that asks for a chunk when it is asked for one, and closes the connection when it is cancelled. Not
 * Readable.toWeb, because node-fetch's stream goes on emitting after that has been cancelled, which ends the process.
 */
function webStream(stream: Readable): ReadableStream<Uint8Array> {
  // An abort may come while nothing reads.
  stream.on('error', () => undefined)
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  return new ReadableStream(
    {
      pull: async (controller) => {
        const chunk = await chunks.next()
        if (chunk.done === true) controller.close()
        else controller.enqueue(chunk.value)
      },
      cancel: () => void stream.destroy(),
    },
    { highWaterMark: 0 },
  )
}
