import { optionalBoolean, readObject } from '../config/values.js'
import { ConfigurationError } from '../errors/errors.js'
import type { StorageAdapter, StoredEntry } from '../storage-adapter.js'
import { comparable, newVersion, wholeTtl } from './entry.js'
import { configure, isDatabase, type SqliteDatabase, unlocked } from './sqlite-file.js'
import { readTable, ROWS_PER_PURGE, type TableName, WRITES_PER_PURGE } from './table.js'

export type { SqliteDatabase, SqliteStatement } from './sqlite-file.js'

/** Options of {@link SqliteStorage}. */
export interface SqliteStorageOptions {
  /** Table, used with upper and lower case as given. Default `mcp_nextcloud_auth`. */
  readonly table?: string | undefined
  /** Whether the table is made on first use when it is not there. Default true. */
  readonly autoCreate?: boolean | undefined
}

/** Milliseconds since the epoch, read by the statement once it holds the lock; every SQLite there is knows julianday. */
const NOW = `CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)`

/**
 * Keeps grants in a SQLite file that any number of processes of one machine may open. Give it a database of its own, not one in
 * which you hold transactions open across an await. On first use it switches the file to WAL with `synchronous = FULL`, since a
 * rotated refresh token that is lost with the power is lost for good, and makes the file readable by its owner only (0600, with
 * its `-wal` and `-shm`). Never put the file on a network drive.
 *
 * @throws {ConfigurationError} for an option that is unknown or wrong, or something that is no SQLite database
 */
export class SqliteStorage implements StorageAdapter {
  readonly shared = true
  readonly #database: SqliteDatabase
  readonly #name: TableName
  readonly #autoCreate: boolean
  #statements: Promise<ReturnType<typeof prepare>> | undefined
  #writes = 0

  constructor(database: SqliteDatabase, options?: SqliteStorageOptions) {
    if (!isDatabase(database)) {
      throw new ConfigurationError(
        'SqliteStorage needs a database of better-sqlite3 (new Database(path)) or node:sqlite (new DatabaseSync(path))',
      )
    }
    const option = readObject(options, { table: true, autoCreate: true }, {})
    this.#database = database
    this.#name = readTable(option('table'), 'no schemas')
    this.#autoCreate = optionalBoolean(option('autoCreate'), true)
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
    if (this.#writes++ % WRITES_PER_PURGE === 0) unheeded(() => purge.run())
    return Number(changes) === 1 ? version : null
  }

  async delete(key: string, expected: string): Promise<boolean> {
    return Number((await this.#ready()).delete.run(key, comparable(expected)).changes) === 1
  }

  /** Makes the table and its index, whatever `autoCreate` says, unless they are there. */
  async setup(): Promise<void> {
    await unlocked(() => {
      configure(this.#database)
      createTable(this.#database, this.#name)
    })
  }

  #ready(): Promise<ReturnType<typeof prepare>> {
    this.#statements ??= unlocked(() => {
      configure(this.#database)
      if (this.#autoCreate) createTable(this.#database, this.#name)
      return prepare(this.#database, this.#name)
    }).catch((error: unknown) => {
      this.#statements = undefined
      throw error
    })
    return this.#statements
  }
}

function createTable(database: SqliteDatabase, { table, index }: TableName): void {
  database.exec(`CREATE TABLE IF NOT EXISTS ${table}
    (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, version TEXT NOT NULL, expires_at INTEGER)`)
  database.exec(`CREATE INDEX IF NOT EXISTS ${index} ON ${table} (expires_at) WHERE expires_at IS NOT NULL`)
}

function prepare(database: SqliteDatabase, { name, table }: TableName) {
  const found = database
    .prepare(`SELECT 1 FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)`)
    .get(name)
  if (found === undefined) {
    throw new ConfigurationError(
      `The table ${name} is not there and autoCreate is false: call setup() once, as who may create tables`,
      'autoCreate',
    )
  }
  const live = `(expires_at IS NULL OR expires_at > ${NOW})`
  return {
    get: database.prepare(`SELECT value, version FROM ${table} WHERE key = ? AND ${live}`),
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

/** What comes after a write that has succeeded can no longer make it fail. */
function unheeded(work: () => unknown): void {
  try {
    work()
  } catch {
    // The next purge tries again.
  }
}
