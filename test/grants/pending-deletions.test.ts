import { describe, expect, it, vi } from 'vitest'
import { deletionsIn, createPendingDeletions, type PendingDeletion } from '../../src/grants/pending-deletions.js'
import { recordKey } from '../../src/grants/record-key.js'
import { opened, OWNER } from './opened.js'

const keyOf = (index: number): string => recordKey('deletions', OWNER, String(index))

const DAY = 24 * 3_600_000
/** Bytes of a credential, of which a record has room for one. */
const BIG = 30_000

const deletion = (id: string, size = 10, more: Partial<PendingDeletion> = {}): PendingDeletion => ({
  id,
  identity: { issuer: 'https://idp.example', subject: `user of ${id}` },
  credential: { refreshToken: 'x'.repeat(size) },
  since: 0,
  tries: 1,
  nextAt: 0,
  refused: false,
  ...more,
})

function setUp() {
  const setup = opened()
  const { records, clock, storage } = setup
  const givenUp: string[] = []
  const instance = () => createPendingDeletions({ records, owner: OWNER, clock, givenUp: ({ id }) => givenUp.push(id) })
  const [list, another] = [instance(), instance()]
  return {
    ...setup,
    list,
    another,
    givenUp,
    /** Deletions in each record. */
    records: async () => {
      const found: string[] = []
      for (let index = 0; ; index += 1) {
        const record = await records.read(keyOf(index))
        if (record === undefined) return found
        found.push((deletionsIn(record)?.entries ?? []).map(({ id }) => id).join(' '))
      }
    },
    ids: async () => (await list.list()).map(({ id }) => id),
    /** Does something just before each of the next writes, as another instance. */
    meanwhile: (call: 'put' | 'delete', times: number, act: (time: number) => Promise<unknown>) => {
      const own = storage[call].bind(storage) as (...args: unknown[]) => Promise<never>
      let left = times
      let isOther = false
      vi.spyOn(storage, call).mockImplementation(async (...args: unknown[]) => {
        if (left > 0 && !isOther) {
          left -= 1
          isOther = true
          await act(left)
          isOther = false
        }
        return own(...args)
      })
    },
  }
}

