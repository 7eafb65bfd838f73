import type { Credential, Identity } from '../../src/grants/grant.js'
import { describe, expect, it, vi } from 'vitest'
import type { LoginAnswerRooms } from '../../src/connect/login-answers.js'
import type { Deletions } from '../../src/broker/deletions.js'
import { createLogins, LOGIN_KNOWN_FOR, type LoginRooms } from '../../src/connect/login-flow.js'
import { createOneTimeRecords } from '../../src/connect/one-time.js'
import { StorageError, UpstreamUnavailableError } from '../../src/errors/errors.js'
import { createEvents } from '../../src/events.js'
import { createGrants } from '../../src/grants/open-grants.js'
import type { LoginFlowAnswer } from '../../src/nextcloud/app-passwords.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { turn, until } from '../support/promises.js'
import { faultyStorage } from '../support/storages.js'

type Discard = (...of: [identity: Identity, credential: Credential]) => ReturnType<Deletions['discard']>

const ALICE = { identity: { issuer: 'https://idp.example', subject: 'alice' }, clientId: 'mcp-client' }
const NEXTCLOUD = 'https://cloud.example.com/'
const MINUTE = 60_000
const givenTo = (loginName: string, password = 'app-password-1'): LoginFlowAnswer => ({
  loginName,
  password,
  server: NEXTCLOUD,
})

/** Logins at a Nextcloud that answers as it is told. A clock and a store may be those of another instance. */
function setUp(clock = manualClock(), storage = faultyStorage(new MemoryStorage(undefined, clock))) {
  const heard: { type: string }[] = []
  const events = createEvents((event) => heard.push(event), clock)
  const grants = createGrants({
    config: { client: undefined, resource: 'https://mcp.example.com/mcp', http: { timeout: 1_000 } },
    grants: {
      encryptionKeys: [new Uint8Array(32)],
      credential: 'app-password',
      nextcloud: NEXTCLOUD,
      endsAlone: false,
      askedFor: '',
    },
    storage,
    clock,
    events,
  })
  const poll = vi.fn<LoginRooms['appPasswords']['poll']>().mockResolvedValue(undefined)
  const remove = vi.fn<Discard>().mockResolvedValue(true)
  const whyNot = vi.fn<LoginAnswerRooms['whyNot']>().mockResolvedValue(undefined)
  const report = vi.fn<LoginAnswerRooms['report']>()
  const onConnected = vi.fn<LoginAnswerRooms['onConnected']>()
  const logins = createLogins({
    records: createOneTimeRecords('login', { ...grants, clock }, LOGIN_KNOWN_FOR),
    grants,
    appPasswords: {
      nextcloud: NEXTCLOUD,
      start: () => Promise.resolve({ login: `${NEXTCLOUD}login/v2/flow`, pollToken: 'poll-token' }),
      poll,
    },
    deletions: {
      end: remove,
      discard: remove,
      expect: () => Promise.resolve(true),
      stored: () => Promise.resolve(),
    },
    patience: 1_000,
    clientName: 'mcp.example.com',
    whyNot,
    report,
    onConnected,
    clock,
    events,
  })
  /** Moves the clock on, until what that begins has come to something. */
  async function pass(ms: number, isSo: () => boolean = () => true): Promise<void> {
    clock.advance(ms)
    await until(isSo)
    await turn()
  }
  const polls = () => poll.mock.calls.length
  const isConnected = () => onConnected.mock.calls.length > 0
  return {
    ...{ clock, storage, grants, logins, poll, remove, whyNot, report, onConnected, heard, pass, polls, isConnected },
    stored: async () => (await grants.store.read(grants.store.keyOf(ALICE.identity)))?.grant,
  }
}

/** Nextcloud gives the app password while the store is unavailable. */
async function setUpHeld() {
  const setup = setUp()
  const { secret } = await setup.logins.begin(ALICE)
  setup.poll.mockImplementationOnce(() => {
    setup.storage.failFrom(1)
    return Promise.resolve(givenTo('alice.w'))
  })
  await expect(setup.logins.look(secret)).rejects.toThrow(StorageError)
  return { ...setup, secret }
}

