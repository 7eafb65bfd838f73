/**
 * Time and chance, injected, so that tests need no timers.
 *
 * `now` is the wall clock, for the times in tokens (`exp`, `nbf`). `monotonic` never jumps, for the times that this process
 * measures (the life of a cached token, cool-downs).
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
  /** Calls back once after `ms` milliseconds, unless the returned function is called before. Keeps no process alive. */
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
