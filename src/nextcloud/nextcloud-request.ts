import { Readable } from 'node:stream'
import { afterPatience, systemClock } from '../clock.js'
import type { NextcloudConfig } from '../config/config.js'
import type { Contact } from '../contact.js'
import { NextcloudRefusedError, UpstreamUnavailableError } from '../errors/errors.js'
import {
  isFromStaleConnection,
  leaveUnread,
  NULL_BODY_STATUSES,
  redirectTarget,
  unreachable,
} from '../transport/answer.js'
import type { Transport } from '../transport/transport.js'
import { nextcloudRequest } from '../transport/nextcloud-work.js'
import type { Events } from '../events.js'
import { authorizationOf, type Secret } from './credential.js'
import { isWithin, refusalAt, resolvePath } from './nextcloud-path.js'
import {
  readRequestBody,
  createUpload,
  type NextcloudRequestBody,
  type RequestBody,
  type Upload,
} from './request-body.js'

/** A request to Nextcloud: the part of the Fetch standard's `RequestInit` that makes sense here. */
export interface NextcloudRequest {
  /** Default `GET`. */
  readonly method?: string | undefined
  /**
   * `Authorization`, `OCS-APIRequest` and `Cookie` are not the caller's to set. `Content-Length` counts for a stream alone, and must be its
   * length in bytes. State it for one that may be longer than 1 MiB, because some web servers hand nothing on of a body in chunks.
   */
  readonly headers?: RequestInit['headers'] | undefined
  /** A stream is sent once: after a 401 the next request has another token, and this one's answer is the 401. None with GET and HEAD. */
  readonly body?: NextcloudRequestBody | null | undefined
  /** Ends the request, and this caller's wait for a token. */
  readonly signal?: AbortSignal | null | undefined
  /** Milliseconds, more than 0, in the place of `nextcloud.timeout`. */
  readonly timeout?: number | undefined
}

/** The rooms that a request needs. */
export interface RequestRooms {
  /** `nextcloud.url`, with a slash at its end. */
  readonly base: URL
  /** The same of `nextcloud.publicUrl`. */
  readonly publicBase: URL
  readonly nextcloud: Pick<NextcloudConfig, 'timeout'>
  readonly transport: Pick<Transport, 'fetch'>
  readonly contact: Pick<Contact, 'noted'>
  readonly events: Pick<Events, 'during'>
}

/** A request that can be sent, for any user. */
export interface Outgoing {
  readonly url: URL
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: RequestBody | undefined
  readonly signal: AbortSignal | undefined
  /** Milliseconds; undefined: `nextcloud.timeout`. */
  readonly timeout: number | undefined
}

/** RFC 9110 §5.6.2. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/
/** Fetch standard, forbidden methods. */
const FORBIDDEN_METHODS = ['CONNECT', 'TRACE', 'TRACK']
const WITHOUT_BODY = ['GET', 'HEAD']
/** Methods whose second request does as the first (RFC 9110 §9.2.2, RFC 4918 §9.1, RFC 3253 §3.6). A second MOVE or MKCOL fails. */
const REPEATABLE = [...WITHOUT_BODY, 'OPTIONS', 'PROPFIND', 'REPORT', 'PUT', 'DELETE']
/** RFC 9110 §15.4.8 and §15.4.9: method and body stay. */
const PRESERVING_REDIRECTS = [307, 308]
const MOST_REDIRECTS = 5
/** Milliseconds that a timer of Node takes. */
const LONGEST_TIMEOUT = 2_147_483_647
/**
 * Fetch standard, forbidden request-headers: with `Host`, node-fetch would even check the certificate of another server. A
 * cookie beside the token would make Nextcloud ask for a CSRF token.
 */
