import { describe, expect, it } from 'vitest'
import { openStore } from '../support/stores.js'
import { createPendingDeletions, type PendingDeletion } from '../../src/grants/pending-deletions.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { setUpConnected } from '../support/connected-user.js'
import { appPasswordWorld, type AppPasswordWorld } from '../support/login-visits.js'
import { rememberPassword } from '../support/nextcloud/state.js'
import { turn, until } from '../support/promises.js'
import { faultyStorage } from '../support/storages.js'
import { world } from '../support/world.js'
import { slowly } from '../support/slowly.js'

const ALICE = { subject: 'alice' }
const DELETE = '/ocs/v2.php/core/apppassword'
const USER = '/ocs/v2.php/cloud/user'
const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

async function setUp(parts: Parameters<typeof appPasswordWorld>[0] = {}) {
  const setup = await appPasswordWorld(parts)
  await setup.connectAs('alice.w')
  return setup
}

const enable = ({ nextcloud }: AppPasswordWorld, enabled: boolean) => {
  nextcloud.state.accounts.get('alice.w')!.enabled = enabled
}
const tries = ({ nextcloud }: AppPasswordWorld) => nextcloud.received(DELETE).length
/** Lets what a moved clock has begun come to rest. */
async function rest(): Promise<void> {
  for (let turns = 0; turns < 20; turns += 1) await turn()
  await new Promise((resolve) => setTimeout(resolve, 60))
}
const revocations = ({ events }: AppPasswordWorld) =>
  events.flatMap((event) => (event.type === 'grant.revoked' ? [event.revoked] : []))

