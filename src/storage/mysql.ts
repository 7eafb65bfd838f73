import { ConfigurationError } from '../errors/errors.js'
import type { KeyPage, StorageAdapter, StoredEntry } from '../storage-adapter.js'
import { comparable, newVersion, wholeTtl } from './entry.js'
import { missingTable, readTable, ROWS_PER_PURGE, type Table, WRITES_PER_PURGE } from './table.js'

/** A statement as a pool of mysql2 takes it. */
export interface MySqlStatement {
  readonly sql: string
  readonly values: unknown[]
  readonly typeCast: boolean
  readonly rowsAsArray: boolean
  readonly nestTables: boolean
}

/** The part of a pool of `mysql2/promise` that the adapter uses (a connection of it will do). */
export interface MySqlPromisePool {
  query(statement: MySqlStatement): Promise<readonly [result: unknown, fields: unknown]>
}

/** The part of a pool that the adapter uses: `createPool()` of `mysql2/promise`, or of `mysql2`, which has `promise()`. */
export type MySqlPool = MySqlPromisePool | { promise(): MySqlPromisePool }

/** Options of {@link MySqlStorage}. */
export interface MySqlStorageOptions {
  /** Table, or database.table. Default `mcp_nextcloud_auth`, in the database of the connection. */
  readonly table?: string | undefined
  /** Whether the table is made on first use when it is missing. Default true. */
  readonly autoCreate?: boolean | undefined
}

const NO_SUCH_TABLE = 1146
const DUPLICATE_KEY = 1062
/** The statement was undone for another writer: a lock that did not come in time, a deadlock (and a conflict of Galera). */
const UNDONE = [1205, 1213]
/** The table is made by then. */
const PASSING = new Set<unknown>([NO_SUCH_TABLE, ...UNDONE])
/** Another process made the table first. */
const MADE_MEANWHILE = new Set<unknown>([1050, ...UNDONE])
const ATTEMPTS = 10
/** Milliseconds. A lock may be waited for up to 50 s each time, and nobody waits for the answer by then. */
const PATIENCE = 5_000

/** Bytes of a key: 64 characters of four. The server would cut a longer one short where `sql_mode` is not strict. */
const KEY_BYTES = 256
/** A bit of the status that comes with each answer. */
const IN_TRANSACTION = 1

/**
 * Keeps grants in a table of MariaDB 10.6 or MySQL 8, or later. Each statement is a transaction of its own, complete in itself and
 * without session state, whatever `sql_mode`, character set, collation, time zone and isolation are. Point all instances at one
 * primary, since a replica or another node of a cluster may lag behind. Leave `innodb_flush_log_at_trx_commit` at 1, because a
 * rotated refresh token that is lost is lost for good.
 *
 * @throws {ConfigurationError} an option is unknown or wrong, or `pool` is not a pool
 */
export class MySqlStorage implements StorageAdapter {
  readonly shared = true
  readonly #pool: MySqlPromisePool
  readonly #table: Table
  readonly #sql: ReturnType<typeof statements>
  #settingUp: Promise<unknown> | undefined
  #writes = 0

  constructor(pool: MySqlPool, options?: MySqlStorageOptions) {
    this.#pool = withPromises(pool)
    this.#table = readTable(options, 'schemas', '`')
    this.#sql = statements(this.#table)
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    const [row] = await this.#rows(this.#sql.get, [bytesOf(key)])
    return row && { value: textOf(row['value']), version: textOf(row['version']) }
  }

