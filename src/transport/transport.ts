import type { Clock } from '../clock.js'
import type { HttpConfig } from '../config/config.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import type { Events, IdpOperation } from '../events.js'
import type { FetchFunction } from '../options.js'
import { asResponse, leaveUnread, readWhole, redirectTarget, unreachable, type WholeAnswer } from './answer.js'
import { LONGEST_STANDSTILL, startDeadline, type Deadline } from './deadline.js'
import { createOwnAgents, withNodeFetch } from './node-fetch.js'
import { nextcloudRequest } from './nextcloud-work.js'
import { nameOf } from './url-name.js'

/** The one way out of this package over HTTP. */
export interface Transport {
  /** node-fetch, or the app's own fetch: no redirects, and no limits of its own. */
  readonly fetch: FetchFunction
  /**
   * One call to the authorization server. `attempt` gets a fetch whose answers are read to their end and are never a
   * redirect, 429 or 5xx. It is run again after a failure that `repeatable` allows. The event of a failure names the `issuer`, if given.
   *
   * @throws {UpstreamUnavailableError} the server is unreachable, slow, overloaded, or answers too much or elsewhere
   */
  readonly call: <T>(
    operation: IdpOperation,
    repeatable: Repeatable,
    attempt: (fetch: IdpFetch, ask: Ask) => Promise<T>,
    issuer?: string,
  ) => Promise<T>
  /**
   * The same for Nextcloud itself, once and without an event: what asks for it can wait.
   *
   * @throws {UpstreamUnavailableError} Nextcloud is unreachable, slow, overloaded, or answers too much or elsewhere
   */
  readonly askNextcloud: (url: string, init: Parameters<IdpFetch>[1]) => Promise<Response>
  /** Counts a cool-down that begins. */
  readonly coolsDown: () => void
  /** Closes this package's own connections; an agent of the app's stays as it is. */
  readonly close: () => void
}

/**
 * The failures after which a request is sent again: any, those after which it surely was not processed, or none. A refresh
 * token may be good for one request, a code always is.
 */
export type Repeatable = 'always' | 'unprocessed' | 'never'

/** The `customFetch` of oauth4webapi. */
export type IdpFetch = (
  url: string,
  init: {
    readonly method: string
    readonly headers: Readonly<Record<string, string>>
    readonly body?: unknown
    /** Returns the address to ask instead of one that is redirected. Undefined: the redirect is a failure. */
    readonly instead?: (redirect: URL) => string | undefined
  },
) => Promise<Response>

/** The same as an {@link IdpFetch}, for callers that parse the body themselves: no `Response` is built. */
export type Ask = (...request: Parameters<IdpFetch>) => Promise<WholeAnswer>

/** Milliseconds before the first repetition, on average; it doubles with each. */
const FIRST_PAUSE = 100

/** All that the requests of one call share. */
interface Call {
  readonly config: HttpConfig
  readonly fetch: FetchFunction
  readonly deadline: Deadline
  readonly clock: Clock
}

export function createTransport(config: HttpConfig, clock: Clock, events: Events): Transport {
  const own = createOwnAgents()
  const fetch = config.fetch ?? withNodeFetch(config.agent ?? own)
  const begin = (repeatable: Repeatable): Call => {
    // What may be sent once must not be sent late.
    const longest = repeatable === 'always' ? Infinity : LONGEST_STANDSTILL
    return { config, fetch, clock, deadline: startDeadline(config.timeout, clock, longest) }
  }
  return {
    fetch,
    call: async (operation, repeatable, attempt, issuer) => {
      const call = begin(repeatable)
      const ask: Ask = (url, init) => {
        events.counters.idpRequests += 1
        return request(call, url, init)
      }
      try {
        return await repeat(call, repeatable, () =>
          attempt(async (url, init) => asResponse(await ask(url, init), url), ask),
        )
      } catch (error) {
        if (error instanceof UpstreamUnavailableError) {
          const { detail: message, httpStatus } = error
          events.emit({
            type: 'idp.unavailable',
            operation,
            message,
            httpStatus,
            ...(issuer !== undefined && { issuer }),
          })
        }
        throw error
      } finally {
        call.deadline.clear()
      }
    },
    askNextcloud: async (url, init) => {
      const call = begin('always')
      try {
        return await events.during(nextcloudRequest(url, init.method), async () =>
          asResponse(await call.deadline.race(request(call, url, init)), url),
        )
      } catch (error) {
        throw error instanceof UpstreamUnavailableError ? error.with({ service: 'Nextcloud' }) : error
      } finally {
        call.deadline.clear()
      }
    },
    coolsDown: () => void (events.counters.coolDowns += 1),
    close: own.close,
  }
}

async function request(call: Call, url: string, init: Parameters<IdpFetch>[1]): Promise<WholeAnswer> {
  const { config, fetch, deadline, clock } = call
  deadline.asked(url)
  let response: Response | undefined
  try {
    const sendTo = (address: string): Promise<Response> =>
      config.local?.(address) ??
      fetch(address, {
        method: init.method,
        headers: { ...init.headers },
        ...(init.body != null && { body: init.body as NonNullable<RequestInit['body']> }),
        redirect: 'manual',
        signal: deadline.signal,
      })
    response = await sendTo(url)
    const redirect = redirectTarget(response, url)
    const other = redirect && init.instead?.(redirect)
    if (other !== undefined) {
      leaveUnread(response.body)
      response = await sendTo(other)
    }
    return await readWhole(response, url, config.maxResponseBytes, clock)
  } catch (error) {
    leaveUnread(response?.body)
    throw error instanceof UpstreamUnavailableError ? error : unreachable(nameOf(url), error)
  }
}

async function repeat<T>(call: Call, repeatable: Repeatable, attempt: () => Promise<T>): Promise<T> {
  const { config, deadline, clock } = call
  for (let done = 0; ; done += 1) {
    try {
      return await deadline.race(attempt())
    } catch (error) {
      if (done >= config.retries || !mayRepeat(error, repeatable)) throw error
      const jittered = FIRST_PAUSE * 2 ** done * (0.5 + clock.random())
      const pause = Math.max(jittered, (error.statedRetryAfter ?? 0) * 1_000)
      if (pause >= deadline.remaining()) throw error
      await clock.sleep(pause)
    }
  }
}

function mayRepeat(error: unknown, repeatable: Repeatable): error is UpstreamUnavailableError {
  if (!(error instanceof UpstreamUnavailableError)) return false
  return repeatable === 'always' || (repeatable === 'unprocessed' && error.unprocessed)
}
