import { describe, expect, it, vi } from 'vitest'
import type { Credential, Grant, Identity, SealedGrant } from '../../src/grants/grant.js'
import { createGrantStore } from '../../src/grants/grant-store.js'
import { formerKey, recordKey } from '../../src/grants/record-key.js'
import { oneMore } from '../../src/grants/withdrawals.js'
import { ALICE, opened, OWNER } from './opened.js'

const FORMER = formerKey('grant', OWNER, ALICE.issuer, ALICE.subject)
const WITHOUT_CREDENTIAL: Grant = {
  format: 1,
  state: 'active',
  generation: 3,
  fingerprint: 'of 0.3',
  scopes: [],
  clients: ['client-1'],
  connectedAt: 1_000,
}
const OF_0_3: Grant = { ...WITHOUT_CREDENTIAL, refreshToken: 'of 0.3' }

type Setup = ReturnType<typeof setUp>

/** A store that keeps what it is told to note, in which another instance may come between a look and the write that follows it. */
function setUp() {
  const setup = opened()
  const { records, clock, storage } = setup
  const noted: (Credential | SealedGrant)[] = []
  const note = (_: Identity, credential: Credential | SealedGrant): Promise<boolean> => {
    noted.push(credential)
    return Promise.resolve(true)
  }
  const store = createGrantStore({ records, owner: OWNER, credential: 'refresh-token', endsAlone: false, note, clock })
  return {
    ...setup,
    store,
    noted,
    /** Does something just before the next write, as another instance. */
    meanwhile: (call: 'put' | 'delete', act: () => Promise<unknown>) => {
      const own = storage[call].bind(storage) as (...args: unknown[]) => Promise<never>
      vi.spyOn(storage, call).mockImplementationOnce(async (...args: unknown[]) => {
        await act()
        return own(...args)
      })
    },
    leaveFormer: async (grant = OF_0_3) => storage.put(FORMER, await records.seal(FORMER, grant), null),
  }
}

describe('a grant of a version before 0.4 that another instance takes over meanwhile', () => {
  it.each<[string, (setup: Setup) => Promise<unknown>, Partial<Grant>]>([
    ['is disconnected', ({ store }) => store.disconnect(ALICE, undefined), { state: 'disconnected', clients: [] }],
    [
      'is ended by a look at the page',
      ({ store }) => store.endUnless(ALICE, () => Promise.resolve(false)),
      { state: 'disconnected' },
    ],
    [
      'notes a no',
      ({ store }) => store.withdraw(ALICE, 'client-2'),
      { state: 'active', withdrawals: oneMore(undefined, 'client-2') },
    ],
    [
      'is replaced by a new connection',
      ({ connect }) => connect('second', 'client-2'),
      { refreshToken: 'second', clients: ['client-1', 'client-2'] },
    ],
  ])('%s', async (_, change, expected) => {
    const setup = setUp()
    await setup.leaveFormer()
    setup.meanwhile('put', () => setup.store.find(ALICE))

    await change(setup)

    expect(await setup.stored()).toMatchObject(expected)
    expect(await setup.records.peek(FORMER)).toBeUndefined()
  })
})

describe('a record that does not open', () => {
  it.each([
    ['of today', 'put'],
    ['of a version before 0.4', 'put'],
    ['of a version before 0.4', 'delete'],
  ] as const)(
    '%s, in place of which another instance connects meanwhile, leaves that connection to be ended: %s',
    async (which, call) => {
      const { store, storage, connect, stored, key, meanwhile, noted } = setUp()
      await storage.put(which === 'of today' ? key : FORMER, 'not to be opened', null)
      meanwhile(call, () => connect('second'))

      expect(await store.disconnect(ALICE, undefined)).toMatchObject({
        grant: { refreshToken: 'second' },
        retired: { credential: { refreshToken: 'second' } },
        remains: false,
      })

      expect(await stored()).toMatchObject({ state: 'disconnected' })
      expect(noted).toEqual([
        { sealed: 'not to be opened', record: which === 'of today' ? key : FORMER },
        { refreshToken: 'second' },
      ])
    },
  )
})

describe('the end of one client', () => {
  it('leaves a client that the user lets in meanwhile', async () => {
    const { store, connect, stored, meanwhile } = setUp()
    await connect('first', 'client-1')
    await store.agree(ALICE, 'client-2')
    meanwhile('put', () => store.agree(ALICE, 'client-3'))

    expect(await store.disconnect(ALICE, 'client-1')).toMatchObject({ remains: true, retired: undefined })

    expect(await stored()).toMatchObject({ clients: ['client-2', 'client-3'], refreshToken: 'first' })
  })

  it('by a no is noted in the connection that is made meanwhile', async () => {
    const { store, connect, stored, meanwhile } = setUp()
    await connect('first', 'client-1')
    meanwhile('put', () => connect('second', 'client-1'))

    expect(await store.withdraw(ALICE, 'client-2')).toMatchObject({ refreshToken: 'second' })

    expect(await stored()).toMatchObject({ refreshToken: 'second', withdrawals: { count: 2 } })
  })
})

