import type { Credential, Identity } from '../../src/grants/grant.js'
import { expect, it, vi, type Mock } from 'vitest'
import type { Deletions } from '../../src/broker/deletions.js'
import { createLoginAnswers, type LoginAnswerRooms } from '../../src/connect/login-answers.js'
import { StorageError } from '../../src/errors/errors.js'
import { createEvents } from '../../src/events.js'
import { manualClock } from '../support/clock.js'
import { turn } from '../support/promises.js'

type Discard = (...of: [identity: Identity, credential: Credential]) => ReturnType<Deletions['discard']>

const server = 'https://cloud.example.com/'

const unavailable = () => Promise.reject(new StorageError('unavailable'))
const stored = () => Promise.resolve({ retired: undefined })

/** Answers of Nextcloud while the store is unavailable, or does as it is told. */
function setUp({
  connect = vi.fn<() => Promise<unknown>>(unavailable),
  replace = vi.fn(unavailable),
  patience = 0,
} = {}) {
  const clock = manualClock()
  const end = vi.fn<Discard>().mockResolvedValue(true)
  const discard = vi.fn<Discard>().mockResolvedValue(true)
  const report = vi.fn<LoginAnswerRooms['report']>()
  const answers = createLoginAnswers({
    records: { replace },
    grants: {
      store: { connect },
      fingerprint: () => 'fingerprint',
      background: (work: Promise<unknown>) => void work,
    } as unknown as LoginAnswerRooms['grants'],
    appPasswords: { nextcloud: server },
    deletions: { end, discard, expect: () => Promise.resolve(false), stored: () => Promise.resolve() },
    patience,
    whyNot: () => Promise.resolve(undefined),
    report,
    onConnected: () => undefined,
    clock,
    events: createEvents(() => undefined, clock),
  })
  const value = {
    identity: { issuer: 'https://idp.example', subject: 'alice' },
    clientId: 'mcp-client',
    login: `${server}login/v2/flow`,
    pollToken: 'poll-token',
    endsAt: clock.now() + 60_000,
  }
  const record = (life = 60_000) => ({ key: 'key', value, version: '1', expiresAt: clock.now() + life })
  return { ...answers, connect, replace, end, discard, report, record, value }
}

/** Takes answers, of which the one with the number 0 is given up for want of room with the last. */
async function fill({ take, record }: ReturnType<typeof setUp>, from = 0): Promise<void> {
  const counts = Array.from({ length: 10_001 - from }, (_, index) => from + index)
  const taken = await Promise.allSettled(counts.map((count) => take(`${count}`, record(), given(count))))
  expect(taken.map(({ status }) => status)).not.toContain('fulfilled')
  await turn()
}

const given = (count: number) => ({ loginName: 'alice', password: `app-password-${count}`, server })

it('deletes in Nextcloud the app password that it gives up for want of room, and no other', async () => {
  const setup = setUp()

  await fill(setup)

  expect([deleted(setup.discard), deleted(setup.end)]).toEqual([['app-password-0'], []])
})

it.each([
  ['keeps in Nextcloud', 'is stored', stored, []],
  ['deletes in Nextcloud', 'is not stored', unavailable, ['app-password-0']],
] as const)('%s what it gives up while its last attempt is under way, once it %s', async (_, __, outcome, ended) => {
  let answer = (): void => undefined
  const first = new Promise<void>((resolve) => (answer = resolve)).then(outcome)
  const setup = setUp({ connect: vi.fn<() => Promise<unknown>>(unavailable).mockReturnValueOnce(first) })
  const taken = setup.take('0', setup.record(), given(0)).catch(() => undefined)
  await fill(setup, 1)
  expect(deleted(setup.discard)).toEqual([])

  answer()
  await taken
  await turn()

  expect(deleted(setup.discard)).toEqual(ended)
})

it.each([
  ['is deleted in Nextcloud', 'is not stored', unavailable, ['app-password-0']],
  ['is kept in Nextcloud', 'is stored, and not noted', stored, []],
] as const)('an app password %s that %s when this process ends', async (_, __, outcome, ended) => {
  const setup = setUp({ connect: vi.fn<() => Promise<unknown>>(outcome) })
  await expect(setup.take('0', setup.record(), given(0))).rejects.toThrow(StorageError)

  await setup.close()
  await turn()

  expect([deleted(setup.end), deleted(setup.discard)]).toEqual([ended, []])
  expect(setup.report).not.toHaveBeenCalled()
})

it('tells the operator of an app password that is neither stored nor deleted when this process ends', async () => {
  const { take, record, close, end, report, value } = setUp()
  await expect(take('0', record(), given(0))).rejects.toThrow(StorageError)
  end.mockResolvedValueOnce('pending')

  await close()
  await turn()

  const { identity, clientId } = value
  expect(report.mock.calls).toEqual([['answer', { ...identity, clientId, hint: expect.any(String) as string }]])
})

it.each([
  ['the app password', {}, 'connect'],
  ['the outcome', { connect: vi.fn<() => Promise<unknown>>(stored) }, 'replace'],
] as const)(
  'tries once to write %s when this process ends, however patient it is otherwise',
  async (_, rooms, what) => {
    const setup = setUp({ ...rooms, patience: 60_000 })
    await expect(setup.take('0', setup.record(), given(0))).rejects.toThrow(StorageError)
    const before = setup[what].mock.calls.length
    expect(before).toBeGreaterThan(10)

    await setup.close()

    expect(setup[what].mock.calls.length - before).toBe(1)
  },
)

it.each([
  ['an app password is deleted', { loginName: 'alice', password: 'app-password', server }, ['app-password']],
  ['where there is none, nothing is', 'unusable', []],
] as const)('of an answer whose login is forgotten already, %s, and it has no outcome', async (_, answer, ended) => {
  const { take, discard, report, record, value } = setUp()

  expect(await take('secret', record(0), answer)).toEqual(value)

  expect(deleted(discard)).toEqual(ended)
  expect(report).not.toHaveBeenCalled()
})

/** The app passwords that were to be deleted. */
const deleted = ({ mock }: Mock<Discard>): string[] =>
  mock.calls.map(([, credential]) => ('appPassword' in credential ? credential.appPassword.password : ''))
