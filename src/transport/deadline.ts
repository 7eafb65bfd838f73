import { afterPatience, systemClock, type Clock } from '../clock.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { nameOf } from './url-name.js'

/**
 * Milliseconds. An answer to a refresh token may hold the only copy of a user's new one, so it gets a moment more after a standstill of up to
 * this. After a longer one another instance may have taken over: then nothing more may be sent.
 */
export const LONGEST_STANDSTILL = 2_500

/** The time that a call may take, with all its attempts. */
export interface Deadline {
  readonly signal: AbortSignal
  /** Notes the URL whose answer is awaited. */
  readonly asked: (url: string) => void
  /** Milliseconds left. */
  readonly remaining: () => number
  /** The attempt, or the failure that ends it: also when the app's own fetch or signer does not heed the signal. */
  readonly race: <T>(attempt: Promise<T>) => Promise<T>
  readonly clear: () => void
}

/**
 * @param timeout milliseconds
 * @param longestStandstill as for `afterPatience`
 */
export function startDeadline(timeout: number, clock: Clock, longestStandstill = Infinity): Deadline {
  const controller = new AbortController()
  const { signal } = controller
  const end = clock.monotonic() + timeout
  let silent: string | undefined
  // Listens before any fetch does, so that the call fails because there is no answer, and not because it was aborted.
  const expired = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => {
      const name = silent === undefined ? 'The authorization server' : nameOf(silent)
      reject(new UpstreamUnavailableError(`${name} did not answer within ${timeout} ms`))
    })
  })
  expired.catch(() => undefined)
  // By the system's timers, because the attempt is one of the network.
  const real = { after: systemClock.after, monotonic: clock.monotonic }
  const stop = afterPatience(real, timeout, () => controller.abort(), longestStandstill)
  return {
    signal,
    asked: (url) => {
      silent = url
    },
    remaining: () => end - clock.monotonic(),
    race: (attempt) => Promise.race([attempt, expired]),
    clear: stop,
  }
}
