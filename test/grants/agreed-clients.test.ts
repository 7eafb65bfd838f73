import { describe, expect, it } from 'vitest'
import { ANY_CLIENT, serves, whyUnusable, type Grant } from '../../src/grants/grant.js'
import { ALICE, opened } from './opened.js'

/** Ids like those that authorization servers give, and like the longest address of a metadata document. */
const GIVEN = (at: number) => `${at}`.padStart(22, 'x')
const LONG = (at: number) => `https://client-${at}.example.com/`.padEnd(512, 'x')

function setUp() {
  const setup = opened()
  const { store, storage, key, records, clock } = setup
  return {
    ...setup,
    /** Characters of the record. */
    size: async () => (await storage.get(key))?.value.length ?? 0,
    agreeToMany: async (count: number, idOf: (at: number) => string) => {
      for (let at = 0; at < count; at += 1) {
        clock.advance(1_000)
        await store.agree(ALICE, idOf(at))
      }
    },
    /** Stores a grant with more than there is room for, as an earlier version did. */
    overfill: async (count: number, before: readonly string[] = []) => {
      const { grant, version } = (await store.read(key))!
      const clients = [...before, ...Array.from({ length: count }, (_, at) => GIVEN(at))]
      const agreed = Object.fromEntries(clients.map((id, at) => [id, at]))
      await records.write(key, { ...grant, clients, agreed }, version)
    },
  }
}

describe('the clients of a grant', () => {
  it.each([
    ['given ids', GIVEN, 300],
    ['long addresses', LONG, 60],
  ])(
    'with %s are those agreed to last, and the connection lives on in a record of bounded size',
    async (_, idOf, count) => {
      const { connect, agreeToMany, size, stored } = setUp()
      await connect()
      await agreeToMany(count, idOf)

      const grant = await stored()
      expect(grant).toMatchObject({ state: 'active', refreshToken: 'first' })
      expect([grant!.clients.at(-1), grant!.clients.includes(idOf(0))]).toEqual([idOf(count - 1), false])
      expect(Object.keys(grant!.agreed!)).toEqual(grant!.clients)
      expect(await size()).toBeLessThan(16_000)
    },
  )

  it('are bounded where each of them connects again', async () => {
    const { clock, connect, stored, size } = setUp()
    for (let at = 0; at < 200; at += 1) {
      clock.advance(1_000)
      await connect('first', GIVEN(at))
    }

    expect((await stored())?.clients.length).toBeGreaterThan(100)
    expect(await size()).toBeLessThan(16_000)
  })

  it('lose the one whose consent is oldest, and not one that has connected again', async () => {
    const { clock, connect, agreeToMany, stored } = setUp()
    await connect('first', 'main')
    await connect('second', 'another')
    await agreeToMany(60, GIVEN)
    clock.advance(1_000)
    await connect('third', 'main')
    await agreeToMany(100, (at) => GIVEN(at + 60))

    const { clients } = (await stored())!
    expect([clients.includes('main'), clients.includes('another')]).toEqual([true, false])
  })

  it('ask for consent once more where they fell out, and serve again with it', async () => {
    const { clock, connect, store, agreeToMany, stored } = setUp()
    await connect('first', 'main')
    await agreeToMany(200, GIVEN)
    expect(whyUnusable(await stored(), 'main', clock.now())).toBe('consent')

    expect(await store.agree(ALICE, 'main')).toBe(true)
    expect(whyUnusable(await stored(), 'main', clock.now())).toBeUndefined()
  })

  it('have the last one among them, however long its id is', async () => {
    const { connect, store, stored } = setUp()
    await connect()
    const id = 'x'.repeat(6_000)

    expect(await store.agree(ALICE, id)).toBe(true)
    expect((await stored())?.clients).toEqual([id])
  })

  it('keep what the operator gave to all, and none falls into it', async () => {
    const { overfill, connect, agreeToMany, stored } = setUp()
    await connect()
    await agreeToMany(200, GIVEN)
    expect(serves((await stored())!, 'stranger')).toBe(false)

    await overfill(300, [ANY_CLIENT])
    expect(serves((await stored())!, 'stranger')).toBe(true)
    await agreeToMany(200, (at) => GIVEN(at + 300))
    expect(serves((await stored())!, 'stranger')).toBe(true)
  })

  it('do not grow by one that calls itself as all are called', async () => {
    const { connect, store, stored } = setUp()
    await connect()

    expect(await store.agree(ALICE, ANY_CLIENT)).toBe(false)
    expect((await stored())?.clients).toEqual(['client-1'])
  })

  it('forget when the user agreed to one that is ended', async () => {
    const { connect, store, stored } = setUp()
    await connect('first', 'client-1')
    await connect('second', 'client-2')
    await store.disconnect(ALICE, 'client-1')

    expect(Object.keys((await stored())!.agreed!)).toEqual(['client-2'])
  })
})

describe('a grant of an earlier version with more clients than there is room for', () => {
  it('is read with the last ones, also in a list, and shrinks at the next write', async () => {
    const { overfill, connect, store, key, size } = setUp()
    await connect()
    await overfill(1_000)
    const before = await size()
    const { grant, version } = (await store.read(key))!
    const { grants } = await store.all({ limit: 10 })

    expect(grant.clients.at(-1)).toBe(GIVEN(999))
    expect(grants.map((one): Grant => one.grant)).toEqual([grant])
    await store.write(key, { ...grant, refreshToken: 'second' }, version)

    expect(before).toBeGreaterThan(65_536)
    expect(await size()).toBeLessThan(16_000)
  })

  it('is read with the withdrawals of clients by their ids, as an earlier 0.4 stored them', async () => {
    const { connect, records, store, key } = setUp()
    await connect()
    const { grant, version } = (await store.read(key))!
    const clients = Array.from({ length: 20 }, (_, at) => [LONG(at), at + 1] as const)
    await records.write(key, { ...grant, withdrawals: { count: 20, all: 0, clients } }, version)

    const isOver = (clientId: string, withdrawals: number) => store.isOver(ALICE, { clientId, withdrawals })
    expect(await Promise.all([isOver(LONG(4), 4), isOver(LONG(4), 5), isOver('client-1', 0)])).toEqual([
      true,
      false,
      false,
    ])
  })
})
