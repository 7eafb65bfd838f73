import { describe, expect, it, vi } from 'vitest'
import { SealedValueError } from '../../src/errors/errors.js'
import { agreedAt, type Grant } from '../../src/grants/grant.js'
import { createGrantStore } from '../../src/grants/grant-store.js'
import { formerKey, recordKey } from '../../src/grants/record-key.js'
import { ALICE, opened, OWNER } from './opened.js'

const FORMER = formerKey('grant', OWNER, ALICE.issuer, ALICE.subject)
const FORMER_LEASE = formerKey('lease', OWNER, FORMER)

const WITHOUT_CREDENTIAL: Grant = {
  format: 1,
  state: 'active',
  generation: 3,
  fingerprint: 'first',
  scopes: ['openid'],
  clients: ['client-1', 'client-2'],
  connectedAt: 1_000,
}
const GRANT: Grant = { ...WITHOUT_CREDENTIAL, refreshToken: 'first' }
const APP_PASSWORD = { loginName: 'alice', password: 'app-password', nextcloud: 'https://cloud.example.com/' }
const ofNextcloud = (nextcloud: string): Grant => ({
  ...WITHOUT_CREDENTIAL,
  appPassword: { ...APP_PASSWORD, nextcloud },
})

/** A store in which a version before 0.4 has left a grant. */
async function setUp(grant = GRANT) {
  const setup = opened()
  const { records, clock } = setup
  const version = await records.write(FORMER, grant, null)
  const storeOf = (credential: 'refresh-token' | 'app-password', owner = OWNER) =>
    createGrantStore({ records, owner, credential, endsAlone: false, note: () => Promise.resolve(true), clock })
  return { ...setup, version: version!, storeOf, former: () => records.peek(FORMER) }
}

