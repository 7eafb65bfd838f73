import type { Clock } from '../../clock.js'
import { StorageError } from '../../errors/errors.js'

/** The time that one call has for a store which is a cache to it. */
export interface StorePatience {
  /** Rejects with {@link StorageError} when the time of all work that was waited for is over. The work itself goes on. */
  readonly waitFor: <T>(work: Promise<T>) => Promise<T>
}

/** Milliseconds for the store in all: with those of an exchange not more than `http.timeout` and 2 s. */
const PATIENCE = 1_800
/** Milliseconds that are counted at once. What goes beyond is time for which this process was busy, or stood still. */
const SLICE = 100

export function createStorePatience({ monotonic, after }: Pick<Clock, 'monotonic' | 'after'>): StorePatience {
  let left = PATIENCE
  return {
    waitFor: (work) =>
      new Promise((resolve, reject) => {
        let since = monotonic()
        let cancel = (): void => undefined
        const spend = (): void => void (left -= Math.min(monotonic() - since, SLICE))
        const wait = (): void => {
          if (left <= 0) return reject(new StorageError(`The storage took more than ${PATIENCE} ms of a call`))
          since = monotonic()
          cancel = after(Math.min(SLICE, left), () => {
            spend()
            wait()
          })
        }
        wait()
        work.then(resolve, reject).finally(() => {
          cancel()
          spend()
        })
      }),
  }
}
