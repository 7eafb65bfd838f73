import { describe, expect, it } from 'vitest'
import type { McpAuth } from '../../../src/mcp-auth.js'
import { appPasswordWorld, type AppPasswordWorld } from '../../support/login-visits.js'
import { rememberPassword } from '../../support/nextcloud/state.js'
import { failureOf } from '../../support/promises.js'
import { overtakenStorage } from '../../support/storages.js'

const ALICE = { subject: 'alice' }
const USER = '/ocs/v2.php/cloud/user'
const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** Alice has connected her account alice.w. */
async function setUp(parts: Parameters<typeof appPasswordWorld>[0] = {}) {
  const setup = await appPasswordWorld(parts)
  await setup.connectAs('alice.w')
  setup.nextcloud.requests.length = 0
  return setup
}

const enable = ({ nextcloud }: AppPasswordWorld, enabled: boolean, uid = 'alice.w') => {
  nextcloud.state.accounts.get(uid)!.enabled = enabled
}
/** The account has another password, and the app password is refused until its user signs in with that. */
const changePassword = ({ nextcloud }: AppPasswordWorld, uid: string) => {
  nextcloud.state.accounts.get(uid)!.password = 'changed-by-somebody-else'
  for (const token of nextcloud.appPasswords) if (token.uid === uid) token.refused = true
}
const signInAgain = ({ nextcloud: { state } }: AppPasswordWorld, uid: string) =>
  rememberPassword(state, state.accounts.get(uid)!)
const wrong = ({ nextcloud }: AppPasswordWorld) => nextcloud.state.attempts.length
const status = async (auth: McpAuth, subject = 'alice') => (await auth.nextcloudFetch({ subject }, USER)).status
const reason = async (auth: McpAuth, subject = 'alice') =>
  (await failureOf(auth.nextcloudFetch({ subject }, USER))) as { reason?: string; connectUrl?: string; code?: string }

describe('a grant whose account is disabled and enabled again', () => {
  it('is dead at once, with a link, and good again at the first call ten minutes later', async () => {
    const setup = await setUp()
    const { auth, clock, events, nextcloud, stored } = setup
    const before = await stored()
    enable(setup, false)

    expect(await reason(auth)).toMatchObject({
      code: 'ERR_NOT_PROVISIONED',
      reason: 'revoked',
      connectUrl: expect.any(String) as string,
    })
    enable(setup, true)
    nextcloud.requests.length = 0
    clock.advance(10 * MINUTE - 1)
    expect(await reason(auth)).toMatchObject({ reason: 'revoked', connectUrl: expect.any(String) as string })
    expect(nextcloud.requests).toEqual([])
    clock.advance(1)

    expect(await status(auth)).toBe(200)

    expect(await stored()).toEqual(before)
    expect(nextcloud.appPasswords).toHaveLength(1)
    const { fingerprint } = before!
    expect(events.filter(({ type }) => type === 'grant.lost' || type === 'grant.rotated')).toMatchObject([
      { type: 'grant.lost', subject: 'alice', fingerprint, reason: 'revoked' },
      { type: 'grant.rotated', subject: 'alice', fingerprint, previous: fingerprint },
    ])
  })

  it('keeps its app password sealed, and the end that a dead grant has', async () => {
    const setup = await setUp()
    const { auth, clock, nextcloud, stored } = setup
    enable(setup, false)
    await reason(auth)

    expect(await stored()).toMatchObject({
      state: 'needs-reconnect',
      lastError: { code: 'refused' },
      appPassword: { password: nextcloud.appPasswords[0]!.password },
    })
    clock.advance(30 * 24 * HOUR)
    expect(await stored()).toBeUndefined()
  })

  it.each<[string, (setup: AppPasswordWorld) => Promise<unknown>]>([
    ['isProvisioned()', async ({ auth }) => auth.isProvisioned(ALICE)],
    ['rotate()', async ({ auth }) => auth.rotate(ALICE).then(() => true)],
    ['getNextcloudCredential()', async ({ auth }) => (await auth.getNextcloudCredential(ALICE)).type === 'basic'],
    ['GET …/status', async (setup) => connected(setup)],
  ])('is tried by %s too', async (_, ask) => {
    const setup = await setUp()
    enable(setup, false)
    await reason(setup.auth)
    enable(setup, true)
    setup.clock.advance(10 * MINUTE)

    expect(await ask(setup)).toBe(true)
    expect(await status(setup.auth)).toBe(200)
  })

  it('is tried by no MCP client without consent', async () => {
    const setup = await setUp()
    const { auth, clock, nextcloud } = setup
    enable(setup, false)
    await reason(auth)
    clock.advance(10 * MINUTE)
    nextcloud.requests.length = 0

    expect(await failureOf(auth.nextcloudFetch({ ...ALICE, clientId: 'another' }, USER))).toMatchObject({
      reason: 'revoked',
    })
    expect(nextcloud.requests).toEqual([])
  })

  it('is tried once by several instances, also by one that starts later', async () => {
    const setup = await setUp()
    const { auth, clock, nextcloud, open } = setup
    const instances = [auth, open(), open()]
    enable(setup, false)
    await reason(auth)
    clock.advance(10 * MINUTE)
    nextcloud.requests.length = 0

    const refused = await Promise.all(instances.flatMap((one) => [reason(one), reason(one)]))
    expect(refused.map((one) => one.reason)).toEqual(Array(6).fill('revoked'))
    expect(await reason(open())).toMatchObject({ reason: 'revoked' })

    expect(nextcloud.received(USER)).toHaveLength(1)
    enable(setup, true)
    clock.advance(10 * MINUTE)
    for (const one of instances) expect(await status(one)).toBe(200)
  })

  it('is not given up because Nextcloud is unavailable at the try', async () => {
    const setup = await setUp()
    const { auth, clock, nextcloud } = setup
    enable(setup, false)
    await reason(auth)
    enable(setup, true)
    clock.advance(10 * MINUTE)
    nextcloud.disturb(() => 503)
    expect(await reason(auth)).toMatchObject({ reason: 'revoked' })
    nextcloud.disturb(undefined)
    expect(await reason(auth)).toMatchObject({ reason: 'revoked' })
    clock.advance(10 * MINUTE)
    expect(await status(auth)).toBe(200)
  })

  it('is tried every ten minutes at first, and every hour in the end', async () => {
    const setup = await setUp()
    const { auth, clock, nextcloud } = setup
    enable(setup, false)
    await reason(auth)
    nextcloud.requests.length = 0
    const triesIn = async (ms: number) => {
      const before = nextcloud.received(USER).length
      for (let passed = 0; passed < ms; passed += MINUTE) {
        clock.advance(MINUTE)
        await reason(auth)
      }
      return nextcloud.received(USER).length - before
    }

    expect(await triesIn(HOUR)).toBe(6)
    clock.advance(24 * HOUR)
    expect(await triesIn(4 * HOUR)).toBe(4)
  })
})

