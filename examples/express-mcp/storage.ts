import { MemoryStorage, type StorageAdapter } from 'mcp-nextcloud-auth'
import { SqliteStorage } from 'mcp-nextcloud-auth/sqlite'

export interface GrantStorage {
  readonly storage: StorageAdapter
  /** For the log. */
  readonly description: string
  readonly close: () => void
}

/**
 * Grants in a SQLite file, or in memory where better-sqlite3 is not there: enough to try things out, and it forgets who has
 * connected with every start.
 */
export async function openGrantStorage(file: string): Promise<GrantStorage> {
  try {
    const { default: Database } = await import('better-sqlite3')
    const database = new Database(file)
    return {
      storage: new SqliteStorage(database),
      description: `grants are kept in ${file}`,
      close: () => void database.close(),
    }
  } catch (error) {
    // A file that cannot be opened is a mistake to mend, and no reason to go on without it.
    if (!isDriverMissing(error)) throw error
    return {
      storage: new MemoryStorage(),
      description: 'better-sqlite3 is not there, so grants are kept in memory and gone with the process',
      close: () => undefined,
    }
  }
}

/** The package is not installed, or its native part was not built for this machine. */
function isDriverMissing(error: unknown): boolean {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  return (
    code === 'ERR_MODULE_NOT_FOUND' ||
    code === 'ERR_DLOPEN_FAILED' ||
    String(message).startsWith('Could not locate the bindings file')
  )
}
