import { optionalBoolean, readObject } from '../config/values.js'
import { ConfigurationError } from '../errors/errors.js'
import type { StorageAdapter, StoredEntry } from '../storage-adapter.js'
import { comparable, newVersion, wholeTtl } from './entry.js'
import { readTable, ROWS_PER_PURGE, type TableName, WRITES_PER_PURGE } from './table.js'

/** What is used of a `Pool` of pg (a connected `Client` will do). */
export interface PostgresPool {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: unknown[]; readonly rowCount: number | null }>
}

/** Options of {@link PostgresStorage}. */
export interface PostgresStorageOptions {
  /** Table, or schema.table, used with upper and lower case as given. Default `mcp_nextcloud_auth`, found by the search_path. */
  readonly table?: string | undefined
  /** Whether the table is made on first use when it is not there. Default true. */
  readonly autoCreate?: boolean | undefined
}

const UNDEFINED_TABLE = '42P01'
/** Another process made the table, its type or its index first: `IF NOT EXISTS` looks before it locks. */
const MADE_MEANWHILE = new Set<unknown>(['23505', '42P07', '42710'])
/** Rolled back for another writer's sake, where the database's default is a stricter isolation than READ COMMITTED. */
const ROLLED_BACK = new Set<unknown>(['40001', '40P01'])
const ATTEMPTS = 10

/**
 * Keeps grants in a table of PostgreSQL 12 or later. Each call is one statement without a name and without session state, so
 * that any pooler may stand in between, pgbouncer in transaction mode included. Give your pool an `error` listener, as pg asks
 * for, and `synchronous_commit` its default: a rotated refresh token that is lost is lost for good.
 *
 * @throws {ConfigurationError} for an option that is unknown or wrong, or something that is no pool
 */
export class PostgresStorage implements StorageAdapter {
  readonly shared = true
  readonly #pool: PostgresPool
  readonly #name: TableName
  readonly #sql: ReturnType<typeof statements>
  readonly #autoCreate: boolean
  #settingUp: Promise<void> | undefined
  #writes = 0

  constructor(pool: PostgresPool, options?: PostgresStorageOptions) {
    if (typeof (pool as Partial<PostgresPool> | null | undefined)?.query !== 'function') {
      throw new ConfigurationError('PostgresStorage needs a Pool of pg (new pg.Pool(…)), or what has its query()')
    }
    const option = readObject(options, { table: true, autoCreate: true }, {})
    this.#pool = pool
    this.#name = readTable(option('table'), 'schemas')
    this.#sql = statements(this.#name)
    this.#autoCreate = optionalBoolean(option('autoCreate'), true)
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    const { rows } = await this.#query(this.#sql.get, [key])
    const row = rows[0] as StoredEntry | undefined
    return row && { value: row.value, version: row.version }
  }

  async put(key: string, value: string, expected: string | null, ttlMs?: number): Promise<string | null> {
    const version = newVersion()
    const values = [key, value, version, wholeTtl(ttlMs) ?? null]
    const written =
      expected === null
        ? await this.#change(this.#sql.create, values)
        : await this.#change(this.#sql.replace, [...values, comparable(expected)])
    // Nobody waits for it, and the next one makes up for one that fails.
    if (this.#writes++ % WRITES_PER_PURGE === 0) void this.#pool.query(this.#sql.purge).catch(() => undefined)
    return written ? version : null
  }

  delete(key: string, expected: string): Promise<boolean> {
    return this.#change(this.#sql.delete, [key, comparable(expected)])
  }

  /** Makes the table and its index, whatever `autoCreate` says, unless they are there. */
  setup(): Promise<void> {
    this.#settingUp ??= this.#createTable().finally(() => {
      this.#settingUp = undefined
    })
    return this.#settingUp
  }

  async #createTable(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#pool.query(this.#sql.setup)
        return
      } catch (error) {
        if (!MADE_MEANWHILE.has(codeOf(error)) || attempt >= ATTEMPTS) throw error
      }
    }
  }

  async #change(text: string, values: unknown[]): Promise<boolean> {
    const { rowCount } = await this.#query(text, values)
    if (rowCount !== 0 && rowCount !== 1) throw new Error('PostgresStorage: the pool gave no count of rows')
    return rowCount === 1
  }

  /** The table is made when it is missed, and not asked for before: a role that may not make any can use one that is there. */
  async #query(text: string, values: unknown[]): ReturnType<PostgresPool['query']> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#pool.query(text, values)
      } catch (error) {
        const code = codeOf(error)
        if ((code !== UNDEFINED_TABLE && !ROLLED_BACK.has(code)) || attempt >= ATTEMPTS) throw error
        if (code === UNDEFINED_TABLE) await this.#createMissing(error)
      }
    }
  }

  #createMissing(cause: unknown): Promise<void> {
    if (this.#autoCreate) return this.setup()
    const missing = `The table ${this.#name.name} is not there and autoCreate is false`
    throw new ConfigurationError(`${missing}: call setup() once, as a role that may create tables`, 'autoCreate', cause)
  }
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null | undefined)?.code

function statements({ table, index }: TableName) {
  // The clock goes on while a statement waits for another writer; now() would not.
  const live = '(expires_at IS NULL OR expires_at > clock_timestamp())'
  const end = `clock_timestamp() + $4::double precision * interval '1 millisecond'`
  return {
    // Two statements in one message are one transaction, so no process dies in between.
    setup: `CREATE TABLE IF NOT EXISTS ${table} (key text COLLATE "C" NOT NULL PRIMARY KEY, value text NOT NULL,
        version text COLLATE "C" NOT NULL, expires_at timestamptz);
      CREATE INDEX IF NOT EXISTS ${index} ON ${table} (expires_at) WHERE expires_at IS NOT NULL`,
    get: `SELECT value, version FROM ${table} WHERE key = $1 AND ${live}`,
    create: `INSERT INTO ${table} AS entry (key, value, version, expires_at) VALUES ($1, $2, $3, ${end})
      ON CONFLICT (key) DO UPDATE
      SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
      WHERE entry.expires_at <= clock_timestamp()`,
    replace: `UPDATE ${table} SET value = $2, version = $3, expires_at = ${end}
      WHERE key = $1 AND version = $5 AND ${live}`,
    delete: `DELETE FROM ${table} WHERE key = $1 AND version = $2 AND ${live}`,
    // now() and not clock_timestamp(), which no index can serve.
    purge: `DELETE FROM ${table} WHERE key IN (SELECT key FROM ${table} WHERE expires_at <= now()
      LIMIT ${ROWS_PER_PURGE} FOR UPDATE SKIP LOCKED)`,
  }
}
