import { chmodSync, statSync } from 'node:fs'
import { StorageError } from '../errors/errors.js'
import { codeOfFailure } from '../errors/failure-name.js'

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

/**
 * Takes all rights on the database's files from all but the owner. Where that is not this process, others of its group may be meant to
 * write, too: that is a warning.
 */
function protectFiles(database: SqliteDatabase): void {
  const file = fileOf(database)
  if (file === undefined) return
  for (const path of [file, `${file}-wal`, `${file}-shm`]) {
    const mode = statSync(path, { throwIfNoEntry: false })?.mode
    if (mode === undefined || (mode & 0o077) === 0) continue
    try {
      chmodSync(path, 0o600)
    } catch (error) {
      if (codeOfFailure(error) !== 'EPERM') throw error
      process.emitWarning(
        `The SQLite file ${path} is open to other users, and only its owner may change that: make the user of this process its owner`,
        { type: 'McpAuthWarning', code: 'ERR_SQLITE_OWNER' },
      )
      return
    }
  }
}

/** Returns the path of the database's file. Undefined: it is in memory. */
function fileOf(database: SqliteDatabase): string | undefined {
  const databases = database.prepare('PRAGMA database_list').all() as { name: string; file: string | null }[]
  return databases.find(({ name }) => name === 'main')?.file || undefined
}

/** SQLite's own code for it, which it does not use with WAL. */
const MOVED = { code: 'SQLITE_READONLY_DBMOVED' }

/**
 * Returns a function that throws {@link StorageError} while the database's file, or its `-wal`, is not the one that is open, as after a
 * backup was put in its place. Without it SQLite goes on with a file that nobody else sees, and all of that is lost with the process.
 * A file that comes back to its place is good again.
 */
export function watchFiles(database: SqliteDatabase): () => void {
  const file = fileOf(database)
  if (file === undefined) return () => undefined
  const files = [file, `${file}-wal`]
  const opened = files.map(identityOf)
  return () => {
    if (files.every((path, index) => identityOf(path) === opened[index])) return
    throw new StorageError(
      `The SQLite file ${file} was replaced or removed while this process had it open: restart this process`,
      MOVED,
    )
  }
}

/** Undefined: there is no such file. */
function identityOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found && `${found.dev}:${found.ino}`
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