const connected = async ({ askWith }: Pick<AppPasswordWorld, 'askWith'>): Promise<unknown> =>
  ((await askWith('/nextcloud/status', 'GET')).body as { connected: boolean }).connected

describe('a grant whose account has another password', () => {
  it('is good again when its user has signed in with that', async () => {
    const setup = await setUp()
    const { auth, clock, nextcloud } = setup
    nextcloud.state.accounts.get('alice.w')!.password = 'changed-by-somebody-else'
    clock.advance(5 * MINUTE)
    expect(await reason(auth)).toMatchObject({ reason: 'revoked' })
    clock.advance(10 * MINUTE)
    expect(await reason(auth)).toMatchObject({ reason: 'revoked' })

    const basic = `Basic ${Buffer.from('alice.w:changed-by-somebody-else').toString('base64')}`
    await fetch(nextcloud.url + USER, { headers: { authorization: basic, 'ocs-apirequest': 'true' } })
    clock.advance(10 * MINUTE)

    expect(await status(auth)).toBe(200)
  })
})

describe('the brute force protection of Nextcloud', () => {
  const users = Array.from({ length: 12 }, (_, index) => `user-${index}`)

  /** Twelve users and Alice are connected. */
  async function setUpMany() {
    const setup = await setUp()
    for (const user of users) await setup.connectAs(user, undefined, user)
    return setup
  }

  it('counts one attempt for an app password that is dead', async () => {
    const setup = await setUpMany()
    const { auth } = setup
    expect(await status(auth)).toBe(200)
    for (const user of users.slice(0, 6)) changePassword(setup, user)

    for (const user of users.slice(0, 6)) expect(await reason(auth, user)).toMatchObject({ reason: 'revoked' })

    expect(wrong(setup)).toBe(6)
    expect(await status(auth)).toBe(200)
  })

  it('does not turn others away, whatever twelve dead grants are asked for', async () => {
    const setup = await setUpMany()
    const { auth, clock } = setup
    for (const user of users) changePassword(setup, user)
    for (const [index, user] of users.entries()) {
      if (index % 4 === 0) clock.advance(30 * MINUTE)
      expect(await status(auth)).toBe(200)
      expect(await reason(auth, user)).toMatchObject({ reason: 'revoked' })
    }

    let most = 0
    for (let passed = 0; passed < 3 * HOUR; passed += MINUTE) {
      clock.advance(MINUTE)
      for (const user of users) expect(await reason(auth, user)).toMatchObject({ reason: 'revoked' })
      expect(await status(auth)).toBe(200)
      most = Math.max(most, setup.nextcloud.state.attempts.filter(({ at }) => at > clock.now() - 30 * MINUTE).length)
    }
    expect(most).toBeGreaterThan(0)
    expect(most).toBeLessThanOrEqual(8)

    for (const user of users) signInAgain(setup, user)
    clock.advance(HOUR)
    for (const user of users) expect(await status(auth, user)).toBe(200)
    expect(wrong(setup)).toBe(0)
  })

  it('does not turn away those who are at work while twelve are found to be dead', async () => {
    const setup = await setUpMany()
    const { clock, open } = setup
    clock.advance(HOUR)
    const auth = open()
    expect(await status(auth)).toBe(200)
    for (const user of users) changePassword(setup, user)

    const codes = []
    for (const user of users) codes.push((await reason(auth, user)).code)

    expect(codes).toEqual([
      ...Array<string>(8).fill('ERR_NOT_PROVISIONED'),
      ...Array<string>(4).fill('ERR_UPSTREAM_UNAVAILABLE'),
    ])
    expect(await status(auth)).toBe(200)
    clock.advance(30 * MINUTE)
    for (const user of users.slice(8)) expect(await reason(auth, user)).toMatchObject({ reason: 'revoked' })
  })
})

