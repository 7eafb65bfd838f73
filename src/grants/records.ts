import type { Clock } from '../clock.js'
import { ConfigurationError, StorageError } from '../errors/errors.js'
import type { Events } from '../events.js'
import { PUT_LEASE, type StorageAdapter, type StoredEntry } from '../storage-adapter.js'
import type { Sealer } from './seal.js'

/** A record, opened. */
export interface OpenRecord {
  readonly value: unknown
  readonly version: string
}

/**
 * The store, with every value sealed, every answer checked and every call limited in time.
 *
 * Each call rejects with {@link StorageError} when the store fails or does not answer in 5 s, and with
 * {@link ConfigurationError} when an adapter says that it is not set up.
 */
export interface Records {
  /** @throws {SealedValueError} the record is there and cannot be opened */
  readonly read: (key: string) => Promise<OpenRecord | undefined>
  /** The entry as it is stored, for a record that is compared, replaced or deleted without being opened. */
  readonly peek: (key: string) => Promise<StoredEntry | undefined>
  /** Seals and writes; the new version, or null when another writer was first. */
  readonly write: (key: string, value: unknown, expected: string | null, ttlMs?: number) => Promise<string | null>
  readonly seal: (key: string, value: unknown) => Promise<string>
  /** Writes what `seal` made. */
  readonly writeSealed: (key: string, sealed: string, expected: string | null, ttlMs?: number) => Promise<string | null>
  /** The same for a lease, which counts for nothing where a store bounds its entries. */
  readonly writeLease: (key: string, sealed: string, expected: string | null, ttlMs: number) => Promise<string | null>
  readonly remove: (key: string, expected: string) => Promise<boolean>
}

/** Milliseconds for one call of the adapter. */
const STORE_TIMEOUT = 5_000

export function createRecords(storage: StorageAdapter, sealer: Sealer, clock: Clock, events: Events): Records {
  const watch = { clock, events }
  const peek: Records['peek'] = (key) => call(watch, 'get', () => storage.get(key), isEntry)
  const writeSealed: Records['writeSealed'] = (key, sealed, expected, ttlMs) =>
    call(watch, 'put', () => storage.put(key, sealed, expected, ttlMs), isVersion)
  return {
    async read(key) {
      const entry = await peek(key)
      return entry && { value: await sealer.open(key, entry.value), version: entry.version }
    },
    peek,
    seal: sealer.seal,
    writeSealed,
    async write(key, value, expected, ttlMs) {
      return writeSealed(key, await sealer.seal(key, value), expected, ttlMs)
    },
    writeLease: (key, sealed, expected, ttlMs) =>
      call(
        watch,
        'put',
        () => (storage[PUT_LEASE] ?? storage.put).call(storage, key, sealed, expected, ttlMs),
        isVersion,
      ),
    remove: (key, expected) => call(watch, 'delete', () => storage.delete(key, expected), isBoolean),
  }
}

/** One call of the adapter: what it throws, how long it takes and what it answers are not taken on trust. */
async function call<T>(
  { clock, events }: { readonly clock: Clock; readonly events: Events },
  operation: 'get' | 'put' | 'delete',
  run: () => Promise<T>,
  isAnswer: (answer: unknown) => boolean,
): Promise<T> {
  try {
    // Started in a promise, because an adapter may throw instead of rejecting.
    const answer = await limited(Promise.resolve().then(run), clock)
    if (!isAnswer(answer)) throw new StorageError(`The storage answers ${operation} with something it must not`)
    return answer
  } catch (error) {
    const isOurs = error instanceof StorageError || error instanceof ConfigurationError
    const failure = isOurs ? error : new StorageError('The storage failed', error)
    events.emit({ type: 'storage.failed', operation, message: failure.message })
    throw failure
  }
}

function limited<T>(pending: Promise<T>, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(STORE_TIMEOUT, () =>
      reject(new StorageError(`The storage did not answer within ${STORE_TIMEOUT} ms`)),
    )
    pending.then(resolve, reject).finally(cancel)
  })
}

function isEntry(answer: unknown): boolean {
  if (answer === undefined) return true
  const { value, version } = (answer ?? {}) as Partial<StoredEntry>
  return typeof value === 'string' && typeof version === 'string'
}

const isVersion = (answer: unknown): boolean => answer === null || typeof answer === 'string'

const isBoolean = (answer: unknown): boolean => typeof answer === 'boolean'
