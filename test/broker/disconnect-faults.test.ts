import { expect, it } from 'vitest'
import { StorageError } from '../../src/errors/errors.js'
import { recordKey } from '../../src/grants/record-key.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { appPasswordWorld } from '../support/login-visits.js'
import { failureOf, turn } from '../support/promises.js'

const ALICE = { subject: 'alice' }

/** `lost`: it is not written. `unanswered`: it is, and nobody hears of it. */
type Fault = 'lost' | 'unanswered'

/** Alice is connected, on a store whose writes can be made to fail: those of her grant, and those of the list of deletions. */
async function setUp() {
  const memory = new MemoryStorage()
  let faults: { readonly grant?: Fault; readonly list?: Fault } = {}
  const storage: StorageAdapter = {
    shared: true,
    get: (key) => memory.get(key),
    list: (page) => memory.list(page),
    delete: (...args) => memory.delete(...args),
    async put(key, ...args) {
      const fault = key === grantKey ? faults.grant : key === listKey ? faults.list : undefined
      if (fault === 'lost') throw new Error('lost')
      const written = await memory.put(key, ...args)
      if (fault === 'unanswered') throw new Error('unanswered')
      return written
    },
  }
  const setup = await appPasswordWorld({ storage })
  const grantKey = setup.grants.store.keyOf({ issuer: setup.as.issuer, ...ALICE })
  const listKey = recordKey('deletions', setup.grants.owner, '0')
  await setup.connectAs('alice')
  return {
    ...setup,
    break: (these: typeof faults) => void (faults = these),
    /** The stored grant, as it is in the store. */
    kept: async () => (await setup.grants.records.read(grantKey))?.value as Record<string, unknown>,
  }
}

it('a disconnection whose note is lost and whose write seems to fail ends the app password when it is repeated', async () => {
  const { auth, nextcloud, stored, kept, ...setup } = await setUp()
  setup.break({ grant: 'unanswered', list: 'lost' })
  expect(await failureOf(auth.revoke(ALICE))).toBeInstanceOf(StorageError)
  expect(await stored()).toMatchObject({ state: 'disconnected' })
  setup.break({})

  expect(await auth.isProvisioned(ALICE)).toBe(false)
  expect(await auth.revoke(ALICE)).toEqual({ revoked: true })

  expect(nextcloud.appPasswords).toEqual([])
  expect(await kept()).not.toHaveProperty('unended')
})

it('a disconnection whose note is lost is carried out, and keeps no app password that has ended', async () => {
  const { auth, nextcloud, kept, ...setup } = await setUp()
  setup.break({ list: 'lost' })

  expect(await auth.revoke(ALICE)).toEqual({ revoked: true })

  expect(nextcloud.appPasswords).toEqual([])
  expect(await kept()).toMatchObject({ state: 'disconnected' })
  expect(await kept()).not.toHaveProperty('unended')
})

it('the next connection ends an app password that a disconnection could not note', async () => {
  const { auth, nextcloud, connectAs, clock, ...setup } = await setUp()
  setup.break({ grant: 'unanswered', list: 'lost' })
  await failureOf(auth.revoke(ALICE))
  setup.break({})
  const { password } = nextcloud.appPasswords[0]!

  clock.advance(1)
  await connectAs('alice')
  for (let turns = 0; turns < 500 && nextcloud.appPasswords.length > 1; turns += 1) await turn()

  expect(nextcloud.appPasswords.map((one) => one.password)).not.toContain(password)
  expect(await auth.isProvisioned(ALICE)).toBe(true)
})

it('a connection that replaces another loses sight of no app password, if its note is lost and its write seems to fail', async () => {
  const { nextcloud, clock, begin, happened, auth, ...setup } = await setUp()
  const { password } = nextcloud.appPasswords[0]!
  const goOn = async (isSo: () => boolean) => {
    for (let steps = 0; steps < 600 && !isSo(); steps += 1) {
      clock.advance(500)
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
  clock.advance(1)
  const { login } = await begin()
  await nextcloud.grant(login, 'alice')
  setup.break({ grant: 'unanswered', list: 'lost' })
  await goOn(() => setup.events.filter(({ type }) => type === 'storage.failed').length > 1)

  setup.break({})
  await goOn(() => nextcloud.appPasswords.length === 1)

  await happened('grant.stored', 2)
  expect(nextcloud.appPasswords.map((one) => one.password)).not.toContain(password)
  expect(await auth.isProvisioned(ALICE)).toBe(true)
})
