import { Readable } from 'node:stream'
import { NULL_BODY_STATUSES, unreachable } from '../transport/answer.js'
import type { Transport } from '../transport/transport.js'
import type { NextcloudConfig } from '../config/config.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import type { Events } from '../events.js'
import type { Broker, BrokerSession } from '../broker/broker.js'
import { authorizationOf } from './credential.js'

/** What a request to Nextcloud may send: a body of the Fetch standard, or a Node stream. */
export type NextcloudRequestBody = NonNullable<RequestInit['body']> | NodeJS.ReadableStream

/** What a request to Nextcloud may say: the part of the Fetch standard's `RequestInit` that makes sense here. */
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

/** Fetch on one Nextcloud, for one user. */
export type NextcloudFetch = (session: BrokerSession, path: string | URL, init?: NextcloudRequest) => Promise<Response>

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
/** Fetch standard, forbidden methods. */
const FORBIDDEN_METHODS = ['CONNECT', 'TRACE', 'TRACK']
/** A dot segment with one of its characters encoded, or behind an encoded slash: some proxies decode it. */
const HIDDEN_DOT_SEGMENT = /(?:\/|%2f|%5c)(?:\.|%2e){1,2}(?=\/|%2f|%5c|$)/i

const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/
const NOT_A_JWT =
  'Nextcloud does not take the exchanged token, which is not a JWT: ask for one by nextcloud.parameters ' +
  "{ requested_token_type: 'urn:ietf:params:oauth:token-type:jwt' } (Zitadel), or let user_oidc ask the provider " +
  '(userinfo_bearer_validation)'

