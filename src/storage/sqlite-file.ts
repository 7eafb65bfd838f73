import { chmodSync, statSync } from 'node:fs'

/** The part of a prepared statement that the adapter uses. TypeScript before 6 does not take better-sqlite3's for anything narrower. */
export interface SqliteStatement {
  get(...parameters: unknown[]): unknown
  all(...parameters: unknown[]): unknown[]
  run(...parameters: unknown[]): { readonly changes: number | bigint }
}

/** The part of a database that the adapter uses: `new Database(path)` of better-sqlite3 or `new DatabaseSync(path)` of node:sqlite. */
export interface SqliteDatabase {
  exec(sql: string): unknown
  prepare(sql: string): SqliteStatement
}

export function isDatabase(given: unknown): given is SqliteDatabase {
  const { exec, prepare } = (given ?? {}) as Partial<SqliteDatabase>
  return typeof exec === 'function' && typeof prepare === 'function'
}

/** Milliseconds that a call waits for other writers: the default of better-sqlite3, which node:sqlite does not have. */
const BUSY_TIMEOUT = 5_000

/** Sets up the connection and the file, so that only its owner can read it, and no write is lost that was reported as done. */
export function configure(database: SqliteDatabase): void {
  database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT}`)
  // Before the switch to WAL: SQLite gives the -wal and -shm files the mode that the database has.
  protectFiles(database)
  database.exec('PRAGMA journal_mode = WAL')
  database.exec('PRAGMA synchronous = FULL')
}

/** Takes all rights on the database's files from all but the owner. */
function protectFiles(database: SqliteDatabase): void {
  const databases = database.prepare('PRAGMA database_list').all() as { name: string; file: string | null }[]
  const file = databases.find(({ name }) => name === 'main')?.file
  // A database in memory has no file.
  if (file === undefined || file === null || file === '') return
  for (const path of [file, `${file}-wal`, `${file}-shm`]) {
    const mode = statSync(path, { throwIfNoEntry: false })?.mode
    if (mode !== undefined && (mode & 0o077) !== 0) chmodSync(path, 0o600)
  }
}

/** Repeats `work` while another process holds a lock that SQLite's own waiting does not cover, as for the switch to WAL. */
export async function unlocked<T>(work: () => T): Promise<T> {
  const giveUpAt = performance.now() + BUSY_TIMEOUT
  for (;;) {
    try {
      return work()
    } catch (error) {
      if (!(error instanceof Error && error.message.includes('is locked')) || performance.now() > giveUpAt) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}