describe('a credential that a tombstone has until it is noted', () => {
  const UNENDED = { refreshToken: 'first' }
  async function ended() {
    const setup = setUp()
    await setup.connect('first')
    await setup.store.disconnect(ALICE, undefined)
    const { grant, version } = (await setup.store.read(setup.key))!
    await setup.store.write(setup.key, { ...grant, unended: UNENDED }, version)
    return setup
  }

  it('is left out once it is noted', async () => {
    const { store, stored } = await ended()
    await store.settle(ALICE, [UNENDED])
    expect(await stored()).toMatchObject({ state: 'disconnected', withdrawals: { count: 2 } })
    expect((await stored())?.unended).toBeUndefined()
  })

  it('is left out of what another instance writes meanwhile', async () => {
    const { store, stored, meanwhile } = await ended()
    meanwhile('put', () => store.withdraw(ALICE, 'client-2'))

    await store.settle(ALICE, [UNENDED])

    expect(await stored()).toMatchObject({ state: 'disconnected', withdrawals: { count: 3 } })
    expect((await stored())?.unended).toBeUndefined()
  })

  it('stays if it is of another disconnection, as do the replaced tokens of that one', async () => {
    const { store, stored, key } = await ended()
    const { grant, version } = (await store.read(key))!
    const [mine, others] = [{ refreshToken: 'mine' }, { refreshToken: "another's" }]
    await store.write(key, { ...grant, replaced: [mine, others] }, version)

    await store.settle(ALICE, [mine])

    expect(await stored()).toMatchObject({ state: 'disconnected', unended: UNENDED, replaced: [others] })
    await store.settle(ALICE, [UNENDED, others])
    const { unended, replaced } = (await stored())!
    expect([unended, replaced]).toEqual([undefined, undefined])
  })

  it('is no reason to change a connection that was made meanwhile, nor a tombstone that has none', async () => {
    const { store, connect, stored, calls } = setUp()
    const writesOf = async (work: () => Promise<unknown>): Promise<number> => {
      calls.length = 0
      await work()
      return calls.filter((call) => call === 'put').length
    }
    await connect('first')
    await connect('second')
    expect(await writesOf(() => store.settle(ALICE, [UNENDED]))).toBe(0)
    expect(await stored()).toMatchObject({ refreshToken: 'second', replaced: [{ refreshToken: 'first' }] })
    await store.disconnect(ALICE, undefined)
    expect(await writesOf(() => store.settle(ALICE, [UNENDED]))).toBe(0)
    expect(await stored()).toMatchObject({ state: 'disconnected' })
  })
})

describe('what a version before 0.4 has stored beside a grant', () => {
  it.each<[string, Partial<Grant>, readonly object[]]>([
    ['is noted with its own credential', { fingerprint: 'other', refreshToken: 'other' }, [{ refreshToken: 'other' }]],
    ['is not noted twice where it is the same credential', { fingerprint: 'first', refreshToken: 'first' }, []],
    ['is deleted, and nothing noted, where it has none', { state: 'disconnected' }, []],
  ])('%s', async (_what, former, more) => {
    const { store, connect, records, noted, leaveFormer } = setUp()
    await connect('first')
    await leaveFormer({ ...WITHOUT_CREDENTIAL, ...former })

    await store.disconnect(ALICE, undefined)

    expect(noted).toEqual([{ refreshToken: 'first' }, ...more])
    expect(await records.peek(FORMER)).toBeUndefined()
  })

  it('stays as long as the grant does', async () => {
    const { store, connect, records, noted, leaveFormer } = setUp()
    await connect('first', 'client-1')
    await connect('first', 'client-2')
    await leaveFormer()

    await store.disconnect(ALICE, 'client-1')

    expect(noted).toEqual([])
    expect(await records.peek(FORMER)).toBeDefined()
  })

  it.each([
    ['of the last use of its clients', recordKey('use', OWNER, ALICE.issuer, ALICE.subject)],
    ['of a version before 0.4', FORMER],
  ])('is no reason for an end to fail where the store fails at the record %s', async (_what, failing) => {
    const { store, storage, connect, stored } = setUp()
    await connect('first')
    const get = storage.get.bind(storage)
    vi.spyOn(storage, 'get').mockImplementation((key) =>
      key === failing ? Promise.reject(new Error('unavailable')) : get(key),
    )

    expect(await store.disconnect(ALICE, undefined)).toMatchObject({ remains: false })

    expect(await stored()).toMatchObject({ state: 'disconnected' })
  })
})
