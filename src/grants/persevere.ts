import { sleepThrough, type Clock } from '../clock.js'
import { StorageError } from '../errors/errors.js'

/** Milliseconds before the first new attempt, on average; it doubles with each, up to the longest. */
const FIRST_PAUSE = 50
const LONGEST_PAUSE = 1_000

/**
 * Retries `attempt` while the storage fails. For writes whose loss would cost the user the connection.
 *
 * @param patience milliseconds of attempts before it gives up
 * @param goesOn false ends the attempts early
 * @throws {StorageError} the store still fails
 */
export async function persevere<T>(
  clock: Clock,
  patience: number,
  attempt: () => Promise<T>,
  goesOn: () => boolean = () => true,
): Promise<T> {
  let until = clock.monotonic() + patience
  for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    try {
      return await attempt()
    } catch (error) {
      const jittered = pause * (0.5 + clock.random())
      const isOver = (): boolean => !goesOn() || clock.monotonic() + jittered >= until
      if (!(error instanceof StorageError) || isOver()) throw error
      until += await sleepThrough(clock, jittered)
    }
  }
}
