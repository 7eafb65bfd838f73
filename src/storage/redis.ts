import { createHash } from 'node:crypto'
import { text } from '../config/kinds.js'
import { readOptions } from '../config/read-options.js'
import { ConfigurationError } from '../errors/errors.js'
import type { KeyPage, StorageAdapter, StoredEntry } from '../storage-adapter.js'
import { collectKeys } from './page.js'
import { warnWithoutErrorListener } from './error-listener.js'
import { scanKeys } from './redis-scan.js'
import { comparable, isVersion, newVersion, VERSION_LENGTH, wholeTtl } from './entry.js'

/**
 * The part of a client of the package redis that the adapter uses: `createClient()`, `createClientPool()`, `createCluster()` or
 * `createSentinel()`.
 */
export interface NodeRedisClient {
  evalSha(sha: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
}

/** The part of a client of the package ioredis or iovalkey that the adapter uses: `new Redis()` or `new Cluster()`. */
export interface IoRedisClient {
  evalsha(sha: string, keys: number, ...keysAndArguments: string[]): Promise<unknown>
  eval(script: string, keys: number, ...keysAndArguments: string[]): Promise<unknown>
}

/** Options of {@link RedisStorage}. */
export interface RedisStorageOptions {
  /** The beginning of every key in Redis. Default `mcp-nextcloud-auth:`. */
  readonly prefix?: string | undefined
}

interface Script {
  readonly text: string
  readonly sha: string
}
/** Runs a script on one key. */
type Run = (script: Script, key: string, ...args: string[]) => Promise<unknown>

/** The beginning of every key in Redis, unless another one is given. */
const DEFAULT_PREFIX = 'mcp-nextcloud-auth:'

// An entry is one string, the version in front of the value, so that a script touches one key only (a cluster needs that) and
// an expiry counts for both. An absent key has the empty range. Every answer is a word: a reply of any other form is a failure.
// Reading is a script too, because a client may send a GET to a replica, which lags behind.
const GET = script(`return redis.call('GET', KEYS[1])`)
// A client that lost the connection may send a command once more. A write that finds itself there has been done.
const PUT = script(`local found = redis.call('GETRANGE', KEYS[1], 0, ${VERSION_LENGTH - 1})
if found == string.sub(ARGV[2], 1, ${VERSION_LENGTH}) then return 'changed' end
if found ~= ARGV[1] then return 'kept' end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 'changed'`)
const DELETE = script(`if redis.call('GETRANGE', KEYS[1], 0, ${VERSION_LENGTH - 1}) ~= ARGV[1] then return 'kept' end
redis.call('DEL', KEYS[1])
return 'changed'`)

const POLICY = 'maxmemory-policy'

const OPTIONS = { prefix: { kind: text, default: DEFAULT_PREFIX } }

/**
 * Keeps grants in Redis (or a server that speaks its protocol and Lua), single or cluster. `maxmemory-policy` must be
 * `noeviction`, because an evicted grant is lost for good: any other makes a process warning, `ERR_REDIS_EVICTION`, once. Switch
 * on `appendonly`, or a restart loses the last writes. Give a client of the package redis an `error` listener: without one, an outage of
 * Redis ends the process, which is warned of as well, `ERR_STORAGE_LISTENER`.
 *
 * @throws {ConfigurationError} an option is unknown or wrong, or `client` is not a client
 */
export class RedisStorage implements StorageAdapter {
  readonly shared = true
  readonly #client: NodeRedisClient | IoRedisClient
  readonly #run: Run
  readonly #prefix: string
  #checked = false

  constructor(client: NodeRedisClient | IoRedisClient, options?: RedisStorageOptions) {
    const { prefix } = readOptions(OPTIONS, options).values
    this.#client = client
    this.#run = runner(client)
    this.#prefix = prefix
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    const reply = await this.#call(GET, key)
    if (reply === null) return undefined
    const version = typeof reply === 'string' ? reply.slice(0, VERSION_LENGTH) : ''
    if (typeof reply !== 'string' || !isVersion(version)) throw unexpected()
    return { value: reply.slice(VERSION_LENGTH), version }
  }

