import type { EventEmitter } from 'node:events'
import { Cluster, Redis } from 'ioredis'
import { Cluster as ValkeyCluster, Redis as Valkey } from 'iovalkey'
import { randomUUID } from 'node:crypto'
import { createClient, createClientPool, createCluster, createSentinel } from 'redis'
import { afterAll, assert, beforeAll, describe, expect, it, vi } from 'vitest'
import { ConfigurationError } from '../../src/errors/errors.js'
import { type IoRedisClient, type NodeRedisClient, RedisStorage } from '../../src/storage/redis.js'
import { storageContract } from '../../src/testing/storage-contract.js'
import { has } from '../support/left-out.js'
import { startRedisMember } from '../support/redis-cluster.js'
import { startRedisSentinel, type RedisSentinel } from '../support/redis-sentinel.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { sharedRedis } from '../support/shared-servers.js'

interface Connected {
  readonly client: NodeRedisClient | IoRedisClient
  /** Says something to the server, apart from the adapter. */
  readonly send: (...command: string[]) => Promise<unknown>
  readonly end: () => unknown
}

/** Without a queue for what is asked while there is no connection, so that it is refused at once. */
async function connectRedis(url: string, RESP: 2 | 3): Promise<Connected> {
  const client = createClient({ url, RESP, disableOfflineQueue: true, socket: { reconnectStrategy: 20 } })
  client.on('error', () => undefined)
  await client.connect()
  return { client, send: (...command) => client.sendCommand(command), end: () => client.destroy() }
}

async function connectIoRedis(url: string, Client = Redis): Promise<Connected> {
  const client = new Client(url, { enableOfflineQueue: false, lazyConnect: true, retryStrategy: () => 20 })
  client.on('error', () => undefined)
  await client.connect()
  return { client, send: (name = '', ...args) => client.call(name, ...args), end: () => client.disconnect() }
}

const packages: [name: string, connect: (url: string) => Promise<Connected>][] = [
  ['redis', (url) => connectRedis(url, 3)],
  ['redis with RESP 2', (url) => connectRedis(url, 2)],
  ['ioredis', (url) => connectIoRedis(url)],
  ['iovalkey', (url) => connectIoRedis(url, Valkey as unknown as typeof Redis)],
]