describe('a disconnection while Nextcloud cannot delete the app password', () => {
  it.each<[string, (setup: AppPasswordWorld) => () => void]>([
    ['is unavailable', ({ nextcloud }) => (nextcloud.disturb(() => 503), () => nextcloud.disturb(undefined))],
    ['breaks connections', ({ nextcloud }) => (nextcloud.disturb(() => 0), () => nextcloud.disturb(undefined))],
    ['turns everybody away', ({ nextcloud }) => (nextcloud.disturb(() => 429), () => nextcloud.disturb(undefined))],
    [
      'is behind a page that says 200',
      ({ nextcloud }) => (
        nextcloud.disturb(() => ({ status: 200, body: '<h1>Hello</h1>' })),
        () => nextcloud.disturb(undefined)
      ),
    ],
    [
      'is under maintenance',
      ({ nextcloud: { state } }) => ((state.settings.maintenance = true), () => (state.settings.maintenance = false)),
    ],
    ['has the account disabled', (setup) => (enable(setup, false), () => enable(setup, true))],
  ])('is pending, and is caught up after a minute: Nextcloud %s', async (_, begin) => {
    const setup = await setUp()
    const { auth, clock, nextcloud, storage } = setup
    const { password } = nextcloud.appPasswords[0]!
    const end = begin(setup)

    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'pending' })
    expect(await auth.isProvisioned(ALICE)).toBe(false)
    expect(nextcloud.appPasswords).toHaveLength(1)
    end()
    clock.advance(MINUTE - 1)
    await rest()
    expect(nextcloud.appPasswords).toHaveLength(1)
    clock.advance(1)
    await until(() => nextcloud.appPasswords.length === 0)
    await setup.happened('grant.revoked', 2)

    expect(revocations(setup)).toEqual(['pending', true])
    expect(JSON.stringify(storage)).not.toContain(password)
    const asked = tries(setup)
    clock.advance(3 * HOUR)
    await rest()
    expect(tries(setup)).toBe(asked)
  })

  slowly(
    'is tried after 1 and 10 minutes, then every hour, for 30 days, and then told with what the user can do',
    async () => {
      const setup = await setUp()
      const { auth, clock, nextcloud, events } = setup
      nextcloud.disturb(({ path }) => (path === DELETE ? 503 : undefined))
      const start = clock.now()
      await auth.revoke(ALICE)
      for (const [count, minutes] of [1, 10, 60, 60, 60].entries()) {
        clock.advance(minutes * MINUTE - 1)
        await rest()
        expect(tries(setup)).toBe(count + 1)
        clock.advance(1)
        await until(() => tries(setup) === count + 2)
        await rest()
      }

      for (let days = 0; days < 31 && revocations(setup).length < 2; days += 1) {
        clock.advance(DAY)
        await rest()
      }
      expect(clock.now() - start).toBeGreaterThan(30 * DAY)
      expect(events.filter(({ type }) => type === 'grant.revoked').at(-1)).toMatchObject({
        subject: 'alice',
        revoked: false,
        hint: expect.stringContaining('Devices & sessions') as string,
      })
      const asked = tries(setup)
      clock.advance(DAY)
      await rest()
      expect(tries(setup)).toBe(asked)
    },
  )

  it('is caught up by the next instance, at its start', async () => {
    const setup = await setUp()
    const { auth, nextcloud, open, clock } = setup
    nextcloud.disturb(() => 503)
    await auth.revoke(ALICE)
    await auth.close()
    nextcloud.disturb(undefined)
    clock.advance(5 * SECOND)

    await open().ready()

    await until(() => nextcloud.appPasswords.length === 0)
  })

  it.each([
    ['is carried out', undefined, true, 0],
    ['is given up if that fails too', 503, false, 1],
  ])(
    'has a last attempt when its time is over for the clock of an instance, and %s',
    async (_, status, revoked, left) => {
      const setup = await setUp()
      const { auth, nextcloud, open, clock } = setup
      nextcloud.disturb(({ path }) => (path === DELETE ? 503 : undefined))
      await auth.revoke(ALICE)
      await auth.close()
      const asked = tries(setup)
      nextcloud.disturb(({ path }) => (path === DELETE ? status : undefined))
      clock.advance(30 * DAY)

      await open().ready()
      await setup.happened('grant.revoked', 2)

      expect(revocations(setup)).toEqual(['pending', revoked])
      expect(tries(setup)).toBe(asked + 1)
      expect(nextcloud.appPasswords).toHaveLength(left)
      clock.advance(2 * HOUR)
      await rest()
      expect(tries(setup)).toBe(asked + 1)
    },
  )

  it('is caught up by the next instance, with its first call', async () => {
    const setup = await setUp()
    const { auth, nextcloud, open, clock } = setup
    nextcloud.disturb(() => 503)
    await auth.revoke(ALICE)
    await auth.close()
    nextcloud.disturb(undefined)

    await open().isProvisioned(ALICE)
    clock.advance(SECOND)

    await until(() => nextcloud.appPasswords.length === 0)
  })

  it('is tried by one of several instances on one SQLite file', async () => {
    const { mkdtempSync, rmSync } = await import('node:fs')
    const directory = mkdtempSync('/tmp/mcp-deletions-')
    const address = { kind: 'SQLite', file: `${directory}/grants.db` } as const
    const [one, other] = [await openStore(address), await openStore(address)]
    try {
      const setup = await setUp({ storage: one.adapter })
      const { auth, nextcloud, open, clock } = setup
      const second = open({ storage: other.adapter })
      nextcloud.disturb(() => 503)
      await auth.revoke(ALICE)
      await second.isProvisioned(ALICE)
      clock.advance(SECOND)
      await rest()
      nextcloud.disturb(undefined)
      const before = tries(setup)
      clock.advance(11 * MINUTE)
      await until(() => nextcloud.appPasswords.length === 0)
      await rest()

      expect(tries(setup)).toBe(before + 1)
      await Promise.all([auth.close(), second.close()])
    } finally {
      await one.close()
      await other.close()
      rmSync(directory, { recursive: true })
    }
  })

  it('is pending for an MCP client too', async () => {
    const setup = await setUp()
    setup.nextcloud.disturb(({ path }) => (path === DELETE ? 503 : undefined))

    expect((await setup.askWith('/nextcloud/disconnect', 'POST')).body).toEqual({ revoked: 'pending' })
  })

  it('is kept in memory while the store fails as well', async () => {
    const storage = faultyStorage()
    const setup = await setUp({ storage })
    const { auth, nextcloud, clock } = setup
    nextcloud.disturb(({ path }) => {
      if (path === DELETE) storage.failFrom(1)
      return path === DELETE ? 503 : undefined
    })

    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'pending' })
    nextcloud.disturb(undefined)
    storage.heal()
    clock.advance(SECOND)
    await rest()
    clock.advance(2 * MINUTE)
    await until(() => nextcloud.appPasswords.length === 0)
  })

  it('is not done twice because the store failed after it', async () => {
    const storage = faultyStorage()
    const setup = await setUp({ storage })
    const { auth, nextcloud, clock } = setup
    nextcloud.disturb(({ path }) => {
      if (path === DELETE) storage.failFrom(1)
      return undefined
    })

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })
    storage.heal()
    for (let count = 0; count < 4; count += 1) {
      clock.advance(MINUTE)
      await rest()
    }
    expect(tries(setup)).toBe(1)
  })
})

