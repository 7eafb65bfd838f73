import type { Clock } from '../clock.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { nameOf } from './url-name.js'

/**
 * Milliseconds. A process that stood still (stopped, swapped out, kept busy) finds its timers due before the answers that have come meanwhile,
 * and an answer may hold the only copy of a user's new refresh token. So, where it stood still for no longer than
 * `LONGEST_STANDSTILL`, the answer gets a moment more. After a longer one another instance may have taken over: then nothing more
 * may be sent.
 */
const SHORTEST_STANDSTILL = 50
const LONGEST_STANDSTILL = 2_500
const MOMENT = 100

/** The time that a call may take, with all its attempts. */
export interface Deadline {
  readonly signal: AbortSignal
  /** Notes whose answer is being waited for. */
  readonly asked: (url: string) => void
  /** Milliseconds left. */
  readonly remaining: () => number
  /** The attempt, or the failure that ends it: also when a fetch or a signer of the user's does not heed the signal. */
  readonly race: <T>(attempt: Promise<T>) => Promise<T>
  readonly clear: () => void
}

/** @param timeout milliseconds */
export function startDeadline(timeout: number, clock: Clock): Deadline {
  const controller = new AbortController()
  const end = clock.monotonic() + timeout
  let silent: string | undefined
  let expire: (error: UpstreamUnavailableError) => void
  const expired = new Promise<never>((_resolve, reject) => {
    expire = reject
  })
  expired.catch(() => undefined)
  let timer = setTimeout(() => {
    const late = clock.monotonic() - end
    if (late < SHORTEST_STANDSTILL || late > LONGEST_STANDSTILL) giveUp()
    else timer = setTimeout(giveUp, MOMENT).unref()
  }, timeout).unref()
  function giveUp(): void {
    const name = silent === undefined ? 'The authorization server' : nameOf(silent)
    expire(new UpstreamUnavailableError(`${name} did not answer within ${timeout} ms`))
    controller.abort()
  }
  return {
    signal: controller.signal,
    asked: (url) => {
      silent = url
    },
    remaining: () => end - clock.monotonic(),
    race: (attempt) => Promise.race([attempt, expired]),
    clear: () => clearTimeout(timer),
  }
}