if (has('Redis')) {
  describe.each(packages)('RedisStorage over %s', (_name, connect) => {
    let redis: Connected
    beforeAll(async () => {
      redis = await connect(await sharedRedis())
    })
    afterAll(() => redis.end())
    /** A server of its own, for what would disturb the others. */
    const withServer = async (body: (server: RedisServer, own: Connected) => Promise<void>, args: string[] = []) => {
      const server = await startRedisServer(args)
      const own = await connect(server.url)
      try {
        await body(server, own)
      } finally {
        await own.end()
        await server.stop()
      }
    }
    const warnings = () => {
      const emitWarning = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
      return { calls: emitWarning.mock.calls, [Symbol.dispose]: () => emitWarning.mockRestore() }
    }

    storageContract({ describe, it, assert }, () => new RedisStorage(redis.client), {
      unavailable: {
        async 'is over a connection that was closed'() {
          const gone = await connect(await sharedRedis())
          await gone.end()
          return new RedisStorage(gone.client)
        },
        async 'permits nothing'() {
          const user = `nobody-${randomUUID()}`
          await redis.send('ACL', 'SETUSER', user, 'on', 'nopass', '-@all', '+@connection', '+info')
          const nobody = await connect((await sharedRedis()).replace('//', `//${user}:any@`))
          return Object.assign(new RedisStorage(nobody.client), {
            close: () => Promise.resolve(nobody.end()).then(() => undefined),
          })
        },
      },
    })

    it('keeps an entry as one key with the prefix, apart from other prefixes, and its expiry on the server', async () => {
      const key = randomUUID()
      const version = (await new RedisStorage(redis.client).put(key, 'value', null, 60_000))!
      expect(await redis.send('GET', `mcp-nextcloud-auth:${key}`)).toBe(`${version}value`)
      const left = Number(await redis.send('PTTL', `mcp-nextcloud-auth:${key}`))
      expect(left).toBeGreaterThan(50_000)
      expect(left).toBeLessThanOrEqual(60_000)

      const one = new RedisStorage(redis.client, { prefix: 'one:' })
      expect(await one.get(key)).toBeUndefined()
      const another = await one.put(key, 'another', null)
      expect(await redis.send('GET', `one:${key}`)).toBe(`${another}another`)
    })

    it('lists its own keys only, whatever its prefix is', async () => {
      const prefix = `a*b?[c]^d-\\${randomUUID()}:`
      const storage = new RedisStorage(redis.client, { prefix })
      await redis.send('SET', `aXbYc^d-\\${prefix.slice(-37)}v1:not`, 'not ours')
      for (const key of ['v1:b', 'v1:a', 'v1:c']) await storage.put(key, 'value', null)
      expect(await storage.list({ limit: 2 })).toEqual(['v1:a', 'v1:b'])
      expect(await storage.list({ after: 'v1:b', limit: 2 })).toEqual(['v1:c'])
    })

    it('lists the smallest of more keys than Redis gives in one round', async () => {
      const storage = new RedisStorage(redis.client, { prefix: `${randomUUID()}:` })
      const keys = Array.from({ length: 5_000 }, (_, index) => `v1:${String(index).padStart(5, '0')}`)
      await Promise.all([...keys].reverse().map((key) => storage.put(key, '', null, 60_000)))
      expect(await storage.list({ limit: 3 })).toEqual(keys.slice(0, 3))
      expect(await storage.list({ after: keys[2_499], limit: 2_000 })).toEqual(keys.slice(2_500, 4_500))
    })

    it('sends a script whole when the server has forgotten it', async () => {
      await withServer(async (_server, own) => {
        const storage = new RedisStorage(own.client)
        const version = (await storage.put('key', 'value', null))!
        await own.send('SCRIPT', 'FLUSH')
        expect(await storage.get('key')).toEqual({ value: 'value', version })
        await own.send('SCRIPT', 'FLUSH')
        const second = (await storage.put('key', 'second', version))!
        await own.send('SCRIPT', 'FLUSH')
        expect(await storage.delete('key', second)).toBe(true)
      })
    })

    it('knows its own write again when a client sends it twice', async () => {
      const { client } = redis
      // As a client does that lost the connection before the reply.
      const sendsTwice =
        (method: string) =>
        async (...args: unknown[]) => {
          const send = (client as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[method]!
          await send.apply(client, args)
          return send.apply(client, args)
        }
      const names = 'evalSha' in client ? ['evalSha', 'eval'] : ['evalsha', 'eval']
      const twice = Object.fromEntries(names.map((name) => [name, sendsTwice(name)])) as unknown as NodeRedisClient
      const key = randomUUID()
      const version = await new RedisStorage(twice).put(key, 'value', null)
      expect(await new RedisStorage(client).get(key)).toEqual({ value: 'value', version })
    })

    it('rejects what another program stored under its key', async () => {
      const [text, list] = [randomUUID(), randomUUID()]
      await redis.send('SET', `mcp-nextcloud-auth:${text}`, 'a text of another program, longer than a version')
      await redis.send('RPUSH', `mcp-nextcloud-auth:${list}`, 'a')
      const storage = new RedisStorage(redis.client)
      await expect(storage.get(text)).rejects.toThrow('not of this adapter')
      await expect(storage.get(list)).rejects.toThrow('WRONGTYPE')
      await expect(storage.put(list, 'value', null)).rejects.toThrow('WRONGTYPE')
      await expect(storage.delete(list, randomUUID())).rejects.toThrow('WRONGTYPE')
      expect(await storage.put(text, 'value', null)).toBeNull()
    })

    it('rejects while the server is down, and works again with what was written before', async () => {
      await withServer(async (server, own) => {
        const storage = new RedisStorage(own.client)
        const version = (await storage.put('key', 'value', null))!
        await server.kill()
        await expect(storage.get('key')).rejects.toThrow()
        await expect(storage.put('key', 'other', version)).rejects.toThrow()
        await expect(storage.delete('key', version)).rejects.toThrow()
        await server.restart()
        await vi.waitFor(async () => expect(await storage.get('key')).toEqual({ value: 'value', version }), {
          timeout: 20_000,
        })
      })
    })

    it('rejects a write when the memory is full, and on a replica', async () => {
      await withServer(async (_server, own) => {
        const storage = new RedisStorage(own.client)
        const version = (await storage.put('key', 'value', null))!
        await own.send('CONFIG', 'SET', 'maxmemory', '1')
        await expect(storage.put('key', 'x'.repeat(1_000), version)).rejects.toThrow('OOM')
        await own.send('CONFIG', 'SET', 'maxmemory', '0')
        await own.send('REPLICAOF', '127.0.0.1', '1')
        await expect(storage.put('key', 'value', version)).rejects.toThrow('READONLY')
        await expect(storage.delete('key', version)).rejects.toThrow('READONLY')
      })
    })

    it('warns once when Redis may evict grants', async () => {
      await withServer(
        async (_server, own) => {
          using warned = warnings()
          const storage = new RedisStorage(own.client)
          expect(warned.calls).toEqual([])
          await storage.get('key')
          await storage.get('key')
          await vi.waitFor(() => expect(warned.calls).toHaveLength(1))
          await storage.get('key')
          // Behind whatever the adapter may have asked.
          await own.send('PING')
          expect(warned.calls).toEqual([
            [
              'Redis has maxmemory-policy allkeys-lru and may evict grants, which are then lost: set it to noeviction',
              { type: 'McpAuthWarning', code: 'ERR_REDIS_EVICTION' },
            ],
          ])
        },
        ['--maxmemory-policy', 'allkeys-lru'],
      )
    })

    it('warns once of a client without an error listener, if that ends the process', async () => {
      using warned = warnings()
      const { client, end } = await connect(await sharedRedis())
      ;(client as unknown as EventEmitter).removeAllListeners('error')
      const storage = new RedisStorage(client)
      await storage.get('key')
      await storage.get('key')
      const message =
        "The client given to RedisStorage has no listener for 'error', so that this process ends when a connection breaks: give it one with on('error', …)"
      const warning = [message, { type: 'McpAuthWarning', code: 'ERR_STORAGE_LISTENER' }]
      expect(warned.calls).toEqual('evalSha' in client ? [warning] : [])
      await end()
    })

    it('warns of nothing when Redis evicts nothing, or does not tell', async () => {
      await withServer(async (server, own) => {
        using warned = warnings()
        await new RedisStorage(own.client).get('key')
        await own.send('ACL', 'SETUSER', 'limited', 'on', '>secret', '~*', '+@all', '-config')
        const limited = await connect(server.url.replace('//', '//limited:secret@'))
        expect(await new RedisStorage(limited.client).put('key', 'value', null)).toEqual(expect.any(String))
        await limited.send('PING')
        await own.send('PING')
        await limited.end()
        expect(warned.calls).toEqual([])
      })
    })
  })

  describe('RedisStorage over a cluster', () => {
    let server: RedisServer
    beforeAll(async () => {
      server = (await startRedisMember()).server
      const client = createClient({ url: server.url })
      await client.connect()
      await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', '0', '16383'])
      const isUp = async () => expect(await client.sendCommand(['CLUSTER', 'INFO'])).toContain('cluster_state:ok')
      await vi.waitFor(isUp, { timeout: 30_000 })
      client.destroy()
    })
    afterAll(() => server.stop())

    it.each<[name: string, connect: () => Promise<[NodeRedisClient | IoRedisClient, end: () => unknown]>]>([
      [
        'redis',
        async () => {
          const cluster = createCluster({ rootNodes: [{ url: server.url }] })
          await cluster.connect()
          return [cluster, () => cluster.destroy()]
        },
      ],
      [
        'ioredis',
        () => {
          const cluster = new Cluster([{ host: '127.0.0.1', port: server.port }])
          return Promise.resolve([cluster, () => cluster.disconnect()])
        },
      ],
      [
        'iovalkey',
        () => {
          const cluster = new ValkeyCluster([{ host: '127.0.0.1', port: server.port }])
          return Promise.resolve([cluster, () => cluster.disconnect()])
        },
      ],
    ])('works with %s', async (_name, connect) => {
      const [cluster, end] = await connect()
      const storage = new RedisStorage(cluster)
      await writesAndReads(storage)
      for (const key of ['v1:c', 'v1:a', 'v1:b']) await storage.put(key, 'value', null, 60_000)
      expect(await storage.list({ limit: 10 })).toEqual(['v1:a', 'v1:b', 'v1:c'])
      for (const key of ['v1:c', 'v1:a', 'v1:b']) await storage.delete(key, (await storage.get(key))!.version)
      await end()
    })
  })

  describe.each<
    [name: string, connect: (of: RedisSentinel) => Promise<[NodeRedisClient | IoRedisClient, end: () => unknown]>]
  >([
    [
      'redis',
      async ({ name, port }) => {
        const sentinelRootNodes = [{ host: '127.0.0.1', port }]
        const client = createSentinel({ name, sentinelRootNodes, replicaPoolSize: 1, scanInterval: 200 })
        client.on('error', () => undefined)
        await client.connect()
        return [client, () => client.destroy()]
      },
    ],
    [
      'ioredis',
      ({ name, port }) => {
        const client = new Redis({ name, sentinels: [{ host: '127.0.0.1', port }], sentinelRetryStrategy: () => 50 })
        client.on('error', () => undefined)
        return Promise.resolve([client, () => client.disconnect()])
      },
    ],
    [
      'iovalkey',
      ({ name, port }) => {
        const client = new Valkey({ name, sentinels: [{ host: '127.0.0.1', port }], sentinelRetryStrategy: () => 50 })
        client.on('error', () => undefined)
        return Promise.resolve([client, () => client.disconnect()])
      },
    ],
  ])('RedisStorage over Sentinel with %s', (_name, connect) => {
    it('works, lists, and goes on with the replica when the primary is gone', async () => {
      const sentinel = await startRedisSentinel()
      const [client, end] = await connect(sentinel)
      try {
        const storage = new RedisStorage(client, { prefix: 'own:' })
        await writesAndReads(storage)
        const kept = (await storage.put('v1:kept', 'value', null))!
        expect(await storage.list({ limit: 9 })).toEqual(['v1:kept'])
        await sentinel.primary.kill()
        const deadline = Date.now() + 30_000
        let second: string | null = null
        while (second === null && Date.now() < deadline)
          second = await storage.put('v1:kept', 'second', kept).catch(() => null)
        expect(await storage.get('v1:kept')).toEqual({ value: 'second', version: second })
      } finally {
        await end()
        await sentinel.stop()
      }
    })
  })

  it('RedisStorage lists the keys of every primary of a cluster, each once', async () => {
    const prefix = `${randomUUID()}:`
    // Two primaries, as a cluster has them, and a key that has just moved from one to the other.
    const scanning = (keys: string[]) => ({
      scan: () => Promise.resolve(['0', keys.map((key) => prefix + key)]),
    })
    const evalsha = () => Promise.resolve(null)
    const cluster = { evalsha, eval: evalsha, nodes: () => [scanning(['v1:c', 'v1:a']), scanning(['v1:b', 'v1:a'])] }
    expect(await new RedisStorage(cluster, { prefix }).list({ limit: 9 })).toEqual(['v1:a', 'v1:b', 'v1:c'])
  })

  it.each([
    ['a client', (url: string, keyPrefix: string) => createClient({ url, keyPrefix })],
    ['a pool', (url: string, keyPrefix: string) => createClientPool({ url, keyPrefix })],
  ])('RedisStorage lists with the keyPrefix of redis: %s', async (_name, make) => {
    const client = make(await sharedRedis(), `${randomUUID()}:`)
    await client.connect()
    const storage = new RedisStorage(client)
    await storage.put('v1:a', 'value', null)
    expect(await storage.list({ limit: 9 })).toEqual(['v1:a'])
    client.destroy()
  })

  it('RedisStorage lists with the keyPrefix of ioredis', async () => {
    const client = new Redis(await sharedRedis(), { keyPrefix: `${randomUUID()}:` })
    const storage = new RedisStorage(client)
    await storage.put('v1:a', 'value', null)
    expect(await storage.list({ limit: 9 })).toEqual(['v1:a'])
    client.disconnect()
  })

  it('RedisStorage works with a pool of redis', async () => {
    const pool = createClientPool({ url: await sharedRedis() })
    await pool.connect()
    await writesAndReads(new RedisStorage(pool, { prefix: `${randomUUID()}:` }))
    await pool.close()
  })
}

async function writesAndReads(storage: RedisStorage): Promise<void> {
  for (let index = 0; index < 20; index += 1) {
    const key = `v1:${index}`
    const version = (await storage.put(key, `value ${index}`, null))!
    expect(await storage.get(key)).toEqual({ value: `value ${index}`, version })
    expect(await storage.put(key, 'other', null)).toBeNull()
    expect(await storage.delete(key, version)).toBe(true)
  }
}

describe('RedisStorage', () => {
  const answering = (reply: unknown): NodeRedisClient => ({
    eval: () => Promise.resolve(reply),
    evalSha: () => Promise.resolve(reply),
  })

  it.each([undefined, 0, 1, '', 'OK', [], {}, true, null])(
    'takes the reply %o for a failure and not for a miss, unless a read finds null',
    async (reply) => {
      const storage = new RedisStorage(answering(reply))
      if (reply !== null) await expect(storage.get('key')).rejects.toThrow('not of this adapter')
      await expect(storage.put('key', 'value', null)).rejects.toThrow('not of this adapter')
      await expect(storage.delete('key', randomUUID())).rejects.toThrow('not of this adapter')
    },
  )

  it.each([{}, { nodes: () => [{}] }, { masters: [{}], nodeClient: () => ({}) }])(
    'says what it needs to list keys, of a client that cannot: %o',
    async (more) => {
      const storage = new RedisStorage({ ...answering('changed'), ...more })
      await expect(storage.list({ limit: 1 })).rejects.toThrow(ConfigurationError)
    },
  )

  it('refuses a client over HTTP, which has the same commands with other arguments, and says what to use', () => {
    const evaluate = () => Promise.resolve(null)
    const upstash = { eval: evaluate, evalsha: evaluate, set: evaluate, scan: evaluate }
    expect(() => new RedisStorage(upstash as never)).toThrow(ConfigurationError)
    expect(() => new RedisStorage(upstash as never)).toThrow(/over HTTP.*redis or ioredis.*rediss:\/\//)
  })

  it('passes on any error except that a script is not known', async () => {
    const evaluate = vi.fn(() => Promise.resolve(null))
    const storage = new RedisStorage({ eval: evaluate, evalSha: () => Promise.reject(new Error('READONLY')) })
    await expect(storage.get('key')).rejects.toThrow('READONLY')
    expect(evaluate).not.toHaveBeenCalled()
  })
})