  async put(key: string, value: string, expected: string | null, ttlMs?: number): Promise<string | null> {
    const version = newVersion()
    const entry = [bytesOf(value), bytesOf(version), wholeTtl(ttlMs) ?? null]
    const written =
      expected === null
        ? await this.#create([keyOf(key), ...entry])
        : await this.#change(this.#sql.replace, [...entry, bytesOf(key), bytesOf(comparable(expected))])
    // Not awaited: the next purge makes up for one that fails.
    if (this.#writes++ % WRITES_PER_PURGE === 0) void send(this.#pool, this.#sql.purge).catch(() => undefined)
    return written ? version : null
  }

  delete(key: string, expected: string): Promise<boolean> {
    return this.#change(this.#sql.delete, [bytesOf(key), bytesOf(comparable(expected))])
  }

  async list({ after = '', limit }: KeyPage): Promise<string[]> {
    const rows = await this.#rows(this.#sql.list, [bytesOf(after), limit])
    return rows.map(({ key }) => textOf(key))
  }

  /** Makes the table unless it is there, whatever `autoCreate` says. */
  async setup(): Promise<void> {
    this.#settingUp ??= repeated(MADE_MEANWHILE, () => send(this.#pool, this.#sql.setup)).finally(() => {
      this.#settingUp = undefined
    })
    await this.#settingUp
  }

  /**
   * Not `ON DUPLICATE KEY UPDATE`: mysql2 counts a row that was found and left as it was like one that was made. Whose second
   * insertion fails, too, has another writer before it.
   */
  async #create(values: unknown[]): Promise<boolean> {
    if (await this.#inserted(values)) return true
    await this.#change(this.#sql.deleteExpired, values.slice(0, 1))
    return this.#inserted(values)
  }

  async #inserted(values: unknown[]): Promise<boolean> {
    try {
      return await this.#change(this.#sql.insert, values)
    } catch (error) {
      if (errnoOf(error) === DUPLICATE_KEY) return false
      throw error
    }
  }

  async #rows(sql: string, values: unknown[]): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const rows = await this.#query(sql, values)
    if (!Array.isArray(rows)) throw new Error('MySqlStorage: the pool gave no rows')
    return rows as readonly Readonly<Record<string, unknown>>[]
  }

  async #change(sql: string, values: unknown[]): Promise<boolean> {
    const { affectedRows, serverStatus = 0 } = ((await this.#query(sql, values)) ?? {}) as Record<string, unknown>
    if (affectedRows !== 0 && affectedRows !== 1) throw new Error('MySqlStorage: the pool gave no count of rows')
    // The next one who has this connection might undo the write, or nobody ever commit it.
    if ((Number(serverStatus) & IN_TRANSACTION) !== 0) {
      throw new ConfigurationError('MySqlStorage needs autocommit, which is off for the connections of this pool')
    }
    return affectedRows === 1
  }

  /** Makes the table when a statement misses it, not before: so a user who may make none can use one that is there. */
  #query(sql: string, values: unknown[]): Promise<unknown> {
    return repeated(PASSING, async () => {
      try {
        return await send(this.#pool, sql, values)
      } catch (error) {
        if (errnoOf(error) === NO_SUCH_TABLE) await this.#createMissing(error)
        throw error
      }
    })
  }

  #createMissing(cause: unknown): Promise<void> {
    if (this.#table.autoCreate) return this.setup()
    throw missingTable(this.#table, cause)
  }
}

function withPromises(pool: unknown): MySqlPromisePool {
  const { query, promise } = (pool ?? {}) as { query?: unknown; promise?: unknown }
  if (typeof query !== 'function') {
    throw new ConfigurationError('MySqlStorage needs a pool of mysql2 (createPool(…)), or an object with its query()')
  }
  return typeof promise === 'function' ? (promise.call(pool) as MySqlPromisePool) : (pool as MySqlPromisePool)
}

/** Rows have the form that the adapter reads, whatever the pool's own options are. */
async function send(pool: MySqlPromisePool, sql: string, values: unknown[] = []): Promise<unknown> {
  const answer = await pool.query({ sql, values, typeCast: true, rowsAsArray: false, nestTables: false })
  return Array.isArray(answer) ? (answer as readonly unknown[])[0] : undefined
}

/** Repeats a statement that fails with one of the codes, in ten attempts and some seconds at most. */
async function repeated<T>(codes: ReadonlySet<unknown>, statement: () => Promise<T>): Promise<T> {
  const giveUpAt = performance.now() + PATIENCE
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await statement()
    } catch (error) {
      if (attempt >= ATTEMPTS || performance.now() > giveUpAt || !codes.has(errnoOf(error))) throw error
    }
  }
}

const errnoOf = (error: unknown): unknown => (error as { errno?: unknown } | null | undefined)?.errno

/** Bytes go to the server as `X'…'`, which means the same under every `sql_mode` and character set. */
const bytesOf = (text: string): Buffer => Buffer.from(text)

function keyOf(key: string): Buffer {
  const bytes = bytesOf(key)
  if (bytes.length > KEY_BYTES) throw new RangeError(`MySqlStorage: a key has at most ${KEY_BYTES} bytes`)
  return bytes
}

function textOf(bytes: unknown): string {
  if (!Buffer.isBuffer(bytes)) throw new Error('MySqlStorage: the pool gave no bytes for a column')
  return bytes.toString()
}

function statements({ table, index }: Table) {
  // Milliseconds since 1970. Neither the time zone nor the end of summer time has a part in it.
  const now = `(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)`
  const live = `(expires_at IS NULL OR expires_at > ${now})`
  return {
    setup: `CREATE TABLE IF NOT EXISTS ${table} (\`key\` VARBINARY(${KEY_BYTES}) NOT NULL PRIMARY KEY,
      value LONGBLOB NOT NULL, version VARBINARY(36) NOT NULL, expires_at BIGINT, KEY ${index} (expires_at)) ENGINE = InnoDB`,
    get: `SELECT value, version FROM ${table} WHERE \`key\` = ? AND ${live}`,
    list: `SELECT \`key\` FROM ${table} WHERE \`key\` > ? AND ${live} ORDER BY \`key\` LIMIT ?`,
    insert: `INSERT INTO ${table} (\`key\`, value, version, expires_at) VALUES (?, ?, ?, ${now} + ?)`,
    replace: `UPDATE ${table} SET value = ?, version = ?, expires_at = ${now} + ?
      WHERE \`key\` = ? AND version = ? AND ${live}`,
    delete: `DELETE FROM ${table} WHERE \`key\` = ? AND version = ? AND ${live}`,
    deleteExpired: `DELETE FROM ${table} WHERE \`key\` = ? AND expires_at <= ${now}`,
    purge: `DELETE FROM ${table} WHERE expires_at <= ${now} ORDER BY expires_at LIMIT ${ROWS_PER_PURGE}`,
  }
}
