import type { StorageAdapter } from '../../src/index.js'
import { MySqlStorage } from '../../src/storage/mysql.js'
import { PostgresStorage } from '../../src/storage/postgres.js'
import { RedisStorage } from '../../src/storage/redis.js'
import { SqliteStorage } from '../../src/storage/sqlite.js'

/** Where a real store is, so that any process can open it. */
export type StoreAddress =
  | { readonly kind: 'SQLite'; readonly file: string }
  | { readonly kind: 'Redis'; readonly url: string; readonly prefix?: string }
  | { readonly kind: 'PostgreSQL' | 'MariaDB'; readonly url: string }

export type StoreKind = StoreAddress['kind']

export interface OpenStore {
  readonly adapter: StorageAdapter
  readonly close: () => Promise<void>
}

/** Opens a store as the documentation of its adapter has it, with the client's own defaults. Loads no driver but its own. */
export async function openStore(address: StoreAddress): Promise<OpenStore> {
  if (address.kind === 'SQLite') {
    const { Database } = await import('@mcp-nextcloud-auth/sqlite-driver')
    if (Database === undefined) throw new Error('better-sqlite3 is not on this machine')
    const database = new Database(address.file)
    return { adapter: new SqliteStorage(database), close: () => Promise.resolve(void database.close()) }
  }
  if (address.kind === 'Redis') {
    const { createClient } = await import('redis')
    const client = createClient({ url: address.url })
    client.on('error', () => undefined)
    await client.connect()
    return {
      adapter: new RedisStorage(client, { prefix: address.prefix }),
      close: () => Promise.resolve(client.destroy()),
    }
  }
  if (address.kind === 'MariaDB') {
    const { createPool } = await import('mysql2/promise')
    const pool = createPool({ uri: address.url, connectionLimit: 4 })
    return { adapter: new MySqlStorage(pool), close: () => pool.end() }
  }
  const { default: pg } = await import('pg')
  const pool = new pg.Pool({ connectionString: address.url, max: 4 })
  pool.on('error', () => undefined)
  return { adapter: new PostgresStorage(pool), close: () => pool.end() }
}
