import { expect, it } from 'vitest'
import { MemoryStorage, type StorageAdapter } from '../../src/index.js'
import { registeredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer as Server } from '../support/sign-in-server.js'

const ALICE = { subject: 'alice' }
const USER = '/ocs/v2.php/cloud/user'

/** A sign-in server whose user disconnects just before the next write to the store, once `isTime`. */
async function disconnecting(isTime: (server: Server) => boolean): Promise<Server> {
  const memory = new MemoryStorage()
  let server: Server | undefined
  const first =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      const watched = server
      if (watched !== undefined && isTime(watched)) {
        server = undefined
        await watched.auth.revoke(ALICE)
      }
      return call(...args)
    }
  const storage: StorageAdapter = {
    shared: true,
    get: (key) => memory.get(key),
    list: (page) => memory.list(page),
    put: first(memory.put.bind(memory)),
    delete: (...args) => memory.delete(...args),
  }
  return (server = await startSignInServer({ storage }))
}

it.each<[string, Parameters<typeof disconnecting>[0]]>([
  ['while Nextcloud is asked who it is', ({ nextcloud }) => nextcloud.requests.some(({ path }) => path === USER)],
  ['before the browser is back', ({ events }) => events.some(({ type }) => type === 'grant.stored')],
])('a sign-in whose user disconnects %s connects nothing, and is refused to the client', async (_, isTime) => {
  const server = await disconnecting(isTime)
  const client = await registeredClient(server)
  const alice = server.person('alice')

  const answer = await client.authorize(alice)

  expect([answer.get('error'), answer.get('code')]).toEqual(['access_denied', null])
  expect(await server.auth.isProvisioned(ALICE)).toBe(false)
  await server.signIn.close()
  expect(server.nextcloud.state.tokens.filter(({ kind }) => kind === 'oauth2')).toEqual([])

  expect((await client.signIn(alice)).status).toBe(200)
  expect(await server.auth.isProvisioned(ALICE)).toBe(true)
})
