import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createInstanceProcesses, type Instance, type InstanceProcess } from '../support/instances.js'
import { startMariaDbServer } from '../support/mariadb-server.js'
import { startPostgresServer } from '../support/postgres-server.js'
import { startRedisServer } from '../support/redis-server.js'
import { createRealStores, startScene, storeKinds, type Scene } from '../support/scene.js'
import { startTcpGate } from '../support/tcp-gate.js'

/** Milliseconds of an exchanged token. */
const LIFE = 300_000
const CALLERS = 50
const USERS = 200
/** Users at one moment: with more, a busy machine is what fails. */
const AT_ONCE = 25
/** `http.timeout` where it takes no part: a busy machine is no outage. */
const PATIENT = { mode: 'token-exchange', timeout: 60_000 } as const
/** A day, in seconds. */
const DAY = 86_400

const stores = createRealStores()
const processes = createInstanceProcesses()
let four: InstanceProcess[]
beforeAll(async () => {
  await processes.prepare(4)
  four = await Promise.all(Array.from({ length: 4 }, () => processes.start()))
})
afterAll(async () => {
  await processes.end()
  stores.remove()
})

const mintAll = ({ as }: Scene, count: number): Promise<string[]> =>
  Promise.all(
    Array.from({ length: count }, (_, index) =>
      as.mint({ sub: `user-${index}`, exp: Math.floor(Date.now() / 1_000) + DAY }),
    ),
  )

/** The Nextcloud tokens that the authorization server has given, by the MCP token that was exchanged. */
function recordExchanges({ as }: Scene) {
  const given = new Map<string, string[]>()
  let count = 0
  as.script('/token', ({ form }, res) => {
    const mcpToken = form.get('subject_token') ?? form.get('assertion') ?? ''
    const token = `nextcloud-token-${(count += 1)}`
    given.set(mcpToken, [...(given.get(mcpToken) ?? []), token])
    res.writeHead(200, { 'content-type': 'application/json' })
    res.end(JSON.stringify({ access_token: token, token_type: 'Bearer', expires_in: LIFE / 1_000 }))
  })
  return { given, count: () => count }
}

describe.each(storeKinds())('four processes with 50 concurrent callers each for 200 users on one %s', (kind) => {
  it.each(['token-exchange', 'jwt-bearer'] as const)(
    'exchange once for each user and life in %s mode',
    async (mode) => {
      const scene = await startScene({ store: await stores.address(kind) })
      const { given, count } = recordExchanges(scene)
      const instances = await Promise.all(four.map((process) => scene.open(process, { ...PATIENT, mode })))
      const users = await mintAll(scene, USERS)
      for (let lives = 1; lives <= 2; lives += 1) {
        for (let first = 0; first < USERS; first += AT_ONCE) {
          const some = users.slice(first, first + AT_ONCE)
          const outcomes = await Promise.all(instances.map((instance) => instance.exchange(some, CALLERS)))
          const expected = some.map((user) => ({ tokens: given.get(user)?.slice(-1), failures: [] }))
          for (const ofInstance of outcomes)
            expect(ofInstance.map(({ tokens, failures }) => ({ tokens, failures }))).toEqual(expected)
        }
        expect(count()).toBe(lives * USERS)
        await Promise.all(instances.map((instance) => instance.advance(LIFE)))
      }
      await Promise.all(instances.map((instance) => instance.close()))
      await scene.close()
    },
  )
})

const SERVERS = { Redis: startRedisServer, PostgreSQL: startPostgresServer, MariaDB: startMariaDbServer }

describe.each(storeKinds().filter((kind) => kind !== 'SQLite'))('%s that', (kind) => {
  /** Four instances that reach one server through a gate. */
  async function setUp(timeout = 2_000) {
    const server = await SERVERS[kind]()
    const gate = await startTcpGate(server.port)
    const scene = await startScene({
      store: { kind, url: server.url.replace(`:${server.port}`, `:${gate.port}`) },
      ownStore: { kind, url: server.url },
    })
    const exchanges = recordExchanges(scene)
    const instances = await Promise.all(four.map((process) => scene.open(process, { mode: 'token-exchange', timeout })))
    onTestFinished(async () => {
      await Promise.all(instances.map((instance) => instance.close()))
      await scene.close()
      gate.close()
      await server.stop()
    })
    return { server, gate, scene, instances, ...exchanges }
  }

  type Stage = Awaited<ReturnType<typeof setUp>>

  /** Whether every caller gets a living token of its own user, and in what time. */
  async function allServed({ instances, given }: Stage, users: readonly string[], least = 0): Promise<number> {
    const outcomes = await Promise.all(instances.map((instance: Instance) => instance.exchange(users, 5)))
    for (const ofInstance of outcomes) {
      for (const [index, { tokens, failures }] of ofInstance.entries()) {
        expect(failures).toEqual([])
        const own = given.get(users[index] ?? '')?.slice(least) ?? []
        expect(tokens.filter((token) => !own.includes(token))).toEqual([])
      }
    }
    return Math.max(...outcomes.flat().map(({ ms }) => ms))
  }

  const FAULTS: [string, (stage: Stage) => Promise<() => Promise<unknown>>][] = [
    [
      'is stopped',
      async ({ server }) => {
        await server.kill()
        return () => server.restart()
      },
    ],
    [
      'stands still (SIGSTOP)',
      ({ server }) => {
        server.pause()
        return Promise.resolve(() => Promise.resolve(server.resume()))
      },
    ],
    [
      'is slow (3 s)',
      ({ gate }) => {
        gate.slow(3_000)
        return Promise.resolve(() => Promise.resolve(gate.slow(0)))
      },
    ],
  ]
  it.each(FAULTS)('%s fails no call, and is used again afterwards', async (_name, strike) => {
    const stage = await setUp()
    const { scene, instances, count } = stage
    const users = await mintAll(scene, 20)
    await allServed(stage, users)
    expect(count()).toBe(20)

    const heal = await strike(stage)
    const others = (await mintAll(scene, 40)).slice(20)
    // With `http.timeout`, 2 s here, and some for a busy machine.
    expect(await allServed(stage, others)).toBeLessThan(4_000 + 1_500)
    // After all that was exchanged before has ended, too.
    await Promise.all(instances.map((instance) => instance.advance(LIFE)))
    expect(await allServed(stage, users, 1)).toBeLessThan(4_000 + 1_500)
    await heal()

    const before = count()
    await expect
      .poll(
        async () => {
          await Promise.all(instances.map((instance) => instance.advance(LIFE)))
          const start = count()
          await allServed(stage, users)
          return count() - start
        },
        { timeout: 60_000 },
      )
      .toBe(20)
    expect(count()).toBeGreaterThan(before)
  })
})

