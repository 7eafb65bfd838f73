import { ConfigurationError } from '../errors/errors.js'
import type { KeyPage, StorageAdapter, StoredEntry } from '../storage-adapter.js'
import { warnWithoutErrorListener } from './error-listener.js'
import { comparable, newVersion, wholeTtl } from './entry.js'
import { missingTable, readTable, ROWS_PER_PURGE, type Table, WRITES_PER_PURGE } from './table.js'

/** The part of a `Pool` of pg that the adapter uses (a connected `Client` will do). */
export interface PostgresPool {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: unknown[]; readonly rowCount: number | null }>
}

/** Options of {@link PostgresStorage}. */
export interface PostgresStorageOptions {
  /** Table, or schema.table, used with upper and lower case as given. Default `mcp_nextcloud_auth`, found by the search_path. */
  readonly table?: string | undefined
  /** Whether the table is made on first use when it is missing. Default true. */
  readonly autoCreate?: boolean | undefined
}

const UNDEFINED_TABLE = '42P01'
/** Another process made the table, its type or its index first: `IF NOT EXISTS` looks before it locks. */
const MADE_MEANWHILE = new Set(['23505', '42P07', '42710'])
/** The table is made by then, or another writer was preferred: the database's isolation may be stricter than READ COMMITTED. */
const PASSING = new Set([UNDEFINED_TABLE, '40001', '40P01'])
const ATTEMPTS = 10

/**
 * Keeps grants in a table of PostgreSQL 12 or later. Each call is one statement without a name and without session state, so
 * that any pooler may stand in between, pgbouncer in transaction mode included. Give your pool an `error` listener, as pg asks
 * for: without one, a connection that breaks while idle ends the process, which is warned of once, `ERR_STORAGE_LISTENER`. Leave `synchronous_commit` at its default, because a rotated refresh token that is lost is lost for good.
 *
 * @throws {ConfigurationError} an option is unknown or wrong, or `pool` is not a pool
 */
export class PostgresStorage implements StorageAdapter {
  readonly shared = true
  readonly #pool: PostgresPool
  readonly #table: Table
  readonly #sql: ReturnType<typeof statements>
  #settingUp: Promise<unknown> | undefined
  #writes = 0
  #checked = false

  constructor(pool: PostgresPool, options?: PostgresStorageOptions) {
    if (typeof (pool as Partial<PostgresPool> | null | undefined)?.query !== 'function') {
      throw new ConfigurationError('PostgresStorage needs a Pool of pg (new pg.Pool(…)), or an object with its query()')
    }
    this.#pool = pool
    this.#table = readTable(options, 'schemas')
    this.#sql = statements(this.#table)
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
    // Not awaited: the next purge makes up for one that fails.
    if (this.#writes++ % WRITES_PER_PURGE === 0) void this.#pool.query(this.#sql.purge).catch(() => undefined)
    return written ? version : null
  }

  delete(key: string, expected: string): Promise<boolean> {
    return this.#change(this.#sql.delete, [key, comparable(expected)])
  }

  async list({ after = '', limit }: KeyPage): Promise<string[]> {
    const { rows } = await this.#query(this.#sql.list, [after, limit])
    return (rows as { readonly key: string }[]).map(({ key }) => key)
  }

  /** Makes the table and its index unless they are there, whatever `autoCreate` says. */
  async setup(): Promise<void> {
    this.#settingUp ??= repeated(MADE_MEANWHILE, () => this.#pool.query(this.#sql.setup)).finally(() => {
      this.#settingUp = undefined
    })
    await this.#settingUp
  }

  async #change(text: string, values: unknown[]): Promise<boolean> {
    const { rowCount } = await this.#query(text, values)
    if (rowCount !== 0 && rowCount !== 1) throw new Error('PostgresStorage: the pool gave no count of rows')
    return rowCount === 1
  }

  /** Makes the table when a statement misses it, not before: so a role that may make none can use one that is there. */
  #query(text: string, values: unknown[]): ReturnType<PostgresPool['query']> {
    if (!this.#checked) {
      this.#checked = true
      warnWithoutErrorListener(this.#pool, 'The pool given to PostgresStorage')
    }
    return repeated(PASSING, async () => {
      try {
        return await this.#pool.query(text, values)
      } catch (error) {
        if (codeOf(error) === UNDEFINED_TABLE) await this.#createMissing(error)
        throw error
      }
    })
  }

  #createMissing(cause: unknown): Promise<void> {
    if (this.#table.autoCreate) return this.setup()
    throw missingTable(this.#table, cause)
  }
}

/** Repeats a statement that fails with one of the codes, in ten attempts at most. */
async function repeated<T>(codes: ReadonlySet<unknown>, statement: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await statement()
    } catch (error) {
      if (attempt >= ATTEMPTS || !codes.has(codeOf(error))) throw error
    }
  }
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null | undefined)?.code

function statements({ table, index }: Table) {
  // The clock goes on while a statement waits for another writer; now() would not.
  const live = '(expires_at IS NULL OR expires_at > clock_timestamp())'
  const end = `clock_timestamp() + $4::double precision * interval '1 millisecond'`
  return {
    // Two statements in one message are one transaction, so no process dies in between.
    setup: `CREATE TABLE IF NOT EXISTS ${table} (key text COLLATE "C" NOT NULL PRIMARY KEY, value text NOT NULL,
        version text COLLATE "C" NOT NULL, expires_at timestamptz);
      CREATE INDEX IF NOT EXISTS ${index} ON ${table} (expires_at) WHERE expires_at IS NOT NULL`,
    get: `SELECT value, version FROM ${table} WHERE key = $1 AND ${live}`,
    list: `SELECT key FROM ${table} WHERE key COLLATE "C" > $1 AND ${live} ORDER BY key COLLATE "C" LIMIT $2`,
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
