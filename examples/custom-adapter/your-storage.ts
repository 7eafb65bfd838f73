import { randomUUID } from 'node:crypto'
import type { StorageAdapter, StoredEntry } from 'mcp-nextcloud-auth'

interface Row extends StoredEntry {
  /** Milliseconds since the epoch, on the store's clock; null without a ttl. */
  readonly expiresAt: number | null
}

/** Stands for your client. What it does in a transaction is seen by others as a whole or not at all. */
export class Database {
  readonly #rows = new Map<string, Row>()

  transaction<T>(work: (rows: Map<string, Row>, now: number) => T): Promise<T> {
    return new Promise((resolve) => resolve(work(this.#rows, Date.now())))
  }
}

const live = (row: Row | undefined, now: number) =>
  row !== undefined && (row.expiresAt === null || row.expiresAt > now) ? row : undefined

export class YourStorage implements StorageAdapter {
  readonly shared = true
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  get(key: string): Promise<StoredEntry | undefined> {
    // SELECT value, version WHERE key = :key AND (expires_at IS NULL OR expires_at > now)
    return this.#database.transaction((rows, now) => {
      const row = live(rows.get(key), now)
      return row && { value: row.value, version: row.version }
    })
  }

  put(key: string, value: string, expected: string | null, ttlMs?: number): Promise<string | null> {
    const version = randomUUID()
    // expected null: INSERT … ON CONFLICT (key) DO UPDATE … WHERE expires_at <= now
    // otherwise:     UPDATE … WHERE key = :key AND version = :expected AND (expires_at IS NULL OR expires_at > now)
    return this.#database.transaction((rows, now) => {
      if ((live(rows.get(key), now)?.version ?? null) !== expected) return null
      rows.set(key, { value, version, expiresAt: ttlMs === undefined ? null : now + ttlMs })
      return version
    })
  }

  delete(key: string, expected: string): Promise<boolean> {
    // DELETE … WHERE key = :key AND version = :expected AND (expires_at IS NULL OR expires_at > now)
    return this.#database.transaction((rows, now) => live(rows.get(key), now)?.version === expected && rows.delete(key))
  }

  list({ after = '', limit }: { after?: string | undefined; limit: number }): Promise<string[]> {
    // SELECT key WHERE key > :after AND (expires_at IS NULL OR expires_at > now) ORDER BY key LIMIT :limit
    return this.#database.transaction((rows, now) => {
      const keys = [...rows.keys()].filter((key) => key > after && live(rows.get(key), now) !== undefined)
      return keys.sort().slice(0, limit)
    })
  }

  /** Removes what has expired. Your app calls it now and then. */
  sweep(): Promise<void> {
    // DELETE … WHERE expires_at <= now
    return this.#database.transaction((rows, now) => {
      for (const [key, row] of rows) if (live(row, now) === undefined) rows.delete(key)
    })
  }
}
