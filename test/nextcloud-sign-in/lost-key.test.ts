import { expect, it } from 'vitest'
import { MemoryStorage } from '../../src/index.js'
import { manualClock } from '../support/clock.js'
import { registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

it('gives good tokens to a person whose connection did not open any more', async () => {
  const clock = manualClock()
  const storage = new MemoryStorage({}, clock)
  const server = await startSignInServer({ clock, storage })
  const client = await registeredClient(server)
  await client.signIn(server.person('alice'))
  const key = await grantKeyIn(storage, server.auth)
  const { version } = (await storage.get(key))!
  await storage.put(key, 'sealed with a key that is lost', version)

  const { status, body } = await client.signIn(server.person('alice'))

  expect(status).toBe(200)
  const refreshed = await client.refresh(String(body['refresh_token']))
  expect(refreshed.status).toBe(200)
  const who = await server.auth.verify(String(refreshed.body['access_token']))
  expect((await server.auth.nextcloudUser(who)).id).toBe('alice')
  expect((await client.signIn(server.person('alice'))).status).toBe(200)
})

/** The key of the only record whose change takes the connection away. */
async function grantKeyIn(
  storage: MemoryStorage,
  auth: Awaited<ReturnType<typeof startSignInServer>>['auth'],
): Promise<string> {
  const { connections } = await auth.connections()
  const who = { issuer: connections[0]!.issuer, subject: connections[0]!.subject }
  for (const key of await storage.list({ limit: 1_000 })) {
    const { value, version } = (await storage.get(key))!
    const spoiled = (await storage.put(key, 'x', version)) ?? ''
    const isIt = await auth.isProvisioned(who).then(
      () => false,
      () => true,
    )
    await storage.put(key, value, spoiled)
    if (isIt) return key
  }
  throw new Error('There is no grant')
}
