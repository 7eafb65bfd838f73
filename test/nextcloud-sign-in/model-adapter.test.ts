import { randomBytes } from 'node:crypto'
import { errors, type Adapter } from 'oidc-provider'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import type { StorageAdapter } from '../../src/index.js'
import { createModelAdapters, dropClient, endSession, keepClient } from '../../src/nextcloud-sign-in/model-adapter.js'
import { refreshTokenOf } from '../../src/nextcloud-sign-in/refresh-tokens.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { modelRooms } from '../support/model-rooms.js'
import { createRealStores, storeKinds } from '../support/scene.js'
import { openStore, type OpenStore } from '../support/stores.js'

const stores = createRealStores()
afterAll(() => stores.remove())

const freshId = (): string => randomBytes(16).toString('hex')
const inSeconds = (clock: ManualClock): number => Math.floor(clock.now() / 1_000)

/** Two instances on one store. */
function instancesOn(storage: StorageAdapter, clock: ManualClock) {
  const owner = { clientId: 'client', resource: freshId(), nextcloud: 'https://cloud.example.com/' }
  const open = () => {
    const rooms = modelRooms(storage, clock, { owner })
    return {
      of: createModelAdapters(rooms),
      keepClient: (id: string) => keepClient(rooms, id, 'alice'),
      dropUnused: (id: string) => dropClient(rooms, id, []),
      endSession: (uid: string) => endSession(rooms, uid),
    }
  }
  return [open(), open()] as const
}

describe.each(['memory', ...storeKinds()] as const)('the models of oidc-provider in %s', (kind) => {
  const clock = manualClock()
  let store: OpenStore
  beforeAll(async () => {
    store =
      kind === 'memory'
        ? { adapter: new MemoryStorage({}, clock), close: () => Promise.resolve() }
        : await openStore(await stores.address(kind))
  })
  afterAll(() => store.close())

  function models(model: string): { readonly here: Adapter; readonly there: Adapter; readonly grants: Adapter } {
    const [one, two] = instancesOn(store.adapter, clock)
    return { here: one.of(model), there: two.of(model), grants: one.of('Grant') }
  }

  it('are found by any instance as they were written, replaced, and gone once destroyed', async () => {
    const { here, there } = models('Grant')
    const id = freshId()

    expect(await here.find(id)).toBeUndefined()
    await here.upsert(id, { accountId: 'alice', openid: { scope: 'openid' } }, 60)
    expect(await there.find(id)).toEqual({ accountId: 'alice', openid: { scope: 'openid' } })
    await there.upsert(id, { accountId: 'bob' }, 60)
    expect(await here.find(id)).toEqual({ accountId: 'bob' })
    await there.destroy(id)
    expect(await here.find(id)).toBeUndefined()
    await here.destroy(id)
  })

  it('of one kind are not those of another', async () => {
    const [{ of }] = instancesOn(store.adapter, clock)
    const id = freshId()
    await of('Session').upsert(id, { uid: freshId(), accountId: 'alice' }, 60)

    expect(await of('Interaction').find(id)).toBeUndefined()
  })

  it('are found by the uid of a session', async () => {
    const { here, there } = models('Session')
    const [id, uid] = [freshId(), freshId()]
    await here.upsert(id, { uid, accountId: 'alice' }, 60)

    expect(await there.findByUid(uid)).toEqual({ uid, accountId: 'alice' })
    await here.destroy(id)
    expect(await there.findByUid(uid)).toBeUndefined()
  })

  it('are sessions that end under all their ids, and are not written any more', async () => {
    const [one, two] = instancesOn(store.adapter, clock)
    const [here, there] = [one.of('Session'), two.of('Session')]
    const [first, last, uid] = [freshId(), freshId(), freshId()]
    await here.upsert(first, { uid, accountId: 'alice' }, 60)
    await there.upsert(last, { uid, accountId: 'alice' }, 60)
    expect(await there.find(first)).toEqual({ uid, accountId: 'alice' })

    await two.endSession(uid)
    await here.upsert(last, { uid, accountId: 'alice' }, 60)

    expect(await Promise.all([here.find(first), here.find(last), here.findByUid(uid)])).toEqual(
      Array(3).fill(undefined),
    )
    // Another one of the same person is another session.
    const [id, next] = [freshId(), freshId()]
    await here.upsert(id, { uid: next, accountId: 'alice' }, 60)
    expect(await there.find(id)).toEqual({ uid: next, accountId: 'alice' })
  })

  it('are consumed once, whichever of ten instances is first, and a second use ends the grant', async () => {
    const { here, there, grants } = models('AuthorizationCode')
    const [id, grantId] = [freshId(), freshId()]
    await grants.upsert(grantId, { accountId: 'alice' }, 60)
    await here.upsert(id, { grantId, exp: inSeconds(clock) + 60 }, 60)

    const uses = await Promise.allSettled(
      Array.from({ length: 10 }, (_, at) => (at % 2 === 0 ? here : there).consume(id)),
    )

    expect(uses.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const use of uses) if (use.status === 'rejected') expect(use.reason).toBeInstanceOf(errors.InvalidGrant)
    expect(await there.find(id)).toMatchObject({ consumed: inSeconds(clock) })
    expect(await grants.find(grantId)).toBeUndefined()
  })

  it('give one successor to a refresh token that is spent twice at once, and tell that it was spent when it comes later', async () => {
    const { here, there, grants } = models('RefreshToken')
    const grantId = freshId()
    const [first, second] = [refreshTokenOf(grantId, 0), refreshTokenOf(grantId, 1)]
    const exp = inSeconds(clock) + 600
    await grants.upsert(grantId, { accountId: 'alice' }, 600)
    await here.upsert(first, { grantId, exp }, 600)
    const refresh = async (at: Adapter): Promise<void> => {
      await at.consume(first)
      await at.upsert(second, { grantId, exp, rotations: 1 }, 600)
    }

    await Promise.all([here, there, here, there].map(refresh))

    expect(await there.find(first)).toMatchObject({ grantId, rotations: 0 })
    expect(await there.find(second)).toMatchObject({ grantId, rotations: 1 })
    clock.advance(30_000)
    expect(await there.find(first)).toMatchObject({ grantId, consumed: true })
    expect(await grants.find(grantId)).toMatchObject({ accountId: 'alice' })
  })

  it('consume nothing that is not there', async () => {
    await expect(models('AuthorizationCode').here.consume(freshId())).rejects.toThrow(errors.InvalidGrant)
  })
})

