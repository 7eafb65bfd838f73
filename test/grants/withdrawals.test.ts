import { describe, expect, it } from 'vitest'
import { isEnded, isOver, isWithdrawn, oneMore, withReplaced, type Withdrawals } from '../../src/grants/withdrawals.js'
import { refusedGrant } from '../../src/grants/grant.js'
import type { Connected } from '../../src/grants/grant-store.js'
import { formerKey } from '../../src/grants/record-key.js'
import { ALICE, opened, OWNER } from './opened.js'

const DAY = 86_400_000

/** The end of the connection, and a connection in place of another one. */
const [ALL, REPLACED] = [undefined, Symbol('replaced')]

const after = (...ends: readonly (string | typeof ALL | typeof REPLACED)[]): Withdrawals | undefined =>
  ends.reduce<Withdrawals | undefined>(
    (before, end) => (typeof end === 'symbol' ? withReplaced(before) : oneMore(before, end)),
    undefined,
  )

const others = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => `other-${index}`)

it.each<[string, Withdrawals | undefined, boolean]>([
  ['nothing was taken back', after(), false],
  ['it was', after('a', 'b'), true],
  ['others were', after('b', ...others(119)), false],
  ['so many others were that it may be one of them', after(...others(121)), true],
  ['the whole connection has ended since', after('a', ...others(121), ALL), false],
])('an MCP client counts as ended, where %s', (_, withdrawals, isIt) => {
  expect(isEnded(withdrawals, 'a')).toBe(isIt)
})

describe('a consent', () => {
  it.each<[string, Withdrawals | undefined, number | undefined, boolean]>([
    ['stands where nothing was taken back', after(), 0, false],
    ['is withdrawn by the same client', after('a'), 0, true],
    ['is withdrawn by the end of the connection', after(ALL), 0, true],
    ['stands when another client is ended', after('b'), 0, false],
    ['stands when it was given after that', after('a', ALL), 2, false],
    ['is withdrawn by what came after it, however much came before', after('a', 'b', 'a', 'b'), 2, true],
    ['stands where only others came after it', after('a', 'b', 'b'), 1, false],
    ['stands where another client came after it many times', after('a', ...Array<string>(40).fill('b')), 1, false],
    [
      'is withdrawn by its own client, though another came many times',
      after('a', ...Array<string>(40).fill('b')),
      0,
      true,
    ],
    ['stands while it is known what came after it', after(...others(120)), 0, false],
    ['is withdrawn where it is not known any more what came after it', after(...others(121)), 0, true],
    ['is withdrawn by its own client, though it is not known any more', after('a', ...others(300)), 0, true],
    ['stands where what is not known any more came before it', after(...others(121)), 1, false],
    ['stands where a connection was replaced', after(REPLACED), 0, false],
    ['is withdrawn by the same client before a connection was replaced', after('a', REPLACED), 0, true],
    ['stands once what was taken back is forgotten', undefined, 3, false],
    ['of nobody stands', after(ALL), undefined, false],
  ])('%s', (_, withdrawals, known, isIt) => {
    expect(isWithdrawn(withdrawals, 'a', known)).toBe(isIt)
    // What came of it is over too.
    if (isIt) expect(isOver(withdrawals, 'a', known)).toBe(true)
  })

  it('stands when other clients are ended whose ids are long', () => {
    const many = after(...others(120).map((id) => id.padEnd(500, 'x')))

    expect(isOver(many, 'a', 0)).toBe(false)
    expect(isOver(many, 'other-0'.padEnd(500, 'x'), 0)).toBe(true)
  })

  it.each(['', 'x'.repeat(500)])('costs a record the room of 120 clients at most', (end) => {
    const many = after(...others(1_000).map((id) => id + end))

    expect(many).toMatchObject({ count: 1_000 })
    expect(JSON.stringify(many).length).toBeLessThan(4_000)
  })
})

describe('what came of a consent', () => {
  it.each<[string, Withdrawals | undefined, number | undefined, boolean]>([
    ['stands where nothing was taken back', after(), 0, false],
    ['is over once a connection was replaced', after(REPLACED), 0, true],
    ['is over once a connection was replaced, whatever came after', after(REPLACED, 'b', ...others(5)), 0, true],
    ['stands where the connection was replaced before', after(REPLACED, 'b'), 1, false],
    ['of nobody stands', after(REPLACED), undefined, false],
    ['of which nothing is known is over', after('b'), -1, true],
  ])('%s', (_, withdrawals, known, isIt) => {
    expect(isOver(withdrawals, 'a', known)).toBe(isIt)
  })

  it('is for a session over with the connection, and not with clients, however many', () => {
    const ends = [after('a'), after(...others(121)), after(ALL), after(REPLACED)]
    expect(ends.map((one) => isOver(one, undefined, 0))).toEqual([false, false, true, true])
  })
})

