/**
 * Time and chance, injected, so that tests need no timers.
 *
 * `now` is the wall clock, for what tokens say of themselves (`exp`, `nbf`). `monotonic` never jumps, for what this process
 * measures itself (the life of a cached token, cool-downs).
 */
export interface Clock {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Milliseconds since an arbitrary start. */
  readonly monotonic: () => number
  /** A number in [0, 1), for jitter only. */
  readonly random: () => number
  /** Resolves after `ms` milliseconds. */
  readonly sleep: (ms: number) => Promise<void>
  /** Calls back once after `ms` milliseconds, and keeps no process alive for it; what it returns cancels it. */
  readonly after: (ms: number, callback: () => void) => () => void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random: () => Math.random(),
  // Not unref'ed, unlike every other timer here: it is the pause before a retry that a caller is waiting for, and it ends
  // within http.timeout. A process that waits for nothing else must not exit in it.
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  after(ms, callback) {
    const timer = setTimeout(callback, ms).unref()
    return () => clearTimeout(timer)
  },
}
