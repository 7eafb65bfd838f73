import { sleepThrough, type Clock } from '../../clock.js'

/** Milliseconds between looks at what another instance is at; they double, up to the longest. */
const FIRST_PAUSE = 25
const LONGEST_PAUSE = 500

/**
 * Returns a function that waits before the next look, a little longer each time, and resolves to false, at once, when there have been so many
 * milliseconds of waiting. Time in which this process stood still does not count.
 */
export function createPauses(clock: Clock, patienceMs: number): () => Promise<boolean> {
  let pause = FIRST_PAUSE
  let end = clock.monotonic() + patienceMs
  return async () => {
    if (clock.monotonic() >= end) return false
    end += await sleepThrough(clock, pause * (0.5 + clock.random()))
    pause = Math.min(pause * 2, LONGEST_PAUSE)
    return true
  }
}