describe('one user whose app passwords die again and again', () => {
  /** The user ends an app password in Nextcloud and connects again, so many times: a tool is called after each. */
  async function dying(setup: AppPasswordWorld, auth: McpAuth, times: number) {
    const { nextcloud } = setup
    const codes: unknown[] = []
    for (let count = 0; count < times; count += 1) {
      await setup.connectAs('mallory', undefined, 'mallory')
      for (const token of nextcloud.appPasswords) if (token.uid === 'mallory') token.refused = true
      codes.push((await reason(auth, 'mallory')).code)
    }
    return codes
  }
  const counted = ({ nextcloud, clock }: AppPasswordWorld) =>
    nextcloud.state.attempts.filter(({ at }) => at > clock.now() - 30 * MINUTE).length

  it('does not make the others wait, nor use up what Nextcloud bears', async () => {
    const setup = await setUp()
    const { clock, auth } = setup
    await setup.connectAs('bob', undefined, 'bob')
    clock.advance(HOUR)
    expect(await status(auth)).toBe(200)

    const codes = await dying(setup, auth, 12)

    expect(codes.slice(0, 2)).toEqual(Array(2).fill('ERR_NOT_PROVISIONED'))
    expect(codes.at(-1)).toBe('ERR_UPSTREAM_UNAVAILABLE')
    expect(counted(setup)).toBeLessThanOrEqual(5)
    // Known to this process, and not.
    expect([await status(auth), await status(auth, 'bob')]).toEqual([200, 200])
  })

  it('is served again half an hour later, and at once after one refusal', async () => {
    const setup = await setUp()
    const { clock, auth } = setup
    await dying(setup, auth, 1)
    await setup.connectAs('mallory', undefined, 'mallory')
    expect(await status(auth, 'mallory')).toBe(200)
    await dying(setup, auth, 8)
    clock.advance(30 * MINUTE)
    await setup.connectAs('mallory', undefined, 'mallory')

    expect(await status(auth, 'mallory')).toBe(200)
  })
})

describe('a disconnection of a dead grant', () => {
  it('deletes its app password, when Nextcloud takes that again', async () => {
    const setup = await setUp()
    const { auth, nextcloud } = setup
    enable(setup, false)
    await reason(auth)
    enable(setup, true)

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })
    expect(nextcloud.appPasswords).toEqual([])
  })
})

it('a grant that the user ends while its app password is tried again stays ended', async () => {
  const storage = overtakenStorage()
  const setup = await setUp({ storage })
  const { auth, as, clock, grants, stored } = setup
  enable(setup, false)
  expect(await reason(auth)).toMatchObject({ reason: 'revoked' })
  enable(setup, true)
  clock.advance(10 * MINUTE)
  // The first is the note of the try.
  storage.before(2, () => grants.store.disconnect({ issuer: as.issuer, ...ALICE }, undefined))

  expect(await reason(auth)).toMatchObject({ reason: 'revoked' })

  expect(await stored()).toMatchObject({ state: 'disconnected' })
})
