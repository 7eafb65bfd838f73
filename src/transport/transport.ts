import type { Agent } from 'node:http'
import { Readable } from 'node:stream'
import type { Clock } from '../clock.js'
import type { HttpConfig } from '../config/config.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import type { Events, IdpOperation } from '../events.js'
import type { FetchFunction } from '../options.js'
import { startDeadline, type Deadline } from './deadline.js'
import { keepAliveAgents, withNodeFetch } from './node-fetch.js'
import { nameOf } from './url-name.js'

/** The one way out of this package over HTTP. */
export interface Transport {
  /** node-fetch, or the user's own fetch: no redirects, and no limits of its own. */
  readonly fetch: FetchFunction
  /**
   * One call to the authorization server. `attempt` is handed a fetch whose answers are read to their end and are never a
   * redirect, 429 or 5xx; it is run again after a failure that `repeatable` allows: any, one after which the request surely was
   * not processed, or none.
   *
   * @throws {UpstreamUnavailableError} the server is unreachable, slow, overloaded, or answers too much or elsewhere
   */
  readonly call: <T>(
    operation: IdpOperation,
    repeatable: Repeatable,
    attempt: (fetch: IdpFetch, ask: Ask) => Promise<T>,
  ) => Promise<T>
  /**
   * The same for Nextcloud itself, once and without an event: what asks for it can wait.
   *
   * @throws {UpstreamUnavailableError} Nextcloud is unreachable, slow, overloaded, or answers too much or elsewhere
   */
  readonly askNextcloud: (url: string, init: Parameters<IdpFetch>[1]) => Promise<Response>
  /** Closes this package's own connections; an agent of the user's stays as it is. */
  readonly close: () => void
}

/** After which failures a request is sent again. A refresh token may be good for one request, a code always is. */
export type Repeatable = 'always' | 'unprocessed' | 'never'

/** What oauth4webapi calls as its `customFetch`. */
export type IdpFetch = (
  url: string,
  init: {
    readonly method: string
    readonly headers: Readonly<Record<string, string>>
    readonly body?: unknown
  },
) => Promise<Response>

/** An answer that has been read to its end. */
export interface WholeAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: Uint8Array<ArrayBuffer>
}

/** The same as an {@link IdpFetch}, for callers that parse the body themselves: no `Response` is built. */
export type Ask = (...request: Parameters<IdpFetch>) => Promise<WholeAnswer>

/** Milliseconds before the first repetition, on average; it doubles with each. */
const FIRST_PAUSE = 100
/** Seconds. A Retry-After beyond this is not believed. */
const LONGEST_RETRY_AFTER = 3_600
/** RFC 6585 §4, RFC 9110 §15.6.4: the server says that it did not get to the request. */
const TURNED_AWAY = [429, 503]
/** Failures before any byte of the request was sent: no address, no connection, no TLS. */
const NOT_SENT =
  /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|EPROTO|UND_ERR_CONNECT_TIMEOUT|ERR_TLS_\w+|ERR_SSL_\w+|CERT_\w+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+)$/
/** Answers to which the Fetch standard gives no body. */
export const NULL_BODY_STATUSES = [204, 205, 304]