export function createNextcloudFetch(
  nextcloud: NextcloudConfig,
  transport: Transport,
  broker: Broker,
  events: Events,
): NextcloudFetch {
  const base = new URL(nextcloud.base)

  /** @throws {TypeError} the path leads out of this Nextcloud, where the token must not go */
  function resolve(path: string | URL): URL {
    const absolute = path instanceof URL || URL.canParse(path)
    // With "./" before it, nothing in the path can be taken for a scheme or a host.
    const url = absolute ? new URL(path) : new URL(`./${path.replace(/^[/\\]+/, '')}`, base)
    // The URL parser drops blanks at the front, and what follows may look like a host to somebody else.
    if (!isWithin(url) || /^\s/.test(String(path))) throw new TypeError('The path leads out of nextcloud.url')
    url.hash = ''
    return url
  }

  const isWithin = (url: URL): boolean =>
    url.origin === base.origin &&
    url.pathname.startsWith(base.pathname) &&
    !HIDDEN_DOT_SEGMENT.test(url.pathname) &&
    url.username === '' &&
    url.password === ''

  async function send(url: URL, init: NextcloudRequest, token: string): Promise<Response> {
    const headers = requestHeaders(init.headers, authorizationOf(nextcloud.mode, token))
    let target = url
    let method = (init.method ?? 'GET').toUpperCase()
    let body = init.body ?? undefined
    for (let redirects = 0; ; redirects += 1) {
      const response = await sendOnce(target, method, headers, body, init.signal)
      const next = REDIRECTS.includes(response.status) ? redirectTarget(response, target) : undefined
      // Elsewhere the token must not go; where the redirect leads is for the caller to look at.
      if (next === undefined || !isWithin(next) || redirects >= MOST_REDIRECTS) return response
      // Fetch standard, HTTP-redirect fetch: what becomes a GET loses its body, and what was said of it.
      if (response.status === 303 || (response.status < 303 && method === 'POST')) {
        method = method === 'HEAD' ? 'HEAD' : 'GET'
        body = undefined
        for (const name of ['content-encoding', 'content-language', 'content-location', 'content-type'])
          headers.delete(name)
      }
      if (!isRepeatable(body)) return response
      await response.body?.cancel()
      target = next
    }
  }

  async function sendOnce(
    url: URL,
    method: string,
    headers: Headers,
    body: NextcloudRequestBody | undefined,
    signal: AbortSignal | null | undefined,
  ): Promise<Response> {
    const controller = new AbortController()
    const timer = setTimeout(() => controller.abort(), nextcloud.timeout).unref()
    try {
      const response = await transport.fetch(url.href, {
        method,
        headers: Object.fromEntries(headers),
        // `duplex` is what the Fetch standard wants beside a stream; a Node stream is one that it does not know of.
        ...(body !== undefined && { body: body as NonNullable<RequestInit['body']>, duplex: 'half' }),
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

  let warned = false

  /** A 401 that no other token will mend, told once where its cause can be guessed. */
  function unauthorized(response: Response, token: string): Response {
    if (!warned && nextcloud.mode === 'token-exchange' && !JWT.test(token)) {
      warned = true
      events.emit({ type: 'config.warning', option: 'nextcloud.parameters', message: NOT_A_JWT })
    }
    return response
  }

  return async (session, path, init = {}) => {
    const url = resolve(path)
    if (FORBIDDEN_METHODS.includes((init.method ?? 'GET').toUpperCase())) {
      throw new TypeError(`The method ${init.method ?? ''} cannot be sent`)
    }
    const token = await broker.getToken(session, init.signal ? { signal: init.signal } : undefined)
    const response = await send(url, init, token)
    if (response.status !== 401) {
      broker.tokenWorked(session, token)
      return response
    }
    if (!isRepeatable(init.body)) return response
    let other: string | undefined
    try {
      other = await broker.replaceToken(session, token, init.signal ?? undefined)
    } catch (error) {
      await response.body?.cancel()
      throw error
    }
    if (other === undefined) return unauthorized(response, token)
    await response.body?.cancel()
    const second = await send(url, init, other)
    if (second.status === 401) return unauthorized(second, other)
    broker.tokenWorked(session, other)
    return second
  }
}

function requestHeaders(given: NextcloudRequest['headers'], authorization: string): Headers {
  const headers = new Headers(given)
  for (const name of NOT_THE_CALLERS) headers.delete(name)
  headers.set('authorization', authorization)
  // Without it #[CORS] app routes (Notes, Deck, Tables) answer 401 to a bearer token.
  headers.set('ocs-apirequest', 'true')
  return headers
}

function redirectTarget(response: Response, from: URL): URL | undefined {
  const location = response.headers.get('location')
  return location !== null && URL.canParse(location, from.href) ? new URL(location, from) : undefined
}

/** Whether a body can be sent a second time: a stream cannot. */
function isRepeatable(body: NextcloudRequestBody | null | undefined): boolean {
  return typeof body !== 'object' || body === null || !(Symbol.asyncIterator in body)
}

/** The Fetch standard's Response, whatever fetched it: that of node-fetch has a Node stream as its body. */
function standardResponse(response: Response): Response {
  if (response instanceof Response) return response
  const { status, statusText, url } = response as Response
  const stream = (response as { body: unknown }).body
  const body = stream instanceof Readable && !NULL_BODY_STATUSES.includes(status) ? webStream(stream) : null
  const standard = new Response(body, {
    status,
    statusText,
    headers: [...(response as Response).headers],
  })
  return Object.defineProperty(standard, 'url', { value: url })
}

/**
 * Not Readable.toWeb: node-fetch's stream goes on emitting after that has been cancelled, which ends the process. This one asks
 * for a chunk when it is asked for one, and lets go of the connection when it is cancelled.
 */
function webStream(stream: Readable): ReadableStream<Uint8Array> {
  // An abort may come while nobody is reading.
  stream.on('error', () => undefined)
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  return new ReadableStream(
    {
      async pull(controller) {
        const chunk = await chunks.next()
        if (chunk.done === true) controller.close()
        else controller.enqueue(chunk.value)
      },
      cancel() {
        stream.destroy()
      },
    },
    { highWaterMark: 0 },
  )
}