describe('a connection', () => {
  const of = { fingerprint: 'f', scopes: [], refreshToken: 'next', clientId: 'client-2' }

  it.each<[string, (setup: ReturnType<typeof opened>) => unknown, (() => Promise<boolean>) | undefined, boolean]>([
    ['in place of none', ({ store }) => store.find(ALICE), undefined, true],
    ['in place of a living one', ({ connect }) => connect('first', 'client-1'), undefined, false],
    ['in place of a living one of the same account', ({ connect }) => connect('first', 'client-1'), yes, false],
    ['in place of a living one of another account', ({ connect }) => connect('first', 'client-1'), no, true],
    ['in place of one that was refused', refused, yes, true],
    ['in place of one whose last client was ended', lastEnded, yes, true],
    ['in place of one that was ended', ended, yes, true],
  ])('%s leaves to others what they have, or ends it: %#', async (_, before, isSameAccount, ends) => {
    const setup = opened()
    const { store } = setup
    await before(setup)
    const known = { clientId: 'client-1', withdrawals: await store.withdrawals(ALICE) }
    const stored = await store.connect(ALICE, { ...of, ...(isSameAccount && { isSameAccount }) })

    expect(await store.isOver(ALICE, known)).toBe(ends)
    expect(await store.isOver(ALICE, { withdrawals: known.withdrawals })).toBe(ends)
    expect(await store.agree(ALICE, 'client-1', known.withdrawals)).toBe(ends ? 'withdrawn' : true)
    // A connection under way is of whoever signs in at its end.
    expect(await store.isWithdrawn(ALICE, known)).toBe(false)
    const { withdrawals } = stored as Connected
    expect(await store.isOver(ALICE, { clientId: 'client-2', withdrawals })).toBe(false)
    expect((await store.find(ALICE))?.grant.clients).toEqual(ends ? ['client-2'] : ['client-1', 'client-2'])
  })

  it('is asked about with the grant that it replaces: two at once leave each other what they have', async () => {
    const { store } = opened()
    let asked = 0
    const isSameAccount = () => Promise.resolve((asked += 1) > 0)
    const [one, other] = await Promise.all(
      ['client-1', 'client-2'].map((clientId) => store.connect(ALICE, { ...of, clientId, isSameAccount })),
    )

    for (const [clientId, stored] of [['client-1', one] as const, ['client-2', other] as const]) {
      const { withdrawals } = stored as Connected
      expect(await store.isOver(ALICE, { clientId, withdrawals })).toBe(false)
    }
    expect(asked).toBe(1)
  })
})

const yes = () => Promise.resolve(true)
const no = () => Promise.resolve(false)

async function refused({ store, connect, key }: ReturnType<typeof opened>): Promise<void> {
  await connect('first', 'client-1')
  const { grant, version } = (await store.read(key))!
  await store.write(key, refusedGrant(grant, 0), version)
}

async function lastEnded({ store, connect }: ReturnType<typeof opened>): Promise<void> {
  await connect('first', 'client-1')
  await store.disconnect(ALICE, 'client-1')
}

async function ended({ store, connect }: ReturnType<typeof opened>): Promise<void> {
  await connect('first', 'client-1')
  await store.disconnect(ALICE, undefined)
}

describe('an end unless it is to be kept', () => {
  it('asks about the very grant that it ends: of one that came meanwhile too', async () => {
    const { store, connect } = opened()
    await connect('first')
    const asked: unknown[] = []
    const ended = await store.endUnless(ALICE, async (grant) => {
      if (asked.push(grant?.refreshToken) === 1) await connect('second')
      return false
    })

    expect(asked).toEqual(['first', 'second'])
    expect(ended).toMatchObject({ retired: { credential: { refreshToken: 'second' } } })
    expect(await store.find(ALICE)).toMatchObject({ grant: { state: 'disconnected' } })
  })

  it.each([
    ['of a grant', (set: ReturnType<typeof opened>) => set.connect('first')],
    ['of none', () => Promise.resolve()],
  ])('keeps what came meanwhile: %s', async (_, before) => {
    const set = opened()
    await before(set)
    const { store, connect } = set
    const ended = await store.endUnless(ALICE, async (grant) => {
      if (grant?.refreshToken === 'second') return true
      await connect('second')
      return false
    })

    expect(ended).toBe('kept')
    expect(await store.find(ALICE)).toMatchObject({ grant: { state: 'active', refreshToken: 'second' } })
  })

  it('takes nothing back where it keeps the grant, and one thing where there is none', async () => {
    const { store, connect } = opened()
    expect(await store.endUnless(ALICE, no)).toBeUndefined()
    expect(await store.withdrawals(ALICE)).toBe(1)
    await connect('first')
    const before = await store.withdrawals(ALICE)

    expect(await store.endUnless(ALICE, yes)).toBe('kept')
    expect(await store.withdrawals(ALICE)).toBe(before)
  })

  it('leaves a grant that does not open to those who have its key', async () => {
    const { store, key, memory } = opened()
    await memory.put(key, 'sealed by another key', null)

    expect(await store.endUnless(ALICE, no)).toBe('kept')
    expect(await memory.get(key)).toMatchObject({ value: 'sealed by another key' })
  })
})

