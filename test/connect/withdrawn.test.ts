import { describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { CLIENT_ID } from '../support/scripted-authorization-server.js'
import { MCP_CLIENT } from '../support/grant-constants.js'
import { bareHost } from '../support/hosts.js'
import { appPasswordWorld, waitingPage, type AppPasswordWorld } from '../support/login-visits.js'
import { until } from '../support/promises.js'
import { holdTokenRequests, tokenAnswer } from '../support/token-endpoint.js'
import { world } from '../support/world.js'

const ALICE = { subject: 'alice' }
const POLL = 2_000

/** A rule (`connect.identity`) that thinks until it is told to say yes. */
function thinking() {
  let say = (): void => undefined
  let asked = false
  return {
    options: {
      connect: {
        identity: () =>
          new Promise<boolean>((resolve) => {
            asked = true
            say = () => resolve(true)
          }),
      },
    } satisfies McpAuthOptions,
    question: () => until(() => asked),
    sayYes: () => say(),
  }
}

/** Alice has agreed in Nextcloud, and the rule is being asked. */
async function setUp() {
  const { options, question, sayYes } = thinking()
  const setup = await appPasswordWorld({ options })
  const alice = setup.browser()
  const page = await alice.open(await setup.link('alice'))
  const going = await alice.press(page, { answer: 'yes' })
  const waiting = waitingPage(await alice.open(await setup.authorize(going.refreshTo, 'alice')))
  await setup.nextcloud.grant(waiting.login, 'alice')
  setup.clock.advance(POLL)
  await question()
  return { ...setup, alice, page, waiting, sayYes, press: (answer: 'yes' | 'no') => alice.press(page, { answer }) }
}

const failures = ({ events }: Pick<AppPasswordWorld, 'events'>) =>
  events.flatMap((event) => (event.type === 'connect.failed' ? [event.reason] : []))
const isStored = ({ events }: Pick<AppPasswordWorld, 'events'>) => events.some(({ type }) => type === 'grant.stored')

describe('a login at Nextcloud under way comes to nothing, and its app password ends, if the user', () => {
  it.each<[string, (setup: Awaited<ReturnType<typeof setUp>>) => Promise<unknown>]>([
    ['has the app disconnect', ({ auth }) => auth.revoke(ALICE)],
    ['disconnects at another instance', ({ open }) => open().revoke(ALICE)],
    [
      'takes back the consent of this MCP client',
      ({ grants, as }) => grants.store.disconnect({ issuer: as.issuer, ...ALICE }, MCP_CLIENT),
    ],
    ['says no after all', ({ press }) => press('no')],
  ])('%s', async (_, withdraw) => {
    const setup = await setUp()
    const { alice, waiting, nextcloud, sayYes, stored, auth, happened } = setup
    await withdraw(setup)

    sayYes()
    await happened('connect.failed')
    const end = await alice.open(waiting.next)

    expect([isStored(setup), await stored(), nextcloud.appPasswords]).toEqual([false, undefined, []])
    expect(failures(setup)).toContain('declined')
    expect(await auth.isProvisioned(ALICE)).toBe(false)
    expect(end.text).not.toContain('Connected, you can go back')
  })

  it('disconnects: its page says so, and the next link connects', async () => {
    const setup = await setUp()
    const { alice, waiting, sayYes, auth, happened, begin, nextcloud, clock } = setup
    await auth.revoke(ALICE)
    sayYes()
    await happened('connect.failed')

    expect((await alice.open(waiting.next)).text).toContain('Not connected')

    const { login } = await begin()
    await nextcloud.grant(login, 'alice')
    clock.advance(POLL)
    await until(() => (sayYes(), isStored(setup)))
    expect(await auth.isProvisioned(ALICE)).toBe(true)
  })
})

it('a disconnection of another MCP client leaves a login under way alone', async () => {
  const setup = await setUp()
  const { grants, as, sayYes, happened, auth } = setup
  await grants.store.disconnect({ issuer: as.issuer, ...ALICE }, 'another client')

  sayYes()
  await happened('grant.stored')

  expect(await auth.isProvisioned(ALICE)).toBe(true)
})

it('a no that comes after the connection is stored is told that it is connected, and can disconnect', async () => {
  const setup = await setUp()
  const { sayYes, happened, press, auth } = setup
  sayYes()
  await happened('grant.stored')

  const page = await press('no')

  expect(page.text).toContain('Connected, you can go back')
  expect(await auth.isProvisioned(ALICE)).toBe(true)
})

it('an answer of Nextcloud that an instance holds while it is cut off from the store does not undo a disconnection', async () => {
  const memory = new MemoryStorage()
  let isCut = (): boolean => false
  const cut =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    (...args: A): Promise<R> =>
      isCut() ? Promise.reject(new Error('cut off')) : call(...args)
  const storage: StorageAdapter = {
    shared: true,
    get: cut(memory.get.bind(memory)),
    put: cut(memory.put.bind(memory)),
    delete: cut(memory.delete.bind(memory)),
  }
  const setup = await appPasswordWorld({ storage, options: { connect: { identity: 'anyone' } } })
  const { nextcloud, clock, begin, polls, open, stored, events } = setup
  await setup.connectAs('alice')
  const other = open({ storage: memory })
  clock.advance(1)
  const { login } = await begin()
  await nextcloud.grant(login, 'alice')
  const before = polls()
  isCut = () => polls() > before
  clock.advance(POLL)
  await until(() => polls() > before)
  await until(() => nextcloud.appPasswords.length === 2)
  const goOn = async (ms: number, isSo: () => boolean): Promise<void> => {
    for (let steps = 0; steps < 600 && !isSo(); steps += 1) {
      clock.advance(ms)
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
  await goOn(500, () => events.some(({ type }) => type === 'storage.failed'))

  expect(await other.revoke(ALICE)).toEqual({ revoked: true })
  clock.advance(600_000)
  isCut = () => false
  await goOn(500, () => nextcloud.appPasswords.length === 0)

  expect([await other.isProvisioned(ALICE), nextcloud.appPasswords]).toEqual([false, []])
  expect(await stored()).toMatchObject({ state: 'disconnected' })
  expect(events.filter(({ type }) => type === 'grant.stored')).toHaveLength(1)
})

describe('a sign-in for a refresh token', () => {
  async function atTheTokenEndpoint() {
    const setup = await world({ mode: 'refresh-token', host: bareHost })
    setup.as.metadata['revocation_endpoint'] = `${setup.as.issuer}/revoke`
    setup.as.script('/revoke', { status: 200 })
    const alice = setup.browser()
    const page = await alice.open(await setup.link())
    const { refreshTo } = await alice.press(page, { answer: 'yes' })
    const idToken = await setup.as.mint(
      {
        aud: CLIENT_ID,
        sub: 'alice',
        nonce: refreshTo?.searchParams.get('nonce'),
        client_id: undefined,
        scope: undefined,
      },
      { header: { typ: 'JWT' } },
    )
    return { ...setup, alice, page, back: await setup.authorize(refreshTo), idToken }
  }

  it.each(['disconnects', 'says no after all'] as const)(
    'connects nothing, and its token is revoked, if the user %s while the code is redeemed',
    async (how) => {
      const setup = await atTheTokenEndpoint()
      const { as, alice, page, back, idToken, auth, stored } = setup
      const held = holdTokenRequests(as)
      const callback = alice.open(back)
      await held.arrival()
      if (how === 'disconnects') await auth.revoke(ALICE)
      else await alice.press(page, { answer: 'no' })

      held.answer(tokenAnswer('at', { refresh_token: 'fresh', id_token: idToken }))

      expect((await callback).text).toContain('Not connected')
      expect([isStored(setup), await stored()]).toEqual([false, undefined])
      expect(as.received('/revoke').map(({ form }) => form.get('token'))).toEqual(['fresh'])
    },
  )

  it('that a second callback repeats is not called connected once the user has disconnected', async () => {
    const { browser, link, authorize, auth } = await world({ mode: 'refresh-token', host: bareHost })
    const alice = browser()
    const page = await alice.open(await link())
    const [one, other] = [await alice.press(page, { answer: 'yes' }), await alice.press(page, { answer: 'yes' })]
    expect((await alice.open(await authorize(one.refreshTo))).text).toContain('Connected, you can go back')

    await auth.revoke(ALICE)

    expect((await alice.open(await authorize(other.refreshTo))).text).toContain('Not connected')
    expect((await alice.press(page, { answer: 'yes' })).text).toContain('Not connected')
    expect(await auth.isProvisioned(ALICE)).toBe(false)
  })
})
