import { describe, expect, it, onTestFinished } from 'vitest'
import type { McpAuthHealth, StorageAdapter } from '../src/index.js'
import { ENCRYPTION_KEY } from './support/grant-constants.js'
import { failureOf, turn } from './support/promises.js'
import { twoIssuers } from './support/two-issuers.js'
import { world } from './support/world.js'

const WELL = { ok: true }
const ILL = { ok: false }

describe('health()', () => {
  it('looks once where nothing is known, however many ask at once', async () => {
    const { auth, as, clock, exchanges } = await world({ nextcloud: true })

    const answers = await Promise.all(Array.from({ length: 100 }, () => auth.health()))

    const lastAnswerAt = clock.now()
    for (const answer of answers) {
      expect(answer).toStrictEqual({
        ok: true,
        keys: { ageSeconds: 0, ok: true },
        authorizationServer: { lastAnswerAt, ok: true },
        storage: undefined,
        nextcloud: { lastAnswerAt, ok: true },
      })
    }
    expect(as.received('/jwks')).toHaveLength(1)
    expect(exchanges()).toBe(0)
  })

  it('asks nobody as long as the last requests were answered', async () => {
    const { auth, as, clock, fetch, nextcloud } = await world({ nextcloud: true })
    await fetch('/ocs/v2.php/cloud/user')
    const asked = [as.received().length, nextcloud.received.length]
    const lastAnswerAt = clock.now()
    clock.advance(100_500)

    expect(await auth.health()).toMatchObject({
      ok: true,
      keys: { ageSeconds: 100 },
      authorizationServer: { lastAnswerAt },
      nextcloud: { lastAnswerAt },
    })
    expect([as.received().length, nextcloud.received.length]).toEqual(asked)
  })

  it('has nothing of a Nextcloud or a storage where there is none, and no text at all', async () => {
    const { auth } = await world({ mode: 'none' })

    const health = await auth.health()

    expect(health).toMatchObject({ ok: true, storage: undefined, nextcloud: undefined })
    const parts = Object.values(health).flatMap((part: unknown): unknown[] =>
      typeof part === 'object' ? Object.values({ ...part }) : [part],
    )
    expect(new Set(parts.map((part) => typeof part))).toEqual(new Set(['boolean', 'number', 'undefined']))
  })

  it('tells of an outage, looks once a second, and tells of its end', async () => {
    const { auth, as, clock } = await world({ mode: 'none', options: { http: { retries: 0 } } })
    await as.stop()

    expect(await auth.health()).toMatchObject({ ok: false, keys: ILL, authorizationServer: ILL })
    await as.restart()
    clock.advance(999)
    expect(await auth.health()).toMatchObject({
      ok: false,
      authorizationServer: { lastAnswerAt: undefined, ok: false },
    })
    expect(as.received()).toHaveLength(0)
    clock.advance(1)
    expect(await auth.health()).toMatchObject({ ok: true, keys: { ageSeconds: 0 }, authorizationServer: WELL })
  })

  it('finds that a server is back also while requests still wait for the end of a cool-down', async () => {
    const { auth, as, clock } = await world({ mode: 'none', options: { http: { retries: 0 } } })
    await as.stop()
    for (let looks = 0; looks < 6; looks += 1) {
      expect(await auth.health()).toMatchObject(ILL)
      clock.advance(1_000)
    }
    await as.restart()

    expect(await auth.health()).toMatchObject(WELL)
    await auth.verify(await as.mint())
  })

  it('tells when the keys are too old to be used', async () => {
    const { auth, as, clock } = await world({ mode: 'none', options: { cache: { keysMaxAge: 60, staleKeys: 120 } } })
    await auth.verify(await as.mint())
    as.script('/jwks', { status: 500 })
    clock.advance(180_000)

    expect(await auth.health()).toMatchObject({ ok: true, keys: { ageSeconds: 180, ok: true } })
    clock.advance(1_000)
    expect(await auth.health()).toMatchObject({ ok: false, keys: { ageSeconds: 181, ok: false } })
  })

  it('fetches the keys of an instance that nobody has asked for long', async () => {
    const { auth, as, clock } = await world({ mode: 'none' })
    await auth.verify(await as.mint())
    clock.advance(86_400_000)

    expect(await auth.health()).toMatchObject({ ok: true, keys: { ageSeconds: 0, ok: true } })
  })

  it('takes no token for an outage that a stranger has sent', async () => {
    const { auth, as } = await world({ mode: 'none', options: { clientId: 'a', clientSecret: 'b' } })
    await auth.verify(await as.mint())
    as.script('/introspect', { status: 500 })
    await failureOf(auth.verify('a-token-that-breaks-the-server'))

    expect(await auth.health()).toMatchObject({ ok: true, authorizationServer: WELL })
  })

  it('needs no keys where every token is introspected, and asks there', async () => {
    const { auth, as, clock } = await world({
      mode: 'none',
      options: { clientId: 'a', clientSecret: 'b', introspection: 'always', http: { retries: 0 } },
    })

    expect(await auth.health()).toMatchObject({ ok: true, keys: { ageSeconds: undefined, ok: true } })
    expect(as.received('/introspect')).toHaveLength(1)
    expect(as.received('/jwks')).toHaveLength(0)

    as.script('/introspect', { status: 503 })
    await failureOf(auth.verify('an-opaque-token'))
    clock.advance(1_000)
    expect(await auth.health()).toMatchObject({ ok: false, keys: WELL, authorizationServer: ILL })
  })

  it('takes the worst of several issuers, and keys that one of them has', async () => {
    const { a, b, clock, open } = await twoIssuers()
    const auth = open({ http: { retries: 0 } })
    await auth.verify(await a.mint())
    const first = clock.now()
    clock.advance(5_000)
    expect(await auth.health()).toMatchObject({
      ok: true,
      keys: { ageSeconds: 5 },
      authorizationServer: { lastAnswerAt: first },
    })

    await b.stop()
    clock.advance(86_400_000)
    expect(await auth.health()).toMatchObject({ ok: false, keys: WELL, authorizationServer: ILL })
    await auth.verify(await a.mint())

    await a.stop()
    clock.advance(86_400_000)
    expect(await auth.health()).toMatchObject({ ok: false, keys: ILL, authorizationServer: ILL })
  })

  it('never waits longer than http.timeout', async () => {
    const hangs = (): Promise<never> => new Promise(() => undefined)
    const { auth } = await world({
      mode: 'refresh-token',
      storage: { shared: true, get: hangs, put: hangs, delete: hangs },
      options: { http: { timeout: 50, fetch: hangs } },
    })

    // The clock stands still, so that the store has no deadline of its own.
    expect(await auth.health()).toMatchObject({
      ok: false,
      keys: ILL,
      authorizationServer: ILL,
      storage: ILL,
      nextcloud: ILL,
    })
  })

  it('begins no second look while one is under way', async () => {
    let asked = 0
    const hangs = (): Promise<never> => {
      asked += 1
      return new Promise(() => undefined)
    }
    const storage = { shared: true, get: hangs, put: hangs, delete: hangs }
    const { auth, clock } = await world({ mode: 'refresh-token', storage, options: { http: { timeout: 200 } } })
    const first = auth.health()
    clock.advance(1_000)

    expect([await auth.health(), await first]).toMatchObject([ILL, ILL])
    expect(asked).toBe(1)
  })

  it.each([
    ['rejects', () => Promise.reject(new Error('canary'))],
    ['throws', () => expect.fail('canary')],
    ['answers nonsense', () => Promise.resolve('canary' as never)],
  ])('tells of a storage that %s, and of its end', async (_how, broken) => {
    let get: StorageAdapter['get'] = broken
    const never = () => expect.fail('health() writes nothing')
    const storage = { shared: true, get: (key: string) => get(key), put: never, delete: never }
    const { auth, clock } = await world({ mode: 'refresh-token', storage, nextcloud: true })

    expect(await auth.health()).toMatchObject({ ok: false, storage: ILL, authorizationServer: WELL })
    get = () => Promise.resolve(undefined)
    clock.advance(1_000)
    expect(await auth.health()).toMatchObject({ ok: true, storage: WELL })
  })

  it('hears of a storage that fails between two looks', async () => {
    let fails = false
    const get = () => (fails ? Promise.reject(new Error('canary')) : Promise.resolve(undefined))
    const storage = { shared: true, get, put: () => Promise.resolve('1'), delete: () => Promise.resolve(true) }
    const { auth, connect } = await world({ mode: 'refresh-token', storage, nextcloud: true })
    expect(await auth.health()).toMatchObject({ ok: true, storage: WELL })
    await connect().catch(() => undefined)
    fails = true
    await failureOf(auth.isProvisioned({ subject: 'alice' }))

    expect(await auth.health()).toMatchObject({ ok: false, storage: ILL })
  })

  it('is well without a storage that exchanged tokens alone are in, and says that it fails', async () => {
    const get = () => Promise.reject(new Error('canary'))
    const storage = { shared: true, get, put: get, delete: get }
    const { auth } = await world({ nextcloud: true, options: { storage, encryptionKey: ENCRYPTION_KEY } })

    expect(await auth.health()).toMatchObject({ ok: true, storage: ILL })
  })

  it('looks at a storage that is used for DPoP proofs alone', async () => {
    const get = () => Promise.reject(new Error('canary'))
    const storage = { shared: true, get, put: get, delete: get }
    const { auth } = await world({ mode: 'none', options: { dpop: 'allowed', storage, encryptionKey: ENCRYPTION_KEY } })

    expect(await auth.health()).toMatchObject({ ok: false, storage: ILL })
  })

  it.each([
    ['maintenance', { installed: true, maintenance: true, needsDbUpgrade: false }],
    ['an upgrade that is due', { installed: true, maintenance: false, needsDbUpgrade: true }],
    ['no installation', { installed: false }],
  ])('tells of %s at Nextcloud', async (_why, status) => {
    const { auth, clock, nextcloud } = await world({ nextcloud: true })
    nextcloud.handle((_request, res) => void res.writeHead(200).end(JSON.stringify(status)))

    expect(await auth.health()).toMatchObject({ ok: false, nextcloud: { lastAnswerAt: clock.now(), ok: false } })
  })

  it('asks Nextcloud itself after a request that it could not answer', async () => {
    const { auth, fetch, nextcloud, clock } = await world({ nextcloud: true })
    let status = 200
    nextcloud.handle(({ path }, res) => void res.writeHead(path === '/status.php' ? status : 503).end('{}'))
    await fetch('/remote.php/dav/')

    expect(await auth.health()).toMatchObject({ ok: true, nextcloud: WELL })
    status = 400
    await fetch('/remote.php/dav/')
    clock.advance(1_000)
    expect(await auth.health()).toMatchObject({ ok: false, nextcloud: ILL })
    expect(nextcloud.received.at(-1)).toMatchObject({ path: '/status.php', headers: { accept: 'application/json' } })
    expect(nextcloud.received.at(-1)?.headers.authorization).toBeUndefined()
  })

  it('does not hold it against Nextcloud when a caller stops waiting', async () => {
    const { auth, fetch, nextcloud } = await world({ nextcloud: true })
    await fetch('/')
    const asked = nextcloud.received.length
    const controller = new AbortController()
    nextcloud.handle(() => controller.abort())
    await failureOf(fetch('/', { signal: controller.signal }))
    for (let turns = 0; turns < 5; turns += 1) await turn()

    expect(await auth.health()).toMatchObject({ ok: true, nextcloud: WELL })
    expect(nextcloud.received).toHaveLength(asked + 1)
  })

  it('is not well from close() on, and asks nobody any more', async () => {
    const { auth, as } = await world({ mode: 'none' })
    onTestFinished(() => auth.close())
    const closing = auth.close()

    const health: McpAuthHealth = await auth.health()

    expect(health).toMatchObject({ ok: false, keys: ILL })
    await closing
    expect(as.received()).toHaveLength(0)
  })
})
