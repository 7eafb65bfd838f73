import { statSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { codeOfFailure, nameOfFailure } from '../errors/failure-name.js'
import { McpAuthError } from '../errors/errors.js'
import type { StorageAdapter } from '../storage-adapter.js'
import { MySqlStorage, type MySqlPromisePool } from '../storage/mysql.js'
import { PostgresStorage, type PostgresPool } from '../storage/postgres.js'
import { RedisStorage, type IoRedisClient, type NodeRedisClient } from '../storage/redis.js'
import { SqliteStorage, type SqliteDatabase } from '../storage/sqlite.js'

interface OpenStorage {
  readonly adapter: StorageAdapter & Required<Pick<StorageAdapter, 'list'>>
  readonly close: () => unknown
}

/** Returns `ECONNREFUSED`, `28P01`, `SQLITE_READONLY`, and no message, which may quote the connection string. */
export function codeOf(error: unknown): string {
  if (error instanceof McpAuthError) return /\(([A-Z0-9_]{1,32})\)$/.exec(error.detail)?.[1] ?? error.code
  const code = codeOfFailure(error)
  if (code !== undefined) return code
  const { errors } = error as { errors?: readonly unknown[] }
  return Array.isArray(errors) && errors.length > 0 ? codeOf(errors[0]) : (nameOfFailure(error) ?? 'unknown failure')
}

/** A store, as `--storage` names it. It is opened at the first need. */
export interface Store {
  /** The kind and the place, without a password: `Redis at cache.internal:6379`. */
  readonly name: string
  readonly opened: () => Promise<OpenStorage>
  /** Never rejects. */
  readonly close: () => Promise<void>
}

export interface StorageOptions {
  /** The folder of the user's project, whose drivers are used. */
  readonly directory: string
  /** Milliseconds for a connection. */
  readonly timeout: number
  readonly table: string | undefined
  readonly prefix: string | undefined
  /** For a file of SQLite that is missing: an error, a new file, or an empty store that is forgotten. */
  readonly missingFile: 'refuse' | 'make' | 'forget'
}

/** A fault that the user can mend, in words that hold nothing secret. */
export class StorageAdvice extends Error {
  readonly fix: string
  constructor(message: string, fix: string) {
    super(message)
    this.fix = fix
  }
}

/** Returns the text without the quotes around it, which Docker's `--env-file` keeps. */
export const unquoted = (text: string): string => /^(["'])(.*)\1$/s.exec(text)?.[2] ?? text

/** Whether a text may be a URL, a misspelt one included: it may hold a password then, and is never quoted as the name of a file. */
export const isLikeUrl = (text: string): boolean =>
  !/^\.{0,2}\/(?!\/)/.test(text) && /@|:\/\/|^\/\/|^[a-z][\w+.-]+ *(?::|\/\/)/i.test(text)

/** Returns undefined if it is not the URL of a store. */
export function storeAt(url: string, options: StorageOptions): Store | undefined {
  if (url.startsWith('sqlite:') || !isLikeUrl(url)) {
    const file = path.resolve(options.directory, url.replace(/^sqlite:(?:\/\/(?=[/.]))?/, ''))
    return openedOnce(`SQLite in ${file}`, () => openSqlite(file, options))
  }
  if (!URL.canParse(url)) return undefined
  const { protocol, host } = new URL(url)
  if (['redis:', 'rediss:'].includes(protocol)) return openedOnce(`Redis at ${host}`, () => openRedis(url, options))
  if (['postgres:', 'postgresql:'].includes(protocol)) {
    return openedOnce(`PostgreSQL at ${host}`, () => openPostgres(url, options))
  }
  if (protocol === 'mysql:') return openedOnce(`MySQL at ${host}`, () => openMySql(url, options))
  if (protocol === 'mariadb:') return openedOnce(`MariaDB at ${host}`, () => openMySql(url, options))
  return undefined
}

function openedOnce(name: string, open: () => Promise<OpenStorage>): Store {
  let opening: Promise<OpenStorage> | undefined
  return {
    name,
    opened: () => (opening ??= open()),
    close: async () => {
      await opening?.then((store) => store.close()).catch(() => undefined)
    },
  }
}

/** Returns an adapter that opens the store with its first call, so that a check of its own finds a store that is unavailable. */
export function lazyAdapter({ opened }: Pick<Store, 'opened'>): StorageAdapter {
  return {
    shared: true,
    get: async (key) => (await opened()).adapter.get(key),
    put: async (key, ...entry) => (await opened()).adapter.put(key, ...entry),
    delete: async (key, expected) => (await opened()).adapter.delete(key, expected),
    list: async (page) => (await opened()).adapter.list(page),
  }
}

type Driver = Readonly<Record<string, unknown>>

/** Returns a package of the user's own project; undefined if the project does not have it. */
async function load(name: string, directory: string): Promise<Driver | undefined> {
  let file: string
  try {
    file = createRequire(path.join(directory, 'package.json')).resolve(name)
  } catch {
    return undefined
  }
  const loaded = (await import(pathToFileURL(file).href)) as Driver
  // A CommonJS module has all that it exports under `default`.
  return { ...(loaded['default'] as object | undefined), ...loaded }
}

function noDriver(names: string, directory: string): StorageAdvice {
  return new StorageAdvice(
    `there is no ${names} in this project`,
    `run this in the folder of your app, which has the driver that its adapter uses, or npm install it; looked from ${directory}`,
  )
}

async function openSqlite(file: string, { directory, table, missingFile }: StorageOptions): Promise<OpenStorage> {
  const isMissing = statSync(file, { throwIfNoEntry: false }) === undefined
  // The app makes a file that is missing. Made here, it would belong to the user who runs this.
  if (isMissing && missingFile === 'refuse') {
    throw new StorageAdvice(
      `there is no file ${file}`,
      'check the path (it counts from the folder in which this runs); if the app has not run yet, its first start makes the file',
    )
  }
  const database = await openSqliteFile(isMissing && missingFile === 'forget' ? ':memory:' : file, directory)
  return { adapter: new SqliteStorage(database, { table }), close: () => database.close() }
}

export type ClosableDatabase = SqliteDatabase & { close(): void }
type SqliteConstructor = new (file: string, options: object) => ClosableDatabase

/** Opens a file by the driver of the user's project. */
export async function openSqliteFile(
  file: string,
  directory: string,
  access: 'read-write' | 'read-only' = 'read-write',
): Promise<ClosableDatabase> {
  // Each driver has its own spelling, and refuses that of the other.
  const readOnly = access === 'read-only'
  const driver = await load('better-sqlite3', directory)
  let failure: Error | undefined
  try {
    if (driver !== undefined) return new (driver['default'] as SqliteConstructor)(file, { readonly: readOnly })
  } catch (error) {
    // Compiled for another version of Node. The one of Node itself reads the same file.
    if (!(error instanceof Error) || codeOf(error) !== 'ERR_DLOPEN_FAILED') throw error
    failure = error
  }
  // A text that the compiler does not look up: older versions of Node have no such module.
  const name: string = 'node:sqlite'
  const builtIn = (await import(name).catch(() => undefined)) as { DatabaseSync: SqliteConstructor } | undefined
  if (builtIn === undefined)
    throw failure ?? noDriver('better-sqlite3 (and no node:sqlite in this version of Node)', directory)
  return new builtIn.DatabaseSync(file, { readOnly })
}

export type Pool = PostgresPool & { on(event: 'error', listener: () => void): unknown; end(): Promise<void> }

/** Returns a pool by the driver of the user's project. It connects with its first query. */
export async function openPool(
  url: string,
  { directory, timeout }: Pick<StorageOptions, 'directory' | 'timeout'>,
): Promise<Pool> {
  const driver = await load('pg', directory)
  if (driver === undefined) throw noDriver('pg', directory)
  const Constructor = driver['Pool'] as new (options: object) => Pool
  const pool = new Constructor({ connectionString: url, max: 2, connectionTimeoutMillis: timeout })
  pool.on('error', () => undefined)
  return pool
}

async function openPostgres(url: string, options: StorageOptions): Promise<OpenStorage> {
  const { table } = options
  const pool = await openPool(url, options)
  return { adapter: new PostgresStorage(pool, { table }), close: () => pool.end() }
}

async function openMySql(url: string, { directory, timeout, table }: StorageOptions): Promise<OpenStorage> {
  const driver = await load('mysql2', directory)
  if (driver === undefined) throw noDriver('mysql2', directory)
  const createPool = driver['createPool'] as (options: object) => {
    promise(): MySqlPromisePool & { end(): Promise<void> }
  }
  // The driver reads no other scheme's URL.
  const uri = url.replace(/^mariadb:/i, 'mysql:')
  const pool = createPool({ uri, connectionLimit: 2, connectTimeout: timeout }).promise()
  return { adapter: new MySqlStorage(pool, { table }), close: () => pool.end() }
}

interface AnyRedis {
  on(event: 'error', listener: () => void): unknown
  connect(): Promise<unknown>
}
interface NodeRedis extends NodeRedisClient, AnyRedis {
  destroy(): void
}
interface IoRedis extends IoRedisClient, AnyRedis {
  disconnect(): void
}

interface RedisConnection {
  readonly client: NodeRedis | IoRedis
  readonly close: () => void
}

async function openRedis(url: string, { directory, timeout, prefix }: StorageOptions): Promise<OpenStorage> {
  for (const [name, connectionOf] of [['redis', ofRedis] as const, ['ioredis', ofIoRedis] as const]) {
    const driver = await load(name, directory)
    if (driver === undefined) continue
    const { client, close } = connectionOf(driver, url, timeout)
    client.on('error', () => undefined)
    await client.connect()
    return { adapter: new RedisStorage(client, { prefix }), close }
  }
  throw noDriver('redis or ioredis', directory)
}

function ofRedis(driver: Driver, url: string, timeout: number): RedisConnection {
  const create = driver['createClient'] as (options: object) => NodeRedis
  const socket = { connectTimeout: timeout, reconnectStrategy: false }
  const client = create({ url, disableOfflineQueue: true, socket })
  return { client, close: () => client.destroy() }
}

function ofIoRedis(driver: Driver, url: string, timeout: number): RedisConnection {
  const Redis = driver['Redis'] as new (url: string, options: object) => IoRedis
  const once = { lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null }
  const client = new Redis(url, { ...once, connectTimeout: timeout })
  return { client, close: () => client.disconnect() }
}
