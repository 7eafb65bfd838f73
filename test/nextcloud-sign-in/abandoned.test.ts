import { expect, it } from 'vitest'
import { MemoryStorage, type StorageAdapter } from '../../src/index.js'
import { manualClock } from '../support/clock.js'
import { clientOf, REDIRECT_URI, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

/** Milliseconds and characters. */
const TEN_MINUTES = 600_000
const LONGEST = 30_000

/** Memory that tells what is left in it. */
function watched() {
  const clock = manualClock()
  const memory = new MemoryStorage({}, clock)
  const left = new Map<string, { readonly life: number; readonly length: number }>()
  const storage: StorageAdapter = {
    shared: true,
    get: (key) => memory.get(key),
    put(key, value, expected, ttlMs) {
      left.set(key, { life: ttlMs ?? Infinity, length: value.length })
      return memory.put(key, value, expected, ttlMs)
    },
    delete(key, expected) {
      left.delete(key)
      return memory.delete(key, expected)
    },
  }
  return { clock, storage, left }
}

it('a sign-in that nobody finishes leaves one record of a bounded length, for ten minutes', async () => {
  const { storage, left } = watched()
  const server = await startSignInServer({ storage })
  const client = await registeredClient(server)
  left.clear()

  const statusOf = async (state: string) =>
    (await fetch(client.authorizationUrl({ state }), { redirect: 'manual' })).status
  expect([await statusOf('short'), await statusOf('x'.repeat(3_000))]).toEqual([303, 303])
  // Longer than this server takes, and than Node.js does.
  expect([await statusOf('x'.repeat(13_000)), await statusOf('x'.repeat(20_000))]).toEqual([400, 431])

  expect([...left.values()].map(({ life }) => life)).toEqual([TEN_MINUTES, TEN_MINUTES])
  for (const { length } of left.values()) expect(length).toBeLessThan(LONGEST)
})

it('a question that nobody answers in ten minutes is unknown', async () => {
  const clock = manualClock()
  const server = await startSignInServer({ clock, storage: new MemoryStorage({}, clock) })
  const client = await registeredClient(server)
  const alice = server.person('alice')
  const question = await alice.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
  clock.advance(600_000)

  expect((await alice.open(question)).status).toBe(410)
  expect((await alice.submit(question, { token: 'any', answer: 'yes' })).status).toBe(410)
})

it('a request for authorization in a form, which may be longer than an address, leaves nothing', async () => {
  const { storage, left } = watched()
  const server = await startSignInServer({ storage })
  const { searchParams } = (await registeredClient(server)).authorizationUrl({ state: 'x'.repeat(40_000) })
  left.clear()

  const answer = await fetch(`${server.origin}/oauth/authorize`, { method: 'POST', body: searchParams })

  expect([answer.status, [...left]]).toEqual([404, []])
})

it('the cookie of a session that has ended leaves nothing but the question, which lasts for ten minutes', async () => {
  const { clock, storage, left } = watched()
  // A client that has registered itself would be kept in the background.
  const server = await startSignInServer({
    storage,
    clock,
    clients: [{ clientId: 'app', redirectUris: [REDIRECT_URI] }],
  })
  const client = clientOf(server, 'app')
  const alice = server.person('alice')
  await client.signIn(alice)
  clock.advance(25 * 3_600_000)
  left.clear()

  await alice.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)

  expect(left.size).toBe(1)
  for (const { life } of left.values()) expect(life).toBeLessThanOrEqual(TEN_MINUTES)
})
