import type { Credential, Identity } from '../../src/grants/grant.js'
import { expect, it, vi } from 'vitest'
import type { Deletions } from '../../src/broker/deletions.js'
import { createLoginAnswers, type LoginAnswerRooms } from '../../src/connect/login-answers.js'
import { StorageError } from '../../src/errors/errors.js'
import { createEvents } from '../../src/events.js'
import { manualClock } from '../support/clock.js'
import { turn } from '../support/promises.js'

type Discard = (...of: [identity: Identity, credential: Credential]) => ReturnType<Deletions['discard']>

const server = 'https://cloud.example.com/'

/** Answers of Nextcloud while the store is unavailable. */
function setUp() {
  const clock = manualClock()
  const remove = vi.fn<Discard>().mockResolvedValue(true)
  const report = vi.fn<LoginAnswerRooms['report']>()
  const answers = createLoginAnswers({
    records: { replace: () => Promise.reject(new StorageError('unavailable')) },
    grants: {
      store: { connect: () => Promise.reject(new StorageError('unavailable')) },
      fingerprint: () => 'fingerprint',
      background: (work: Promise<unknown>) => void work,
    } as unknown as LoginAnswerRooms['grants'],
    appPasswords: { nextcloud: server },
    deletions: { end: remove, discard: remove },
    patience: 0,
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
  return { ...answers, remove, report, record, value }
}

it('deletes in Nextcloud the app password that it gives up for want of room, and no other', async () => {
  const { take, remove, record } = setUp()

  for (let count = 0; count <= 10_000; count += 1) {
    const answer = { loginName: 'alice', password: `app-password-${count}`, server }
    await expect(take(`${count}`, record(), answer)).rejects.toThrow(StorageError)
  }
  await turn()

  expect(deleted(remove.mock.calls)).toEqual(['app-password-0'])
})

it.each([
  ['an app password is deleted', { loginName: 'alice', password: 'app-password', server }, ['app-password']],
  ['where there is none, nothing is', 'unusable', []],
] as const)('of an answer whose login is forgotten already, %s, and it has no outcome', async (_, answer, ended) => {
  const { take, remove, report, record, value } = setUp()

  expect(await take('secret', record(0), answer)).toEqual(value)

  expect(deleted(remove.mock.calls)).toEqual(ended)
  expect(report).not.toHaveBeenCalled()
})

/** The app passwords that were to be deleted. */
const deleted = (calls: readonly Parameters<Discard>[]): string[] =>
  calls.map(([, credential]) => ('appPassword' in credential ? credential.appPassword.password : ''))
