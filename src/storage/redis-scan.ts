import { ConfigurationError } from '../errors/errors.js'

/** Reads a part of the keys: the next cursor, `0` at the end, and the keys. */
type Scan = (cursor: string, pattern: string) => Promise<readonly [cursor: string, keys: readonly string[]]>

/** The members of a client of the package redis or ioredis that say where its keys are. */
interface Client {
  readonly scan?: (cursor: string, ...args: unknown[]) => Promise<unknown>
  /** redis: what a plain client, a pool and a cluster have in common. */
  readonly evalSha?: unknown
  /** A cluster of redis. */
  readonly masters?: readonly unknown[]
  readonly nodeClient?: (node: unknown) => unknown
  /** A cluster of ioredis. */
  readonly nodes?: (role: string) => readonly unknown[]
  /** redis with Sentinel: a client of the primary alone. */
  readonly acquire?: () => Promise<{ release(): unknown }>
  /** Both packages put this in front of every key, but not of a pattern. */
  readonly options?: { readonly keyPrefix?: string }
  /** The same of redis, in each kind of client. */
  readonly _keyPrefix?: string
}

/** Keys that the server looks at in one round. */
const COUNT = 1_000

/**
 * Tells of all keys with a prefix, in no order, some of them perhaps twice.
 *
 * @param found takes a key without the prefix
 * @throws {ConfigurationError} the client gives no way to ask each server for its keys
 */
export async function scanKeys(given: object, prefix: string, found: (key: string) => void): Promise<void> {
  const client = given as Client
  const whole = (client._keyPrefix ?? client.options?.keyPrefix ?? '') + prefix
  const pattern = `${whole.replace(/[*?[\]\\^-]/g, '\\$&')}*`
  // With Sentinel, reads may go to replicas in turn. They lag behind, and a cursor means nothing to another server.
  const lease = await client.acquire?.()
  try {
    for (const scan of await scansOf((lease as Client | undefined) ?? client)) {
      let cursor = '0'
      do {
        const [next, keys] = await scan(cursor, pattern)
        for (const key of keys) if (key.startsWith(whole)) found(key.slice(whole.length))
        cursor = next
      } while (cursor !== '0')
    }
  } finally {
    await lease?.release()
  }
}

/** One of each server that has keys. A cluster's own `scan` asks any one of them. */
async function scansOf(client: Client): Promise<readonly Scan[]> {
  const { masters, nodeClient, nodes } = client
  if (Array.isArray(masters) && typeof nodeClient === 'function') {
    return Promise.all(masters.map(async (node) => scanOf((await nodeClient.call(client, node)) as Client)))
  }
  if (typeof nodes === 'function') return nodes.call(client, 'master').map((node) => scanOf(node as Client))
  return [scanOf(client)]
}

function scanOf(client: Client): Scan {
  const { scan } = client
  if (typeof scan !== 'function') {
    throw new ConfigurationError(
      'RedisStorage cannot list its keys with this client: it needs scan(), or of a cluster its primaries (masters, nodes())',
      'storage',
    )
  }
  const isOfRedis = typeof client.evalSha === 'function'
  return async (cursor, pattern) => {
    const args = isOfRedis ? [{ MATCH: pattern, COUNT }] : ['MATCH', pattern, 'COUNT', COUNT]
    const reply = (await scan.call(client, cursor, ...args)) as { cursor: unknown; keys: string[] } | [string, string[]]
    return Array.isArray(reply) ? reply : [String(reply.cursor), reply.keys]
  }
}
