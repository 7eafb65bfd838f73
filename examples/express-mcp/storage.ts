import { MemoryStorage, type StorageAdapter } from 'mcp-nextcloud-auth'
import { SqliteStorage } from 'mcp-nextcloud-auth/sqlite'

export interface GrantStorage {
  readonly storage: StorageAdapter
  /** For the log. */
  readonly description: string
  /** Opens the file, and makes it where it is not there; its first use takes the rights of others from it (0600). */
  readonly open: () => void
  readonly close: () => void
}

/**
 * Grants in a SQLite file, or in memory where better-sqlite3 is not there: enough to try things out, and it forgets who has
 * connected with every start.
 */
export async function grantStorage(file: string): Promise<GrantStorage> {
  try {
    const { default: Database } = await import('better-sqlite3')
    // A missing native part shows only here.
    new Database(':memory:').close()
    let opened: ReturnType<typeof Database> | undefined
    const database = () => (opened ??= new Database(file))
    return {
      storage: new SqliteStorage({ exec: (sql) => database().exec(sql), prepare: (sql) => database().prepare(sql) }),
      description: `grants are kept in ${file}`,
      open: () => void database(),
      close: () => void opened?.close(),
    }
  } catch (error) {
    if (!isDriverMissing(error)) throw error
    return {
      storage: new MemoryStorage(),
      description: 'better-sqlite3 is not there, so grants are kept in memory and gone with the process',
      open: () => undefined,
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
