import { expect, it, onTestFinished } from 'vitest'
import type { McpAuth } from '../../src/mcp-auth.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { afterStart } from '../support/connected-user.js'
import { turn, until } from '../support/promises.js'
import { MCP_CLIENT } from '../support/grant-constants.js'
import { watchedStorage } from '../support/storages.js'
import { world } from '../support/world.js'

const GRANTS = 10_000
/** Records, in the background. */
const LOOKED_AT = 1_000
const users = Array.from({ length: GRANTS }, (_, index) => `user-${index}`)

it('ten thousand grants cost one read for each renewal, then none while they serve, and one a user for each grantCheck', async () => {
  const { storage, calls } = watchedStorage(new MemoryStorage({ maxEntries: GRANTS + 100 }))
  const { as, clock, connect, open } = await world({ mode: 'refresh-token', storage })
  const server = serverInMemory(as.issuer)
  const auth = open({ http: { fetch: server.fetch } })
  for (const subject of users) await connect(subject, { refreshToken: `refresh-of-${subject}` })
  // Nobody is not connected, so that a thousand records are looked at, once.
  const before = calls.length
  await afterStart({ auth, clock })
  await until(() => calls.length >= before + LOOKED_AT)
  await turn()
  const reads = () => calls.filter((call) => call === 'get').length

  for (let renewals = 1; renewals <= 2; renewals += 1) {
    clock.advance(300_000)
    calls.length = 0
    await inTurn(auth, 100)
    expect(server.refreshes()).toBe(renewals * GRANTS)
    expect(reads()).toBe(GRANTS)
  }

  calls.length = 0
  clock.advance(9_999)
  await inTurn(auth, 100)
  await inTurn(auth, 100)
  expect(calls).toEqual([])

  clock.advance(1)
  await inTurn(auth, 100)
  await inTurn(auth, 100)
  expect(calls).toEqual(users.map(() => 'get'))
  expect(server.refreshes()).toBe(2 * GRANTS)
})

/** Everybody's call, so many at a time. */
async function inTurn(auth: McpAuth, atOnce: number): Promise<void> {
  for (let next = 0; next < users.length; next += atOnce) {
    const batch = users.slice(next, next + atOnce)
    await Promise.all(batch.map((subject) => auth.getNextcloudToken({ subject, clientId: MCP_CLIENT })))
  }
}

/** An authorization server without a network in between, which rotates. */
function serverInMemory(issuer: string) {
  let refreshes = 0
  const seen = new Set<string>()
  onTestFinished(() => expect(seen.size).toBe(refreshes))
  return {
    refreshes: () => refreshes,
    fetch: (url: string, init: RequestInit): Promise<Response> => {
      if (init.method !== 'POST') return Promise.resolve(Response.json({ issuer, token_endpoint: `${issuer}/token` }))
      refreshes += 1
      seen.add(new URLSearchParams(init.body as URLSearchParams).get('refresh_token') ?? url)
      const tokens = { access_token: `access-${refreshes}`, refresh_token: `refresh-${refreshes}` }
      return Promise.resolve(Response.json({ ...tokens, token_type: 'Bearer', expires_in: 300 }))
    },
  }
}