describe('a login under way', () => {
  it('is asked for every two seconds, later every five, until Nextcloud forgets it', async () => {
    const { logins, poll, polls, pass } = setUp()
    await logins.begin(ALICE)

    for (let asked = 1; asked <= 60; asked += 1) {
      await pass(1_999)
      expect(polls()).toBe(asked - 1)
      await pass(1, () => polls() === asked)
    }
    for (let asked = 61; asked <= 275; asked += 1) {
      await pass(4_999)
      expect(polls()).toBe(asked - 1)
      await pass(1, () => polls() === asked)
    }
    await pass(5_000)
    await logins.settle()
    await pass(MINUTE)
    expect(polls()).toBe(275)
    expect(poll).toHaveBeenCalledWith('poll-token')
  })

  it('connects the user by itself, and then nobody asks any more', async () => {
    const { logins, poll, polls, pass, stored, onConnected, isConnected, storage } = setUp()
    const { secret } = await logins.begin(ALICE)
    poll.mockResolvedValueOnce(givenTo('alice.w'))

    await pass(2_000, isConnected)

    expect(await stored()).toMatchObject({ appPassword: { loginName: 'alice.w' }, clients: ['mcp-client'] })
    expect(onConnected.mock.calls).toEqual([[ALICE]])
    await logins.settle()
    expect(await logins.look(secret)).toMatchObject({ outcome: 'connected' })
    await turn()
    const calls = storage.calls()
    await pass(MINUTE)
    expect([polls(), storage.calls()]).toEqual([1, calls])
  })

  it.each(['drop', 'close'] as const)('is asked for no more after %s', async (how) => {
    const { logins, storage, pass, polls } = setUp()
    const { secret } = await logins.begin(ALICE)
    await logins[how](secret)
    const calls = storage.calls()

    await pass(MINUTE)

    expect([polls(), storage.calls()]).toEqual([0, calls])
    await logins.begin(ALICE)
    await pass(MINUTE, () => how === 'close' || polls() === 1)
    await logins.settle()
    expect(polls()).toBe(how === 'close' ? 0 : 1)
  })

  it('is asked for no more after close() in the middle of a question', async () => {
    const { logins, pass, polls, poll } = setUp()
    await logins.begin(ALICE)
    let answer = (): void => undefined
    poll.mockImplementationOnce(() => new Promise((resolve) => (answer = () => resolve(undefined))))
    await pass(2_000, () => polls() === 1)
    logins.close()
    answer()
    await logins.settle()

    await pass(MINUTE)
    await logins.settle()

    expect(polls()).toBe(1)
  })

  it.each([
    ['the store', (setup: ReturnType<typeof setUp>) => setup.storage.failFrom(1)],
    [
      'Nextcloud',
      (setup: ReturnType<typeof setUp>) => setup.poll.mockRejectedValueOnce(new UpstreamUnavailableError('down')),
    ],
  ])('goes on after an outage of %s', async (_what, fail) => {
    const setup = setUp()
    const { logins, pass, poll, polls, heard, isConnected, storage, stored } = setup
    await logins.begin(ALICE)
    fail(setup)
    await pass(2_000, () => polls() + heard.length > 0)
    storage.heal()
    poll.mockResolvedValueOnce(givenTo('alice.w'))

    await pass(2_000, isConnected)

    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it('is asked for until its twenty minutes are over, whoever looks', async () => {
    const { logins, polls, clock } = setUp()
    logins.close()
    const { secret } = await logins.begin(ALICE)

    clock.advance(20 * MINUTE - 1)
    expect(await logins.look(secret)).toMatchObject(ALICE)
    expect(polls()).toBe(1)
    clock.advance(1)
    expect(await logins.look(secret)).toMatchObject(ALICE)
    expect(polls()).toBe(1)
  })

  it('ends in a store that stays unavailable too', async () => {
    const { logins, pass, storage } = setUp()
    await logins.begin(ALICE)
    storage.failFrom(1)
    await pass(20 * MINUTE)
    const calls = storage.calls()

    await pass(MINUTE)

    expect(storage.calls()).toBe(calls)
  })

  it('shows its outcome once', async () => {
    const { logins, poll } = setUp()
    const { secret } = await logins.begin(ALICE)
    poll.mockResolvedValueOnce(givenTo('alice.w'))
    await logins.look(secret)

    expect([await logins.spend(secret), await logins.spend(secret)]).toEqual([true, false])
    expect(await logins.look(secret)).toBeUndefined()
  })

  it('is asked for no more when another instance has ended it a moment ago', async () => {
    const { logins, grants, polls, clock, storage } = setUp()
    const other = setUp(clock, storage)
    const { secret } = await logins.begin(ALICE)
    const { acquireLease } = grants
    vi.spyOn(grants, 'acquireLease').mockImplementationOnce(async (key) => {
      other.poll.mockResolvedValueOnce(givenTo('alice.w'))
      await other.logins.look(secret)
      await other.grants.settle()
      return acquireLease(key)
    })

    expect(await logins.look(secret)).toMatchObject({ outcome: 'connected' })
    expect(polls()).toBe(0)
  })

  it('is asked for no more, and unknown, when it was dropped a moment ago', async () => {
    const { logins, grants, polls } = setUp()
    const { secret } = await logins.begin(ALICE)
    const { acquireLease } = grants
    vi.spyOn(grants, 'acquireLease').mockImplementationOnce(async (key) => {
      await logins.drop(secret)
      return acquireLease(key)
    })

    expect([await logins.look(secret), polls()]).toEqual([undefined, 0])
  })

  it('is asked for by one of two instances at a time, and stored once', async () => {
    const one = setUp()
    const other = setUp(one.clock, one.storage)
    const { secret } = await one.logins.begin(ALICE)
    one.poll.mockResolvedValueOnce(givenTo('alice.w'))
    other.poll.mockResolvedValueOnce(givenTo('alice.w'))

    await Promise.all([one.logins.look(secret), other.logins.look(secret), one.logins.look(secret)])

    expect(one.polls() + other.polls()).toBe(1)
    expect([...one.heard, ...other.heard].map(({ type }) => type)).toEqual(['grant.stored'])
    for (const { logins } of [one, other]) expect(await logins.look(secret)).toMatchObject({ outcome: 'connected' })
  })

  it("that ends with another person's account has its app password deleted, and the operator is told", async () => {
    const setup = setUp()
    const { secret } = await setup.logins.begin(ALICE)
    setup.poll.mockResolvedValueOnce(givenTo('bob'))
    setup.whyNot.mockResolvedValueOnce({ userId: 'bob', hint: 'Another account.' })

    expect(await setup.logins.look(secret)).toMatchObject({ outcome: 'person' })

    expect(setup.whyNot.mock.calls).toEqual([[givenTo('bob'), expect.objectContaining(ALICE)]])
    expect(setup.report.mock.calls).toEqual([['person', { userId: 'bob', hint: 'Another account.' }]])
    expect(setup.remove.mock.calls).toEqual([[ALICE.identity, credentialOf(givenTo('bob'))]])
    expect(await setup.stored()).toBeUndefined()
  })

  it('that comes with nothing usable is reported, and has nothing to delete', async () => {
    const { logins, poll, report, remove, stored } = setUp()
    const { secret } = await logins.begin(ALICE)
    poll.mockResolvedValueOnce('unusable')

    expect(await logins.look(secret)).toMatchObject({ outcome: 'answer' })

    expect(report.mock.calls).toEqual([['answer', { hint: expect.stringContaining('cannot be used') as string }]])
    expect([remove.mock.calls, await stored()]).toEqual([[], undefined])
  })
})

describe('an app password, which Nextcloud gives once,', () => {
  it('is in the store at once, although the store fails for a moment', async () => {
    const { logins, poll, storage, stored } = setUp()
    const { secret } = await logins.begin(ALICE)
    poll.mockImplementationOnce(() => {
      storage.failFrom(1, 3)
      return Promise.resolve(givenTo('alice.w'))
    })

    expect(await logins.look(secret)).toMatchObject({ outcome: 'connected' })
    expect(await stored()).toMatchObject({ appPassword: { loginName: 'alice.w' } })
  })

  it('is held while the store is unavailable for longer, and stored by itself; the app is asked once', async () => {
    const { storage, pass, stored, polls, whyNot, logins, secret, heard, isConnected } = await setUpHeld()
    await expect(logins.look(secret)).rejects.toThrow(StorageError)
    storage.heal()

    await pass(500, isConnected)

    expect(await stored()).toMatchObject({ appPassword: { loginName: 'alice.w', password: 'app-password-1' } })
    expect(await logins.look(secret)).toMatchObject({ outcome: 'connected' })
    expect([polls(), whyNot.mock.calls.length]).toEqual([1, 1])
    expect(heard.filter(({ type }) => type === 'grant.stored')).toHaveLength(1)
  })

  it('is asked for no more while it is held', async () => {
    const { logins, secret, polls, storage } = await setUpHeld()
    const before = polls()
    storage.heal()

    expect(await logins.look(secret)).toMatchObject({ outcome: 'connected' })

    expect(polls()).toBe(before)
  })

  it('is deleted in Nextcloud, once its login is forgotten before it could be stored', async () => {
    const { pass, remove, storage, stored } = await setUpHeld()
    await pass(LOGIN_KNOWN_FOR - MINUTE)
    expect(remove).not.toHaveBeenCalled()

    await pass(MINUTE, () => remove.mock.calls.length > 0)

    expect(remove.mock.calls).toEqual([[ALICE.identity, credentialOf(givenTo('alice.w'))]])
    storage.heal()
    await pass(MINUTE)
    expect(await stored()).toBeUndefined()
  })

  it('is kept in Nextcloud where it is stored, although its login is forgotten before that could be noted', async () => {
    const { logins, poll, pass, remove, storage, stored, onConnected } = setUp()
    const { secret } = await logins.begin(ALICE)
    poll.mockResolvedValueOnce(givenTo('alice.w'))
    onConnected.mockImplementationOnce(() => storage.failFrom(1))

    await expect(logins.look(secret)).rejects.toThrow(StorageError)
    await pass(LOGIN_KNOWN_FOR)
    storage.heal()
    await pass(MINUTE)

    expect(await stored()).toMatchObject({ state: 'active' })
    expect(remove).not.toHaveBeenCalled()
  })

  it('replaces the one before, which is deleted in Nextcloud', async () => {
    const { logins, poll, remove } = setUp()
    for (const password of ['first', 'second', 'second']) {
      const { secret } = await logins.begin(ALICE)
      poll.mockResolvedValueOnce(givenTo('alice.w', password))
      await logins.look(secret)
    }

    // The third is what a repeated write looks like: it has replaced itself.
    expect(deleted(remove.mock.calls)).toEqual(['first'])
  })

  it('that cannot be deleted is reported with a hint for the operator', async () => {
    const { logins, poll, remove, whyNot, report } = setUp()
    const { secret } = await logins.begin(ALICE)
    poll.mockResolvedValueOnce(givenTo('bob'))
    whyNot.mockResolvedValueOnce({ userId: 'bob', hint: 'Another account.' })
    remove.mockResolvedValueOnce('pending')

    await logins.look(secret)

    const hint = expect.stringMatching(/^Another account\. .*could not be deleted/) as string
    expect(report.mock.calls).toEqual([['person', { userId: 'bob', hint }]])
  })

  it.each([
    ['that is deleted', true, /after the yes\.$/],
    ['that cannot be deleted, with a hint for the operator,', 'pending', /after the yes\. .*could not be deleted/],
  ] as const)('of a user who has taken the yes back, %s is reported', async (_which, removed, words) => {
    const { grants, logins, poll, remove, report } = setUp()
    const { secret } = await logins.begin({ ...ALICE, withdrawals: 0 })
    await grants.store.withdraw(ALICE.identity, ALICE.clientId)
    poll.mockResolvedValueOnce(givenTo('alice.w'))
    remove.mockResolvedValueOnce(removed)

    expect(await logins.look(secret)).toMatchObject({ outcome: 'withdrawn' })

    const { identity, clientId } = ALICE
    const hint = expect.stringMatching(words) as string
    expect(report.mock.calls).toEqual([['declined', { ...identity, clientId, hint }]])
  })
})

const credentialOf = ({ loginName, password }: ReturnType<typeof givenTo>) => ({
  appPassword: { loginName, password, nextcloud: NEXTCLOUD },
})

/** The app passwords that were to be deleted. */
const deleted = (calls: readonly Parameters<Discard>[]): string[] =>
  calls.map(([, credential]) => ('appPassword' in credential ? credential.appPassword.password : ''))