const NOT_THE_CALLERS = [
  'authorization',
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

/**
 * Checks a request before anything is asked for it.
 *
 * @param base ends with a slash
 * @throws {TypeError} it cannot be sent, or leads out of this Nextcloud
 */
export function readRequest(base: URL, path: string | URL | Request, init: NextcloudRequest = {}): Outgoing {
  const request: Partial<Request> = isRequest(path) ? path : {}
  const method = readMethod(init.method ?? request.method ?? 'GET')
  const url = resolvePath(base, isRequest(path) ? path.url : path)
  const timeout = readTimeout(init.timeout)
  const signal = (init.signal === undefined ? request.signal : init.signal) ?? undefined
  const headers = init.headers ?? request.headers
  // Most requests have none, and an empty object of Headers costs as much as a full one.
  const given = headers && new Headers(headers)
  const body = readBody(method, init.body ?? request.body, given)
  return { url, method, headers: readHeaders(given, body?.type), body, signal, timeout }
}

function readBody(method: string, value: unknown, given: Headers | undefined): RequestBody | undefined {
  if (value == null) return undefined
  if (!WITHOUT_BODY.includes(method)) return readRequestBody(value, statedLength(given))
  throw new TypeError(`${method} has no body: take another method, or put what you ask for into the query`)
}

/** Whether it is one, of Node or of node-fetch. */
function isRequest(path: string | URL | Request): path is Request {
  return Object.prototype.toString.call(path) === '[object Request]'
}

function readMethod(method: string): string {
  const upper = method.toUpperCase()
  if (TOKEN.test(upper) && !FORBIDDEN_METHODS.includes(upper)) return upper
  throw new TypeError(`The method ${JSON.stringify(method)} cannot be sent`)
}

function readTimeout(timeout: number | undefined): number | undefined {
  if (timeout === undefined || (typeof timeout === 'number' && timeout > 0 && timeout <= LONGEST_TIMEOUT))
    return timeout
  throw new TypeError(`The timeout must be a number of milliseconds, more than 0 and at most ${LONGEST_TIMEOUT}`)
}

/** Returns the bytes that the caller announces. */
function statedLength(given: Headers | undefined): number | undefined {
  const stated = given?.get('content-length')
  if (stated == null) return undefined
  if (/^\d{1,15}$/.test(stated)) return Number(stated)
  throw new TypeError('content-length must be the number of bytes of the body')
}

function readHeaders(given: Headers | undefined, type: string | undefined): Record<string, string> {
  for (const name of NOT_THE_CALLERS) given?.delete(name)
  return {
    ...(type !== undefined && { 'content-type': type }),
    ...(given && Object.fromEntries(given)),
    // Without it #[CORS] app routes (Notes, Deck, Tables) answer 401 to a bearer token.
    'ocs-apirequest': 'true',
  }
}

/**
 * Sends a request with a secret, and follows redirects within this Nextcloud.
 *
 * Rejects with {@link NextcloudRefusedError} when Nextcloud sends it to the pages where a person signs in.
 */
export async function sendRequest(rooms: RequestRooms, out: Outgoing, secret: Secret): Promise<Response> {
  const { base, publicBase } = rooms
  const headers = { ...out.headers, authorization: authorizationOf(secret) }
  for (let { url } = out, redirects = 0; ; redirects += 1) {
    const response = await rooms.contact.noted(
      rooms.events.during(nextcloudRequest(url.href, out.method), () => send(rooms, { ...out, url, headers })),
    )
    const target = redirectTarget(response, url.href)
    const refusal = target && (refusalAt(base, target) ?? refusalAt(publicBase, target))
    if (refusal !== undefined) {
      leaveUnread(response.body)
      throw new NextcloudRefusedError(refusal)
    }
    // The token must not leave this Nextcloud. The caller can look at the redirect.
    if (target === undefined || !isWithin(base, target)) return response
    if (redirects >= MOST_REDIRECTS || !isFollowed(out, response.status)) return response
    leaveUnread(response.body)
    url = target
  }
}

/** Whether the request stays what it is: a POST that becomes a GET would be a write that never was. */
function isFollowed({ method, body }: Outgoing, status: number): boolean {
  return WITHOUT_BODY.includes(method) || (PRESERVING_REDIRECTS.includes(status) && body?.repeatable !== false)
}

/** Sends it once, and again if it went into a connection that Nextcloud had closed. */
async function send({ nextcloud, transport }: RequestRooms, out: Outgoing): Promise<Response> {
  // A signal that has aborted says so no more, and nobody would end the body.
  out.signal?.throwIfAborted()
  const timeout = out.timeout ?? nextcloud.timeout
  const controller = new AbortController()
  const wait = (): (() => void) => afterPatience(systemClock, timeout, () => controller.abort())
  let stopWaiting = wait()
  const waitAgain = (): void => {
    stopWaiting()
    stopWaiting = wait()
  }
  const signal = out.signal ? AbortSignal.any([out.signal, controller.signal]) : controller.signal
  let upload: Upload | undefined
  const cancel = () => upload?.cancel()
  if (out.body !== undefined) signal.addEventListener('abort', cancel)
  const attempt = async (): Promise<Response> => {
    upload = out.body && createUpload(out.body, waitAgain)
    return transport.fetch(out.url.href, { ...fetchInit(out, await upload?.start()), signal })
  }
  try {
    return standardResponse(
      await attempt().catch((error: unknown) => {
        if (signal.aborted || !isFromStaleConnection(error) || !mayRepeat(out)) throw error
        waitAgain()
        return attempt()
      }),
    )
  } catch (error) {
    out.signal?.throwIfAborted()
    const failure = upload?.failure()
    if (failure !== undefined) throw failure.error
    if (!controller.signal.aborted) throw unreachable('Nextcloud', error).with({ service: 'Nextcloud' })
    const missing = MISSING[upload?.waitsFor() ?? 'answer']
    throw new UpstreamUnavailableError(`Nextcloud cannot be reached (${missing} within ${timeout} ms)`, {
      service: 'Nextcloud',
    })
  } finally {
    stopWaiting()
    // The caller's signal may live long, and would hold the body as long.
    signal.removeEventListener('abort', cancel)
  }
}

/**
 * nginx with `fastcgi_request_buffering off`, which Nextcloud's manual says, hands on nothing of a body that comes in chunks. Nextcloud
 * stores an empty file then, unless a client says that it is not empty (sabre/dav, for the Finder of macOS): the answer is 403.
 */
const OF_UNKNOWN_LENGTH: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  PUT: { 'x-expected-entity-length': '1' },
}

