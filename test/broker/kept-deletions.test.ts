import { expect, it, vi } from 'vitest'
import { createDeletions } from '../../src/broker/deletions.js'
import { readConfig } from '../../src/config/read-config.js'
import { createCodeShares } from '../../src/connect/code-shares.js'
import { createEvents, type McpAuthEvent } from '../../src/events.js'
import { deadGrant, type Credential } from '../../src/grants/grant.js'
import { createGrants } from '../../src/grants/open-grants.js'
import { createAppPasswords } from '../../src/nextcloud/app-passwords.js'
import { createFreshCredentials } from '../../src/nextcloud/fresh-credentials.js'
import { createSignIns } from '../../src/nextcloud/sign-ins.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { createTransport } from '../../src/transport/transport.js'
import { manualClock } from '../support/clock.js'
import { turn } from '../support/promises.js'
import { LEAST } from '../support/refusal.js'
import { watchedStorage } from '../support/storages.js'

const ALICE = { issuer: 'https://idp.example.com', subject: 'alice' }
const MINUTE = 60_000
const tokenOf = (refreshToken: string): Credential => ({ refreshToken })

/** Deletions of refresh tokens whose issuer is not configured any more, so that none of them ends. */
function setUp() {
  const clock = manualClock()
  const watched = watchedStorage(new MemoryStorage({}, clock))
  const told: McpAuthEvent[] = []
  const events = createEvents((event) => told.push(event), clock)
  const config = readConfig({ ...LEAST, nextcloud: { url: 'https://cloud.example.com', mode: 'pass-through' } }, {})
  const nextcloud = config.nextcloud!
  const transport = createTransport(config.http, clock, events)
  const grants = createGrants({
    config,
    grants: {
      encryptionKeys: [new Uint8Array(32)],
      credential: 'refresh-token',
      nextcloud: nextcloud.base,
      endsAlone: false,
      askedFor: '',
    },
    storage: watched.storage,
    clock,
    events,
  })
  const deletions = createDeletions({
    ...{ grants, clock, events },
    serverOf: () => undefined,
    endsAlone: false,
    appPasswords: createAppPasswords(nextcloud, transport),
    freshCredentials: createFreshCredentials({ nextcloud, transport }),
    codes: createCodeShares(clock),
    signIns: createSignIns(clock),
  })
  const { store } = grants
  return {
    ...{ ...watched, clock, grants, deletions },
    key: store.keyOf(ALICE),
    connect: (refreshToken: string) =>
      store.connect(ALICE, { refreshToken, fingerprint: refreshToken, clientId: 'client', scopes: [] }),
    list: () => grants.deletions.list(),
    ends: () => told.flatMap((event) => (event.type === 'grant.revoked' ? [event.revoked] : [])),
    /** Looks once at what is due. */
    look: async (): Promise<void> => {
      deletions.start()
      await grants.settle()
      for (let turns = 0; turns < 5; turns += 1) await turn()
    },
  }
}

it('a deletion that a process gives up for want of room is told, and what it has forgotten is not', async () => {
  const { deletions, ends, failing } = setUp()
  for (const call of ['get', 'put', 'delete'] as const) failing.add(call)
  expect(await deletions.end(ALICE, tokenOf('the oldest'))).toBe('pending')
  for (let count = 0; count < 9_999; count += 1) await deletions.forget(tokenOf(`${count}`))
  expect(ends()).toEqual([])

  await deletions.forget(tokenOf('one more'))
  expect(ends()).toEqual([false])
  await deletions.forget(tokenOf('another one'))
  expect(ends()).toEqual([false])
})

it('a credential that is in a grant after all is left alone, and forgotten', async () => {
  const { connect, deletions, list, ends } = setUp()
  await connect('in use')

  expect(await deletions.discard(ALICE, tokenOf('in use'))).toBe(false)
  expect(await deletions.discard(ALICE, tokenOf('not in use'))).toBe('pending')

  expect((await list()).map(({ credential }) => credential)).toMatchObject([{ refreshToken: 'not in use' }])
  expect(ends()).toEqual([])
})

it('a credential that may be in a grant which does not open is left alone', async () => {
  const { deletions, key, list, look, clock, storage } = setUp()
  expect(await deletions.end(ALICE, tokenOf('perhaps in use'))).toBe('pending')
  await storage.put(key, 'not to be opened', null)
  clock.advance(MINUTE)

  await look()

  expect(await list()).toMatchObject([{ tries: 1 }])
})

it('an attempt that fails after close() is kept for others, and leaves no timer behind', async () => {
  const { deletions, clock, list } = setUp()
  deletions.close()
  const after = vi.spyOn(clock, 'after')

  expect(await deletions.end(ALICE, tokenOf('left'))).toBe('pending')

  expect(await list()).toHaveLength(1)
  expect(after.mock.calls.map(([ms]) => ms)).not.toContain(MINUTE)
})

it('a grant that another instance could not open, and in which nothing is left to end, is forgotten', async () => {
  const { grants, connect, key, list, look, ends } = setUp()
  await connect('refused')
  const { grant, version } = (await grants.store.read(key))!
  await grants.store.write(key, deadGrant(grant, 'refused', 0), version)
  const sealed = (await grants.records.peek(key))!.value
  const deletion = grants.newDeletion(ALICE, { sealed, record: key })
  await grants.deletions.put({ ...deletion, nextAt: deletion.since })

  await look()

  expect([await list(), ends()]).toEqual([[], []])
})

it('a credential that the list has no room for is not ended, which is told', async () => {
  const { deletions, list, ends } = setUp()

  expect(await deletions.end(ALICE, tokenOf('x'.repeat(50_000)))).toBe(false)

  expect([await list(), ends()]).toEqual([[], [false]])
})