  async put(key: string, value: string, expected: string | null, ttlMs?: number): Promise<string | null> {
    const ttl = wholeTtl(ttlMs)
    const version = newVersion()
    const found = expected === null ? '' : comparable(expected)
    return (await this.#changes(PUT, key, found, version + value, ttl === undefined ? '' : String(ttl)))
      ? version
      : null
  }

  delete(key: string, expected: string): Promise<boolean> {
    return this.#changes(DELETE, key, comparable(expected))
  }

  /** Reads all keys with the prefix, however small the page is (SCAN), of a cluster those of each primary. */
  async list(page: KeyPage): Promise<string[]> {
    const keys = collectKeys(page)
    await scanKeys(this.#client, this.#prefix, keys.add)
    return keys.page()
  }

  async #changes(change: Script, key: string, ...args: string[]): Promise<boolean> {
    const reply = await this.#call(change, key, ...args)
    if (reply !== 'changed' && reply !== 'kept') throw unexpected()
    return reply === 'changed'
  }

  async #call(script: Script, key: string, ...args: string[]): Promise<unknown> {
    const reply = await this.#run(script, this.#prefix + key, ...args)
    if (!this.#checked) {
      this.#checked = true
      // Those of ioredis write what nobody listens to on stderr.
      if ('evalSha' in this.#client) warnWithoutErrorListener(this.#client, 'The client given to RedisStorage')
      // Not awaited. Where CONFIG is forbidden, as on many hosted servers, there is nothing to say.
      void warnOfEviction(this.#client).catch(() => undefined)
    }
    return reply
  }
}

function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

/** The two packages spell the same commands differently. A script that the server does not know, or no longer, is sent whole. */
function runner(client: unknown): Run {
  const { evalSha, evalsha, eval: evaluate, on, set } = (client ?? {}) as Record<string, unknown>
  if (typeof evaluate !== 'function' || (typeof evalSha !== 'function' && typeof evalsha !== 'function')) {
    throw new ConfigurationError(
      'RedisStorage needs a client of redis (createClient(), connected) or ioredis (new Redis())',
    )
  }
  // That of Upstash has the commands of ioredis, with other arguments. It is not connected, so it has no events.
  if (typeof evalSha !== 'function' && typeof set === 'function' && typeof on !== 'function') {
    throw new ConfigurationError(
      'RedisStorage cannot use a client over HTTP, such as @upstash/redis: connect redis or ioredis to the rediss:// URL of that database',
    )
  }
  if (typeof evalSha === 'function') {
    const redis = client as NodeRedisClient
    return ({ text, sha }, key, ...args) => {
      const options = { keys: [key], arguments: args }
      return redis.evalSha(sha, options).catch(ifUnknown(() => redis.eval(text, options)))
    }
  }
  const redis = client as IoRedisClient
  return ({ text, sha }, key, ...args) =>
    redis.evalsha(sha, 1, key, ...args).catch(ifUnknown(() => redis.eval(text, 1, key, ...args)))
}

function ifUnknown(sendWhole: () => Promise<unknown>): (error: unknown) => Promise<unknown> {
  return (error) => {
    if (error instanceof Error && error.message.startsWith('NOSCRIPT')) return sendWhole()
    throw error
  }
}

const unexpected = () => new Error('RedisStorage: a reply, or an entry, that is not of this adapter')

async function warnOfEviction(client: object): Promise<void> {
  const { configGet, config } = client as Record<string, ((...args: string[]) => Promise<unknown>) | undefined>
  const reply = await (configGet ? configGet.call(client, POLICY) : config?.call(client, 'GET', POLICY))
  const policy = Array.isArray(reply) ? (reply[1] as unknown) : (reply as Record<string, unknown> | undefined)?.[POLICY]
  if (typeof policy !== 'string' || policy === 'noeviction') return
  process.emitWarning(`Redis has ${POLICY} ${policy} and may evict grants, which are then lost: set it to noeviction`, {
    type: 'McpAuthWarning',
    code: 'ERR_REDIS_EVICTION',
  })
}
