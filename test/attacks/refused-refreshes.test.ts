import { describe, expect, it } from 'vitest'
import { manualClock, type ManualClock } from '../support/clock.js'
import { setUpConnected } from '../support/connected-user.js'
import { failureOf, turn } from '../support/promises.js'
import { registeredClient, type RegisteredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const MINUTE = 60_000
const ROUNDS = 12

interface Scene {
  readonly clock: ManualClock
  readonly server: SignInServer
  readonly client: RegisteredClient
  /** The requests for tokens that Nextcloud counts. */
  readonly counted: () => number
  /** Somebody signs in: the refresh token of their MCP client. */
  readonly signIn: (uid: string) => Promise<string>
}

async function setUp(): Promise<Scene> {
  // The resource server has the clock of this machine.
  const clock = manualClock(Date.now())
  const server = await startSignInServer({ clock })
  const client = await registeredClient(server)
  return {
    clock,
    server,
    client,
    counted: () => server.nextcloud.state.attempts.filter(({ action }) => action === 'oauth2GetToken').length,
    signIn: async (uid) => {
      const { status, body } = await client.signIn(server.person(uid))
      expect(status).toBe(200)
      return String(body['refresh_token'])
    },
  }
}

/** Somebody ends their sessions in Nextcloud (Security, Devices & sessions). */
function endSessions({ server }: Scene, ...uids: readonly string[]): void {
  const { state } = server.nextcloud
  state.tokens.splice(0, state.tokens.length, ...state.tokens.filter(({ uid }) => !uids.includes(uid)))
}

async function rest(): Promise<void> {
  for (let turns = 0; turns < 20; turns += 1) await turn()
  await new Promise((resolve) => setTimeout(resolve, 30))
}

/** What somebody does once the session of their connection has ended in Nextcloud. */
const WAYS: readonly (readonly [
  way: string,
  refusals: number,
  act: (scene: Scene, refreshToken: string) => Promise<unknown>,
])[] = [
  ['refreshes', 3, ({ client }, refreshToken) => client.refresh(refreshToken)],
  ['calls a tool', 3, ({ server }) => server.auth.nextcloudUser({ subject: 'mallory' }).catch(() => undefined)],
  ['signs in again, which ends the tokens before', 2, ({ signIn }) => signIn('mallory')],
  ['disconnects', 2, ({ server }) => server.auth.revoke({ subject: 'mallory' })],
]

describe('a person who ends the session in Nextcloud again and again', () => {
  it.each(WAYS)(
    'has few requests of this server refused there, and others notice nothing: %s (%d)',
    async (_, refusals, act) => {
      const scene = await setUp()
      const { clock, client, counted, signIn } = scene
      const ofAlice = await signIn('alice')
      for (let round = 0; round < ROUNDS; round += 1) {
        const refreshToken = await signIn('mallory')
        endSessions(scene, 'mallory')
        await act(scene, refreshToken)
        await rest()
      }

      expect(counted()).toBe(refusals)
      // Nextcloud's own access token has ended, so that the refresh asks for another one there.
      clock.advance(2 * 60 * MINUTE)
      for (let round = 0; round < ROUNDS; round += 1) {
        const refreshToken = await signIn('mallory')
        endSessions(scene, 'mallory')
        await act(scene, refreshToken)
        await rest()
      }
      expect((await client.refresh(ofAlice)).status).toBe(200)
      await signIn('bob')
    },
  )

  it('is told when to come again, and loses nothing: the answer follows half an hour later', async () => {
    const scene = await setUp()
    const { clock, client, server, counted, signIn } = scene
    const statuses: number[] = []
    let refreshToken = ''
    for (let round = 0; round < 4; round += 1) {
      refreshToken = await signIn('mallory')
      endSessions(scene, 'mallory')
      statuses.push((await client.refresh(refreshToken)).status)
      clock.advance(MINUTE)
    }

    expect(statuses).toEqual([400, 400, 400, 503])
    const again = await client.refresh(refreshToken)
    // The first was refused four minutes ago.
    expect([again.status, again.headers.get('retry-after')]).toEqual([503, String(26 * 60)])
    expect(again.body['error']).toBe('temporarily_unavailable')
    expect(counted()).toBe(3)
    expect(server.events).toContainEqual(
      expect.objectContaining({
        type: 'nextcloud.failed',
        code: 'ERR_UPSTREAM_UNAVAILABLE',
        subject: 'mallory',
        hint: expect.stringContaining('The user can sign in again at once') as string,
      }),
    )
    clock.advance(26 * MINUTE)
    const last = await client.refresh(refreshToken)
    expect([last.status, last.body['error'], counted()]).toEqual([400, 'invalid_grant', 3])
  })

  it('can sign in again, and works', async () => {
    const scene = await setUp()
    const { server, client, signIn } = scene
    for (let round = 0; round < 4; round += 1) {
      const refreshToken = await signIn('carol')
      endSessions(scene, 'carol')
      await client.refresh(refreshToken)
    }

    const refreshToken = await signIn('carol')

    expect(await server.auth.nextcloudUser({ subject: 'carol' })).toMatchObject({ id: 'carol' })
    expect((await client.refresh(refreshToken)).status).toBe(200)
  })
})

describe('people whose sessions end in Nextcloud all at once', () => {
  it('are each told so, with one request, and can all sign in again', async () => {
    const scene = await setUp()
    const { client, counted, signIn } = scene
    const people = Array.from({ length: 9 }, (_, at) => `person-${at}`)
    const tokens = await Promise.all(people.map((uid) => signIn(uid)))
    endSessions(scene, ...people)

    const ends = await Promise.all(tokens.map((token) => client.refresh(token)))

    expect(ends.map(({ status }) => status)).toEqual(people.map(() => 400))
    expect(counted()).toBe(9)
    for (const uid of people) await signIn(uid)
  })
})

it('a server that does not count what it refuses is asked each time', async () => {
  const { auth, refreshTokens, connect, first } = await setUpConnected()
  const reasons: unknown[] = []
  let refreshToken = first
  for (let round = 0; round < 6; round += 1) {
    refreshTokens.revoke(refreshToken)
    reasons.push(await failureOf(auth.getNextcloudToken({ subject: 'alice' })))
    refreshToken = await connect('alice')
  }

  expect(reasons).toEqual(Array.from({ length: 6 }, () => expect.objectContaining({ reason: 'revoked' }) as unknown))
})
