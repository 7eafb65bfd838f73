import type { Clock } from '../clock.js'
import { UpstreamUnavailableError } from '../errors/errors.js'

/**
 * After a failure, no new attempt for a while: 1 s, doubling to 30 s, and never less than the server's Retry-After, as far as
 * `longestStated` seconds.
 */
export interface CoolDown {
  /** Whether it is too early for another attempt. */
  readonly active: () => boolean
  /** Whether the last attempt failed. */
  readonly failing: () => boolean
  /** Throws the last failure while it is too early for another attempt. */
  readonly check: () => void
  /** Notes a failure and throws it. */
  readonly failed: (error: unknown) => never
  readonly succeeded: () => void
}

const FIRST = 1_000
const LONGEST = 30_000

export function createCoolDown(clock: Clock, longestStated = Infinity): CoolDown {
  let failures = 0
  let until = -Infinity
  let last: unknown

  /** The last failure, saying how long from now on there will be no other attempt. */
  function present(): unknown {
    if (!(last instanceof UpstreamUnavailableError)) return last
    return last.with({ retryAfter: (until - clock.monotonic()) / 1_000 })
  }

  const active = (): boolean => clock.monotonic() < until
  return {
    active,
    failing: () => failures > 0,
    check() {
      if (active()) throw present()
    },
    failed(error) {
      const asked = error instanceof UpstreamUnavailableError ? (error.statedRetryAfter ?? 0) : 0
      const stated = Math.min(asked, longestStated)
      until = clock.monotonic() + Math.max(Math.min(FIRST * 2 ** failures, LONGEST), stated * 1_000)
      failures += 1
      last = error
      throw present()
    },
    succeeded() {
      failures = 0
      until = -Infinity
      last = undefined
    },
  }
}
