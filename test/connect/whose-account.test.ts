import { describe, expect, it, vi } from 'vitest'
import { whyNotTheirs, type AccountRooms, type FreshCredential } from '../../src/connect/whose-account.js'
import { createSignIns } from '../../src/nextcloud/sign-ins.js'
import type { ConnectedAccount, ConnectingUser, IdentityRule } from '../../src/index.js'
import { manualClock } from '../support/clock.js'
import { turn, until } from '../support/promises.js'

const NEXTCLOUD = 'https://cloud.example.com/nextcloud'
const ALICE = { identity: { issuer: 'https://idp.example', subject: 'alice' }, clientId: 'mcp-client' }
const SECRET = { scheme: 'Basic', loginName: 'alice@example.com', password: 'app-password' } as const
const CREDENTIAL = { secret: SECRET, loginName: 'alice@example.com', server: `${NEXTCLOUD}/` }
const USER = { id: 'alice', displayName: 'Alice Liddell', email: 'alice@example.com' }

/** `printf 1_0_alice | sha256sum`. */
const OF_USER_OIDC = 'a0441c15fcb94c813d92cb5e5080b66747751bc42eebcac6abaf114811030f5c'

type AccountOf = AccountRooms['freshCredentials']['accountOf']
type Function = (account: ConnectedAccount, who: ConnectingUser) => boolean | Promise<boolean>

/** A question to a Nextcloud that says what it is told to. */
function setUp(identity: IdentityRule | undefined, says: Awaited<ReturnType<AccountOf>> = USER) {
  const clock = manualClock()
  const accountOf = vi.fn<AccountOf>().mockResolvedValue(says)
  const rooms = {
    connect: { identity },
    nextcloud: { url: new URL(NEXTCLOUD) },
    freshCredentials: { accountOf },
    signIns: createSignIns(clock),
    clock,
  }
  return {
    clock,
    accountOf,
    signIns: rooms.signIns,
    ask: (credential: FreshCredential = CREDENTIAL, claims?: object) =>
      whyNotTheirs(rooms, credential, { ...ALICE, ...(claims && { claims: { ...claims } }) }),
  }
}

const no = (hint: RegExp, more: object = {}) =>
  expect.objectContaining({ ...ALICE.identity, hint: expect.stringMatching(hint) as string, ...more }) as unknown

describe('a rule that compares', () => {
  it.each<[string, IdentityRule, string, object?]>([
    ['the subject', 'sub', 'alice'],
    ['a claim', { claim: 'preferred_username' }, 'alice.w', { preferred_username: 'alice.w' }],
    ['what user_oidc makes of the subject', { userOidc: { providerId: 1 } }, OF_USER_OIDC],
  ])('takes %s, to the letter', async (_what, rule, id, claims) => {
    const others = [id.toUpperCase(), `${id} `, id.slice(1), 'bob', 'alice@example.com']

    expect(await setUp(rule, { ...USER, id }).ask(CREDENTIAL, claims)).toBeUndefined()
    for (const other of others)
      expect(await setUp(rule, { ...USER, id: other }).ask(CREDENTIAL, claims)).toEqual(
        no(/is not the one/, { userId: other, loginName: 'alice@example.com' }),
      )
  })

  it.each([{}, { preferred_username: '' }, { preferred_username: ['alice'] }, { preferred_username: 7 }, undefined])(
    'a claim says no without it: %j',
    async (claims) => {
      const { ask } = setUp({ claim: 'preferred_username' })

      expect(await ask(CREDENTIAL, claims)).toEqual(no(/claim preferred_username.*missing, empty, no string/))
    },
  )

  it('never takes the word of the login name', async () => {
    const { ask } = setUp('sub', { ...USER, id: 'mallory' })

    expect(await ask({ secret: { ...SECRET, loginName: 'alice' }, loginName: 'alice' })).toEqual(
      no(/is not the one/, { userId: 'mallory', loginName: 'alice', rule: 'sub' }),
    )
  })

  it('says no where Nextcloud names another account with a token than it names when it is asked', async () => {
    const { ask } = setUp('sub')
    const bearer = { secret: { scheme: 'Bearer', token: 'token' } } as const

    expect(await ask({ ...bearer, userId: 'alice' })).toBeUndefined()
    expect(await ask(bearer)).toBeUndefined()
    for (const userId of ['bob', 'Alice', '', 7, null])
      expect(await ask({ ...bearer, userId })).toEqual(no(/one account with the token and another/))
  })
})

