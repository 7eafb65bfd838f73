import { expect, it } from 'vitest'
import { MemoryStorage } from '../../src/index.js'
import { createModelAdapters } from '../../src/nextcloud-sign-in/model-adapter.js'
import { manualClock } from '../support/clock.js'
import { modelRooms } from '../support/model-rooms.js'
import { clientOf, REDIRECT_URI, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

/** A store that remembers how long the longest value was. */
class Measured extends MemoryStorage {
  longest = 0
  override put(...given: Parameters<MemoryStorage['put']>): ReturnType<MemoryStorage['put']> {
    this.longest = Math.max(this.longest, given[1].length)
    return super.put(...given)
  }
}

it('a person who signs in ever more apps leaves records of bounded size, and loses no connection by that', async () => {
  const storage = new Measured()
  const documents = (url: string) =>
    Promise.resolve({ client_id: url, redirect_uris: [REDIRECT_URI], token_endpoint_auth_method: 'none' })
  const server = await startSignInServer({ storage, documents })
  const alice = server.person('alice')
  const first = await registeredClient(server)
  const before = await first.signIn(alice)
  const last = { refreshToken: '', client: first }
  for (let at = 0; at < 49; at += 1) {
    const client = clientOf(server, `https://client-${at}.example.com/`.padEnd(512, 'x'))
    const { status, body } = await client.signIn(alice)
    expect(status).toBe(200)
    Object.assign(last, { client, refreshToken: String(body['refresh_token']) })
  }

  expect(storage.longest).toBeLessThan(45_000)
  expect((await last.client.refresh(last.refreshToken)).status).toBe(200)
  // Of the first one its user is asked once more, in the browser where they are signed in.
  expect(await first.refresh(String(before.body['refresh_token']))).toMatchObject({
    status: 400,
    body: { error: 'invalid_grant' },
  })
  const again = await first.signIn(alice)
  expect((await first.refresh(String(again.body['refresh_token']))).status).toBe(200)
}, 60_000)

it('a session keeps nothing of the clients that its person signs in', async () => {
  const clock = manualClock()
  const sessions = createModelAdapters(modelRooms(new MemoryStorage({}, clock), clock))('Session')
  const session = { uid: 'uid', accountId: 'alice', amr: ['w0'] }
  const authorizations = { 'client-1': { sid: 'sid', grantId: 'w0.grant' } }
  await sessions.upsert('id', { ...session, authorizations }, 60)

  expect(await sessions.find('id')).toEqual(session)
})