describe('a disconnection of nobody', () => {
  it('counts for a connection under way, and is no grant otherwise', async () => {
    const { store, key, memory, clock } = opened()
    const withdrawals = await store.withdrawals(ALICE)

    expect(await store.disconnect(ALICE, undefined)).toBeUndefined()

    expect(await Promise.all([store.find(ALICE), store.look(ALICE), store.read(key)])).toEqual(Array(3).fill(undefined))
    expect((await store.all({ limit: 10 })).grants).toEqual([])
    const of = { fingerprint: 'f', scopes: [], refreshToken: 'first', clientId: 'client-1' }
    expect(await store.connect(ALICE, { ...of, withdrawals })).toBe('withdrawn')
    expect(await store.agree(ALICE, 'client-1', withdrawals)).toBe('withdrawn')
    expect(await store.find(ALICE)).toBeUndefined()
    expect(await store.connect(ALICE, { ...of, withdrawals: await store.withdrawals(ALICE) })).toEqual({
      retired: undefined,
      withdrawals: 2,
    })
    expect(await store.find(ALICE)).toMatchObject({ grant: { state: 'active', refreshToken: 'first' } })

    await store.disconnect({ ...ALICE, subject: 'bob' }, undefined)
    clock.advance(30 * DAY - 1)
    expect(await store.withdrawals({ ...ALICE, subject: 'bob' })).toBe(1)
    clock.advance(1)
    expect(await memory.get(store.keyOf({ ...ALICE, subject: 'bob' }))).toBeUndefined()
  })
})

it('a grant that does not open is left to those who have its key when a yes is taken back, and ends with the connection', async () => {
  const { store, connect, key, memory } = opened()
  await connect('first', 'client-1')
  const { version } = (await memory.get(key))!
  await memory.put(key, 'sealed with another key', version)

  expect(await store.withdraw(ALICE, 'client-1')).toBeUndefined()
  expect(await memory.get(key)).toMatchObject({ value: 'sealed with another key' })

  expect(await store.disconnect(ALICE, undefined)).toBe('sealed')
  expect(await store.find(ALICE)).toBeUndefined()
})

it.each([
  ['of today', false],
  ['of before 0.4', true],
])(
  'what came of a grant that does not open is over once that has ended, whoever has which key: %s',
  async (_, former) => {
    const { store, connect, key, memory, clock } = opened()
    await connect('first', 'client-1')
    await store.disconnect(ALICE, undefined)
    await connect('second', 'client-1')
    const withdrawals = await store.withdrawals(ALICE)
    const { version } = (await memory.get(key))!
    await memory.put(key, 'sealed with another key', version)
    if (former) {
      await memory.delete(key, (await memory.get(key))!.version)
      await memory.put(formerKey('grant', OWNER, ALICE.issuer, ALICE.subject), 'sealed with another key', null)
    }

    expect(await store.disconnect(ALICE, undefined)).toBe('sealed')

    const of = { fingerprint: 'f', scopes: [], refreshToken: 'late', clientId: 'client-1' }
    for (const { store: each } of [{ store }, opened(8, clock, memory)]) {
      expect(await each.look(ALICE)).toBeUndefined()
      expect(await each.isOver(ALICE, { withdrawals })).toBe(true)
      expect(await each.connect(ALICE, { ...of, withdrawals })).toBe('withdrawn')
    }
    const now = await store.withdrawals(ALICE)
    expect(await store.connect(ALICE, { ...of, withdrawals: now })).toMatchObject({ withdrawals: now + 1 })
    expect(await store.isOver(ALICE, { withdrawals })).toBe(true)
    expect(await store.isOver(ALICE, { withdrawals: now + 1 })).toBe(false)
  },
)

describe('a consent that was taken back', () => {
  it.each([undefined, 'client-1'])('stays so through renewals and connections: %s', async (ended) => {
    const { store, connect, key } = opened()
    await connect('first', 'client-1')
    await connect('second', 'client-2')
    const withdrawals = await store.withdrawals(ALICE)
    await store.disconnect(ALICE, ended)
    await connect('third', 'client-3')
    const { grant, version } = (await store.read(key))!
    await store.write(key, { ...grant, refreshToken: 'rotated' }, version)

    const of = { fingerprint: 'f', scopes: [], refreshToken: 'late', withdrawals }
    expect(await store.connect(ALICE, { ...of, clientId: 'client-1' })).toBe('withdrawn')
    expect(await store.isWithdrawn(ALICE, { withdrawals, clientId: 'client-2' })).toBe(ended === undefined)
    expect(await store.read(key)).toMatchObject({ grant: { refreshToken: 'rotated' } })
  })

  it('ends what is under way of a client without consent, and takes nothing from the others', async () => {
    const { store, connect, stored } = opened()
    await connect('first', 'client-1')
    const withdrawals = await store.withdrawals(ALICE)

    await store.disconnect(ALICE, 'client-2')

    expect(await store.agree(ALICE, 'client-2', withdrawals)).toBe('withdrawn')
    expect(await store.agree(ALICE, 'client-3', withdrawals)).toBe(true)
    expect(await stored()).toMatchObject({ clients: ['client-1', 'client-3'] })
  })
})