describe('in the time of the store', () => {
  function atWork() {
    const clock = manualClock()
    const memory = new MemoryStorage({}, clock)
    const [{ of, keepClient: keep, endSession: end }] = instancesOn(memory, clock)
    return { clock, of, keep, end, memory }
  }
  const DAY = 86_400_000

  it('a model expires', async () => {
    const { clock, of } = atWork()
    await of('Session').upsert('id', { uid: 'uid', accountId: 'alice' }, 60)
    clock.advance(60_000)

    expect(await of('Session').find('id')).toBeUndefined()
    expect(await of('Session').findByUid('uid')).toBeUndefined()
  })

  it('a session that has ended stays so when that is forgotten, and what there is not leaves nothing', async () => {
    const { clock, of, end, memory } = atWork()
    await of('Session').upsert('first', { uid: 'uid', accountId: 'alice' }, 7_200)
    await of('Session').upsert('last', { uid: 'uid', accountId: 'alice' }, 7_200)
    await end('uid')
    await of('Session').upsert('late', { uid: 'uid', accountId: 'alice' }, 7_200)
    await end('never there')
    clock.advance(600_000)

    expect(await of('Session').find('first')).toBeUndefined()
    // What is left has its end: the first id, and the list of the person.
    expect(await memory.list({ limit: 10 })).toHaveLength(2)
  })

  it('a client that nobody uses ends after thirty days, and one in use stays half a year longer', async () => {
    const { clock, of, keep } = atWork()
    await of('Client').upsert('unused', { client_id: 'unused' })
    await of('Client').upsert('used', { client_id: 'used' })
    clock.advance(29 * DAY)
    await keep('used')
    clock.advance(DAY)

    expect(await of('Client').find('unused')).toBeUndefined()
    clock.advance(178 * DAY)
    expect(await of('Client').find('used')).toEqual({ client_id: 'used' })
    clock.advance(2 * DAY)
    expect(await of('Client').find('used')).toBeUndefined()
    await keep('never there')
    expect(await of('Client').find('never there')).toBeUndefined()
  })

  it('a spent code is remembered for as long as it would have lived', async () => {
    const { clock, of } = atWork()
    await of('AuthorizationCode').upsert('code', { exp: inSeconds(clock) + 60 }, 60)
    await of('AuthorizationCode').consume('code')
    clock.advance(59_000)

    expect(await of('AuthorizationCode').find('code')).toHaveProperty('consumed')
    clock.advance(1_000)
    expect(await of('AuthorizationCode').find('code')).toBeUndefined()
  })

  it('a value under a key of the past counts as absent, and can be replaced', async () => {
    const clock = manualClock()
    const memory = new MemoryStorage({}, clock)
    const withKey = (byte: number) => createModelAdapters(modelRooms(memory, clock, { byte }))('Session')
    await withKey(1).upsert('id', { uid: 'uid', accountId: 'alice' }, 7_200)

    const other = withKey(2)
    // For ten minutes the key may be on its way to this process.
    await expect(other.find('id')).rejects.toMatchObject({ status: 503 })
    clock.advance(599_999)
    await expect(other.find('id')).rejects.toMatchObject({ status: 503 })
    clock.advance(1)
    expect(await other.find('id')).toBeUndefined()
    await other.upsert('id', { uid: 'uid', accountId: 'bob' }, 60)
    expect(await other.findByUid('uid')).toMatchObject({ accountId: 'bob' })
  })
})

