import { randomBytes } from 'node:crypto'
import { createClient } from 'redis'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { MemoryStorage, type McpAuthEvent } from '../src/index.js'
import { RedisStorage } from '../src/storage/redis.js'
import { setUpConnected } from './support/connected-user.js'
import { ENCRYPTION_KEY } from './support/grant-constants.js'
import { has } from './support/left-out.js'
import { failureOf, turn, until } from './support/promises.js'
import { startRedisServer } from './support/redis-server.js'
import { holdTokenRequests, tokenAnswer } from './support/token-endpoint.js'
import { CLIENT_ID, CLIENT_SECRET } from './support/scripted-authorization-server.js'
import { world, type World } from './support/world.js'

let bed: World
beforeEach(async () => {
  bed = await world({ mode: 'none' })
})
afterEach(() => bed.close())

const CLIENT = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }
const NEXTCLOUD = { url: 'https://cloud.example.com' }
const FORGETS = { put: () => Promise.resolve('version'), delete: () => Promise.resolve(true) }

describe('ready()', () => {
  it('rejects without a token endpoint if the mode asks for tokens there', async () => {
    delete bed.as.metadata['token_endpoint']

    await expect(bed.open({ ...CLIENT, nextcloud: NEXTCLOUD }).ready()).rejects.toMatchObject({
      code: 'ERR_CONFIGURATION',
      option: 'authorizationServer.tokenEndpoint',
    })
    await expect(bed.open({ nextcloud: { ...NEXTCLOUD, mode: 'pass-through' } }).ready()).resolves.toBeUndefined()
  })

  it('rejects if the store answers reads and keeps nothing', async () => {
    const storage = { shared: true, get: () => Promise.resolve(undefined), ...FORGETS }
    const auth = bed.open({ ...CLIENT, nextcloud: NEXTCLOUD, storage, encryptionKey: ENCRYPTION_KEY })

    await expect(auth.ready()).rejects.toMatchObject({ code: 'ERR_STORAGE' })
  })

  it('leaves nothing in the store', async () => {
    const storage = new MemoryStorage()
    await bed.open({ ...CLIENT, nextcloud: NEXTCLOUD, storage, encryptionKey: ENCRYPTION_KEY }).ready()

    expect(await storage.list({ limit: 9 })).toEqual([])
  })
})

describe.runIf(has('Redis'))('ready() at a Redis that answers reads', () => {
  it.each([
    ['READONLY', ['REPLICAOF', '127.0.0.1', '1']],
    ['OOM', ['CONFIG', 'SET', 'maxmemory', '1']],
    ['NOREPLICAS', ['CONFIG', 'SET', 'min-replicas-to-write', '1']],
    ['NOPERM', ['ACL', 'SETUSER', 'default', '-set']],
    ['NOPERM', ['ACL', 'SETUSER', 'default', '-evalsha']],
  ])('rejects before a user comes, and tells the operator why: %s', async (word, command) => {
    const server = await startRedisServer()
    onTestFinished(server.stop)
    const client = await createClient({ url: server.url }).connect()
    onTestFinished(() => client.destroy())
    const storage = new RedisStorage(client)
    const told: unknown[] = []
    const onEvent = (event: McpAuthEvent) => {
      if (event.type === 'storage.failed') told.push(event.message)
    }
    const options = { ...CLIENT, storage, encryptionKey: ENCRYPTION_KEY, onEvent }
    const auth = bed.open({ ...options, nextcloud: NEXTCLOUD })
    await auth.ready()
    await client.sendCommand(command)

    await expect(auth.ready()).rejects.toMatchObject({ code: 'ERR_STORAGE', detail: `The storage failed (${word})` })
    expect(told).toEqual([`The storage failed (${word})`])

    // A store of shared tokens is a cache: without it the instance serves all the same.
    await bed.open({ ...options, nextcloud: { ...NEXTCLOUD, mode: 'token-exchange' } }).ready()
    expect(told).toHaveLength(2)
  })
})

