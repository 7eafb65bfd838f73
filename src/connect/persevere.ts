import type { Clock } from '../clock.js'
import { StorageError } from '../errors.js'

/** Milliseconds before the store is tried again; they double, up to the longest. */
const FIRST_PAUSE = 50
const LONGEST_PAUSE = 1_000

/**
 * Repeats a write of what cannot be had a second time (a code is spent, an app password is given once), while the store is away for a
 * moment: it would cost the user the whole way.
 *
 * @param patience milliseconds
 */
export async function persevere<T>(clock: Clock, patience: number, attempt: () => Promise<T>): Promise<T> {
  const until = clock.monotonic() + patience
  for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    try {
      return await attempt()
    } catch (error) {
      const jittered = pause * (0.5 + clock.random())
      if (!(error instanceof StorageError) || clock.monotonic() + jittered >= until) throw error
      await clock.sleep(jittered)
    }
  }
}