describe('a grant of a version before 0.4', () => {
  it('is found, and from then on has its user, its configuration and the key of today', async () => {
    const { store, stored, former } = await setUp()

    const found = await store.find(ALICE)

    expect(found?.grant).toEqual({ ...GRANT, identity: ALICE, owner: OWNER })
    expect(await stored()).toEqual(found?.grant)
    expect(await former()).toBeUndefined()
    expect(await store.find(ALICE)).toEqual(found)
  })

  it('is looked at without a change', async () => {
    const { store, version, former, key, records } = await setUp()

    expect((await store.look(ALICE))?.grant).toEqual({ ...GRANT, identity: ALICE, owner: OWNER })

    expect(await former()).toMatchObject({ version })
    expect(await records.peek(key)).toBeUndefined()
  })

  it('costs one read more, once, and so does a user who never connected', async () => {
    const { store, calls } = await setUp()
    const callsOf = async (subject: string) => {
      calls.length = 0
      await store.find({ ...ALICE, subject })
      return calls.join(' ')
    }

    expect(await callsOf('alice')).toBe('get get put delete')
    expect(await callsOf('alice')).toBe('get')
    expect(await callsOf('bob')).toBe('get get')
  })

  it('has agreed to its clients when it was connected, also once another client has come', async () => {
    const { clock, connect, stored } = await setUp()
    clock.advance(5_000)

    await connect('second', 'client-3')

    const grant = (await stored())!
    expect(grant).toMatchObject({
      refreshToken: 'second',
      generation: 4,
      clients: ['client-1', 'client-2', 'client-3'],
    })
    expect(grant.clients.map((id) => agreedAt(grant, id))).toEqual([1_000, 1_000, clock.now()])
  })

  it('is told of by a new connection that replaces it, so that its app password can be deleted', async () => {
    const { storeOf, former } = await setUp(ofNextcloud('https://cloud.example.com/'))
    const appPassword = { ...APP_PASSWORD, password: 'new' }

    const connection = { appPassword, fingerprint: 'new', clientId: 'client-3', scopes: [] }
    expect(await storeOf('app-password').connect(ALICE, connection)).toMatchObject({
      retired: { credential: { appPassword: APP_PASSWORD } },
    })

    expect(await former()).toBeUndefined()
  })

  it.each([
    ['the user', undefined, { state: 'disconnected', clients: [] }, false],
    ['one of two clients', 'client-1', { state: 'active', clients: ['client-2'] }, true],
  ] as const)(
    'is ended by a disconnection of %s, without having been read before',
    async (_who, client, left, remains) => {
      const { store, stored, former } = await setUp()

      expect(await store.disconnect(ALICE, client)).toMatchObject({ grant: { refreshToken: 'first' }, remains })

      expect(await stored()).toMatchObject(left)
      expect(await former()).toBeUndefined()
    },
  )

  it('whose connection is written again, because the first write seemed to fail, has no withdrawals', async () => {
    const { store } = await setUp()
    const connection = { connection: 'this one', refreshToken: 'second', fingerprint: 'second', scopes: [] }
    const connect = () => store.connect(ALICE, { ...connection, clientId: 'client-1' })

    expect(await connect()).toMatchObject({ withdrawals: 0 })
    expect(await connect()).toEqual({ retired: undefined, withdrawals: 0 })
  })

  it.each([[{ ...GRANT, format: 2 }], ['text'], [null]])(
    'of a format that is not known is an error and no absence: %j',
    async (value) => {
      const { store, storage, records, former } = await setUp()
      const sealed = await records.seal(FORMER, value)
      await storage.put(FORMER, sealed, (await former())?.version ?? null)

      await expect(store.find(ALICE)).rejects.toThrow(SealedValueError)

      expect(await former()).toMatchObject({ value: sealed })
    },
  )

  it('that is dead says so on', async () => {
    const { store } = await setUp({
      ...WITHOUT_CREDENTIAL,
      state: 'needs-reconnect',
      lastError: { code: 'refused', at: 1 },
    })

    expect((await store.find(ALICE))?.grant).toMatchObject({ state: 'needs-reconnect', owner: OWNER })
  })

  it.each([
    ['a refresh token, where app passwords are kept', GRANT, 'app-password'],
    ['an app password, where refresh tokens are kept', ofNextcloud('https://cloud.example.com/'), 'refresh-token'],
    ['an app password of another Nextcloud', ofNextcloud('https://cloud.example.org/'), 'app-password'],
    ['an app password of a Nextcloud at another path', ofNextcloud('https://cloud.example.com/two/'), 'app-password'],
  ] as const)('that holds %s is not seen, and stays', async (_what, grant, credential) => {
    const { storeOf, version, former } = await setUp(grant)

    expect(await storeOf(credential).find(ALICE)).toBeUndefined()
    expect(await storeOf(credential).look(ALICE)).toBeUndefined()

    expect(await former()).toMatchObject({ version })
  })

  it('of another Nextcloud is neither replaced nor ended', async () => {
    const { storeOf, version, former } = await setUp(ofNextcloud('https://cloud.example.org/'))
    const store = storeOf('app-password')

    const connection = { appPassword: APP_PASSWORD, fingerprint: 'new', clientId: 'client-3', scopes: [] }
    expect(await store.connect(ALICE, connection)).toMatchObject({ retired: undefined })
    expect((await store.find(ALICE))?.grant.clients).toEqual(['client-3'])
    await store.disconnect(ALICE, undefined)

    expect(await former()).toMatchObject({ version })
  })

  it.each(['https://cloud.example.com/nextcloud', 'https://cloud.example.com/nextcloud/'])(
    'is found with and without a slash at the end of its address: %s',
    async (url) => {
      const { storeOf } = await setUp(ofNextcloud(url))
      const nextcloud = 'https://cloud.example.com/nextcloud/'

      const found = await storeOf('app-password', { ...OWNER, nextcloud }).find(ALICE)

      expect(found?.grant.appPassword).toEqual({ ...APP_PASSWORD, nextcloud })
    },
  )

  it('that does not open is an error and no absence, until it is replaced or ended', async () => {
    const { store, storage, connect, stored, former } = await setUp()
    await storage.put(FORMER, 'not to be opened', (await former())?.version ?? null)
    await expect(store.find(ALICE)).rejects.toThrow(SealedValueError)
    await expect(store.look(ALICE)).rejects.toThrow(SealedValueError)
    expect(await former()).toMatchObject({ value: 'not to be opened' })

    await connect('second')
    expect(await former()).toBeUndefined()
    expect(await stored()).toMatchObject({ refreshToken: 'second' })
  })

  it('that does not open can be ended, and is absent then', async () => {
    const { store, storage, former } = await setUp()
    await storage.put(FORMER, 'not to be opened', (await former())?.version ?? null)

    expect(await store.disconnect(ALICE, undefined)).toBe('sealed')

    expect(await former()).toBeUndefined()
    expect(await store.find(ALICE)).toBeUndefined()
  })
})