describe('close()', () => {
  it('waits no longer than http.timeout for work under way', async () => {
    const never = vi.fn(() => new Promise<never>(() => undefined))
    const storage = { shared: true, get: never, put: never, delete: never }
    const encryptionKey = randomBytes(32).toString('base64url')
    const auth = bed.open({ ...CLIENT, nextcloud: NEXTCLOUD, storage, encryptionKey, http: { timeout: 50 } })
    const failure = auth.getNextcloudToken({ subject: 'alice' }).catch((error: unknown) => error)
    await vi.waitFor(() => expect(never).toHaveBeenCalled())

    // The clock stands still, so the store has no deadline of its own.
    await auth.close()

    bed.clock.advance(60_000)
    expect(await failure).toMatchObject({ code: 'ERR_STORAGE' })
  })

  it('stores a new refresh token that the store would not take, also if a request takes longer than there is time', async () => {
    const { auth, as, clock, connect, events, failing, refreshTokens, stored } = await setUpConnected(
      {},
      { http: { timeout: 2_000, retries: 0 } },
    )
    await connect('bob')
    as.script('/token', (request, res) => {
      failing.add('put')
      res.writeHead(200, { 'content-type': 'application/json' })
      res.end(JSON.stringify(refreshTokens.process(request.form).json))
    })
    expect(await failureOf(auth.getNextcloudToken({ subject: 'alice' }))).toMatchObject({ code: 'ERR_STORAGE' })
    expect(events.filter(({ type }) => type === 'grant.rotated')).toEqual([])
    failing.clear()
    const held = holdTokenRequests(as)
    const hangs = auth.getNextcloudToken({ subject: 'bob' }).catch((error: unknown) => error)
    await held.arrival()

    await auth.close()

    expect(await stored()).toMatchObject({ state: 'active', accessToken: { token: refreshTokens.accessTokens[0] } })
    expect(events.filter(({ type }) => type === 'grant.rotated')).toEqual([
      expect.objectContaining({ subject: 'alice', issuer: as.issuer }),
    ])
    clock.advance(60_000)
    expect(await hangs).toBeInstanceOf(Error)
  })

  it('waits also for a refresh that begins while it waits', async () => {
    const { auth, as, connect, stored } = await setUpConnected({}, { http: { timeout: 60_000 } })
    await connect('bob')
    await connect('carol')
    const requests = holdTokenRequests(as)
    const order: string[] = []
    const call = (subject: string) => auth.getNextcloudToken({ subject }).then(() => order.push(subject))
    const first = call('alice')
    await requests.arrival()

    const closing = auth.close().then(() => order.push('closed'))
    const second = call('bob')
    requests.answer(tokenAnswer("Alice's", { refresh_token: "Alice's next" }))
    await requests.arrival(2)
    const third = call('carol')
    requests.answer(tokenAnswer("Bob's", { refresh_token: "Bob's next" }))
    await requests.arrival(3)
    await second
    for (let turns = 0; turns < 20; turns += 1) await turn()
    expect(order).toEqual(['alice', 'bob'])
    requests.answer(tokenAnswer("Carol's", { refresh_token: "Carol's next" }))
    await Promise.all([first, second, third, closing])

    expect(order).toEqual(['alice', 'bob', 'carol', 'closed'])
    expect(await stored('carol')).toMatchObject({ state: 'active', refreshToken: "Carol's next" })
  })

  const STATED = {
    code: 'ERR_STORAGE',
    status: 503,
    retryAfter: 1,
    detail: expect.stringContaining('close() was called') as string,
  }

  it('is the end of refreshes: the next token could not be stored any more', async () => {
    const { auth, calls, events, first, open, refreshTokens, stored } = await setUpConnected()
    await auth.close()
    calls.length = 0

    expect(await failureOf(auth.getNextcloudToken({ subject: 'alice' }))).toMatchObject(STATED)

    expect(refreshTokens.presented).toEqual([])
    expect(calls).not.toContain('put')
    // Neither the provider nor the store has failed.
    expect(events.map(({ type }) => type).filter((type) => /unavailable|storage/.test(type))).toEqual([])
    expect(await stored()).toMatchObject({ state: 'active', refreshToken: first })
    expect(await open().getNextcloudToken({ subject: 'alice' })).toBe(refreshTokens.accessTokens[0])
  })

  it('lets no refresh begin in the second half of its time, nor one that waits for something be sent', async () => {
    const { open, connect, storage, refreshTokens, first, stored } = await setUpConnected()
    await connect('bob')
    const put = storage.put.bind(storage)
    let goOn: (() => void) | undefined
    vi.spyOn(storage, 'put').mockImplementationOnce(async (...args) => {
      await new Promise<void>((resolve) => (goOn = resolve))
      return put(...args)
    })
    const auth = open({ http: { timeout: 1_000 } })
    const held = failureOf(auth.getNextcloudToken({ subject: 'alice' }))
    await until(() => goOn !== undefined)

    const from = performance.now()
    const closing = auth.close()
    await until(() => performance.now() - from > 500)
    expect(await failureOf(auth.getNextcloudToken({ subject: 'bob' }))).toMatchObject(STATED)
    goOn?.()
    expect(await held).toMatchObject(STATED)
    await closing

    expect(refreshTokens.presented).toEqual([])
    expect(await stored()).toMatchObject({ state: 'active', refreshToken: first })
  })

  it('waits for a disconnection', async () => {
    const { auth, as, connect } = await setUpConnected()
    as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`
    await connect('bob')
    let answer: (() => void) | undefined
    as.script('/revoke', (_request, res) => void (answer = () => void res.writeHead(200).end()))
    const order: string[] = []
    const revoked = auth.revoke({ subject: 'alice' }).then(({ revoked }) => order.push(String(revoked)))
    await until(() => answer !== undefined)

    const closing = auth.close().then(() => order.push('closed'))
    for (let turns = 0; turns < 20; turns += 1) await turn()
    expect(order).toEqual([])
    answer?.()
    await Promise.all([revoked, closing])

    expect(order).toEqual(['true', 'closed'])
  })
})
