import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import { UpstreamUnavailableError } from '../errors/errors.js'

/**
 * After a failure, no new attempt for a while: 1 s, doubling to 30 s, and never less than the server's Retry-After, up to
 * `longestStated` seconds.
 */
export interface CoolDown {
  /** Whether it is too early for another attempt. */
  readonly active: () => boolean
  /** Whether the last attempt failed. */
  readonly failing: () => boolean
  /** Whether it ended so long ago that the next failure counts as the first. */
  readonly forgotten: () => boolean
  /** Throws the last failure while it is too early for another attempt. */
  readonly check: () => void
  /** Notes a failure and throws it. */
  readonly failed: (error: unknown) => never
  readonly succeeded: () => void
}

/** One {@link CoolDown} for each key that has failed. */
export interface CoolDowns {
  readonly active: (key: string) => boolean
  readonly check: (key: string) => void
  readonly failed: (key: string, error: unknown) => never
  readonly succeeded: (key: string) => void
  readonly size: () => number
}

/** Milliseconds. */
const FIRST = 1_000
const LONGEST = 30_000
/** Milliseconds after its end for which a cool-down of a key is remembered: a spent token, or a stranger's, never comes back to clear it. */
const REMEMBERED_FOR = 2 * LONGEST
/** Cool-downs that are looked at, the ones used least recently, when another one begins. */
const SWEPT = 8

/** @param begun called with each failure */
export function createCoolDown(clock: Clock, longestStated = Infinity, begun: () => void = () => undefined): CoolDown {
  let failures = 0
  let until = -Infinity
  let last: unknown
  return {
    active: () => clock.monotonic() < until,
    failing: () => failures > 0,
    forgotten: () => clock.monotonic() >= until + REMEMBERED_FOR,
    check: () => {
      const left = until - clock.monotonic()
      if (left > 0) throw toldAgain(last, left)
    },
    failed: (error) => {
      const stated = Math.min(statedBy(error), longestStated)
      const pause = Math.max(Math.min(FIRST * 2 ** failures, LONGEST), stated * 1_000)
      until = clock.monotonic() + pause
      failures += 1
      last = error
      begun()
      throw toldAgain(error, pause)
    },
    succeeded: () => {
      failures = 0
      until = -Infinity
      last = undefined
    },
  }
}

/** @param max keys whose failures are remembered at one time; the key used least recently is forgotten first */
export function createCoolDowns(clock: Clock, max: number, begun?: () => void, longestStated = Infinity): CoolDowns {
  const coolDowns = new LRUCache<string, CoolDown>({ max })
  const known = (key: string): CoolDown | undefined => {
    const coolDown = coolDowns.get(key)
    if (coolDown?.forgotten() !== true) return coolDown
    coolDowns.delete(key)
    return undefined
  }
  const sweep = (): void => {
    let looks = 0
    for (const key of coolDowns.rkeys()) {
      if (coolDowns.peek(key)?.forgotten() === true) coolDowns.delete(key)
      if ((looks += 1) >= SWEPT) return
    }
  }
  return {
    active: (key) => known(key)?.active() === true,
    check: (key) => known(key)?.check(),
    failed: (key, error) => {
      sweep()
      const coolDown = known(key) ?? createCoolDown(clock, longestStated, begun)
      coolDowns.set(key, coolDown)
      return coolDown.failed(error)
    },
    succeeded: (key) => void coolDowns.delete(key),
    size: () => coolDowns.size,
  }
}

/** Returns the failure with the milliseconds left until the next attempt. */
function toldAgain(error: unknown, left: number): unknown {
  return error instanceof UpstreamUnavailableError ? error.with({ retryAfter: left / 1_000 }) : error
}

/** Returns the seconds that the server stated, less those that passed or were cut off in a cool-down that tells the failure again. */
function statedBy(error: unknown): number {
  if (!(error instanceof UpstreamUnavailableError)) return 0
  return Math.min(error.statedRetryAfter ?? 0, error.retryAfter)
}
