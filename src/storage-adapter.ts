/** @internal Where an adapter that keeps everything in this process has a key of 32 bytes, so that none need be configured. */
export const OWN_KEY: unique symbol = Symbol('key')

/** @internal Where an adapter that bounds its entries has a `put` for what does not count: no connected user's renewal must fail there. */
export const PUT_UNCOUNTED: unique symbol = Symbol('uncounted put')

/** A live entry of a store. */
export interface StoredEntry {
  readonly value: string
  /** Stands for one write: it never repeats for a key, not even after delete, expiry and create. */
  readonly version: string
}

/** The keys that `list` is asked for. */
export interface KeyPage {
  /** Only keys behind this one. Default: from the first. */
  readonly after?: string | undefined
  /** Keys at most: a whole number, at least 1. */
  readonly limit: number
}

/**
 * The store of grants. Three calls, each of which rejects when the store fails: none resolves to "absent" then. Keys are at most
 * 64 characters, byte-exact and case-sensitive. Values are any text of up to 64 KiB at least, sealed before an adapter sees them.
 * A version of any other form than the adapter's own is a miss and no error.
 *
 * `storageContract()` of `mcp-nextcloud-auth/testing` is the suite that an adapter must pass.
 */
export interface StorageAdapter {
  /** Whether other processes see the same data: true for a file that several may open, false for memory. */
  readonly shared: boolean
  /** The live entry, or undefined when it is absent or has expired. */
  get(key: string): Promise<StoredEntry | undefined>
  /**
   * Writes only if the stored version is still `expected`; null means that the entry must be absent or have expired.
   *
   * @param ttlMs milliseconds until the entry expires, on the store's own clock; without it any expiry is removed
   * @returns the new version, or null when another writer was first
   */
  put(key: string, value: string, expected: string | null, ttlMs?: number): Promise<string | null>
  /** Deletes only if the stored version is still `expected`; false when another writer was first. */
  delete(key: string, expected: string): Promise<boolean>
  /**
   * Returns the keys of live entries, ascending by their UTF-8 bytes whatever the collation, `limit` at most. Entries that are written or
   * deleted while pages are read may be there or not; all others are there once.
   *
   * Optional. Without it there is no `auth.connections()`, and no `grants list` and `grants move` on the command line.
   */
  list?(page: KeyPage): Promise<string[]>
  /** @internal */
  readonly [PUT_UNCOUNTED]?: StorageAdapter['put'] | undefined
  /** @internal */
  readonly [OWN_KEY]?: Uint8Array | undefined
  /** Closes what the adapter opened itself, never the client that it was given. */
  close?(): Promise<void>
}
