import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { SealedValueError, StorageError } from '../../src/errors/errors.js'
import {
  agreedAt,
  ANY_CLIENT,
  deadGrant,
  disconnectedGrant,
  refusedGrant,
  revivedGrant,
  secretIn,
  serves,
  type Grant,
} from '../../src/grants/grant.js'
import { createGrantStore } from '../../src/grants/grant-store.js'
import { manualClock } from '../support/clock.js'
import { turn } from '../support/promises.js'
import { ALICE, BARE, opened, OWNER } from './opened.js'

const DAY = 24 * 3_600_000

describe('a grant', () => {
  it('that lives is kept for good; one that was ended says so for 30 days', async () => {
    const { clock, store, connect, stored } = opened()
    await connect()
    clock.advance(365 * DAY)
    expect(await stored()).toMatchObject({ refreshToken: 'first' })

    await store.disconnect(ALICE, undefined)
    clock.advance(30 * DAY - 1)
    expect(await stored()).toMatchObject({ state: 'disconnected' })
    clock.advance(1)
    expect(await stored()).toBeUndefined()
  })

  it('whose connection is written again, because the first write seemed to fail, keeps the refresh token that it has got since', async () => {
    const { store, key, stored } = opened()
    const connection = {
      connection: 'this one',
      refreshToken: 'first',
      fingerprint: 'first',
      scopes: [],
      withdrawals: 0,
    }
    const connect = () => store.connect(ALICE, { ...connection, clientId: 'client-1' })
    await connect()
    const { grant, version } = (await store.read(key))!
    await store.write(key, { ...grant, refreshToken: 'second', fingerprint: 'second' }, version)

    expect(await connect()).toMatchObject({ retired: undefined })
    expect(await stored()).toMatchObject({ refreshToken: 'second', generation: 1 })

    await store.withdraw(ALICE, 'client-1')
    expect(await connect()).toMatchObject({ retired: undefined })
    await store.disconnect(ALICE, 'client-1')
    expect(await connect()).toBe('withdrawn')
  })

  it.each([
    ['lives', (grant: Grant) => grant],
    ['has been refused since', (grant: Grant) => deadGrant(grant, 'refused', 0)],
    ['was refused and lives again', (grant: Grant) => revivedGrant(refusedGrant(grant, 0))],
  ])(
    'whose connection has made way for another one that %s is not brought back by a write that is repeated',
    async (_, since) => {
      const { store, key, stored } = opened()
      const connect = (connection: string, clientId = 'client-1') =>
        store.connect(ALICE, { connection, refreshToken: connection, fingerprint: connection, scopes: [], clientId })
      for (const connection of ['first', 'second', 'third', 'fourth', 'fifth']) await connect(connection)
      const { grant, version } = (await store.read(key))!
      await store.write(key, since(grant), version)
      const before = await stored()

      for (const connection of ['first', 'fourth', 'fifth']) {
        expect(await connect(connection)).toMatchObject({ retired: undefined })
      }
      expect(await connect('fourth', 'client-2')).toBe('withdrawn')
      expect(await stored()).toEqual(before)
      // Longer than one is being stored, they are not remembered.
      await connect('sixth')
      expect((await stored())?.earlier).toEqual(['fifth', 'fourth', 'third', 'second'])
    },
  )

  it('whose connection has made way for that of another account serves nothing of the first when its write is repeated', async () => {
    const { store, stored } = opened()
    const connect = (connection: string, isSameAccount: boolean) =>
      store.connect(ALICE, {
        ...{ connection, refreshToken: connection, fingerprint: connection, scopes: [], clientId: 'client-1' },
        ...{ withdrawals: 0, isSameAccount: () => Promise.resolve(isSameAccount) },
      })
    await connect('first', true)
    await connect('second', false)

    expect(await connect('first', true)).toEqual({ retired: undefined, withdrawals: 0 })
    expect(await stored()).toMatchObject({ refreshToken: 'second', generation: 2 })
    // What comes of it has ended with the account.
    expect(await store.isOver(ALICE, { clientId: 'client-1', withdrawals: 0 })).toBe(true)
    expect(await connect('second', true)).toEqual({ retired: undefined, withdrawals: 2 })
    await store.withdraw(ALICE, 'client-1')
    expect(await connect('first', true)).toBe('withdrawn')
    expect(await connect('second', true)).toEqual({ retired: undefined, withdrawals: 3 })
  })

  it('that is connected again lives for good again', async () => {
    const { clock, store, connect, stored } = opened()
    await connect()
    await store.disconnect(ALICE, undefined)
    await connect('second')

    clock.advance(365 * DAY)

    expect(await stored()).toMatchObject({ refreshToken: 'second', generation: 3 })
  })

  it('of another mode leaves its clients to be asked again when it is replaced', async () => {
    const { clock, records, key, connect } = opened()
    await connect('first', 'client-1')
    const store = createGrantStore({
      records,
      owner: OWNER,
      credential: 'app-password',
      endsAlone: false,
      note: () => Promise.resolve(true),
      clock,
    })
    const connectIn = async (clientId: string) => {
      const appPassword = { loginName: 'alice', password: 'app-password', nextcloud: OWNER.nextcloud }
      await store.connect(ALICE, { appPassword, fingerprint: clientId, clientId, scopes: [] })
      return (await store.read(key))?.grant.clients
    }

    expect(await connectIn('client-2')).toEqual(['client-2'])
    expect(await connectIn('client-3')).toEqual(['client-2', 'client-3'])
  })

  it('serves every client only by the word of the operator, except one that was ended, until the user agrees to it', async () => {
    const { store, connect, stored, key } = opened()
    await connect('first', ANY_CLIENT)
    expect((await stored())?.clients).toEqual([])

    const { grant, version } = (await store.read(key))!
    await store.write(key, { ...grant, clients: [ANY_CLIENT, 'client-1'] }, version)
    const served = async () => {
      const grant = (await stored())!
      return ['client-1', 'client-2', 'client-3'].filter((clientId) => serves(grant, clientId))
    }
    expect(await served()).toEqual(['client-1', 'client-2', 'client-3'])

    expect(await store.disconnect(ALICE, 'client-2')).toMatchObject({ remains: true })
    await store.disconnect(ALICE, 'client-1')
    expect([(await stored())?.clients, await served()]).toEqual([[ANY_CLIENT], ['client-3']])
    await store.agree(ALICE, 'client-2')
    expect(await served()).toEqual(['client-2', 'client-3'])

    await store.disconnect(ALICE, ANY_CLIENT)
    expect(await served()).toEqual(['client-2'])
  })

  it('names its user and its configuration, also when it is dead', async () => {
    const { store, connect, stored } = opened()
    await connect()
    expect(await stored()).toMatchObject({ identity: ALICE, owner: OWNER })

    await store.disconnect(ALICE, undefined)

    expect(await stored()).toMatchObject({ identity: ALICE, owner: OWNER, state: 'disconnected' })
  })

  it('says since when each client is agreed to, whatever it is called', async () => {
    const { clock, connect, stored, store } = opened()
    const ids = ['client-1', '__proto__', 'constructor']
    const times: number[] = []
    for (const id of ids) {
      clock.advance(1_000)
      times.push(clock.now())
      await connect(`token-of-${id}`, id)
    }
    const since = async () => {
      const grant = (await stored())!
      return grant.clients.map((id) => [id, agreedAt(grant, id)])
    }

    expect(await since()).toEqual(ids.map((id, index) => [id, times[index]]))

    await store.disconnect(ALICE, 'client-1')
    clock.advance(1_000)
    await connect('again', 'client-1')
    expect(Object.fromEntries(await since())).toMatchObject({ 'client-1': clock.now(), constructor: times[2] })
  })

  it('that cannot be sealed, and is not written after all, is a failure of nobody', async () => {
    const { store, key, connect } = opened()
    await connect()
    const { grant } = (await store.read(key))!
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    onTestFinished(() => void process.off('unhandledRejection', unhandled))

    const write = store.prepare(key, { ...grant, connectedAt: 1n as never })
    await turn()

    expect(unhandled).not.toHaveBeenCalled()
    await expect(write('')).rejects.toThrow(TypeError)
  })

  it('opens with members that an older version wrote and this one does not know', async () => {
    const { records, key, connect, stored } = opened()
    await connect()
    const { value, version } = (await records.read(key))!
    await records.write(key, { ...(value as object), renewedAt: 1 }, version)

    expect(await stored()).toMatchObject({ refreshToken: 'first' })
  })
})

