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

/** Milliseconds by which a timer is late after a standstill. */
const SHORTEST_STANDSTILL = 50
/** Milliseconds that an answer gets after a standstill, because it may be here, unread. */
const MOMENT = 100

/**
 * Calls back once others have had `ms` milliseconds, unless the returned function is called before. A process that stood still (stopped,
 * swapped out, kept busy) finds its timers due before the answers that have come meanwhile. After a standstill it calls back a moment later, so
 * that nobody is taken for failed whose answer is here.
 *
 * @param longest milliseconds of a standstill beyond which there is no such moment. Default: there is one after any
 */
export function afterPatience(
  { monotonic, after }: Pick<Clock, 'monotonic' | 'after'>,
  ms: number,
  callback: () => void,
  longest = Infinity,
): () => void {
  const end = monotonic() + ms
  let moment: NodeJS.Timeout | undefined
  const cancel = after(ms, () => {
    const late = monotonic() - end
    if (late < SHORTEST_STANDSTILL || late > longest) return callback()
    // Real time, whatever the clock: answers are read by the event loop.
    moment = setTimeout(callback, MOMENT).unref()
  })
  return () => {
    cancel()
    clearTimeout(moment)
  }
}

/** Sleeps, and resolves to the milliseconds by which it overslept because the process stood still: nobody else's time. */
export async function sleepThrough(
  { monotonic, sleep }: Pick<Clock, 'monotonic' | 'sleep'>,
  ms: number,
): Promise<number> {
  const end = monotonic() + ms
  await sleep(ms)
  const late = monotonic() - end
  return late < SHORTEST_STANDSTILL ? 0 : late
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
