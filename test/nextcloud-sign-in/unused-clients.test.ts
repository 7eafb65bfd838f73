import { describe, expect, it } from 'vitest'
import { createModelAdapters, keepClient } from '../../src/nextcloud-sign-in/model-adapter.js'
import { createUnusedClients, MOST_UNUSED, withoutSurplus } from '../../src/nextcloud-sign-in/unused-clients.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { modelRooms } from '../support/model-rooms.js'

const DAY = 86_400_000

function setUp() {
  const clock = manualClock()
  const storage = new MemoryStorage({}, clock)
  const open = () => {
    const rooms = modelRooms(storage, clock)
    const clients = createModelAdapters(rooms)('Client')
    const unused = createUnusedClients(rooms)
    const store = async (id: string): Promise<void> => {
      await clients.upsert(id, { client_id: id }, 0)
      await unused.stored(id)
    }
    return {
      unused,
      store,
      isThere: async (id: string) => (await clients.find(id)) !== undefined,
      keep: (id: string) => keepClient(rooms, id, 'alice'),
      async register(id: string, ...networks: string[]) {
        const noted = await unused.note(id, [...networks, ...networks, ...networks].slice(0, 3))
        if (!noted) return false
        await store(id)
        return true
      },
    }
  }
  return { clock, one: open(), other: open(), storage }
}

const countOf = async (storage: MemoryStorage): Promise<number> => (await storage.list({ limit: 10_000 })).length