describe('a function', () => {
  it('is given the account as Nextcloud names it, and whose link it is, and can change nothing', async () => {
    const identity = vi.fn<Function>(() => true)
    const { ask } = setUp(identity)

    expect(await ask(CREDENTIAL, { groups: ['staff'] })).toBeUndefined()

    const [[account, who] = []] = identity.mock.calls
    expect(account).toEqual({
      userId: 'alice',
      loginName: 'alice@example.com',
      server: `${NEXTCLOUD}/`,
      email: 'alice@example.com',
      displayName: 'Alice Liddell',
    })
    expect(who).toEqual({ ...ALICE.identity, clientId: 'mcp-client', claims: { groups: ['staff'] } })
    expect([account, who, who?.claims].every((given) => Object.isFrozen(given))).toBe(true)
  })

  it('is given the user id as a login name, and the configured address, where Nextcloud names neither', async () => {
    const identity = vi.fn<Function>(() => true)
    await setUp(identity, { id: 'alice', displayName: 'alice', email: undefined }).ask({ secret: SECRET })

    expect(identity.mock.calls[0]?.[0]).toEqual({
      userId: 'alice',
      loginName: 'alice',
      server: NEXTCLOUD,
      displayName: 'alice',
    })
    expect(identity.mock.calls[0]?.[1].claims).toEqual({})
  })

  it.each<[string, unknown, boolean]>([
    ['true', () => true, true],
    ['true, later', () => Promise.resolve(true), true],
    ['false', () => false, false],
    ['nothing', () => undefined, false],
    ['nothing, later', () => Promise.resolve(undefined), false],
    ['what is not true', () => 'yes', false],
    ['1', () => 1, false],
  ])('that says %s', async (_what, rule, isYes) => {
    const answer = await setUp(rule as Function).ask()

    expect(answer).toEqual(isYes ? undefined : no(/did not say true/, { rule: 'function', userId: 'alice' }))
  })

  it.each<Function>([
    () => Promise.reject(new Error('the directory is unavailable')),
    () => {
      throw new Error('the directory is unavailable')
    },
  ])('that fails says no', async (rule) => {
    expect(await setUp(rule).ask()).toEqual(no(/^connect\.identity failed: the directory is unavailable/))
  })

  it('that throws what is no Error says no, and none of it is told', async () => {
    const rule: Function = () => {
      throw 'alice@example.com' as unknown as Error
    }
    expect(await setUp(rule).ask()).toEqual(no(/^connect\.identity failed: no Error was thrown$/))
  })

  it('that does not answer within 10 s says no, and its later yes comes too late', async () => {
    let say: (yes: boolean) => void = () => undefined
    const { clock, ask } = setUp(() => new Promise<boolean>((resolve) => (say = resolve)))
    let answer: unknown = 'none yet'
    void ask().then((said) => (answer = said))
    await turn()

    clock.advance(9_999)
    await turn()
    expect(answer).toBe('none yet')
    clock.advance(1)
    await until(() => answer !== 'none yet')
    say(true)
    await turn()

    expect(answer).toEqual(no(/within 10 seconds/))
  })
})

describe('Nextcloud', () => {
  it('that does not answer is asked again for 10 s, and then it is a no', async () => {
    const { ask, accountOf, clock } = setUp('sub')
    accountOf.mockResolvedValue(undefined)

    expect(await ask()).toEqual(no(/does not say whose account/, { loginName: 'alice@example.com' }))

    expect(clock.monotonic()).toBe(10_000)
    expect(accountOf.mock.calls.length).toBe(20)
  })

  it('that comes back within that time is believed', async () => {
    const { ask, accountOf } = setUp('sub')
    for (let failures = 0; failures < 19; failures += 1) accountOf.mockResolvedValueOnce(undefined)

    expect(await ask()).toBeUndefined()
    expect(accountOf.mock.calls.length).toBe(20)
  })

  it('that hangs is waited for no longer', async () => {
    const { ask, accountOf, clock } = setUp('sub')
    accountOf.mockReturnValue(new Promise(() => undefined))
    let answer: unknown
    void ask().then((said) => (answer = said))
    await turn()

    clock.advance(10_000)
    await until(() => answer !== undefined)

    expect(answer).toEqual(no(/does not say whose account/))
    expect(accountOf.mock.calls.length).toBe(1)
  })

  // Each wrong password counts, and too many lock the whole server out.
  it('that refuses the credential is asked once', async () => {
    const { ask, accountOf } = setUp('sub', 'refused')

    expect(await ask()).toEqual(no(/does not take the credential/))
    expect(accountOf.mock.calls).toEqual([[SECRET]])
  })

  it('that has refused four of the user is asked about no app password for half an hour, and about tokens at once', async () => {
    const { ask, accountOf, signIns, clock } = setUp('sub', 'refused')
    for (let count = 0; count < 4; count += 1) await ask()

    expect(await ask()).toEqual(no(/refused so many app passwords of this user/))
    expect(accountOf.mock.calls).toHaveLength(4)
    expect(signIns.isBarred({ ...ALICE.identity, subject: 'bob' })).toBe(false)
    await ask({ secret: { scheme: 'Bearer', token: 'token' } })
    expect(accountOf.mock.calls).toHaveLength(5)
    clock.advance(30 * 60_000)
    accountOf.mockResolvedValue(USER)
    expect(await ask()).toBeUndefined()
  })

  it('that refuses tokens, which it does not count, is asked about app passwords all the same', async () => {
    const { ask, accountOf } = setUp('sub', 'refused')
    for (let count = 0; count < 9; count += 1) await ask({ secret: { scheme: 'Bearer', token: 'token' } })

    expect(await ask()).toEqual(no(/does not take the credential/))
    expect(accountOf.mock.calls).toHaveLength(10)
  })

  it.each(['anyone', undefined] as const)('is not asked where the rule is %s', async (rule) => {
    const { ask, accountOf } = setUp(rule, 'refused')

    expect([await ask(), accountOf.mock.calls]).toEqual([undefined, []])
  })
})