describe('the models of oidc-provider on a store in which another writer is first', () => {
  /** Has another writer change the record before the first write or removal of it. */
  function setUp() {
    const clock = manualClock()
    const memory = new MemoryStorage({}, clock)
    let before: ((key: string) => Promise<unknown>) | undefined
    const meddle = async (key: string): Promise<void> => {
      const act = before
      before = undefined
      await act?.(key)
    }
    const storage: StorageAdapter = {
      shared: true,
      get: (key) => memory.get(key),
      put: async (...args) => (await meddle(args[0]), memory.put(...args)),
      delete: async (...args) => (await meddle(args[0]), memory.delete(...args)),
    }
    const [one, two] = instancesOn(storage, clock)
    return { clock, memory, one, two, meanwhile: (act: typeof before) => void (before = act) }
  }

  it('write what they have to, also where the other one has taken the record away meanwhile', async () => {
    const { memory, one, two, meanwhile } = setUp()
    const [grants, id] = [one.of('Grant'), freshId()]
    await grants.upsert(id, { accountId: 'alice' }, 60)
    let removed = 0
    const put = memory.put.bind(memory)
    memory.put = async (...args) => {
      const written = await put(...args)
      // It was in the way, and is gone when somebody looks what it was.
      if (written === null && (removed += 1) === 1) await two.of('Grant').destroy(id)
      return written
    }
    meanwhile(undefined)

    await grants.upsert(id, { accountId: 'bob' }, 60)

    expect(await grants.find(id)).toEqual({ accountId: 'bob' })
  })

  it('write no session that the other one ends', async () => {
    const { one, two, meanwhile } = setUp()
    const [id, uid] = [freshId(), freshId()]
    await one.of('Session').upsert(id, { uid }, 60)
    meanwhile(() => two.endSession(uid))

    await one.of('Session').upsert(id, { uid }, 60)

    expect(await one.of('Session').find(id)).toBeUndefined()
  })

  it('keep a client that is used at both', async () => {
    const { clock, one, two, meanwhile } = setUp()
    const id = freshId()
    await one.of('Client').upsert(id, { client_id: id }, 0)
    meanwhile(() => two.keepClient(id))

    await one.keepClient(id)

    clock.advance(31 * 86_400_000)
    expect(await one.of('Client').find(id)).toEqual({ client_id: id })
  })

  it('leave a client alone that is used while it is dropped for want of use', async () => {
    const { one, two, meanwhile } = setUp()
    const id = freshId()
    await one.of('Client').upsert(id, { client_id: id }, 0)
    meanwhile(() => two.keepClient(id))

    await one.dropUnused(id)

    expect(await one.of('Client').find(id)).toEqual({ client_id: id })
  })
})

describe('the models of oidc-provider, as far as it leaves members out,', () => {
  it('live on without an end, and a code without a grant is refused when it comes again', async () => {
    const clock = manualClock()
    const [{ of }] = instancesOn(new MemoryStorage({}, clock), clock)
    const codes = of('AuthorizationCode')
    const [id, never] = [freshId(), freshId()]
    await codes.upsert(id, { accountId: 'alice' }, 60)
    await of('Grant').upsert(never, { accountId: 'alice' }, undefined)

    await codes.consume(id)
    await expect(codes.consume(id)).rejects.toThrow(errors.InvalidGrant)
    clock.advance(400 * 86_400_000)
    expect(await of('Grant').find(never)).toEqual({ accountId: 'alice' })
  })
})