describe('the consent of a user to one more client', () => {
  it('needs a connection that lives', async () => {
    const { store, connect, stored } = opened()
    expect(await store.agree(ALICE, 'client-2')).toBe(false)
    expect(await stored()).toBeUndefined()

    await connect()
    await store.disconnect(ALICE, undefined)
    expect(await store.agree(ALICE, 'client-2')).toBe(false)
    expect(await stored()).toMatchObject({ state: 'disconnected', clients: [] })
  })

  it('that has it already is left as it was given', async () => {
    const { clock, store, connect, stored, calls } = opened()
    await connect('first', 'client-1')
    const before = clock.now()
    clock.advance(1_000)
    calls.length = 0

    expect(await store.agree(ALICE, 'client-1')).toBe(true)

    expect(calls).toEqual(['get'])
    expect(agreedAt((await stored())!, 'client-1')).toBe(before)
  })

  it('is given to the connection that another instance makes meanwhile', async () => {
    const { store, connect, storage, stored } = opened()
    await connect('first', 'client-1')
    const put = storage.put.bind(storage)
    vi.spyOn(storage, 'put').mockImplementationOnce(async (...args) => {
      await connect('second', 'client-3')
      return put(...args)
    })

    expect(await store.agree(ALICE, 'client-2')).toBe(true)

    expect(await stored()).toMatchObject({ refreshToken: 'second', clients: ['client-1', 'client-3', 'client-2'] })
  })
})

