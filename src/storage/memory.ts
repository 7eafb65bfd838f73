import { randomBytes } from 'node:crypto'
import { type Clock, systemClock } from '../clock.js'
import { number } from '../config/kinds.js'
import { readOptions } from '../config/read-options.js'
import { OWN_KEY, PUT_UNCOUNTED, type KeyPage, type StorageAdapter, type StoredEntry } from '../storage-adapter.js'
import { newVersion, wholeTtl } from './entry.js'
import { collectKeys } from './page.js'

/** Options of {@link MemoryStorage}. */
export interface MemoryStorageOptions {
  /** Entries at most. A further one is refused and no old one is dropped, because each is a user's grant. Default 10,000. */
  readonly maxEntries?: number | undefined
}

interface MemoryEntry extends StoredEntry {
  /** Monotonic milliseconds; Infinity without a ttl. */
  readonly deadAt: number
}

const OPTIONS = { maxEntries: { kind: number({ unit: 'entries', least: 1 }), default: 10_000 } }

/**
 * Keeps grants in this process, for development and for a single instance: they are gone when it ends, and other instances do
 * not see them.
 *
 * `put` rejects when a new entry would be one more than `maxEntries`. Expired entries do not count, and nothing that the renewal of a
 * connected user's grant writes.
 *
 * @throws {ConfigurationError} an option is unknown or wrong
 */
export class MemoryStorage implements StorageAdapter {
  readonly shared = false
  /** @internal */
  readonly [OWN_KEY] = new Uint8Array(randomBytes(32))
  readonly #entries = new Map<string, MemoryEntry>()
  /** The keys of entries that do not count. */
  readonly #uncounted = new Set<string>()
  readonly #maxEntries: number
  readonly #clock: Pick<Clock, 'monotonic'>

  constructor(options?: MemoryStorageOptions)
  /** @internal */
  constructor(options: MemoryStorageOptions | undefined, clock: Pick<Clock, 'monotonic'>)
  constructor(options?: MemoryStorageOptions, clock: Pick<Clock, 'monotonic'> = systemClock) {
    this.#maxEntries = readOptions(OPTIONS, options).values.maxEntries
    this.#clock = clock
  }

  get(key: string): Promise<StoredEntry | undefined> {
    const entry = this.#live(key)
    return Promise.resolve(entry && { value: entry.value, version: entry.version })
  }

  put(key: string, value: string, expected: string | null, ttlMs?: number): Promise<string | null> {
    return settled(() => this.#put(key, value, expected, ttlMs))
  }

  /** @internal */
  [PUT_UNCOUNTED](key: string, value: string, expected: string | null, ttlMs?: number): Promise<string | null> {
    return settled(() => {
      this.#uncounted.add(key)
      const version = this.#put(key, value, expected, ttlMs)
      if (!this.#entries.has(key)) this.#uncounted.delete(key)
      return version
    })
  }

  delete(key: string, expected: string): Promise<boolean> {
    return Promise.resolve(this.#live(key)?.version === expected && this.#remove(key))
  }

  list(page: KeyPage): Promise<string[]> {
    return settled(() => {
      const keys = collectKeys(page)
      for (const key of this.#entries.keys()) if (this.#live(key) !== undefined) keys.add(key)
      return keys.page()
    })
  }

  #put(key: string, value: string, expected: string | null, ttlMs: number | undefined): string | null {
    const ttl = wholeTtl(ttlMs)
    if ((this.#live(key)?.version ?? null) !== expected) return null
    this.#makeRoomFor(key)
    const version = newVersion()
    this.#entries.set(key, { value, version, deadAt: this.#clock.monotonic() + (ttl ?? Infinity) })
    return version
  }

  #remove(key: string): boolean {
    this.#uncounted.delete(key)
    return this.#entries.delete(key)
  }

  #live(key: string): MemoryEntry | undefined {
    const entry = this.#entries.get(key)
    return entry !== undefined && entry.deadAt > this.#clock.monotonic() ? entry : undefined
  }

  #counted(): number {
    return this.#entries.size - this.#uncounted.size
  }

  #makeRoomFor(key: string): void {
    if (this.#entries.has(key) || this.#uncounted.has(key) || this.#counted() < this.#maxEntries) return
    const now = this.#clock.monotonic()
    for (const [other, { deadAt }] of this.#entries) if (deadAt <= now) this.#remove(other)
    if (this.#counted() >= this.#maxEntries) {
      const full = `MemoryStorage is full: it holds maxEntries (${this.#maxEntries}) entries that have not expired`
      throw Object.assign(new Error(full), { code: 'MEMORY_STORAGE_FULL' })
    }
  }
}

/** The outcome of `work` as a promise: an adapter rejects and never throws. */
const settled = <T>(work: () => T): Promise<T> =>
  new Promise((resolve) => {
    resolve(work())
  })
