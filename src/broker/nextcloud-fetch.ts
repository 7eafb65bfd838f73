import { Readable } from 'node:stream'
import { failureCode, type Transport } from '../authorization-server/fetch.js'
import type { NextcloudConfig } from '../config/config.js'
import { UpstreamUnavailableError } from '../errors.js'
import type { RequestBody } from '../options.js'
import type { Broker, BrokerSession } from './broker.js'

/** What a request to Nextcloud may say: the part of the Fetch standard's `RequestInit` that makes sense here. */
export interface NextcloudRequest {
  /** Default `GET`. */
  readonly method?: string
  /** `Authorization`, `OCS-APIRequest` and `Cookie` are not the caller's to set. */
  readonly headers?: Headers | Readonly<Record<string, string>> | readonly (readonly [string, string])[]
  /** A stream is sent once: after a 401 it cannot be sent again, and the 401 is the answer. */
  readonly body?: RequestBody | null
  readonly signal?: AbortSignal
}

/** Fetch on one Nextcloud, for one user. */
export type NextcloudFetch = (session: BrokerSession, path: string | URL, init?: NextcloudRequest) => Promise<Response>

const REDIRECTS = [301, 302, 303, 307, 308]
const MOST_REDIRECTS = 5
const NULL_BODY_STATUSES = [204, 205, 304]

export function createNextcloudFetch(nextcloud: NextcloudConfig, transport: Transport, broker: Broker): NextcloudFetch {
  const base = new URL(nextcloud.url)
  if (!base.pathname.endsWith('/')) base.pathname += '/'

  /** @throws {TypeError} the path leads out of this Nextcloud, where the token must not go */
  function resolve(path: string | URL): URL {
    const absolute = path instanceof URL || URL.canParse(path)
    const url = absolute ? new URL(path) : new URL(path.replace(/^[/\\]+/, ''), base)
    if (!isWithin(url)) throw new TypeError('The path leads out of nextcloud.url')
    url.hash = ''
    return url
  }

  const isWithin = (url: URL): boolean =>
    url.origin === base.origin && url.pathname.startsWith(base.pathname) && url.username === '' && url.password === ''

  async function send(url: URL, init: NextcloudRequest, token: string): Promise<Response> {
    let target = url
    let method = init.method ?? 'GET'
    let body = init.body ?? undefined
    for (let redirects = 0; ; redirects += 1) {
      const headers = requestHeaders(init.headers, token)
      const response = await sendOnce(target, method, headers, body, init.signal)
      const next = REDIRECTS.includes(response.status) ? redirectTarget(response, target) : undefined
      // Elsewhere the token must not go; where the redirect leads is for the caller to look at.
      if (next === undefined || !isWithin(next) || redirects >= MOST_REDIRECTS) return response
      if (!isRepeatable(body)) return response
      await response.body?.cancel()
      // Fetch standard, HTTP-redirect fetch: what becomes a GET loses its body.
      if (response.status === 303 || (response.status < 303 && method === 'POST')) {
        method = method === 'HEAD' ? 'HEAD' : 'GET'
        body = undefined
      }
      target = next
    }
  }

  async function sendOnce(
    url: URL,
    method: string,
    headers: Record<string, string>,
    body: RequestBody | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    const controller = new AbortController()
    const timer = setTimeout(() => controller.abort(), nextcloud.timeout).unref()
    try {
      const response = await transport.fetch(url.href, {
        method,
        headers,
        ...(body === undefined ? {} : { body }),
        redirect: 'manual',
        signal: signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal]),
      })
      return standardResponse(response)
    } catch (error) {
      signal?.throwIfAborted()
      const reason = controller.signal.aborted ? `no answer within ${nextcloud.timeout} ms` : failureCode(error)
      throw new UpstreamUnavailableError(`Nextcloud cannot be reached (${reason})`, { service: 'Nextcloud' })
    } finally {
      clearTimeout(timer)
    }
  }

  return async (session, path, init = {}) => {
    const url = resolve(path)
    if (init.body instanceof ReadableStream) throw new TypeError('A web stream cannot be sent: use Readable.fromWeb()')
    const token = await broker.getToken(session, init.signal && { signal: init.signal })
    const response = await send(url, init, token)
    if (response.status !== 401) {
      broker.tokenWorked(session, token)
      return response
    }
    if (!isRepeatable(init.body)) return response
    let other: string | undefined
    try {
      other = await broker.replaceToken(session, token, init.signal)
    } catch (error) {
      await response.body?.cancel()
      throw error
    }
    if (other === undefined) return response
    await response.body?.cancel()
    const second = await send(url, init, other)
    if (second.status !== 401) broker.tokenWorked(session, other)
    return second
  }
}

function requestHeaders(given: NextcloudRequest['headers'], token: string): Record<string, string> {
  const headers = new Headers(given as ConstructorParameters<typeof Headers>[0])
  // A session cookie beside the token would make Nextcloud ask for a CSRF token.
  headers.delete('cookie')
  headers.set('authorization', `Bearer ${token}`)
  // Without it #[CORS] app routes (Notes, Deck, Tables) answer 401 to a bearer token.
  headers.set('ocs-apirequest', 'true')
  return Object.fromEntries(headers)
}

function redirectTarget(response: Response, from: URL): URL | undefined {
  const location = response.headers.get('location')
  return location !== null && URL.canParse(location, from.href) ? new URL(location, from) : undefined
}

/** Whether a body can be sent a second time: a stream cannot. */
function isRepeatable(body: RequestBody | null | undefined): boolean {
  return typeof body !== 'object' || body === null || !(Symbol.asyncIterator in body)
}

/** The Fetch standard's Response, whatever fetched it: that of node-fetch has a Node stream as its body. */
function standardResponse(response: Response): Response {
  if (response instanceof Response) return response
  const { status, statusText, url } = response as Response
  const stream = (response as { body: unknown }).body
  const body = stream instanceof Readable && !NULL_BODY_STATUSES.includes(status) ? Readable.toWeb(stream) : null
  const standard = new Response(body as ReadableStream | null, {
    status,
    statusText,
    headers: [...(response as Response).headers],
  })
  return Object.defineProperty(standard, 'url', { value: url })
}
