import { expect, it } from 'vitest'
import { MemoryStorage } from '../../src/index.js'
import { until } from '../support/promises.js'
import { clientOf, registeredClient, type TokenAnswer } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'
import { watchedStorage } from '../support/storages.js'

/** Client, code or refresh token, grant, connection, and what is spent once more as it is spent; then a new refresh token. */
const EACH = ['get', 'get', 'get', 'get', 'get', 'put']

it('a code costs seven calls to the store, and a refresh as many; a client costs four more on its first day', async () => {
  const { storage, calls, keys } = watchedStorage(new MemoryStorage())
  const server = await startSignInServer({ storage })
  const alice = server.person('alice')
  const first = await registeredClient(server)
  const callsOf = async (request: () => Promise<TokenAnswer>, more = 0) => {
    calls.length = 0
    const answer = await request()
    await until(() => calls.length >= EACH.length + more)
    return { refreshToken: String(answer.body['refresh_token']), calls: calls.splice(0).sort() }
  }
  const signIn = async (client = first, more = 0) => {
    const code = (await client.authorize(alice)).get('code') ?? ''
    // That it is spent is a record of its own.
    return callsOf(() => client.redeem(code), 1 + more)
  }

  // In the background, the client is kept, and taken from the list of those that nobody uses.
  expect((await signIn(first, 4)).calls).toEqual(['get', 'get', ...EACH, 'put', 'put', 'put'])
  const again = await signIn()
  expect(again.calls).toEqual([...EACH, 'put'])

  // One read before Nextcloud is asked and one after it, and one for the token with which it is asked, which then is in memory.
  const refreshed = await callsOf(() => first.refresh(again.refreshToken), 2)
  expect(refreshed.calls).toEqual(['get', 'get', ...EACH])
  const next = await callsOf(() => first.refresh(refreshed.refreshToken), 1)
  expect(next.calls).toEqual(['get', ...EACH])

  // Nobody's guess costs more.
  const guess = await callsOf(() => first.refresh('guessed'), 2 - EACH.length)
  expect(guess.calls).toEqual(['get', 'get'])
  const stranger = await callsOf(() => clientOf(server, 'unknown').refresh('guessed'), 1 - EACH.length)
  expect(stranger.calls).toEqual(['get'])

  // As docs/write-an-adapter.md says: no key is `.` or `..`, or has a character that means anything in a path or a pattern.
  expect(keys.size).toBeGreaterThan(10)
  expect([...keys].filter((key) => !/^v1:[A-Za-z0-9_-]{43}$/.test(key))).toEqual([])
})
