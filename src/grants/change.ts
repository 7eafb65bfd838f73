import { StorageError } from '../errors/errors.js'

/** Attempts at one change, each after another writer was first. */
const MOST_ATTEMPTS = 10

/**
 * Repeats a change by compare-and-set until no other writer is first.
 *
 * @param what names what is changed, for the error
 * @param attempt reads what is there and writes the change; `late` when another writer was first
 * @param most attempts, default ten
 * @throws {StorageError} another writer was first at every attempt
 */
export async function change<T>(what: string, attempt: () => Promise<T | 'late'>, most = MOST_ATTEMPTS): Promise<T> {
  for (let attempts = 0; attempts < most; attempts += 1) {
    const outcome = await attempt()
    if (outcome !== 'late') return outcome
  }
  throw new StorageError(`Other writers keep changing ${what}`)
}