describe('a pending deletion', () => {
  it('of an app password that is in use again is given up', async () => {
    const setup = await setUp()
    const { auth, nextcloud, grants, clock, as } = setup
    const identity = { issuer: as.issuer, subject: 'alice' }
    const { appPassword, fingerprint } = (await grants.store.look(identity))!.grant
    nextcloud.disturb(() => 503)
    await auth.revoke(ALICE)
    nextcloud.disturb(undefined)
    await grants.store.connect(identity, { appPassword: appPassword!, fingerprint, clientId: 'mcp-client', scopes: [] })

    for (let count = 0; count < 3; count += 1) {
      clock.advance(HOUR)
      await rest()
    }

    expect(nextcloud.appPasswords).toHaveLength(1)
    expect((await auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
  })

  it('that a process left behind between the store and the call is caught up', async () => {
    const setup = await setUp()
    const { grants, nextcloud, clock, as, open } = setup
    await grants.store.disconnect({ issuer: as.issuer, subject: 'alice' }, undefined)
    const later = open()
    await later.isProvisioned(ALICE)
    clock.advance(SECOND)
    await rest()
    expect(nextcloud.appPasswords).toHaveLength(1)

    clock.advance(MINUTE)

    await until(() => nextcloud.appPasswords.length === 0)
  })

  it('that a process noted and whose grant is still there deletes nothing', async () => {
    const setup = await setUp()
    const { grants, nextcloud, clock, as, auth } = setup
    const identity = { issuer: as.issuer, subject: 'alice' }
    const { appPassword } = (await grants.store.look(identity))!.grant
    await grants.deletions.put(grants.newDeletion(identity, { appPassword: appPassword! }))
    await auth.isProvisioned(ALICE)
    for (let count = 0; count < 3; count += 1) {
      clock.advance(HOUR)
      await rest()
    }
    expect(nextcloud.appPasswords).toHaveLength(1)
  })

  it('goes to no other Nextcloud', async () => {
    const setup = await setUp()
    const { auth, nextcloud, open, clock } = setup
    nextcloud.disturb(() => 503)
    await auth.revoke(ALICE)
    await auth.close()
    nextcloud.disturb(undefined)
    const asked = nextcloud.requests.length
    const { startNextcloudAccounts } = await import('../support/nextcloud-accounts.js')
    const other = await startNextcloudAccounts(clock.now)

    await open({ nextcloud: { url: other.url } }).ready()
    await rest()
    clock.advance(2 * HOUR)
    await rest()

    expect([other.requests, nextcloud.requests.length]).toEqual([[], asked])
    await open().ready()
    await until(() => nextcloud.appPasswords.length === 0)
  })

  it('that always fails holds up no other, and one server that is unavailable is asked once', async () => {
    const setup = await appPasswordWorld()
    const { auth, nextcloud, clock } = setup
    for (const user of ['alice', 'bob']) await setup.connectAs(user, undefined, user)
    const isAlice = ({ headers }: { headers: { authorization?: string | undefined } }) =>
      Buffer.from(headers.authorization?.slice(6) ?? '', 'base64')
        .toString()
        .startsWith('alice:')
    nextcloud.disturb(({ path }) => (path === DELETE ? 503 : undefined))
    for (const subject of ['alice', 'bob']) expect(await auth.revoke({ subject })).toEqual({ revoked: 'pending' })
    clock.advance(MINUTE)
    await until(() => tries(setup) === 3)
    await rest()
    expect(tries(setup)).toBe(3)

    nextcloud.disturb((asked) => (asked.path === DELETE && isAlice(asked) ? 403 : undefined))
    clock.advance(10 * MINUTE)
    await until(() => nextcloud.appPasswords.length === 1)

    expect(nextcloud.appPasswords.map(({ uid }) => uid)).toEqual(['alice'])
  })

  slowly('of dead app passwords does not use up the wrong sign-ins of everybody', async () => {
    const setup = await appPasswordWorld()
    const { auth, nextcloud, clock } = setup
    const users = Array.from({ length: 12 }, (_, index) => `user-${index}`)
    for (const user of [...users, 'alice']) await setup.connectAs(user, undefined, user)
    for (const user of users) {
      nextcloud.state.accounts.get(user)!.password = 'changed-by-somebody-else'
      for (const token of nextcloud.appPasswords) if (token.uid === user) token.refused = true
    }
    expect((await auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
    const most: number[] = []
    for (const [index, user] of users.entries()) {
      if (index % 4 === 0) clock.advance(31 * MINUTE)
      expect(await auth.revoke({ subject: user })).toEqual({ revoked: 'pending' })
    }
    for (let count = 0; count < 6 * 12; count += 1) {
      clock.advance(5 * MINUTE)
      await rest()
      expect((await auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
      most.push(nextcloud.state.attempts.filter(({ at }) => at > clock.now() - 30 * MINUTE).length)
    }
    expect(Math.max(...most)).toBeLessThanOrEqual(8)
    for (const user of users) rememberPassword(nextcloud.state, nextcloud.state.accounts.get(user)!)
    // A busy machine may not come to all of them in one hour.
    for (let count = 0; count < 40 && nextcloud.appPasswords.length > 1; count += 1) {
      clock.advance(HOUR)
      await rest()
    }
    expect(nextcloud.appPasswords.map(({ uid }) => uid)).toEqual(['alice'])
  })

  slowly(
    'of app passwords that turn out to be dead one after the other leaves Nextcloud open for everybody',
    async () => {
      const setup = await appPasswordWorld()
      const { auth, nextcloud, clock } = setup
      const users = Array.from({ length: 20 }, (_, index) => `user-${index}`)
      for (const user of [...users, 'alice']) await setup.connectAs(user, undefined, user)
      for (const token of nextcloud.appPasswords) if (token.uid !== 'alice') token.refused = true

      for (const user of users) expect(await auth.revoke({ subject: user })).toEqual({ revoked: 'pending' })

      const wrong = nextcloud.state.attempts.filter(({ at }) => at > clock.now() - 30 * MINUTE)
      expect(wrong.length).toBeLessThanOrEqual(8)
      expect((await auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
    },
  )
})

describe('a connection that replaces another', () => {
  it.each<[string, (setup: AppPasswordWorld) => Promise<unknown>]>([
    ['that is good', () => Promise.resolve()],
    [
      'that is dead',
      async (setup) => {
        enable(setup, false)
        await setup.auth.nextcloudFetch(ALICE, USER).catch(() => undefined)
        enable(setup, true)
      },
    ],
  ])('has the old app password deleted: of one %s', async (_, before) => {
    const setup = await setUp()
    const old = setup.nextcloud.appPasswords[0]!.password
    await before(setup)

    await setup.connectAs('alice.w')

    await until(() => setup.nextcloud.appPasswords.length === 1)
    expect(setup.nextcloud.appPasswords[0]?.password).not.toBe(old)
  })

  it('has it deleted later, if Nextcloud is unavailable meanwhile', async () => {
    const setup = await setUp()
    const { nextcloud, clock } = setup
    nextcloud.disturb(({ path }) => (path === DELETE ? 503 : undefined))
    await setup.connectAs('alice.w')
    await until(() => tries(setup) > 0)
    await rest()
    expect(nextcloud.appPasswords).toHaveLength(2)
    nextcloud.disturb(undefined)
    clock.advance(MINUTE)
    await until(() => nextcloud.appPasswords.length === 1)
    expect((await setup.auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
  })

  it('has a refresh token of another mode revoked', async () => {
    const setup = await appPasswordWorld({ options: { http: { retries: 0 } } })
    const { as, clock } = setup
    as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`
    as.script('/revoke', { status: 503 }, { status: 200 })
    const token = await setup.connect()

    await setup.connectAs('alice.w')

    await until(() => as.received('/revoke').length === 1)
    await rest()
    clock.advance(MINUTE)
    await until(() => as.received('/revoke').length === 2)
    expect(as.received('/revoke').map(({ form }) => form.get('token'))).toEqual([token, token])
  })

  it('has an app password of another mode deleted', async () => {
    const setup = await setUp()
    const { nextcloud, link, agree, authorize, elsewhere, browser } = setup
    const there = await elsewhere(browser(), { nextcloud: { mode: 'refresh-token' } })
    await there.open(await authorize(await agree(there, await link())))

    await until(() => nextcloud.appPasswords.length === 0)
  })
})

describe('a revocation that fails at the authorization server', () => {
  it('is pending, and is caught up after a minute', async () => {
    const { as, auth, clock, events, first } = await setUpConnected({}, { http: { retries: 0 } })
    as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`
    as.script('/revoke', { status: 503 }, { status: 200 })

    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'pending' })
    clock.advance(MINUTE)
    await until(() => events.filter(({ type }) => type === 'grant.revoked').length === 2)

    expect(as.received('/revoke').map(({ form }) => form.get('token'))).toEqual([first, first])
    expect(events).toContainEqual(expect.objectContaining({ type: 'grant.revoked', revoked: true }))
  })

  it('goes to the authorization server that gave the token alone', async () => {
    const setup = await setUpConnected({}, { http: { retries: 0 } })
    const { as, auth, clock, open } = setup
    as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`
    as.script('/revoke', { status: 503 })
    await auth.revoke(ALICE)
    await auth.close()
    const other = await world({ mode: 'none' })
    other.as.metadata['revocation_endpoint'] = `${other.as.issuer}/revoke`
    other.as.script('/revoke', { status: 200 })

    await open({ issuer: other.as.issuer }).ready()
    await rest()
    clock.advance(HOUR)
    await rest()

    expect(other.as.received('/revoke')).toEqual([])
  })
})

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index)

describe('the list of pending deletions', () => {
  const deletion = (id: number, size = 10): PendingDeletion => ({
    id: `id-${id}`,
    identity: { issuer: 'https://idp.example', subject: `user-${id}` },
    credential: { refreshToken: 'x'.repeat(size) },
    since: 0,
    tries: 1,
    nextAt: id,
    refused: false,
  })

  async function setUpList() {
    const storage = new MemoryStorage()
    const { grants, clock } = await world({ mode: 'refresh-token', storage })
    const givenUp: string[] = []
    const { records, owner } = grants
    const list = createPendingDeletions({ records, owner, clock, givenUp: ({ id }) => givenUp.push(id) })
    const all = async () => (await list.claim(() => true, 7)).claimed.map(({ id }) => id).sort()
    return { list, all, storage, givenUp, later: clock.now() + 1_000 }
  }

  slowly('holds hundreds of long ones, no record beyond 64 KiB, and is gone when they are', async () => {
    const { list, all, storage } = await setUpList()
    const ids = Array.from({ length: 60 }, (_, index) => index)
    for (const id of ids) expect(await list.put(deletion(id, 3_000))).toBe(true)
    for (const id of ids) expect(await list.put(deletion(id, 3_001))).toBe(true)

    expect(await all()).toEqual(ids.map((id) => `id-${id}`).sort())
    const keys = await storage.list({ limit: 100 })
    expect(keys.length).toBeGreaterThan(3)
    for (const key of keys) expect((await storage.get(key))!.value.length).toBeLessThan(65_536)

    for (const id of ids) await list.remove(`id-${id}`)
    expect(await all()).toEqual([])
    expect((await storage.list({ limit: 100 })).length).toBeLessThan(6)
  })

  slowly('says that it has no room', async () => {
    const { list } = await setUpList()
    for (let id = 0; id < 32; id += 1) expect(await list.put(deletion(id, 30_000))).toBe(true)

    expect(await list.put(deletion(99, 30_000))).toBe(false)
    expect(await list.put(deletion(100, 50_000))).toBe(false)
    expect(await list.put(deletion(5, 30_001))).toBe(true)
  })

  it.each([
    ['small', 10],
    ['large, so that they are in several records', 2_200],
  ])('has sixteen places for one user, whose oldest are given up for new ones: %s', async (_, size) => {
    const { list, all, givenUp } = await setUpList()
    const identity = { issuer: 'https://idp.example', subject: 'mallory' }
    await list.put(deletion(1_000, 15_000))
    for (let id = 0; id < 40; id += 1)
      expect(await list.put({ ...deletion(id, size), identity, since: id, refused: id === 15 })).toBe(true)

    const kept = Array.from({ length: 16 }, (_one, index) => index + 24)
    expect(await all()).toEqual([...kept, 1_000].map((id) => `id-${id}`).sort())
    expect(givenUp).toEqual(
      [15, ...Array.from({ length: 15 }, (_one, id) => id), ...range(16, 24)].map((id) => `id-${id}`),
    )
    const other = { issuer: 'https://other.example', subject: 'mallory' }
    expect(await list.put({ ...deletion(2_000), identity: other })).toBe(true)
    expect(givenUp).toHaveLength(24)
  })

  it('keeps one in place of another, in whichever record that is', async () => {
    const { list, all, givenUp } = await setUpList()
    for (let id = 0; id < 6; id += 1) await list.put(deletion(id, 15_000))

    await list.put(deletion(7, 30_000), 'id-1')
    await list.put(deletion(8, 10), 'id-5')
    await list.put(deletion(8, 30_000))

    expect(await all()).toEqual(['id-0', 'id-2', 'id-3', 'id-4', 'id-7', 'id-8'])
    expect(givenUp).toEqual([])
  })

  it('gives each to one of those who ask at once', async () => {
    const { list, later } = await setUpList()
    for (let id = 0; id < 5; id += 1) await list.put(deletion(id))

    const claims = await Promise.all([1, 2, 3].map(() => list.claim(({ nextAt }) => nextAt < 100, later)))

    expect(claims.flatMap(({ claimed }) => claimed.map(({ id }) => id)).sort()).toEqual(
      [0, 1, 2, 3, 4].map((id) => `id-${id}`),
    )
    expect(claims.some(({ next }) => next === later)).toBe(true)
  })

  it('names no next attempt for one that is left although it is due, which would be looked for again at once, and again', async () => {
    const { list } = await setUpList()
    await list.put(deletion(1))

    expect(await list.claim(() => false, 1)).toEqual({ claimed: [], next: undefined })
  })

  it('keeps a later note of the same credential than the one that is removed', async () => {
    const { list, all } = await setUpList()
    await list.put({ ...deletion(1), note: 'of a connection' })
    await list.put({ ...deletion(1), note: 'of its end' })

    await list.remove('id-1', 'of a connection')
    expect(await all()).toEqual(['id-1'])

    await list.remove('id-1', 'of its end')
    expect(await all()).toEqual([])
  })
})
