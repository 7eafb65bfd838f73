import { createRequire } from 'node:module'
import { statSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { StorageAdapter } from '../../storage-adapter.js'
import { PostgresStorage, type PostgresPool } from '../../storage/postgres.js'
import { RedisStorage, type IoRedisClient, type NodeRedisClient } from '../../storage/redis.js'
import { SqliteStorage, type SqliteDatabase } from '../../storage/sqlite.js'

/** A store, as `--storage` names it. */
export interface StorageAddress {
  /** What it is, without a password: `Redis at cache.internal:6379`. */
  readonly name: string
  readonly open: () => Promise<OpenStorage>
}

export interface OpenStorage {
  readonly adapter: StorageAdapter
  /** Keys of some records of this package, whoever's they are. */
  readonly someKeys: (most: number) => Promise<readonly string[]>
  readonly close: () => Promise<void>
}

export interface StorageOptions {
  /** Where the user's project is, whose drivers are used. */
  readonly directory: string
  /** Milliseconds for a connection. */
  readonly timeout: number
  readonly table: string | undefined
  readonly prefix: string | undefined
}

/** Something that the person at the keyboard can mend, in words that hold nothing secret. */
export class StorageAdvice extends Error {
  readonly fix: string
  constructor(message: string, fix: string) {
    super(message)
    this.fix = fix
  }
}

const DEFAULT_TABLE = 'mcp_nextcloud_auth'
const DEFAULT_PREFIX = 'mcp-nextcloud-auth:'

/** Undefined when it is no such URL. Nothing is opened yet. */
export function readStorageAddress(url: string, options: StorageOptions): StorageAddress | undefined {
  if (url.startsWith('sqlite:')) {
    const file = path.resolve(options.directory, url.slice('sqlite:'.length).replace(/^\/\/(?=[/.])/, ''))
    return { name: `SQLite in ${file}`, open: () => openSqlite(file, options) }
  }
  if (!URL.canParse(url)) return undefined
  const { protocol, host } = new URL(url)
  if (protocol === 'redis:' || protocol === 'rediss:')
    return { name: `Redis at ${host}`, open: () => openRedis(url, options) }
  if (protocol === 'postgres:' || protocol === 'postgresql:') {
    return { name: `PostgreSQL at ${host}`, open: () => openPostgres(url, options) }
  }
  return undefined
}

/** An adapter that opens the store with its first call, so that a store that is away is found by a check of its own. */
export function lazyAdapter(open: () => Promise<OpenStorage>): StorageAdapter {
  const adapter = (): Promise<StorageAdapter> => open().then((opened) => opened.adapter)
  return {
    shared: true,
    get: async (key) => (await adapter()).get(key),
    put: async (key, value, expected, ttlMs) => (await adapter()).put(key, value, expected, ttlMs),
    delete: async (key, expected) => (await adapter()).delete(key, expected),
  }
}

/** A package of the user's own project; undefined where that has none. */
async function load(name: string, directory: string): Promise<Record<string, unknown> | undefined> {
  let file: string
  try {
    file = createRequire(path.join(directory, 'package.json')).resolve(name)
  } catch {
    return undefined
  }
  const loaded = (await import(pathToFileURL(file).href)) as Record<string, unknown>
  // A CommonJS module has all that it exports under `default`.
  return { ...(loaded['default'] as object | undefined), ...loaded }
}

function noDriver(names: string, directory: string): StorageAdvice {
  return new StorageAdvice(
    `there is no ${names} in this project`,
    `run the doctor in the folder of your app, which has the driver that its adapter uses, or npm install it; looked from ${directory}`,
  )
}

async function openSqlite(file: string, { directory, table }: StorageOptions): Promise<OpenStorage> {
  // What is not there yet is made by the app; made here, it would belong to whoever runs the doctor.
  if (statSync(file, { throwIfNoEntry: false }) === undefined) {
    throw new StorageAdvice(
      `there is no file ${file}`,
      'check the path (it counts from the folder in which the doctor runs); if the app has not run yet, its first start makes the file',
    )
  }
  const database = await openSqliteFile(file, directory)
  return {
    adapter: new SqliteStorage(database, { table }),
    someKeys: (most) => {
      // The adapter has refused any name that would have to be escaped.
      const rows = database.prepare(`SELECT key FROM "${table ?? DEFAULT_TABLE}" WHERE key LIKE 'v1:%' LIMIT ?`)
      return Promise.resolve((rows.all(most) as { key: string }[]).map(({ key }) => key))
    },
    close: () => Promise.resolve(database.close()),
  }
}

type ClosableDatabase = SqliteDatabase & { close(): void }
type SqliteConstructor = new (file: string) => ClosableDatabase

async function openSqliteFile(file: string, directory: string): Promise<ClosableDatabase> {
  const driver = await load('better-sqlite3', directory)
  if (driver !== undefined) return new (driver['default'] as SqliteConstructor)(file)
  // A text that the compiler does not look up: older versions of Node have no such module.
  const name: string = 'node:sqlite'
  const builtIn = (await import(name).catch(() => undefined)) as { DatabaseSync: SqliteConstructor } | undefined
  if (builtIn === undefined) throw noDriver('better-sqlite3 (and no node:sqlite in this version of Node)', directory)
  return new builtIn.DatabaseSync(file)
}

interface AnyRedis {
  on(event: 'error', listener: () => void): unknown
  connect(): Promise<unknown>
}
type NodeRedis = NodeRedisClient &
  AnyRedis & {
    scan(cursor: string, options: object): Promise<{ cursor: string | number; keys: string[] }>
    destroy(): void
  }
type IoRedis = IoRedisClient &
  AnyRedis & { scan(cursor: string, ...args: (string | number)[]): Promise<[string, string[]]>; disconnect(): void }

/** Rounds of SCAN at most: a Redis that holds much else is not read to its end. */
const SCANS = 50

async function openRedis(url: string, { directory, timeout, prefix }: StorageOptions): Promise<OpenStorage> {
  const used = prefix ?? DEFAULT_PREFIX
  const pattern = `${used.replace(/[*?[\]\\^-]/g, '\\$&')}v1:*`
  const nodeRedis = await load('redis', directory)
  if (nodeRedis !== undefined) {
    const create = nodeRedis['createClient'] as (options: object) => NodeRedis
    const client = create({
      url,
      disableOfflineQueue: true,
      socket: { connectTimeout: timeout, reconnectStrategy: false },
    })
    client.on('error', () => undefined)
    await client.connect()
    const scan = async (cursor: string): Promise<readonly [string, string[]]> => {
      const answer = await client.scan(cursor, { MATCH: pattern, COUNT: 200 })
      return [String(answer.cursor), answer.keys]
    }
    return {
      adapter: new RedisStorage(client, { prefix }),
      someKeys: (most) => scanKeys(scan, used, most),
      close: () => Promise.resolve(client.destroy()),
    }
  }
  const ioRedis = await load('ioredis', directory)
  if (ioRedis === undefined) throw noDriver('redis or ioredis', directory)
  const Redis = ioRedis['Redis'] as new (url: string, options: object) => IoRedis
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: timeout,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  client.on('error', () => undefined)
  await client.connect()
  return {
    adapter: new RedisStorage(client, { prefix }),
    someKeys: (most) => scanKeys((cursor) => client.scan(cursor, 'MATCH', pattern, 'COUNT', 200), used, most),
    close: () => Promise.resolve(client.disconnect()),
  }
}

async function scanKeys(
  scan: (cursor: string) => Promise<readonly [string, string[]]>,
  prefix: string,
  most: number,
): Promise<readonly string[]> {
  const found: string[] = []
  let cursor = '0'
  for (let scans = 0; scans < SCANS && found.length < most; scans += 1) {
    const [next, keys] = await scan(cursor)
    found.push(...keys.map((key) => key.slice(prefix.length)))
    cursor = next
    if (cursor === '0') break
  }
  return found.slice(0, most)
}

type Pool = PostgresPool & { on(event: 'error', listener: () => void): unknown; end(): Promise<void> }

async function openPostgres(url: string, { directory, timeout, table }: StorageOptions): Promise<OpenStorage> {
  const driver = await load('pg', directory)
  if (driver === undefined) throw noDriver('pg', directory)
  const Constructor = driver['Pool'] as new (options: object) => Pool
  const pool = new Constructor({ connectionString: url, max: 2, connectionTimeoutMillis: timeout })
  pool.on('error', () => undefined)
  const quoted = (table ?? DEFAULT_TABLE)
    .split('.')
    .map((part) => `"${part}"`)
    .join('.')
  return {
    adapter: new PostgresStorage(pool, { table }),
    async someKeys(most) {
      const { rows } = await pool.query(`SELECT key FROM ${quoted} WHERE key LIKE 'v1:%' LIMIT $1`, [most])
      return (rows as { key: string }[]).map(({ key }) => key)
    },
    close: () => pool.end(),
  }
}
