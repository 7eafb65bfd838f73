import { afterPatience, type Clock } from '../clock.js'
import { LRUCache } from 'lru-cache'
import { ConfigurationError, SealedValueError, StorageError } from '../errors/errors.js'
import type { Events } from '../events.js'
import { PUT_UNCOUNTED, type KeyPage, type StorageAdapter, type StoredEntry } from '../storage-adapter.js'
import { sealingKeyOf, type Sealer } from './seal.js'

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
  /**
   * @param readPlain reads a value that is not sealed, where the record may hold one; undefined: it is none
   * @throws {SealedValueError} the record is there and cannot be opened
   */
  readonly read: (key: string, readPlain?: (value: string, now: number) => unknown) => Promise<OpenRecord | undefined>
  /**
   * The same for a record that is worth little without its content: the value is undefined if only a key of the past opens it. A key that is
   * met for the first time may be on its way to this process (a restart of several, one by one). For ten minutes that rejects with
   * {@link StorageError}, because another instance opens the record.
   */
  readonly readIfOpens: (key: string) => Promise<OpenRecord | undefined>
  /** The entry as it is stored, for a record that is compared, replaced or deleted without being opened. */
  readonly peek: (key: string) => Promise<StoredEntry | undefined>
  /** Seals and writes; the new version, or null when another writer was first. */
  readonly write: (key: string, value: unknown, expected: string | null, ttlMs?: number) => Promise<string | null>
  readonly seal: (key: string, value: unknown) => Promise<string>
  /** Writes what `seal` made. */
  readonly writeSealed: (key: string, sealed: string, expected: string | null, ttlMs?: number) => Promise<string | null>
  /** The same two for what does not count where a store bounds its entries. */
  readonly writeUncounted: (
    key: string,
    value: unknown,
    expected: string | null,
    ttlMs: number,
  ) => Promise<string | null>
  readonly writeUncountedSealed: (
    key: string,
    sealed: string,
    expected: string | null,
    ttlMs: number,
  ) => Promise<string | null>
  readonly remove: (key: string, expected: string) => Promise<boolean>
  /** Lists keys, in the order of the store. Undefined where the adapter cannot. */
  readonly list: ((page: KeyPage) => Promise<readonly string[]>) | undefined
}

/** Milliseconds for one call of the adapter. A list is read by operators, and Redis walks through all keys for it. */
const TIMEOUTS = { get: 5_000, put: 5_000, delete: 5_000, list: 60_000 }

export function createRecords(storage: StorageAdapter, sealer: Sealer, clock: Clock, events: Events): Records {
  const watch = { clock, events }
  const isOfThePast = createKeyMemory(clock)
  const peek: Records['peek'] = (key) => call(watch, 'get', () => storage.get(key), isEntry)
  const writeSealed: Records['writeSealed'] = (key, sealed, expected, ttlMs) =>
    call(watch, 'put', () => storage.put(key, sealed, expected, ttlMs), isVersion)
  const writeUncountedSealed: Records['writeUncountedSealed'] = (key, sealed, expected, ttlMs) =>
    call(
      watch,
      'put',
      () => (storage[PUT_UNCOUNTED] ?? storage.put).call(storage, key, sealed, expected, ttlMs),
      isVersion,
    )
  return {
    async read(key, readPlain) {
      const entry = await peek(key)
      if (entry === undefined) return undefined
      const { value, version } = entry
      return { value: readPlain?.(value, clock.now()) ?? (await sealer.open(key, value)), version }
    },
    async readIfOpens(key) {
      const entry = await peek(key)
      if (entry === undefined) return undefined
      const { version } = entry
      try {
        return { value: await sealer.open(key, entry.value), version }
      } catch (error) {
        if (!(error instanceof SealedValueError) || !isOfThePast(entry.value)) throw unopened(error)
        return { value: undefined, version }
      }
    },
    peek,
    seal: sealer.seal,
    writeSealed,
    async write(key, value, expected, ttlMs) {
      return writeSealed(key, await sealer.seal(key, value), expected, ttlMs)
    },
    writeUncountedSealed,
    async writeUncounted(key, value, expected, ttlMs) {
      return writeUncountedSealed(key, await sealer.seal(key, value), expected, ttlMs)
    },
    remove: (key, expected) => call(watch, 'delete', () => storage.delete(key, expected), isBoolean),
    list:
      storage.list &&
      ((page) => call(watch, 'list', async () => storage.list?.(page) as Promise<string[]>, isPage(page))),
  }
}

/** Asks the store for an entry, whether it is there or not, to see that it answers. Rejects as {@link Records} do. */
export async function reachStore(storage: StorageAdapter, key: string, clock: Clock, events: Events): Promise<void> {
  await call({ clock, events }, 'get', () => storage.get(key), isEntry)
}

/** Milliseconds for which a key that is not known here may be on its way. */
const ON_ITS_WAY = 600_000
const MOST_KEYS = 100

/** Returns a function that says whether the key of a sealed value was met here so long ago that it does not come any more. */
function createKeyMemory(clock: Clock): (sealed: string) => boolean {
  const metAt = new LRUCache<string, number>({ max: MOST_KEYS })
  return (sealed) => {
    const id = sealingKeyOf(sealed)
    const at = metAt.get(id) ?? clock.monotonic()
    metAt.set(id, at)
    return clock.monotonic() >= at + ON_ITS_WAY
  }
}

function unopened(error: unknown): unknown {
  if (!(error instanceof SealedValueError)) return error
  return new StorageError(`A record is sealed with a key that is not known here: ${error.detail}`)
}

/** One call of the adapter: what it throws, how long it takes and what it answers are not taken on trust. */
async function call<T>(
  { clock, events }: { readonly clock: Clock; readonly events: Events },
  operation: keyof typeof TIMEOUTS,
  run: () => Promise<T>,
  isAnswer: (answer: unknown) => boolean,
): Promise<T> {
  try {
    // Started in a promise, because an adapter may throw instead of rejecting.
    return await events.during(
      { name: 'mcp.auth.storage', attributes: { 'db.operation.name': operation } },
      async () => {
        const answer = await limited(Promise.resolve().then(run), TIMEOUTS[operation], clock)
        if (!isAnswer(answer)) throw new StorageError(`The storage answers ${operation} with something it must not`)
        return answer
      },
    )
  } catch (error) {
    const isOurs = error instanceof StorageError || error instanceof ConfigurationError
    const failure = isOurs ? error : new StorageError('The storage failed', error)
    events.emit({ type: 'storage.failed', operation, message: failure.detail })
    throw failure
  }
}

function limited<T>(pending: Promise<T>, ms: number, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const tooLate = (): void => reject(new StorageError(`The storage did not answer within ${ms} ms`))
    const cancel = afterPatience(clock, ms, tooLate)
    pending.then(resolve, reject).finally(cancel)
  })
}

function isEntry(answer: unknown): boolean {
  if (answer === undefined) return true
  const { value, version } = (answer ?? {}) as Partial<StoredEntry>
  return typeof value === 'string' && typeof version === 'string'
}

const isVersion = (answer: unknown): boolean => answer === null || typeof answer === 'string'

/** Whether there are only keys, no more than asked for, and all of them behind the last page: or there would be no end. */
const isPage =
  ({ after = '', limit }: KeyPage) =>
  (answer: unknown): boolean =>
    Array.isArray(answer) && answer.length <= limit && answer.every((key) => typeof key === 'string' && key > after)

const isBoolean = (answer: unknown): boolean => typeof answer === 'boolean'