describe('clients that nobody uses', () => {
  it('are bounded in all, and a flood from one network drives out itself alone', async () => {
    const { one, other } = setUp()
    await one.register('honest', 'home')
    for (let count = 0; count < MOST_UNUSED + 20; count += 1) await one.register(`flood-${count}`, 'evil')
    await other.register('honest too', 'office')

    expect(await one.isThere('honest')).toBe(true)
    expect(await one.isThere('honest too')).toBe(true)
    for (const gone of ['flood-0', 'flood-21']) expect(await one.isThere(gone)).toBe(false)
    for (const left of ['flood-22', `flood-${MOST_UNUSED + 19}`]) expect(await one.isThere(left)).toBe(true)
  })

  it.each([
    ['a /48', (at: number) => [`2001:db8:1:${at}::/64`, '2001:db8:1::/48', '2001:db8::/32']],
    ['a /32', (at: number) => [`2001:db8:${at}:0::/64`, `2001:db8:${at}::/48`, '2001:db8::/32']],
  ])('are driven out by a flood from %s no more than by one from an address', async (_what, from) => {
    const { one } = setUp()
    await one.register('honest', '198.51.100.7', '198.51.100.0/24', '198.51.0.0/16')
    for (let count = 0; count < MOST_UNUSED + 20; count += 1) await one.register(`flood-${count}`, ...from(count))

    expect(await one.isThere('honest')).toBe(true)
    expect(await one.isThere('flood-20')).toBe(false)
    expect(await one.isThere('flood-21')).toBe(true)
  })

  it('stay for ten minutes where somebody is asked about one, while its own network has others', async () => {
    const { clock, one } = setUp()
    await one.register('asked about', 'evil')
    one.unused.asked('asked about')
    for (let count = 0; count < MOST_UNUSED; count += 1) await one.register(`flood-${count}`, 'evil')
    expect(await one.isThere('asked about')).toBe(true)
    expect(await one.isThere('flood-0')).toBe(false)

    clock.advance(600_000)
    await one.register('flood-last', 'evil')
    expect(await one.isThere('asked about')).toBe(false)
  })

  it.each([
    ['all alike', (at: number) => `${at}`.padStart(6, '0').repeat(3)],
    ['in one /16', (at: number) => `evil  ${`${at}`.padStart(6, '0').repeat(2)}`],
  ])('stay where somebody is asked about one, while nobody is about those of other networks, %s', (_what, from) => {
    const list = Array.from({ length: MOST_UNUSED + 1 }, (_, at) => ({ id: `${at}`, at, from: from(at) }))

    expect(withoutSurplus(list, (id) => id === '0').surplus.map(({ id }) => id)).toEqual(['1'])
  })

  it('are driven out by no flood of another network, whose clients somebody is asked about', () => {
    const flood = Array.from({ length: MOST_UNUSED }, (_, at) => ({ id: `flood-${at}`, at, from: 'evil  '.repeat(3) }))
    const honest = { id: 'honest', at: 0, from: 'home  '.repeat(3) }

    expect(withoutSurplus([...flood, honest], (id) => id !== 'honest').surplus).toEqual(flood.slice(0, 1))
  })

  it('make room, the oldest first, where somebody is asked about each of the network', async () => {
    const { one } = setUp()
    for (let count = 0; count <= MOST_UNUSED; count += 1) {
      one.unused.asked(`flood-${count}`)
      await one.register(`flood-${count}`, 'evil')
    }
    expect([await one.isThere('flood-0'), await one.isThere('flood-1')]).toEqual([false, true])
  })

  it('are bounded where somebody is asked about all of them: a new one drives out one of them', async () => {
    const { one, storage } = setUp()
    for (let count = 0; count < MOST_UNUSED; count += 1) {
      await one.register(`flood-${count}`, 'evil')
      one.unused.asked(`flood-${count}`)
    }
    const records = await countOf(storage)
    for (let count = 0; count < 20; count += 1) await one.register(`new-${count}`, 'evil')

    expect(await countOf(storage)).toBe(records)
    expect([await one.isThere('flood-0'), await one.isThere('flood-1')]).toEqual([false, true])
    expect([await one.isThere('new-18'), await one.isThere('new-19')]).toEqual([false, true])
  })

  it('are not stored where more come at the same time than are kept', async () => {
    const { one, storage } = setUp()
    const noted = await Promise.all(
      Array.from({ length: MOST_UNUSED + 30 }, (_, at) => one.register(`flood-${at}`, 'evil')),
    )

    expect(noted.filter((one) => !one)).toHaveLength(30)
    // The list of them is a record, too.
    expect(await countOf(storage)).toBe(MOST_UNUSED + 1)
  })

  it('end as soon as they are stored, where others have driven them out before', async () => {
    const { one, other, storage } = setUp()
    await one.unused.note('slow', ['evil', 'evil', 'evil'])
    for (let count = 0; count < MOST_UNUSED; count += 1) await other.register(`flood-${count}`, 'evil')
    const records = await countOf(storage)
    await one.store('slow')
    expect(await countOf(storage)).toBe(records)

    await one.register('quick', 'home')
    expect(await one.isThere('quick')).toBe(true)
  })

  it('stay where a client has got tokens, also before the list knows of that', async () => {
    const { one } = setUp()
    await one.register('used', 'evil')
    await one.register('used and forgotten', 'evil')
    await one.keep('used')
    await one.keep('used and forgotten')
    await one.unused.forget('used and forgotten')
    for (let count = 0; count < MOST_UNUSED + 2; count += 1) await one.register(`flood-${count}`, 'evil')

    expect(await one.isThere('used')).toBe(true)
    expect(await one.isThere('used and forgotten')).toBe(true)
    expect(await one.isThere('flood-0')).toBe(false)
  })

  it('are all noted where many register at the same time, by two instances', async () => {
    const { one, other } = setUp()
    await Promise.all(
      Array.from({ length: 60 }, (_, at) => (at % 2 === 0 ? one : other).register(`client-${at}`, `network-${at}`)),
    )
    for (let count = 0; count < MOST_UNUSED - 60; count += 1) await one.register(`flood-${count}`, 'evil')

    expect(await one.isThere('client-0')).toBe(true)
    await one.register('flood-last', 'evil')
    expect(await one.isThere('flood-0')).toBe(false)
    expect(await one.isThere('client-0')).toBe(true)
  })

  it('are counted out in time for as many as waited for a slow store, and a flood drives out itself alone', () => {
    const client = (id: string, from: string) => ({ id, at: 0, from })
    const flood = Array.from({ length: 20_000 }, (_, at) => client(`${at}`, `evil  net ${at % 8} host${at % 200}`))
    const honest = client('honest', 'home  home  home  ')
    const began = performance.now()
    const { kept, surplus } = withoutSurplus([honest, ...flood], () => false)

    // It takes some 20 ms. With a look at all of them for each surplus one, it took most of a minute.
    expect(performance.now() - began).toBeLessThan(2_000)
    expect([kept.length, surplus.length]).toEqual([MOST_UNUSED, 20_001 - MOST_UNUSED])
    const left = Array.from({ length: 8 }, (_, net) => kept.filter(({ from }) => from.includes(`net ${net}`)).length)
    expect([kept[0], ...new Set(left)]).toEqual([honest, 62, 63])
  })

  it('make room again when their time is over', async () => {
    const { clock, one } = setUp()
    for (let count = 0; count < MOST_UNUSED; count += 1) await one.register(`old-${count}`, 'evil')
    clock.advance(31 * DAY)
    await one.register('new', 'evil')
    for (let count = 0; count < MOST_UNUSED - 1; count += 1) await one.register(`later-${count}`, 'evil')

    expect(await one.isThere('new')).toBe(true)
  })
})
