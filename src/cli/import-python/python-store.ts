import { statSync } from 'node:fs'
import path from 'node:path'
import { isLikeUrl, openPool, openSqliteFile, StorageAdvice } from '../stores.js'

/** A row of the Python server, whose columns are not taken on trust: versions of it differ in them. */
export type PythonRow = Readonly<Record<string, unknown>> & { readonly user_id: string }

/** The tables that hold what users gave. */
export type PythonTable = 'app_passwords' | 'refresh_tokens'

/** The store of a Python server (SQLite or PostgreSQL), which is only read. */
export interface PythonStore {
  /** The kind and the place, without a password. */
  readonly name: string
  /** Rows in the order of `user_id`, read in pages. None where the version of that server had no such table. */
  readonly rows: (table: PythonTable, after: string) => AsyncIterable<PythonRow>
  /** The client that the server registered for itself. Undefined: it was given one, or never had one. */
  readonly clientId: () => Promise<string | undefined>
  readonly close: () => unknown
}

/** Rows read at once. */
const PAGE = 500

interface Tables {
  readonly name: string
  readonly has: (table: string) => Promise<boolean>
  /** @param sql with `?` for each value */
  readonly query: (sql: string, values: readonly unknown[]) => Promise<readonly unknown[]>
  readonly close: () => unknown
}

/**
 * Opens a store by its file or URL, in the spellings of SQLAlchemy too: `sqlite+aiosqlite:///…`, `postgresql+psycopg://…`.
 *
 * @throws {StorageAdvice} there is none
 */
export async function openPythonStore(
  place: string,
  options: { readonly directory: string; readonly timeout: number },
): Promise<PythonStore> {
  const postgres = /^postgres(?:ql)?(?:\+\w+)?:\/\//.exec(place)
  if (postgres === null && !/^sqlite(?:\+\w+)?:/.test(place) && isLikeUrl(place)) {
    throw new StorageAdvice('that is not the place of a store', 'name a file of SQLite (sqlite:///…), or postgres://…')
  }
  const tables = await (postgres === null
    ? openSqlite(
        path.resolve(options.directory, place.replace(/^sqlite(?:\+\w+)?:(?:\/\/\/|\/\/(?=\.))?/, '')),
        options.directory,
      )
    : openPostgres(`postgres://${place.slice(postgres[0].length)}`, options))
  try {
    const found = await Promise.all((['app_passwords', 'refresh_tokens'] as const).map(tables.has))
    if (!found.includes(true)) throw noStore(tables.name)
  } catch (error) {
    await tables.close()
    throw error
  }
  return {
    name: tables.name,
    rows: (table, after) => rowsOf(tables, table, after),
    async clientId() {
      if (!(await tables.has('oauth_clients'))) return undefined
      const [row] = await tables.query('SELECT client_id FROM oauth_clients WHERE id = 1', [])
      const { client_id: id } = (row ?? {}) as { client_id?: unknown }
      return typeof id === 'string' ? id : undefined
    },
    close: tables.close,
  }
}

const noStore = (name: string): StorageAdvice =>
  new StorageAdvice(`${name} is not a store of the Python server`, 'it has a table app_passwords or refresh_tokens')

async function* rowsOf(tables: Tables, table: PythonTable, first: string): AsyncGenerator<PythonRow> {
  if (!(await tables.has(table))) return
  // The empty text is before every other one, and no user.
  for (let after = first; ;) {
    const sql = `SELECT * FROM ${table} WHERE user_id > ? ORDER BY user_id LIMIT ${PAGE}`
    const page = (await tables.query(sql, [after])) as readonly PythonRow[]
    yield* page
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return
    after = last.user_id
  }
}

async function openSqlite(file: string, directory: string): Promise<Tables> {
  const name = `SQLite in ${file}`
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new StorageAdvice(`there is no file ${file}`, 'it is what TOKEN_STORAGE_DB names at the Python server')
  }
  const database = await openSqliteFile(file, directory, 'read-only')
  // The Python server may be writing at the moment.
  database.exec('PRAGMA busy_timeout = 5000')
  const query: Tables['query'] = (sql, values) => Promise.resolve(database.prepare(sql).all(...values))
  const named = `SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?`
  return { name, query, has: async (table) => (await query(named, [table])).length > 0, close: () => database.close() }
}

async function openPostgres(
  url: string,
  options: { readonly directory: string; readonly timeout: number },
): Promise<Tables> {
  const pool = await openPool(url, options)
  const query: Tables['query'] = async (sql, values) => (await pool.query(sql.replace('?', '$1'), [...values])).rows
  return {
    name: `PostgreSQL at ${URL.canParse(url) ? new URL(url).host : 'that URL'}`,
    query,
    has: async (table) => (await query('SELECT 1 WHERE to_regclass(?) IS NOT NULL', [table])).length > 0,
    close: () => pool.end(),
  }
}
