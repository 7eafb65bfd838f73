import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/index.js'
import { manualClock, pass } from '../support/clock.js'
import type { Asked, Told } from '../../src/testing/nextcloud/exchange.js'
import { turn, until } from '../support/promises.js'
import { registeredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'
import { faultyStorage } from '../support/storages.js'

const TOKEN = '/index.php/apps/oauth2/api/v1/token'
const DELETE = '/ocs/v2.php/core/apppassword'
const MINUTE = 60_000

const alive = ({ nextcloud }: SignInServer): number => nextcloud.state.tokens.length
const callbackOf = ({ origin }: SignInServer): string => `${origin}/nextcloud/callback`

async function rest(): Promise<void> {
  for (let turns = 0; turns < 20; turns += 1) await turn()
  await new Promise((resolve) => setTimeout(resolve, 60))
}

/** Alice is on her way back with a code. */
async function onTheWay(options: Parameters<typeof startSignInServer>[0] = {}) {
  // The resource server has the clock of this machine, by which the first attempt at what is noted here is due.
  const clock = manualClock(Date.now() - 10 * MINUTE)
  const server = await startSignInServer({ clock, ...options })
  const client = await registeredClient(server)
  const alice = server.person('alice')
  const back = await alice.until(client.authorizationUrl(), callbackOf(server))
  return { server, client, clock, bring: () => alice.open(back) }
}

describe('a second sign-in', () => {
  it('ends the tokens of the first in Nextcloud, and those of no other person', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    await client.signIn(server.person('bob'))
    await client.signIn(server.person('alice'))
    const [ofBob, ofAlice] = server.nextcloud.state.tokens.map(({ password }) => password)

    const tokens = await client.signIn(server.person('alice'))

    await until(() => alive(server) === 2)
    const left = server.nextcloud.state.tokens.map(({ password }) => password)
    expect([left.includes(ofBob ?? ''), left.includes(ofAlice ?? '')]).toEqual([true, false])
    const token = String(tokens.body['access_token'])
    expect(await server.auth.nextcloudUser({ token })).toMatchObject({ id: 'alice' })
    await server.auth.revoke({ subject: 'alice' })
    expect(alive(server)).toBe(1)
  })

  it('ends them later, where Nextcloud cannot do it at once', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ clock })
    const client = await registeredClient(server)
    await client.signIn(server.person('alice'))
    server.nextcloud.disturb(({ path }) => (path === DELETE ? 503 : undefined))
    await client.signIn(server.person('alice'))
    await rest()
    expect(alive(server)).toBe(2)
    server.nextcloud.disturb(undefined)
    for (let minutes = 0; minutes < 120 && alive(server) > 1; minutes += 1) {
      clock.advance(MINUTE)
      await rest()
    }

    await until(() => alive(server) === 1)
  })
})

describe('tokens that Nextcloud gave and that cannot be stored', () => {
  it('are ended there once the store says that they are in no grant', async () => {
    const storage = faultyStorage(new MemoryStorage())
    const { server, bring, clock } = await onTheWay({ storage })
    server.nextcloud.disturb(({ path }) => {
      if (path.includes('/cloud/user')) storage.failFrom(1)
      return undefined
    })

    expect((await bring()).status).toBe(503)

    storage.heal()
    await pass(clock, 15 * 60_000, 20_000)
    expect(alive(server)).toBe(0)
    expect(await server.auth.isProvisioned({ subject: 'alice' })).toBe(false)
  })

  it('and not ended at once are ended when Nextcloud can, and told of until then', async () => {
    const storage = faultyStorage(new MemoryStorage())
    const { server, bring, clock } = await onTheWay({ storage })
    server.nextcloud.disturb(({ path }) => {
      if (path.includes('/cloud/user')) storage.failFrom(1)
      return path === DELETE ? 503 : undefined
    })

    expect((await bring()).status).toBe(503)

    expect(alive(server)).toBe(1)
    expect(server.events).toContainEqual(
      expect.objectContaining({ type: 'connect.failed', hint: expect.stringContaining('tried again') as string }),
    )
    storage.heal()
    server.nextcloud.disturb(undefined)
    for (let minutes = 0; minutes < 120 && alive(server) > 0; minutes += 1) {
      clock.advance(MINUTE)
      await rest()
    }
    expect(alive(server)).toBe(0)
  })

  it('because there is no refresh token among them are ended there', async () => {
    const { server, bring } = await onTheWay()
    server.nextcloud.disturb((asked) => (asked.path === TOKEN ? withoutRefreshToken(server, asked) : undefined))

    expect((await bring()).status).toBe(403)

    expect(alive(server)).toBe(0)
    expect(server.events).toContainEqual(
      expect.objectContaining({ type: 'connect.failed', reason: 'no_refresh_token' }),
    )
  })
})

describe('a code', () => {
  it('is not sent where it cannot be noted', async () => {
    const storage = faultyStorage(new MemoryStorage())
    const { server, bring } = await onTheWay({ storage })
    // Before it is noted, the record of the way is read and spent.
    storage.failFrom(3)

    expect((await bring()).status).toBe(503)

    storage.heal()
    expect([alive(server), server.nextcloud.requests.filter(({ path }) => path === TOKEN)]).toEqual([0, []])
  })

  it('whose answer is lost is redeemed by nobody, and told of once', async () => {
    const { server, bring } = await onTheWay()
    server.nextcloud.disturb(({ path }) => (path === TOKEN ? 'lost' : undefined))
    expect((await bring()).status).toBe(503)
    server.nextcloud.disturb(undefined)
    const told = () => server.events.filter((event) => 'hint' in event && /was lost/.test(event.hint ?? '')).length
    await server.auth.ready()
    await until(() => told() > 0)
    await server.auth.ready()
    await rest()

    expect([told(), alive(server)]).toEqual([1, 1])
  })

  it('that is made up leaves nothing to be tried', async () => {
    const { server } = await onTheWay()
    const client = await registeredClient(server)
    const mallory = server.person('mallory')
    const back = await mallory.until(client.authorizationUrl(), callbackOf(server))
    back.searchParams.set('code', 'x'.repeat(128))
    await mallory.open(back)
    const sent = () => server.nextcloud.requests.filter(({ path }) => path === TOKEN).length
    expect(sent()).toBe(1)
    await server.auth.ready()
    await rest()

    expect(sent()).toBe(1)
  })
})

/** What Nextcloud answers, without the refresh token. */
function withoutRefreshToken({ nextcloud }: SignInServer, asked: Asked): Told {
  const told = nextcloud.oauth2.answer({ ...asked, path: asked.path.replace('/index.php', '') })
  const members = JSON.parse(String(told?.body)) as Record<string, unknown>
  return { ...told, status: 200, body: JSON.stringify({ ...members, refresh_token: undefined }) }
}
