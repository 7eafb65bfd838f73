import { ConfigurationError } from '../errors/errors.js'
import type { KeyPage, StorageAdapter, StoredEntry } from '../storage-adapter.js'
import { comparable, newVersion, wholeTtl } from './entry.js'
import { configure, isDatabase, type SqliteDatabase, unlocked, watchFiles } from './sqlite-file.js'
import { missingTable, readTable, ROWS_PER_PURGE, type Table, WRITES_PER_PURGE } from './table.js'

export type { SqliteDatabase, SqliteStatement } from './sqlite-file.js'

/** Options of {@link SqliteStorage}. */
export interface SqliteStorageOptions {
  /** Table, used with upper and lower case as given. Default `mcp_nextcloud_auth`. */
  readonly table?: string | undefined
  /** Whether the table is made on first use when it is missing. Default true. */
  readonly autoCreate?: boolean | undefined
}

/** Milliseconds since the epoch, read by the statement once it holds the lock. Every version of SQLite has julianday. */
const NOW = `CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)`

/**
 * Keeps grants in a SQLite file that any number of processes of one machine may open. Give it a database of its own, not one in
 * which you hold transactions open across an await. On first use it switches the file to WAL with `synchronous = FULL`, because
 * a rotated refresh token that is lost with the power is lost for good. It also makes the file readable by its owner only (0600,
 * with its `-wal` and `-shm`); where this process is not the owner, that is a process warning, `ERR_SQLITE_OWNER`. A file that is
 * replaced or removed while it is open fails every call from then on, until this process is restarted. Never put the file on a
 * network drive.
 *
 * @throws {ConfigurationError} an option is unknown or wrong, or `database` is not a SQLite database
 */
export class SqliteStorage implements StorageAdapter {
  readonly shared = true
  readonly #database: SqliteDatabase
  readonly #table: Table
  #opened: Promise<Opened> | undefined
  #writes = 0

  constructor(database: SqliteDatabase, options?: SqliteStorageOptions) {
    if (!isDatabase(database)) {
      throw new ConfigurationError(
        'SqliteStorage needs a database of better-sqlite3 (new Database(path)) or node:sqlite (new DatabaseSync(path))',
      )
    }
    this.#database = database
    this.#table = readTable(options, 'no schemas')
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    const row = (await this.#ready()).get.get(key) as StoredEntry | undefined
    return row && { value: row.value, version: row.version }
  }

  async put(key: string, value: string, expected: string | null, ttlMs?: number): Promise<string | null> {
    const ttl = wholeTtl(ttlMs) ?? null
    const { create, replace, purge } = await this.#ready()
    const version = newVersion()
    const { changes } =
      expected === null
        ? create.run(key, value, version, ttl)
        : replace.run(value, version, ttl, key, comparable(expected))
    try {
      if (this.#writes++ % WRITES_PER_PURGE === 0) purge.run()
    } catch {
      // The write is done, and the next purge makes up for this one.
    }
    return Number(changes) === 1 ? version : null
  }

  async delete(key: string, expected: string): Promise<boolean> {
    return Number((await this.#ready()).delete.run(key, comparable(expected)).changes) === 1
  }

  async list({ after = '', limit }: KeyPage): Promise<string[]> {
    const rows = (await this.#ready()).list.all(after, limit) as { readonly key: string }[]
    return rows.map(({ key }) => key)
  }

  /** Makes the table and its index unless they are there, whatever `autoCreate` says. */
  async setup(): Promise<void> {
    await unlocked(() => {
      configure(this.#database)
      createTable(this.#database, this.#table)
    })
  }

  async #ready(): Promise<Opened['statements']> {
    this.#opened ??= unlocked(() => {
      configure(this.#database)
      if (this.#table.autoCreate) createTable(this.#database, this.#table)
      // Prepared first: what reads makes the -wal.
      return { statements: prepare(this.#database, this.#table), requireFiles: watchFiles(this.#database) }
    }).catch((error: unknown) => {
      this.#opened = undefined
      throw error
    })
    const { statements, requireFiles } = await this.#opened
    requireFiles()
    return statements
  }
}

/** A database that is set up. */
interface Opened {
  readonly statements: ReturnType<typeof prepare>
  /** Throws {@link StorageError} when the database's files are not in their place any more. */
  readonly requireFiles: () => void
}

function createTable(database: SqliteDatabase, { table, index }: Table): void {
  database.exec(`CREATE TABLE IF NOT EXISTS ${table}
    (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, version TEXT NOT NULL, expires_at INTEGER)`)
  database.exec(`CREATE INDEX IF NOT EXISTS ${index} ON ${table} (expires_at) WHERE expires_at IS NOT NULL`)
}

function prepare(database: SqliteDatabase, names: Table) {
  const { name, table } = names
  const tables = database.prepare(`SELECT 1 FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)`)
  if (tables.get(name) === undefined) throw missingTable(names)
  const live = `(expires_at IS NULL OR expires_at > ${NOW})`
  return {
    get: database.prepare(`SELECT value, version FROM ${table} WHERE key = ? AND ${live}`),
    list: database.prepare(`SELECT key FROM ${table} WHERE key COLLATE BINARY > ? AND ${live}
      ORDER BY key COLLATE BINARY LIMIT ?`),
    create: database.prepare(`INSERT INTO ${table} AS entry (key, value, version, expires_at)
      VALUES (?, ?, ?, ${NOW} + ?) ON CONFLICT (key) DO UPDATE
      SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
      WHERE entry.expires_at <= ${NOW}`),
    replace: database.prepare(`UPDATE ${table} SET value = ?, version = ?, expires_at = ${NOW} + ?
      WHERE key = ? AND version = ? AND ${live}`),
    delete: database.prepare(`DELETE FROM ${table} WHERE key = ? AND version = ? AND ${live}`),
    purge: database.prepare(`DELETE FROM ${table} WHERE key IN
      (SELECT key FROM ${table} WHERE expires_at <= ${NOW} LIMIT ${ROWS_PER_PURGE})`),
  }
}