it('a client that had no consent takes none away', async () => {
  const { store, connect, stored } = opened()
  await connect('first', 'client-1')

  expect(await store.disconnect(ALICE, 'another')).toMatchObject({ remains: true, retired: undefined })

  expect(await stored()).toMatchObject({ clients: ['client-1'], state: 'active', refreshToken: 'first' })
})

describe('what is asked of a stored grant', () => {
  const NOW = manualClock().now()
  const appPassword = { loginName: 'alice', password: 'app-password', nextcloud: OWNER.nextcloud }
  const replaced = [{ refreshToken: 'replaced' }, { refreshToken: 'ended', endsAt: NOW }]
  const HELD: Grant = { ...BARE, clients: ['client-1'], connectedAt: NOW, replaced }
  const LIVING: Grant = { ...HELD, refreshToken: 'first' }
  const BASIC: Grant = { ...HELD, appPassword }

  it.each<[what: string, grant: Grant | undefined, held: readonly string[], lives: boolean]>([
    ['none', undefined, [], false],
    ['one that lives by a refresh token', LIVING, ['first', 'replaced'], true],
    ['one whose refresh token was just sent', { ...LIVING, state: 'presented' }, ['first', 'replaced'], true],
    ['one that lives by an app password', BASIC, ['replaced', 'app-password'], false],
    ['one that has ended by itself', deadGrant(LIVING, 'expired', 1), [], false],
    ['one whose app password was refused', refusedGrant(BASIC, 1), ['app-password'], false],
    ['the tombstone of one', disconnectedGrant(LIVING, 1), [], false],
    ['a tombstone with what could not be noted', { ...disconnectedGrant(LIVING, 1), replaced }, [], false],
  ])('tells whether a credential is in use, and which kind it lives by: %s', async (_what, grant, held, lives) => {
    const { store, key } = opened()
    if (grant !== undefined) await store.write(key, grant, null)
    const credentials = [
      ...['first', 'replaced', 'ended', 'another'].map((refreshToken) => ({ refreshToken })),
      { appPassword },
      { code: 'code', verifier: 'verifier' },
    ]

    const holds = await Promise.all(credentials.map((one) => store.holds(ALICE, one)))

    expect(credentials.filter((_, at) => holds[at]).map((one) => secretIn(one))).toEqual(held)
    expect(await store.livesByRefreshToken(ALICE)).toBe(lives)
  })

  it('is answered with care where it does not open', async () => {
    const { store, key, memory } = opened()
    await memory.put(key, 'sealed with another key', null)

    expect(await store.livesByRefreshToken(ALICE)).toBe(true)
    await expect(store.holds(ALICE, { refreshToken: 'first' })).rejects.toThrow(SealedValueError)
    expect(await store.isOfBefore(ALICE, { clientId: 'client-1', withdrawals: 0 })).toBe(false)
  })

  it('tells a token of before from one of now, where there is a connection that may be of another person', async () => {
    const { store, connect, calls } = opened()
    const isOfBefore = (withdrawals: number | undefined) =>
      store.isOfBefore(ALICE, { clientId: 'client-1', withdrawals })
    expect(await isOfBefore(0)).toBe(false)
    await connect('first')
    const before = await store.withdrawals(ALICE)
    expect(await isOfBefore(before)).toBe(false)

    await store.disconnect(ALICE, undefined)
    expect(await isOfBefore(before)).toBe(false)
    await connect('second')
    expect(await isOfBefore(before)).toBe(true)
    expect(await isOfBefore(await store.withdrawals(ALICE))).toBe(false)
    // What is not counted costs no call of the store.
    calls.length = 0
    expect(await isOfBefore(undefined)).toBe(false)
    expect(calls).toEqual([])
  })
})

describe('a change', () => {
  it('is made again when another writer was first, on what is there then', async () => {
    const { connect, storage, stored } = opened()
    await connect('first', 'client-1')
    const put = storage.put.bind(storage)
    vi.spyOn(storage, 'put').mockImplementationOnce(async (...args) => {
      await connect('second', 'client-2')
      return put(...args)
    })

    await connect('third', 'client-3')

    expect(await stored()).toMatchObject({
      refreshToken: 'third',
      clients: ['client-1', 'client-2', 'client-3'],
      generation: 3,
    })
  })

  it('is not made where what is there cannot be read: nothing is taken for absent', async () => {
    const { connect, storage, stored } = opened()
    await connect()
    vi.spyOn(storage, 'get').mockRejectedValueOnce(new Error('unavailable'))

    await expect(connect('second')).rejects.toThrow(StorageError)

    expect(await stored()).toMatchObject({ refreshToken: 'first', generation: 1 })
  })
})
