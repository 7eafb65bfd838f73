import type { Clock } from '../clock.js'

/**
 * Values of which this process holds the only copy. Up to 10,000 are kept, and tried again in the background every half second,
 * however long the store is unavailable.
 */
export interface WriteBehind<T> {
  /** Keeps a value in place of any older one of its key. Beyond 10,000 values, the oldest is given up. */
  readonly keep: (key: string, value: T) => void
  readonly get: (key: string) => T | undefined
  /** Forgets the value of a key, and returns it. */
  readonly drop: (key: string) => T | undefined
  /** Writes the value of a key now, if there is one. Rejects as the write does: the value is kept then. */
  readonly flush: (key: string) => Promise<void>
  /**
   * Makes one more attempt at every value, and further ones while the store fails. Never rejects.
   *
   * @param until monotonic milliseconds for which it goes on. Default: it makes the one attempt.
   */
  readonly settle: (until?: number) => Promise<void>
  /** Makes a last attempt at every value, at all at once, and gives up those that fail. Never rejects. */
  readonly end: () => Promise<void>
}

interface Backlog<T> {
  readonly kept: Map<string, T>
  readonly write: (value: T, key: string) => Promise<unknown>
  readonly clock: Clock
  waiting: boolean
}

/** Milliseconds between attempts in the background: less than another instance waits before it takes over a token. */
const BACKGROUND_PAUSE = 500
const MOST_KEPT = 10_000
/** Writes that fail one after the other before the rest waits for the next time. */
const MOST_FAILURES = 3

/**
 * @param write resolves once the value need not be kept any more
 * @param giveUp takes a value that is given up
 */
export function createWriteBehind<T>(
  write: Backlog<T>['write'],
  giveUp: (value: T, key: string) => void,
  clock: Clock,
): WriteBehind<T> {
  const backlog: Backlog<T> = { kept: new Map(), write, clock, waiting: false }
  const { kept } = backlog
  return {
    keep(key, value) {
      const [oldest] = kept
      if (kept.size >= MOST_KEPT && oldest !== undefined && !kept.has(key)) {
        kept.delete(oldest[0])
        giveUp(oldest[1], oldest[0])
      }
      kept.set(key, value)
      tryLater(backlog)
    },
    get: (key) => kept.get(key),
    drop(key) {
      const value = kept.get(key)
      kept.delete(key)
      return value
    },
    flush: (key) => flush(backlog, key),
    async settle(until = -Infinity) {
      for (;;) {
        await flushAll(backlog, Infinity)
        if (kept.size === 0 || clock.monotonic() + BACKGROUND_PAUSE > until) return
        await clock.sleep(BACKGROUND_PAUSE)
      }
    },
    async end() {
      const last = async ([key, value]: [string, T]): Promise<void> =>
        flush(backlog, key).catch(() => {
          if (kept.get(key) === value && kept.delete(key)) giveUp(value, key)
        })
      await Promise.all([...kept].map(last))
    },
  }
}

async function flush<T>({ kept, write }: Backlog<T>, key: string): Promise<void> {
  const value = kept.get(key)
  if (value === undefined) return
  await write(value, key)
  if (kept.get(key) === value) kept.delete(key)
}

/**
 * Consecutive failures mean that the store is still down: stop. A single failure may be one part of it: move it to the end, so
 * that it does not block the rest.
 */
async function flushAll<T>(backlog: Backlog<T>, mostFailures: number): Promise<void> {
  const { kept } = backlog
  let failures = 0
  for (const [key, value] of [...kept]) {
    try {
      await flush(backlog, key)
      failures = 0
    } catch {
      // Reported where it happened.
      failures += 1
      if (kept.get(key) === value && kept.delete(key)) kept.set(key, value)
      if (failures >= mostFailures) return
    }
  }
}

function tryLater<T>(backlog: Backlog<T>): void {
  if (backlog.waiting || backlog.kept.size === 0) return
  backlog.waiting = true
  backlog.clock.after(BACKGROUND_PAUSE, () => {
    backlog.waiting = false
    void flushAll(backlog, MOST_FAILURES).then(() => tryLater(backlog))
  })
}