export function createTransport(config: HttpConfig, clock: Clock, events: Events): Transport {
  const ownAgents: Agent[] = []
  const fetch = config.fetch ?? withNodeFetch(config.agent ?? keepAliveAgents(ownAgents))

  async function request(deadline: Deadline, url: string, init: Parameters<IdpFetch>[1]): Promise<WholeAnswer> {
    deadline.asked(url)
    const response = await fetch(url, {
      method: init.method,
      headers: { ...init.headers },
      ...(init.body != null && { body: init.body as NonNullable<RequestInit['body']> }),
      redirect: 'manual',
      signal: deadline.signal,
    })
    try {
      return await readWhole(response, url)
    } catch (error) {
      leaveUnread(response)
      throw error
    }
  }

  async function readWhole(response: Response, url: string): Promise<WholeAnswer> {
    const { status } = response
    // Status 0 is how a browser-like fetch shows a redirect that it was told not to follow.
    if (status === 0 || (status >= 300 && status < 400)) {
      throw new UpstreamUnavailableError(`${nameOf(url)} redirects instead of answering`, { httpStatus: status })
    }
    if (status === 429 || status >= 500) {
      throw new UpstreamUnavailableError(`${nameOf(url)} answers with status ${status}`, {
        httpStatus: status,
        unprocessed: TURNED_AWAY.includes(status),
        statedRetryAfter: readRetryAfter(response.headers.get('retry-after'), clock),
      })
    }
    return { status, headers: response.headers, body: await readBody(response, url, config.maxResponseBytes) }
  }

  function asking(deadline: Deadline): Ask {
    return (url, init) => request(deadline, url, init).catch((error: unknown) => throwAsUnavailable(error, url))
  }

  async function repeat<T>(
    deadline: Deadline,
    repeatable: Repeatable,
    attempt: (fetch: IdpFetch, ask: Ask) => Promise<T>,
  ): Promise<T> {
    const askUncounted = asking(deadline)
    const ask: Ask = (url, init) => {
      events.counters.idpRequests += 1
      return askUncounted(url, init)
    }
    const fetchWhole: IdpFetch = async (url, init) => asResponse(await ask(url, init), url)
    for (let done = 0; ; done += 1) {
      try {
        return await deadline.race(attempt(fetchWhole, ask))
      } catch (error) {
        if (!(error instanceof UpstreamUnavailableError) || done >= config.retries) throw error
        if (repeatable === 'never' || (repeatable === 'unprocessed' && !error.unprocessed)) throw error
        const jittered = FIRST_PAUSE * 2 ** done * (0.5 + clock.random())
        const pause = Math.max(jittered, (error.statedRetryAfter ?? 0) * 1_000)
        if (pause >= deadline.remaining()) throw error
        await clock.sleep(pause)
      }
    }
  }

  return {
    fetch,
    async call(operation, repeatable, attempt) {
      const deadline = startDeadline(config.timeout, clock)
      try {
        return await repeat(deadline, repeatable, attempt)
      } catch (error) {
        if (error instanceof UpstreamUnavailableError) {
          const { message, httpStatus } = error
          events.emit({ type: 'idp.unavailable', operation, message, httpStatus })
        }
        throw error
      } finally {
        deadline.clear()
      }
    },
    async askNextcloud(url, init) {
      const deadline = startDeadline(config.timeout, clock)
      try {
        return asResponse(await deadline.race(asking(deadline)(url, init)), url)
      } catch (error) {
        throw error instanceof UpstreamUnavailableError ? error.with({ service: 'Nextcloud' }) : error
      } finally {
        deadline.clear()
      }
    },
    close() {
      for (const agent of ownAgents) agent.destroy()
    },
  }
}

/** Closes the connection of an answer that nobody reads to its end: it would be held for as long as the server likes. */
function leaveUnread({ body }: Response): void {
  if (body instanceof Readable) body.destroy()
  else if (body?.locked === false) body.cancel().catch(() => undefined)
}

/** Nothing of the failure is kept but its code: a fetch of the user's may put the whole request into its errors. */
function throwAsUnavailable(error: unknown, url: string): never {
  if (error instanceof UpstreamUnavailableError) throw error
  throw unreachable(nameOf(url), error)
}

/** Returns the failure of a server that gave no answer: its code says whether the request was sent. */
export function unreachable(server: string, error: unknown): UpstreamUnavailableError {
  const code = failureCode(error)
  const unprocessed = NOT_SENT.test(code)
  return new UpstreamUnavailableError(`${server} cannot be reached (${code})`, { unprocessed })
}

/** The system's or the library's code for a network failure, such as ECONNREFUSED, with no text of the request in it. */
export function failureCode(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && typeof cause.code === 'string') return cause.code
  }
  return error instanceof Error ? error.name : 'unknown failure'
}

/** RFC 9110 §10.2.3: seconds or a date. Undefined when there is none, or none that makes sense. */
function readRetryAfter(value: string | null, clock: Clock): number | undefined {
  if (value === null) return undefined
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - clock.now()) / 1_000
  return seconds >= 0 ? Math.min(seconds, LONGEST_RETRY_AFTER) : undefined
}

/**
 * A whole answer.
 *
 * @throws {UpstreamUnavailableError} it is longer than `limit` bytes
 */
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

/** @throws {UpstreamUnavailableError} a fetch of the user's has answered with something that is no response */
function asResponse({ status, headers, body }: WholeAnswer, url: string): Response {
  try {
    return new Response(NULL_BODY_STATUSES.includes(status) ? null : body, { status, headers: [...headers] })
  } catch (error) {
    return throwAsUnavailable(error, url)
  }
}
