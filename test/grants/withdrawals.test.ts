import { describe, expect, it } from 'vitest'
import { ANY_CLIENT } from '../../src/grants/grant.js'
import { isWithdrawn, oneMore, type Withdrawals } from '../../src/grants/withdrawals.js'
import { ALICE, opened } from './opened.js'

const HOUR = 3_600_000

const after = (...clients: readonly string[]): Withdrawals | undefined =>
  clients.reduce<Withdrawals | undefined>((before, clientId) => oneMore(before, clientId), undefined)

describe('a consent', () => {
  it.each<[string, Withdrawals | undefined, number | undefined, boolean]>([
    ['stands where nothing was taken back', after(), 0, false],
    ['is withdrawn by the same client', after('a'), 0, true],
    ['is withdrawn by the end of the connection', after(ANY_CLIENT), 0, true],
    ['stands when another client is ended', after('b'), 0, false],
    ['stands when it was given after that', after('a', ANY_CLIENT), 2, false],
    ['is withdrawn by what came after it, however much came before', after('a', 'b', 'a', 'b'), 2, true],
    ['stands where only others came after it', after('a', 'b', 'b'), 1, false],
    [
      'is withdrawn where it is not known any more what came after it',
      after('a', ...Array<string>(40).fill('b')),
      0,
      true,
    ],
    ['stands once what was taken back is forgotten', undefined, 3, false],
    ['of nobody stands', after(ANY_CLIENT), undefined, false],
  ])('%s', (_, withdrawals, known, isIt) => {
    expect(isWithdrawn(withdrawals, ['a', ANY_CLIENT], known)).toBe(isIt)
  })

  it('costs a record the room of twenty clients at most', () => {
    const many = after(...Array.from({ length: 100 }, (_, index) => `client-${index}`))
    expect(many).toMatchObject({ count: 100 })
    expect(many?.clients).toHaveLength(20)
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
    expect(await store.connect(ALICE, { ...of, withdrawals: await store.withdrawals(ALICE) })).toBeUndefined()
    expect(await store.find(ALICE)).toMatchObject({ grant: { state: 'active', refreshToken: 'first' } })

    await store.disconnect({ ...ALICE, subject: 'bob' }, undefined)
    clock.advance(HOUR)
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

  expect(await store.disconnect(ALICE, undefined)).toBeUndefined()
  expect(await memory.get(key)).toBeUndefined()
})

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
