import { describe, expect, it, vi } from 'vitest'
import { agreedAt, refusedGrant } from '../../src/grants/grant.js'
import { recordKey } from '../../src/grants/record-key.js'
import { createUses, forgetUses, lastUseOf, readUses } from '../../src/grants/uses.js'
import { turn } from '../support/promises.js'
import { ALICE, opened, OWNER } from './opened.js'

const KEY = recordKey('use', OWNER, ALICE.issuer, ALICE.subject)
const HOUR = 3_600_000
const DELAY = 600_000

/** Alice has agreed to two clients. */
async function setUp() {
  const setup = opened()
  const { records, clock, store, key, calls, connect } = setup
  const instance = () =>
    createUses({ records, clock, owner: OWNER, grantOf: async () => (await store.read(key))?.grant })
  await connect('first', 'client-1')
  await connect('second', 'client-2')
  calls.length = 0
  const stored = async () => Object.fromEntries(await readUses(records, OWNER, ALICE))
  return { ...setup, uses: instance(), instance, stored }
}

describe('a use', () => {
  it('is stored in the background within ten minutes, with those of the user’s other clients', async () => {
    const { uses, clock, calls, stored } = await setUp()
    const first = clock.now()
    uses.note(ALICE, 'client-1')
    clock.advance(1_000)
    uses.note(ALICE, 'client-2')
    await turn()
    expect(calls).toEqual([])

    clock.advance(DELAY)
    await uses.settle()

    expect(await stored()).toEqual({ 'client-1': first, 'client-2': first + 1_000 })
    expect(calls.filter((call) => call === 'put')).toHaveLength(1)
  })

  it('is stored at most once an hour, whichever instance noted it', async () => {
    const { uses, instance, clock, calls, stored } = await setUp()
    const another = instance()
    const first = clock.now()
    for (let minutes = 0; minutes < 59; minutes += 1) {
      uses.note(ALICE, 'client-1')
      another.note(ALICE, 'client-1')
      clock.advance(60_000)
      await uses.settle()
      await another.settle()
    }
    expect(calls.filter((call) => call === 'put')).toHaveLength(1)
    expect(await stored()).toEqual({ 'client-1': first })

    clock.advance(60_000)
    uses.note(ALICE, 'client-1')
    await uses.settle()
    expect(await stored()).toEqual({ 'client-1': first + HOUR })
  })

  it('is stored in its time again and again, without a call that waits for it, and once in the record', async () => {
    const { uses, clock, stored, records } = await setUp()
    const after = vi.spyOn(clock, 'after')
    for (let hours = 0; hours < 3; hours += 1) {
      after.mockClear()
      for (const id of ['client-1', 'client-2']) uses.note(ALICE, id)
      expect(after.mock.calls.filter(([ms]) => ms === DELAY)).toHaveLength(1)
      const now = clock.now()
      clock.advance(DELAY)
      await vi.waitFor(async () => expect(await stored()).toEqual({ 'client-1': now, 'client-2': now }))
      await uses.settle()
      clock.advance(HOUR)
    }
    expect((await records.read(KEY))?.value).toMatchObject({ uses: { length: 2 } })
  })

  it('is the last one, whether this instance or another noted it', async () => {
    const { uses, instance, clock } = await setUp()
    uses.note(ALICE, 'client-1')
    clock.advance(1_000)
    const another = instance()
    another.note(ALICE, 'client-1')
    await another.settle()

    expect(await uses.read(ALICE)).toEqual(new Map([['client-1', clock.now()]]))
    expect(await another.read(ALICE)).toEqual(new Map([['client-1', clock.now()]]))
  })

  it('is known of a hundred clients before they are stored, those that were used last', async () => {
    const { uses, clock } = await setUp()
    for (let index = 0; index < 100; index += 1) uses.note(ALICE, `many-${index}`)
    clock.advance(HOUR)
    for (const id of ['many-1', 'one more', 'another']) uses.note(ALICE, id)

    const known = await uses.read(ALICE)

    expect([known.size, known.get('many-1'), known.has('many-2')]).toEqual([100, clock.now(), false])
  })

  it('is known to the instance at once', async () => {
    const { uses, clock } = await setUp()
    uses.note(ALICE, 'client-1')

    expect(await uses.read(ALICE)).toEqual(new Map([['client-1', clock.now()]]))
  })

  it('is stored beside what another instance stores meanwhile', async () => {
    const { uses, instance, storage, stored, clock } = await setUp()
    const another = instance()
    another.note(ALICE, 'client-2')
    const put = storage.put.bind(storage)
    vi.spyOn(storage, 'put').mockImplementationOnce(async (...args) => {
      await another.settle()
      return put(...args)
    })
    uses.note(ALICE, 'client-1')

    await uses.settle()

    expect(await stored()).toEqual({ 'client-1': clock.now(), 'client-2': clock.now() })
  })

  it.each<[call: 'put' | 'delete', ended: string | undefined, left: readonly string[]]>([
    ['put', 'client-1', ['client-2']],
    ['delete', undefined, []],
  ])('that another instance stores meanwhile is deleted by a disconnection too: %s', async (call, ended, left) => {
    const { uses, instance, storage, stored, records, clock } = await setUp()
    for (const id of ['client-1', 'client-2']) uses.note(ALICE, id)
    await uses.settle()
    clock.advance(HOUR)
    const another = instance()
    another.note(ALICE, 'client-2')
    const own = storage[call].bind(storage) as (...args: unknown[]) => Promise<never>
    vi.spyOn(storage, call).mockImplementationOnce(async (...args: unknown[]) => {
      await another.settle()
      return own(...args)
    })

    await forgetUses(records, OWNER, ALICE, ended)

    expect(Object.keys(await stored())).toEqual(left)
  })

  it.each(['get', 'put'] as const)('fails nothing while the store fails at %s, and is noted again', async (call) => {
    const { uses, clock, failing, stored } = await setUp()
    failing.add(call)
    uses.note(ALICE, 'client-1')
    await uses.settle()
    failing.clear()
    expect(await stored()).toEqual({})

    uses.note(ALICE, 'client-1')
    await uses.settle()

    expect(await stored()).toEqual({ 'client-1': clock.now() })
  })

  it.each<[what: string, ended: string | undefined, left: readonly string[]]>([
    ['all of its user', undefined, []],
    ['one client', 'client-1', ['client-2']],
  ])('is not stored after a disconnection of %s, and what was stored is deleted', async (_what, ended, left) => {
    const { uses, instance, store, stored, storage } = await setUp()
    for (const id of ['client-1', 'client-2']) uses.note(ALICE, id)
    await uses.settle()
    const late = instance()
    late.note(ALICE, 'client-1')

    await store.disconnect(ALICE, ended)
    expect(Object.keys(await stored())).toEqual(left)
    await late.settle()

    expect(Object.keys(await stored())).toEqual(left)
    if (left.length === 0) expect(await storage.get(KEY)).toBeUndefined()
  })

  it.each([
    ['with the last client that has consent, also of others', 'client-1', undefined, false],
    ['by a look at the page that ends the grant', undefined, false, false],
    ['not by a look at the page that keeps it', undefined, true, true],
  ])('is forgotten %s', async (_how, ended, isKept, stays) => {
    const { uses, store, key, storage } = await setUp()
    for (const id of ['client-1', 'client-2']) uses.note(ALICE, id)
    await uses.settle()
    const { grant, version } = (await store.read(key))!
    await store.write(key, { ...grant, clients: ['client-1'] }, version)

    if (isKept === undefined) await store.disconnect(ALICE, ended)
    else await store.endUnless(ALICE, () => Promise.resolve(isKept))

    expect((await storage.get(KEY)) !== undefined).toBe(stays)
  })

  it('of a hundred clients at most is kept, and of no client that the user has not agreed to', async () => {
    const { uses, clock, connect, stored } = await setUp()
    for (let index = 0; index < 120; index += 1) {
      await connect(`token-${index}`, `many-${index}`)
      clock.advance(1)
      uses.note(ALICE, `many-${index}`)
    }
    await uses.settle()
    const known = Object.keys(await stored())
    expect(known.length).toBeGreaterThan(90)
    expect(known.length).toBeLessThanOrEqual(100)

    uses.drop(ALICE, undefined)
    uses.note(ALICE, 'stranger')
    await uses.settle()
    expect(Object.keys(await stored())).not.toContain('stranger')
  })

  it('of clients with long ids takes a record of bounded size', async () => {
    const { uses, storage, connect } = await setUp()
    const put = vi.spyOn(storage, 'put')
    for (let index = 0; index < 90; index += 1) uses.note(ALICE, `${index}`.padEnd(4_000, 'x'))
    await connect('third', 'client-3')
    await uses.settle()

    const written = put.mock.calls.filter(([key]) => key === KEY).map(([, value]) => value.length)
    expect(written.length).toBeGreaterThan(0)
    expect(Math.max(...written)).toBeLessThan(16_000)
  })

  it('of one client is forgotten with that client, and those of the others are known though nothing is stored yet', async () => {
    const { uses, clock, connect, stored } = await setUp()
    for (const id of ['client-1', 'client-2']) {
      await connect(`token of ${id}`, id)
      uses.note(ALICE, id)
    }

    uses.drop(ALICE, 'client-1')

    expect([...(await uses.read(ALICE)).keys()]).toEqual(['client-2'])
    clock.advance(1)
    uses.note(ALICE, 'client-1')
    await uses.settle()
    expect(Object.keys(await stored()).sort()).toEqual(['client-1', 'client-2'])
  })

  it('is kept of no connection that is dead by then', async () => {
    const { uses, store, key, stored } = await setUp()
    uses.note(ALICE, 'client-1')
    const { grant, version } = (await store.read(key))!
    await store.write(key, refusedGrant(grant, 0), version)

    await uses.settle()

    expect(await stored()).toEqual({})
  })

  it('costs the store nothing where there is none that is new, and is forgotten where there is none', async () => {
    const { uses, calls, records } = await setUp()
    uses.note(ALICE, 'client-1')
    await uses.settle()
    calls.length = 0
    uses.note(ALICE, 'client-1')
    await uses.settle()
    expect(calls).toEqual([])

    for (let times = 0; times < 2; times += 1) expect(await forgetUses(records, OWNER, ALICE, undefined)).toBe(true)
  })

  it('in a format that is not known is none', async () => {
    const { records, stored } = await setUp()
    await records.write(KEY, { format: 2, uses: [['client-1', 1]] }, null)
    expect(await stored()).toEqual({})
  })

  it('is of a consent where it came after it', async () => {
    const grant = (await (await setUp()).store.find(ALICE))!.grant
    const since = agreedAt(grant, 'client-1')
    const lastUse = (at: number) => lastUseOf(grant, 'client-1', new Map([['client-1', at]]))

    expect([lastUse(since - 1), lastUse(since), lastUse(since + 1)]).toEqual([undefined, since, since + 1])
    expect(lastUseOf(grant, 'client-1', new Map())).toBeUndefined()
  })

  it('is no reason to fail where the record does not open', async () => {
    const { uses, clock, storage, stored } = await setUp()
    await storage.put(KEY, 'not to be opened', null)
    expect(await stored()).toEqual({})

    uses.note(ALICE, 'client-1')
    await uses.settle()

    expect(await stored()).toEqual({ 'client-1': clock.now() })
  })
})
