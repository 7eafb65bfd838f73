import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { SqliteStorage, type SqliteDatabase } from '../storage/sqlite.js'
import type { StorageAdapter } from '../storage-adapter.js'

/** The open folder. */
export interface DataFolder {
  readonly storage: StorageAdapter
  readonly encryptionKey: string
  /** Where the key was made just now. Undefined: it was there, or given. */
  readonly newKeyFile: string | undefined
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

/** Opens the folder, and makes what is missing in it: readable by its owner alone. */
export async function openDataFolder(folder: string, givenKey: string | undefined): Promise<DataFolder> {
  const open = await sqliteDriver()
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { encryptionKey, newKeyFile } =
    givenKey === undefined ? keyIn(path.join(folder, KEY_FILE)) : { encryptionKey: givenKey, newKeyFile: undefined }
  const database = open(path.join(folder, DATABASE_FILE))
  return { storage: new SqliteStorage(database), encryptionKey, newKeyFile, close: () => void database.close() }
}

function keyIn(file: string): { readonly encryptionKey: string; readonly newKeyFile: string | undefined } {
  try {
    const encryptionKey = readFileSync(file, 'utf8').trim()
    if ((statSync(file).mode & 0o077) !== 0) chmodSync(file, 0o600)
    return { encryptionKey, newKeyFile: undefined }
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOENT') throw error
  }
  const encryptionKey = randomBytes(32).toString('base64url')
  // Another process that makes one at this moment must not have its key replaced.
  writeFileSync(file, `${encryptionKey}\n`, { mode: 0o600, flag: 'wx' })
  return { encryptionKey, newKeyFile: file }
}
