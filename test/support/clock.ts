import type { Clock } from '../../src/clock.js'

/** A clock that stands still until it is told otherwise. Pauses pass at once, and move it on. */
export interface ManualClock extends Clock {
  /** Milliseconds. */
  readonly advance: (ms: number) => void
  /** Every pause that was slept, in milliseconds. */
  readonly pauses: number[]
}

export function manualClock(start = Date.UTC(2026, 0, 1)): ManualClock {
  let elapsed = 0
  const pauses: number[] = []
  return {
    now: () => start + elapsed,
    monotonic: () => elapsed,
    random: () => 0.5,
    sleep(ms) {
      pauses.push(ms)
      elapsed += ms
      return Promise.resolve()
    },
    advance(ms) {
      elapsed += ms
    },
    pauses,
  }
}