describe('the adoption of a grant', () => {
  it('by many at once ends with one grant, which all have', async () => {
    const { store, former, stored } = await setUp()

    const found = await Promise.all(Array.from({ length: 20 }, () => store.find(ALICE)))

    expect(new Set(found.map((one) => one?.version)).size).toBe(1)
    expect(await stored()).toMatchObject({ refreshToken: 'first' })
    expect(await former()).toBeUndefined()
  })

  it('takes the refresh token that an instance of the earlier version has got meanwhile', async () => {
    const { store, storage, records, version, former } = await setUp()
    const put = storage.put.bind(storage)
    vi.spyOn(storage, 'put').mockImplementationOnce(async (...args) => {
      const written = await put(...args)
      await put(FORMER, await records.seal(FORMER, { ...GRANT, refreshToken: 'rotated' }), version)
      return written
    })

    expect((await store.find(ALICE))?.grant).toMatchObject({ refreshToken: 'rotated' })

    expect(await former()).toBeUndefined()
  })

  it('waits while an instance of the earlier version renews it', async () => {
    const { store, clock, records, former } = await setUp({ ...GRANT, state: 'presented', presentedBy: 'another' })
    const lease = (await records.write(FORMER_LEASE, 'lease', null, 15_000))!
    vi.spyOn(clock, 'sleep').mockImplementationOnce(async () => {
      const { version } = (await former())!
      await records.write(FORMER, { ...GRANT, refreshToken: 'rotated' }, version)
      await records.remove(FORMER_LEASE, lease)
    })

    expect((await store.find(ALICE))?.grant).toMatchObject({ refreshToken: 'rotated' })
  })

  it('leaves a tombstone alone: what was ended is not brought back by what an earlier version stored', async () => {
    const { store, stored, storage, records } = await setUp()
    await store.disconnect(ALICE, undefined)
    await storage.put(FORMER, await records.seal(FORMER, GRANT), null)

    expect((await store.find(ALICE))?.grant).toMatchObject({ state: 'disconnected' })
    expect(await stored()).toMatchObject({ state: 'disconnected' })
  })

  it('leaves nothing that would come back after a disconnection, of what an earlier version stored beside it', async () => {
    const { store, storage, records, former, clock } = await setUp()
    await store.find(ALICE)
    await storage.put(FORMER, await records.seal(FORMER, { ...GRANT, fingerprint: 'of 0.3' }), null)

    await store.disconnect(ALICE, undefined)

    expect(await former()).toBeUndefined()
    clock.advance(31 * 24 * 3_600_000)
    expect(await store.find(ALICE)).toBeUndefined()
  })

  it('fails with the store, and is made up for by the next', async () => {
    const { store, failing, former } = await setUp()
    failing.add('put')
    await expect(store.find(ALICE)).rejects.toMatchObject({ code: 'ERR_STORAGE' })
    expect(await former()).toBeDefined()
    failing.clear()

    expect((await store.find(ALICE))?.grant).toMatchObject({ refreshToken: 'first' })
  })
})

it('no two configurations share the key of a grant', () => {
  const owners = ['clientId', 'resource', 'nextcloud'].map((part) => ({ ...OWNER, [part]: 'other' }))
  const keys = [OWNER, ...owners].map((owner) => recordKey('grant', owner, ALICE.issuer, ALICE.subject))
  expect(new Set([...keys, FORMER]).size).toBe(5)
})