/** Words for what did not come in time. */
const MISSING = {
  body: 'the body to be sent gave nothing',
  connection: 'the connection took nothing of the body',
  answer: 'no answer',
}

function mayRepeat({ method, body }: Outgoing): boolean {
  return REPEATABLE.includes(method) && body?.repeatable !== false
}

type Started = Awaited<ReturnType<Upload['start']>>

function fetchInit({ method, headers }: Outgoing, started: Started | undefined): RequestInit {
  const init: RequestInit = { method, headers, redirect: 'manual' }
  if (started === undefined) return init
  const { body, length } = started
  if (!(body instanceof ReadableStream)) return { ...init, body }
  const about = length === undefined ? OF_UNKNOWN_LENGTH[method] : { 'content-length': String(length) }
  return { ...init, headers: { ...about, ...headers }, body, duplex: 'half' }
}

/** Returns the answer as Node's own Response. One of node-fetch has a Node stream as its body, and one of undici a web stream. */
function standardResponse(response: Response): Response {
  if (response instanceof Response) return response
  const { status, statusText, url } = response as Response
  const stream = NULL_BODY_STATUSES.includes(status)
    ? null
    : (response as { body: Readable | ReadableStream | null }).body
  const body = stream instanceof Readable ? webStream(stream) : stream
  try {
    const standard = new Response(body, { status, statusText, headers: [...(response as Response).headers] })
    return Object.defineProperty(standard, 'url', { value: url })
  } catch (error) {
    // A status from 600 on: the connection would be held for as long as Nextcloud likes.
    leaveUnread((response as Response).body)
    throw error
  }
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
