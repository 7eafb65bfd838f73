import { describe, expect, it, vi } from 'vitest'
import type { Attempt, GrantServer } from '../../src/broker/credential-end.js'
import { createDeletions } from '../../src/broker/deletions.js'
import { readConfig } from '../../src/config/read-config.js'
import { createCodeShares } from '../../src/connect/code-shares.js'
import { createEvents, type McpAuthEvent } from '../../src/events.js'
import { deadGrant, disconnectedGrant, type Credential } from '../../src/grants/grant.js'
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
const DAY = 24 * 60 * MINUTE
const tokenOf = (refreshToken: string): Credential => ({ refreshToken })

/** Deletions of refresh tokens. Without `revoke` their issuer is not configured any more, so that none of them ends. */
function setUp(revoke?: (token: string) => Attempt) {
  const asked: string[] = []
  const server = {
    issuer: () => ALICE.issuer,
    codeGrant: undefined,
    client: { revoke: (token: string) => (asked.push(token), Promise.resolve(revoke?.(token))) },
  } as unknown as GrantServer
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
    serverOf: () => revoke && server,
    endsAlone: false,
    appPasswords: createAppPasswords(nextcloud, transport),
    freshCredentials: createFreshCredentials({ nextcloud, transport }),
    codes: createCodeShares(clock),
    signIns: createSignIns(clock),
  })
  const { store } = grants
  return {
    ...{ ...watched, clock, grants, deletions },
    asked,
    told: () => told.filter(({ type }) => type === 'grant.revoked' || type === 'connect.failed'),
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

it('a credential that is in a grant after all is left alone, and forgotten once no write can end that grant any more', async () => {
  const { connect, deletions, list, ends, clock, look } = setUp()
  const listed = async () =>
    (await list()).map(({ credential }) => 'refreshToken' in credential && credential.refreshToken)
  await connect('in use')

  expect(await deletions.discard(ALICE, tokenOf('in use'))).toBe(false)
  expect(await deletions.discard(ALICE, tokenOf('not in use'))).toBe('pending')
  clock.advance(10 * MINUTE - 1)
  await look()
  expect(await listed()).toEqual(['in use', 'not in use'])
  clock.advance(10 * MINUTE)
  await look()

  expect(await listed()).toEqual(['not in use'])
  expect(ends()).toEqual([])
})

it('a credential whose disconnection failed ends if the write of that arrives minutes later', async () => {
  const { connect, grants, deletions, key, list, clock, look, asked } = setUp(() => true)
  await connect('late')
  const { grant, version } = (await grants.store.read(key))!
  await grants.deletions.put(grants.newDeletion(ALICE, tokenOf('late')))
  clock.advance(MINUTE)
  await look()
  expect(await list()).toHaveLength(1)

  await grants.store.write(key, disconnectedGrant(grant, clock.now()), version)
  clock.advance(10 * MINUTE)
  await look()

  expect([asked, await list()]).toEqual([['late'], []])
  deletions.close()
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

/** Stores the grant of Alice with two refresh tokens, as another instance has left it that could not open it. */
async function leaveSealed({ grants, connect, key, storage }: ReturnType<typeof setUp>) {
  await connect('before')
  await connect('last')
  const { value: sealed, version } = (await grants.records.peek(key))!
  const deletion = grants.newDeletion(ALICE, { sealed, record: key })
  await storage.delete(key, version)
  await grants.deletions.put({ ...deletion, nextAt: deletion.since })
}

describe('a grant that another instance could not open', () => {
  it('is ended with all that is in it, which is told of each', async () => {
    const setup = setUp(() => true)
    await leaveSealed(setup)

    await setup.look()

    expect(setup.asked).toEqual(['last', 'before'])
    expect([await setup.list(), setup.ends()]).toEqual([[], [true, true]])
  })

  it('is kept as what is in it while the server is unavailable, which is asked once', async () => {
    const setup = setUp(() => 'unavailable')
    await leaveSealed(setup)

    await setup.look()

    expect(setup.asked).toEqual(['last'])
    expect((await setup.list()).map(({ credential, tries }) => [credential, tries])).toEqual([
      [{ refreshToken: 'last' }, 1],
      [{ refreshToken: 'before' }, 1],
    ])
    expect(setup.ends()).toEqual([])
  })

  it('is left to those who have its key for 30 days, and then told as not ended', async () => {
    const { grants, list, look, clock, told, key } = setUp(() => true)
    const deletion = grants.newDeletion(ALICE, { sealed: 'of another key', record: key })
    await grants.deletions.put({ ...deletion, nextAt: deletion.since })
    clock.advance(30 * DAY - 1)
    await look()
    expect([(await list()).length, told()]).toEqual([1, []])

    clock.advance(1)
    await look()

    expect(await list()).toEqual([])
    expect(told()).toMatchObject([{ ...ALICE, revoked: false, hint: expect.any(String) as unknown }])
  })
})

describe('a look at what is pending', () => {
  it('asks a server that is unavailable once, and one of another issuer too', async () => {
    const { deletions, asked, look, list, clock, grants } = setUp(() => 'unavailable')
    for (const token of ['one', 'two']) await deletions.end(ALICE, tokenOf(token))
    await grants.deletions.put({
      ...grants.newDeletion({ ...ALICE, issuer: 'https://b.example' }, tokenOf('b')),
      nextAt: 0,
    })
    asked.length = 0
    clock.advance(MINUTE)

    await look()

    expect(asked).toHaveLength(1)
    expect((await list()).map(({ tries }) => tries)).toEqual([2, 2, 1])
  })

  it('tries again after one minute, ten minutes and then each hour', async () => {
    const { deletions, clock, list, look } = setUp(() => 'failed')
    const next = async () => (await list()).map(({ nextAt }) => (nextAt - clock.now()) / MINUTE)[0]!
    await deletions.end(ALICE, tokenOf('failing'))
    const pauses = [await next()]
    for (let count = 0; count < 3; count += 1) {
      clock.advance(pauses.at(-1)! * MINUTE)
      await look()
      pauses.push(await next())
    }
    expect(pauses).toEqual([1, 10, 60, 60])
  })

  it.each<[Attempt, unknown]>([
    ['unavailable', false],
    [true, true],
    ['unsupported', 'unsupported'],
  ])('makes a last attempt after 30 days, and tells of its end: %s', async (attempt, revoked) => {
    const outcomes: Attempt[] = ['unavailable', attempt]
    const { deletions, clock, list, look, told, asked } = setUp(() => outcomes.shift()!)
    await deletions.end(ALICE, tokenOf('old'))
    clock.advance(30 * DAY)
    await look()

    expect(asked).toEqual(['old', 'old'])
    expect(await list()).toEqual([])
    const hint = revoked === false ? { hint: expect.any(String) as unknown } : {}
    expect(told()).toEqual([{ type: 'grant.revoked', ...ALICE, revoked, at: clock.now(), ...hint }])
  })

  it('comes again in a minute where the store fails', async () => {
    const { deletions, clock, look, failing, list, asked, grants } = setUp(() => true)
    await grants.deletions.put({ ...grants.newDeletion(ALICE, tokenOf('left')), nextAt: 0 })
    failing.add('get')
    await look()
    failing.clear()
    expect(asked).toEqual([])

    clock.advance(MINUTE)
    await grants.settle()

    expect([asked, await list()]).toEqual([['left'], []])
    deletions.close()
  })
})

describe('a credential that Nextcloud has just given', () => {
  it.each<[string, (of: ReturnType<typeof setUp>) => Promise<unknown>, readonly string[]]>([
    ['is ended after five minutes', () => Promise.resolve(), ['new']],
    ['is left alone once it is in a grant', ({ connect }) => connect('new'), []],
    ['is left alone once it is noted as stored', ({ deletions }) => deletions.stored(tokenOf('new')), []],
    ['is left alone once it is forgotten', ({ deletions }) => deletions.forget(tokenOf('new')), []],
  ])('%s', async (_, act, ended) => {
    const setup = setUp(() => true)
    const { deletions, clock, look, list, asked } = setup
    await deletions.expect(ALICE, tokenOf('new'))
    await act(setup)
    clock.advance(5 * MINUTE - 1)
    await look()
    expect(asked).toEqual([])
    clock.advance(1)
    await look()
    expect(asked).toEqual(ended)
    clock.advance(10 * MINUTE)
    await look()

    expect([asked, await list()]).toEqual([ended, []])
  })

  it('is noted by nobody in place of one whom its grant had, and who has ended that', async () => {
    const { deletions, grants, list } = setUp()
    const ended = grants.newDeletion(ALICE, tokenOf('new'))
    await grants.deletions.put(ended)

    expect(await deletions.expect(ALICE, tokenOf('new'))).toBe(true)
    await deletions.stored(tokenOf('new'))

    expect(await list()).toMatchObject([{ note: ended.note, nextAt: ended.nextAt }])
  })

  it('is ended after its time where it was noted for a later one', async () => {
    const { deletions, clock, look, asked } = setUp(() => true)
    await deletions.expect(ALICE, tokenOf('new'), { until: clock.now() + 20 * MINUTE })
    clock.advance(25 * MINUTE - 1)
    await look()
    expect(asked).toEqual([])

    clock.advance(1)
    await look()

    expect(asked).toEqual(['new'])
  })

  it.each([
    ['is ended after ten minutes', () => Promise.resolve(), ['new']],
    ['is left alone if it is in a grant then', ({ connect }: ReturnType<typeof setUp>) => connect('new'), []],
  ])('and whose write had no answer %s', async (_, act, ended) => {
    const setup = setUp(() => true)
    const { deletions, clock, look, asked, list } = setup
    await deletions.leave(ALICE, tokenOf('new'))
    await act(setup)
    clock.advance(10 * MINUTE - 1)
    await look()
    expect(asked).toEqual([])

    clock.advance(1)
    await look()

    expect([asked, await list()]).toEqual([ended, []])
  })

  it('that came too late for its grant is ended in place of the one before, which is told', async () => {
    const { deletions, grants, asked, list, ends } = setUp(() => true)
    const spent = grants.newDeletion(ALICE, tokenOf('spent'))
    await grants.deletions.put({ ...spent, nextAt: Infinity })

    await deletions.takeOver(ALICE, tokenOf('late'), spent.id)
    await grants.settle()

    expect([asked, await list(), ends()]).toEqual([['late'], [], [true]])
  })
})

it('of a user whom Nextcloud has not named is told that the connection has failed', async () => {
  const { grants, clock, look, told } = setUp()
  const nobody = { issuer: ALICE.issuer, subject: '' }
  await grants.deletions.put({ ...grants.newDeletion(nobody, tokenOf('unnamed')), nextAt: 0 })
  clock.advance(30 * DAY)
  await look()
  const hint = expect.any(String) as unknown
  expect(told()).toMatchObject([{ type: 'connect.failed', reason: 'answer', issuer: ALICE.issuer, hint }])
})