describe('the list of deletions', () => {
  it('has one of each credential, the latest, and none that another one takes the place of', async () => {
    const { list, ids } = setUp()
    for (const id of ['one', 'other', 'third']) await list.put(deletion(id))
    await list.put(deletion('one', 10, { tries: 2 }))
    await list.put(deletion('new'), 'other')

    expect(await ids()).toEqual(['third', 'one', 'new'])
    expect((await list.list())[1]).toMatchObject({ tries: 2 })
    expect([await list.has('new'), await list.has('other')]).toEqual([true, false])
  })

  it('goes over several records, in whose order nothing is lost', async () => {
    const { list, records, memory, calls } = setUp()
    for (const id of ['a', 'b', 'c']) expect(await list.put(deletion(id, BIG))).toBe(true)
    await list.put(deletion('small'))
    expect(await records()).toEqual(['a small', 'b', 'c'])

    // In its own record, and where it does not fit there any more, in another one.
    await list.put(deletion('b', BIG, { tries: 2 }))
    expect(await records()).toEqual(['a small', 'b', 'c'])
    await list.put(deletion('small', 20_000, { tries: 2 }))
    expect(await records()).toEqual(['a', 'b', 'c', 'small'])

    expect(await list.put(deletion('too big', 50_000))).toBe(false)
    await list.remove('b')
    expect(await records()).toEqual(['a', '', 'c', 'small'])
    expect((await list.claim(() => true, 7)).claimed.map(({ id }) => id)).toEqual(['a', 'c', 'small'])
    await list.remove('c')
    await list.remove('small')
    calls.length = 0
    await list.remove('nothing')
    expect(calls).toEqual(['get', 'get', 'get', 'get'])
    expect(await records()).toEqual(['a', '', ''])
    expect(await memory.get(keyOf(3))).toBeUndefined()
  })

  it('keeps one in its record, also where an earlier record has room by now', async () => {
    const { list, records } = setUp()
    for (const id of ['a', 'b']) await list.put(deletion(id, BIG))
    await list.put(deletion('small'))
    await list.remove('a')

    await list.put(deletion('b', BIG, { tries: 2 }))

    expect(await records()).toEqual(['small', 'b'])
  })

  it('lives as long as its last deletion, in all of its records', async () => {
    const { list, ids, clock } = setUp()
    await list.put(deletion('a', BIG))
    clock.advance(20 * DAY)
    await list.put(deletion('b', BIG))

    clock.advance(31 * DAY - 1)
    expect(await ids()).toEqual(['a', 'b'])
    clock.advance(1)
    expect(await ids()).toEqual([])
  })

  const of = (subject: string, issuer = 'https://idp.example') => ({ identity: { issuer, subject } })

  it('has room for 16 of a user, of which one that was refused makes way first, then the oldest', async () => {
    const { list, ids, givenUp } = setUp()
    for (let at = 0; at < 16; at += 1) {
      await list.put(
        deletion(`${at}`, 10, { ...of('alice'), since: at === 3 ? -1 : at, refused: at === 5 || at === 9 }),
      )
    }
    for (const other of [of('bob'), of('alice', 'https://other.example')])
      await list.put(deletion(`of ${JSON.stringify(other)}`, 10, other))
    await list.put(deletion('7', 10, { ...of('alice'), tries: 2 }))
    expect(givenUp).toEqual([])

    for (const id of ['next', 'one more', 'another', 'last'])
      await list.put(deletion(id, 10, { ...of('alice'), since: 100 }))

    expect(givenUp).toEqual(['5', '9', '3', '0'])
    expect(await ids()).toHaveLength(18)
  })

  it('has room for 200 of those whom Nextcloud has not named', async () => {
    const { list, givenUp, ids } = setUp()
    for (let at = 0; at < 200; at += 1) await list.put(deletion(`${at}`, 10, { ...of(''), since: at }))
    expect(givenUp).toEqual([])

    await list.put(deletion('one more', 10, { ...of(''), since: 200 }))

    expect(givenUp).toEqual(['0'])
    expect(await ids()).toHaveLength(200)
  })

  it('forgets the oldest of a user where it is in another record', async () => {
    const { list, ids, givenUp, records } = setUp()
    await list.put(deletion('of bob', BIG, of('bob')))
    await list.put(deletion('oldest', 3_000, { ...of('alice'), since: -1 }))
    for (let at = 1; at < 16; at += 1) await list.put(deletion(`${at}`, 10, of('alice')))

    await list.put(deletion('new', 20_000, of('alice')))

    expect(givenUp).toEqual(['oldest'])
    expect((await records())[1]).toBe('new')
    expect(await ids()).toHaveLength(17)
    expect(await ids()).not.toContain('oldest')
  })

  it('has room of one record for a user, of which as many make way as must, also for one in place of another', async () => {
    const { list, ids, givenUp } = setUp()
    await list.put(deletion('of bob', 20_000, of('bob')))
    for (const [at, id] of ['a', 'b', 'c'].entries())
      await list.put(deletion(id, 9_000, { ...of('alice'), since: at, refused: id === 'b' }))
    expect(givenUp).toEqual([])

    await list.put(deletion('d', 15_000, { ...of('alice'), since: 3 }))
    expect([givenUp, await ids()]).toEqual([['b'], ['of bob', 'a', 'c', 'd']])
    await list.put(deletion('e', BIG, { ...of('alice'), since: 4 }), 'd')
    expect([givenUp, await ids()]).toEqual([
      ['b', 'a'],
      ['of bob', 'c', 'e'],
    ])
    for (const id of ['small', 'small, too']) await list.put(deletion(id, 10, { ...of('alice'), since: 3 }))
    await list.put(deletion('f', 39_000, { ...of('alice'), since: 5 }))

    expect([givenUp, await ids()]).toEqual([
      ['b', 'a', 'c', 'small', 'small, too', 'e'],
      ['of bob', 'f'],
    ])
    expect(await list.put(deletion('too big', 50_000, of('alice')))).toBe(false)
    expect(await ids()).toEqual(['of bob', 'f'])
  })

  it('is filled by no issuer for another: that which takes up the most of it makes way, and nobody for it', async () => {
    const { list, givenUp, records } = setUp()
    const theirs = (id: string, since: number) => deletion(id, 19_000, { ...of(id, 'https://m.example'), since })
    for (let at = 0; at < 64; at += 1) expect(await list.put(theirs(`m-${at}`, at === 1 ? -1 : at))).toBe(true)
    expect(await list.put(theirs('m-64', 64))).toBe(false)
    expect(givenUp).toEqual([])

    expect(await list.put(deletion('ours', 10_000))).toBe(true)
    expect(await list.put(deletion('ours, too', 10_000))).toBe(true)
    expect([givenUp, (await records()).slice(0, 2)]).toEqual([['m-1'], ['m-0 ours ours, too', 'm-2 m-3']])
    expect(await list.put(theirs('m-65', 65))).toBe(false)
  })

  it.each<[noted: string | undefined, meant: string | undefined, isGone: boolean]>([
    ['one', 'one', true],
    ['another', 'one', false],
    ['one', undefined, true],
    // Of a version before 0.4.
    [undefined, 'one', true],
  ])('loses a deletion with its note: %s, where %s is meant', async (noted, meant, isGone) => {
    const { list, ids } = setUp()
    await list.put(deletion('id', 10, noted === undefined ? {} : { note: noted }))

    await list.remove('id', meant)

    expect(await ids()).toEqual(isGone ? [] : ['id'])
  })

  it('is changed by one after the other in a process, also behind a change that failed', async () => {
    const { list, ids, calls, failing } = setUp()
    failing.add('put')
    const failure = list.put(deletion('failing')).catch(() => 'failed')
    await failure
    failing.clear()
    calls.length = 0

    await Promise.all(['a', 'b', 'c'].map((id) => list.put(deletion(id))))

    expect([await failure, await ids()]).toEqual(['failed', ['a', 'b', 'c']])
    expect(calls.filter((call) => call === 'put')).toHaveLength(3)
  })
})

