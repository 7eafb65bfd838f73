import { setImmediate, setTimeout } from 'node:timers/promises'
import type { Clock } from '../../src/clock.js'

/** A clock that stands still until it is told otherwise. Pauses pass at once, and move it on; timers go off when it does. */
export interface ManualClock extends Clock {
  /** Milliseconds. */
  readonly advance: (ms: number) => void
  /** Every pause that was slept, in milliseconds. */
  readonly pauses: number[]
}

export function manualClock(start = Date.UTC(2026, 0, 1)): ManualClock {
  let elapsed = 0
  let timers: { readonly at: number; readonly callback: () => void }[] = []
  function advance(ms: number): void {
    elapsed += ms
    const due = timers.filter(({ at }) => at <= elapsed).sort((a, b) => a.at - b.at)
    timers = timers.filter(({ at }) => at > elapsed)
    for (const { callback } of due) callback()
  }
  const pauses: number[] = []
  return {
    now: () => start + elapsed,
    monotonic: () => elapsed,
    random: () => 0.5,
    sleep(ms) {
      pauses.push(ms)
      advance(ms)
      return Promise.resolve()
    },
    after(ms, callback) {
      const timer = { at: elapsed + ms, callback }
      timers.push(timer)
      return () => {
        timers = timers.filter((other) => other !== timer)
      }
    },
    advance,
    pauses,
  }
}

/** Turns of the event loop in which a request to a server of this process is answered. */
const TURNS = 20

/** Lets time pass in steps of milliseconds, in each of which a server of this process can answer. */
export async function pass({ advance }: ManualClock, ms: number, step = 100): Promise<void> {
  for (let passed = 0; passed < ms; passed += step) {
    advance(step)
    await setTimeout(5)
    // On a busy machine that is over before anything has happened.
    for (let turns = 0; turns < TURNS; turns += 1) await setImmediate()
  }
}
