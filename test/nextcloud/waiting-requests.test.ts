import { expect, it } from 'vitest'
import { appPasswordWorld } from '../support/login-visits.js'
import { turn, until } from '../support/promises.js'

const ALICE = { subject: 'alice' }
const USER = '/ocs/v2.php/cloud/user'
const SLOW = '/index.php/apps/slow/api'

/** Alice has connected her account. Requests for `SLOW` get no answer. */
async function setUp() {
  const setup = await appPasswordWorld()
  const { auth, nextcloud } = setup
  await setup.connectAs('alice.w')
  nextcloud.requests.length = 0
  nextcloud.disturb(({ path }) => (path === SLOW ? 'never' : undefined))
  const answers: number[] = []
  return {
    ...setup,
    answers,
    /** Sends a request that nobody waits for. */
    send: (path: string, signal?: AbortSignal) =>
      void auth.nextcloudFetch(ALICE, path, { timeout: 60_000, ...(signal && { signal }) }).then(
        ({ status }) => answers.push(status),
        () => undefined,
      ),
    paths: () => nextcloud.requests.map(({ path }) => path),
    rest: async () => {
      for (let turns = 0; turns < 20; turns += 1) await turn()
      await new Promise((resolve) => setTimeout(resolve, 50))
    },
  }
}

it('a request waits for the first one with an app password of which nothing good is known, for five seconds', async () => {
  const { send, paths, rest, clock, answers } = await setUp()
  send(SLOW)
  await until(() => paths().length === 1)
  send(USER, new AbortController().signal)
  await rest()
  expect(paths()).toEqual([SLOW])

  clock.advance(5_000)
  await until(() => answers.length === 1)

  expect([paths(), answers]).toEqual([[SLOW, USER], [200]])
})

it('a request that has waited is sent with the app password that the user has meanwhile', async () => {
  const { send, paths, rest, clock, answers, connectAs, nextcloud } = await setUp()
  send(SLOW)
  await until(() => paths().length === 1)
  send(USER)
  await rest()
  clock.advance(1)
  await connectAs('alice.w')
  nextcloud.requests.length = 0

  clock.advance(5_000)
  await until(() => answers.length === 1)

  const sent = nextcloud.requests.find(({ path }) => path === USER)?.headers.authorization ?? ''
  const [, password] = Buffer.from(sent.replace('Basic ', ''), 'base64').toString().split(':')
  expect(password).toBe(nextcloud.appPasswords.at(-1)?.password)
})

it('an answer 503 says nothing good of an app password, so that the next request goes alone too', async () => {
  const { send, paths, rest, nextcloud, answers } = await setUp()
  nextcloud.disturb(({ path }) => (path === SLOW ? 'never' : 503))
  send(USER)
  await until(() => answers.length === 1)
  send(SLOW)
  await until(() => paths().includes(SLOW))
  const sent = paths().length

  send(USER)
  await rest()

  expect([answers, paths().length]).toEqual([[503], sent])
})