describe('a claim', () => {
  it('takes what is due until then, counts its tokens as sent, and tells when the next is', async () => {
    const { list, clock, calls } = setUp()
    const now = clock.now()
    const appPassword = { loginName: 'alice', password: 'app-password' }
    await list.put(deletion('due', 10, { nextAt: now }))
    await list.put(deletion('due, too', 10, { nextAt: now, credential: { appPassword } }))
    await list.put(deletion('of now', 10, { nextAt: now }))
    for (const later of [9, 5]) await list.put(deletion(`in ${later}`, 10, { nextAt: now + later }))

    const claim = await list.claim(({ id }) => id.startsWith('due'), now + 60_000)

    expect(claim.claimed.map(({ id, nextAt }) => [id, nextAt])).toEqual([
      ['due', now],
      ['due, too', now],
    ])
    expect(claim.next).toBe(now + 5)
    expect((await list.list()).map(({ credential, nextAt }) => ['presented' in credential, nextAt - now])).toEqual([
      [true, 60_000],
      [false, 60_000],
      [false, 0],
      [false, 9],
      [false, 5],
    ])
    calls.length = 0
    expect(await list.claim(() => false, 0)).toEqual({ claimed: [], next: now + 5 })
    expect(calls).not.toContain('put')
  })

  it('says nothing of a next time where there is none', async () => {
    const { list, clock } = setUp()
    expect(await list.claim(() => true, 7)).toEqual({ claimed: [], next: undefined })
    await list.put(deletion('of now', 10, { nextAt: clock.now() }))
    expect(await list.claim(() => false, 7)).toEqual({ claimed: [], next: undefined })
  })
})

describe('two instances that change the list at once', () => {
  it('lose nothing of what either of them puts', async () => {
    const { list, another, ids, meanwhile, clock } = setUp()
    meanwhile('put', 1, () => another.put(deletion('theirs')))

    expect(await list.put(deletion('ours'))).toBe(true)

    expect(await ids()).toEqual(['theirs', 'ours'])
    expect(clock.pauses).toEqual([])
  })

  it('make room for each other by pauses, once eight attempts have come too late', async () => {
    const { list, another, ids, meanwhile, clock } = setUp()
    meanwhile('put', 10, (time) => another.put(deletion(`theirs-${time}`)))

    expect(await list.put(deletion('ours'))).toBe(true)

    expect(await ids()).toContain('ours')
    expect(await ids()).toHaveLength(11)
    expect(clock.pauses).toEqual([25, 25, 25])
  })

  it('remove one of two, and the last one, and neither takes a new one with it', async () => {
    const { list, another, ids, meanwhile } = setUp()
    for (const id of ['first', 'second']) await list.put(deletion(id))
    meanwhile('put', 1, () => another.put(deletion('third')))
    await list.remove('first')
    expect(await ids()).toEqual(['second', 'third'])

    await list.remove('second')
    meanwhile('delete', 1, () => another.put(deletion('fourth')))
    await list.remove('third')

    expect(await ids()).toEqual(['fourth'])
  })
})

describe('a record of the list that does not open', () => {
  it('is left to those who have its key: what comes is put behind it, and what is behind it is found', async () => {
    const { list, ids, storage } = setUp()
    await storage.put(keyOf(0), 'of another key', null)
    const before = await storage.get(keyOf(0))

    expect(await list.put(deletion('ours'))).toBe(true)

    expect(await ids()).toEqual(['ours'])
    expect((await list.claim(() => true, 7)).claimed.map(({ id }) => id)).toEqual(['ours'])
    expect(await storage.get(keyOf(0))).toEqual(before)
    await list.remove('ours')
    expect(await ids()).toEqual([])
    expect(await storage.get(keyOf(0))).toEqual(before)
  })
})

it.each([[null], [undefined], ['text'], [{ entries: [] }], [{ owner: OWNER, entries: 'none' }]])(
  'a record that holds %j is none of the list',
  (value) => expect(deletionsIn({ value, version: '1' })).toBeUndefined(),
)