it.each(storeKinds())(
  'a process that is killed while it exchanges holds up another for 5 s at most, on %s',
  async (kind) => {
    const scene = await startScene({ store: await stores.address(kind) })
    const { count } = recordExchanges(scene)
    const [user = ''] = await mintAll(scene, 1)
    const [killed, other] = [await scene.open(await processes.start(), PATIENT), await scene.open(four[0]!, PATIENT)]
    const pause = await killed.pauseAt({ when: 'before', what: 'request', nth: 1 })
    void killed.exchange([user])
    await pause.reached
    await killed.process.kill()

    const [outcome] = await other.exchange([user], CALLERS)

    expect(outcome).toMatchObject({ tokens: ['nextcloud-token-1'], failures: [] })
    expect(count()).toBe(1)
    expect(outcome!.ms).toBeGreaterThan(3_000)
    // With some for a busy machine.
    expect(outcome!.ms).toBeLessThan(5_000 + 2_000)
    await other.close()
    await scene.close()
  },
)

it.each(storeKinds())(
  'a forced replacement is seen by another process within cache.grantCheck, on %s',
  async (kind) => {
    const scene = await startScene({ store: await stores.address(kind) })
    const { count } = recordExchanges(scene)
    const users = await mintAll(scene, 1)
    const [one, other] = await Promise.all(four.slice(0, 2).map((process) => scene.open(process, PATIENT)))
    const tokensOf = async (instance: Instance | undefined, force = false) =>
      (await instance?.exchange(users, CALLERS, force))?.flatMap(({ tokens }) => tokens)
    expect([await tokensOf(one), await tokensOf(other)]).toEqual([['nextcloud-token-1'], ['nextcloud-token-1']])
    expect(await tokensOf(one, true)).toEqual(['nextcloud-token-2'])
    await other?.advance(10_000)
    expect(await tokensOf(other)).toEqual(['nextcloud-token-2'])
    expect(count()).toBe(2)
    await Promise.all([one?.close(), other?.close()])
    await scene.close()
  },
)

it.each(storeKinds())(
  'a store that gives the records of two users for each other serves neither, on %s',
  async (kind) => {
    const scene = await startScene({ store: await stores.address(kind) })
    const { given, count } = recordExchanges(scene)
    const users = await mintAll(scene, 2)
    const [one, other] = await Promise.all(four.slice(0, 2).map((process) => scene.open(process, PATIENT)))
    const keys = async (): Promise<readonly string[]> => (await scene.adapter.list?.({ limit: 100_000 })) ?? []
    // What an earlier test has left under way is written first.
    let length = -1
    const isStill = async () => length === (length = (await keys()).length)
    await expect.poll(isStill, { interval: 1_000, timeout: 30_000 }).toBe(true)
    const before = new Set(await keys())
    await one?.exchange(users)
    const fresh = async () => (await keys()).filter((key) => !before.has(key))
    // Each turn is given back.
    await expect.poll(async () => (await fresh()).length, { timeout: 10_000 }).toBe(2)
    const found = await Promise.all((await fresh()).map(async (key) => ({ key, entry: await scene.adapter.get(key) })))
    for (const [index, { key, entry }] of found.entries())
      await scene.adapter.put(key, found[1 - index]!.entry!.value, entry!.version)

    const outcomes = await other?.exchange(users)

    expect(outcomes).toMatchObject(users.map((user) => ({ tokens: given.get(user)?.slice(-1), failures: [] })))
    expect(count()).toBe(4)
    await Promise.all([one?.close(), other?.close()])
    await scene.close()
  },
)
