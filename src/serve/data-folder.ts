import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { ConfigurationError } from '../errors/errors.js'
import { SqliteStorage, type SqliteDatabase } from '../storage/sqlite.js'
import type { StorageAdapter } from '../storage-adapter.js'

/** The open folder. */
export interface DataFolder {
  readonly storage: StorageAdapter
  readonly encryptionKey: string
  /** Names of the files in it that were made just now. */
  readonly made: readonly string[]
  /** Whether the key or the database was there before, and no entry is: a copy without its `-wal`, or a database that is gone. */
  readonly hasLost: boolean
  readonly close: () => void
}

export const DATABASE_FILE = 'connections.db'
export const KEY_FILE = 'encryption.key'

type Open = (file: string) => SqliteDatabase & { readonly close: () => unknown }

/**
 * Returns the driver for SQLite: the one that Node has, else better-sqlite3.
 *
 * @throws the error of `import()` when there is neither
 */
export async function sqliteDriver(): Promise<Open> {
  try {
    // By a name that the compiler does not know: Node 20 does not have it.
    const builtIn: string = 'node:sqlite'
    const { DatabaseSync } = (await import(builtIn)) as {
      DatabaseSync: new (file: string) => ReturnType<Open>
    }
    return (file) => new DatabaseSync(file)
  } catch {
    const added: string = 'better-sqlite3'
    const { default: Database } = (await import(added)) as { default: new (file: string) => ReturnType<Open> }
    return (file) => new Database(file)
  }
}

/**
 * Opens the folder, and makes what is missing in it: readable by its owner alone. A folder that is there keeps its mode.
 *
 * @throws {ConfigurationError} there is a database without its key
 */
export async function openDataFolder(folder: string, givenKey: string | undefined): Promise<DataFolder> {
  const open = await sqliteDriver()
  const [file, keyFile] = [path.join(folder, DATABASE_FILE), path.join(folder, KEY_FILE)]
  const isNew = !existsSync(file)
  const isFirst = isNew && !existsSync(keyFile)
  const known = givenKey ?? keyIn(keyFile)
  if (known === undefined && !isNew) {
    throw new ConfigurationError(`${folder} has a database, and there is no key to it`, 'TOKEN_ENCRYPTION_KEY')
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const encryptionKey = known ?? makeKey(keyFile)
  // The driver would make a file that others may open until the first use of it.
  if (isNew) writeFileSync(file, '', { mode: 0o600, flag: 'a' })
  const database = open(file)
  const storage = new SqliteStorage(database)
  return {
    storage,
    encryptionKey,
    made: [...(known === undefined ? [KEY_FILE] : []), ...(isNew ? [DATABASE_FILE] : [])],
    // Each start leaves the signing keys, so that only a first one finds nothing.
    hasLost: !isFirst && (await storage.list({ limit: 1 })).length === 0,
    close: () => void database.close(),
  }
}

function keyIn(file: string): string | undefined {
  try {
    const encryptionKey = readFileSync(file, 'utf8').trim()
    const entry = lstatSync(file)
    // The target of a link belongs to whoever set the link, as orchestrators do for secrets.
    if (entry.isFile() && (entry.mode & 0o077) !== 0) chmodSync(file, 0o600)
    return encryptionKey
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOENT') throw error
    return undefined
  }
}

function makeKey(file: string): string {
  const encryptionKey = randomBytes(32).toString('base64url')
  // Another process that makes one at this moment must not have its key replaced.
  writeFileSync(file, `${encryptionKey}\n`, { mode: 0o600, flag: 'wx' })
  return encryptionKey
}
