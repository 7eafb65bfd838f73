import { Cluster } from 'ioredis'
import { Cluster as ValkeyCluster } from 'iovalkey'
import { createClient, createCluster } from 'redis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type IoRedisClient, type NodeRedisClient, RedisStorage } from '../../src/storage/redis.js'
import { has } from '../support/left-out.js'
import { startRedisCluster, type RedisCluster } from '../support/redis-cluster.js'

type Connect = (port: number) => Promise<[NodeRedisClient | IoRedisClient, end: () => unknown]>

/** Each with its own defaults. */
const CLIENTS: [name: string, connect: Connect][] = [
  [
    'redis',
    async (port) => {
      const cluster = createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] })
      cluster.on('error', () => undefined)
      await cluster.connect()
      return [cluster, () => cluster.destroy()]
    },
  ],
  [
    'ioredis',
    (port) => {
      const cluster = new Cluster([{ host: '127.0.0.1', port }])
      cluster.on('error', () => undefined)
      return Promise.resolve([cluster, () => cluster.disconnect()])
    },
  ],
  [
    'iovalkey',
    (port) => {
      const cluster = new ValkeyCluster([{ host: '127.0.0.1', port }])
      cluster.on('error', () => undefined)
      return Promise.resolve([cluster, () => cluster.disconnect()])
    },
  ],
]

/** Keys of all primaries. */
const KEYS = Array.from({ length: 30 }, (_, index) => `v1:${index}`)

describe.runIf(has('Redis'))('RedisStorage over a cluster of three primaries', () => {
  let servers: RedisCluster
  beforeEach(async () => {
    servers = await startRedisCluster()
  })
  afterEach(() => servers.stop())

  it.each(CLIENTS)('goes on with the replica of a primary that is gone, with %s', async (_name, connect) => {
    const [client, end] = await connect(servers.primaries[1]!.port)
    try {
      const storage = new RedisStorage(client)
      const versions = new Map<string, string>()
      for (const key of KEYS) versions.set(key, (await storage.put(key, 'first', null))!)
      expect(await storage.list({ limit: 99 })).toEqual([...KEYS].sort())
      await replicated(servers)

      await servers.primaries[0]!.kill()

      for (const key of KEYS) {
        const version = versions.get(key)!
        const second = await insist(() => storage.put(key, 'second', version))
        expect(await storage.put(key, 'other', version)).toBeNull()
        expect(await storage.get(key)).toEqual({ value: 'second', version: second })
      }
      expect(await storage.list({ limit: 99 })).toEqual([...KEYS].sort())
    } finally {
      await end()
    }
  })
})

/** Repeats a call that rejects, until the cluster has agreed on who takes the place. */
async function insist<T>(call: () => Promise<T>): Promise<T> {
  for (const deadline = Date.now() + 30_000; ;) {
    try {
      return await call()
    } catch (error) {
      if (Date.now() > deadline) throw error
    }
  }
}

/** Waits until the replica has all that its primary has written. Only a client that has written can wait for it. */
async function replicated({ primaries }: RedisCluster): Promise<void> {
  const client = await createClient({ url: primaries[0]!.url }).connect()
  // Its slot is 3300, of the first primary.
  await client.sendCommand(['SET', 'b', ''])
  expect(await client.sendCommand(['WAIT', '1', '30000'])).toBe(1)
  client.destroy()
}
