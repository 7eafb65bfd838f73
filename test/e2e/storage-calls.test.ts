import { describe, expect, it, onTestFinished } from 'vitest'
import type { McpAuthOptions, StorageAdapter } from '../../src/index.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { ENCRYPTION_KEY, MCP_CLIENT } from '../support/grant-constants.js'
import { watchedStorage } from '../support/storages.js'
import { modesWhere, world } from '../support/world.js'

const GRANTS = 10_000
const users = Array.from({ length: GRANTS }, (_, index) => `user-${index}`)

describe('ten thousand grants', () => {
  it('cost one read for each renewal, then none while they serve, and one a user for each grantCheck', async () => {
    const { storage, calls } = watchedStorage(new MemoryStorage({ maxEntries: GRANTS + 100 }))
    const { as, clock, connect, open } = await world({ mode: 'refresh-token', storage })
    const server = serverInMemory(as.issuer)
    const auth = open({ http: { fetch: server.fetch } })
    for (const subject of users) await connect(subject, { refreshToken: `refresh-of-${subject}` })
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
})

describe('a user of an earlier version changes nothing', () => {
  it.each(modesWhere(({ keeps }) => keeps === undefined))(
    'where in %s mode no storage is touched, whatever is called',
    async (mode) => {
      const touched: string[] = []
      const audience = mode === 'pass-through' ? 'https://mcp.example.com/mcp' : 'nextcloud'
      const nextcloud = { mode, audience, url: 'https://cloud.example.com' }
      const { auth, signIn } = await world({
        options: { storage: untouchable(touched), encryptionKey: ENCRYPTION_KEY, nextcloud },
      })
      await auth.ready()
      const info = await signIn()

      expect(await info.extra.getNextcloudToken()).toEqual(expect.any(String))
      expect(await info.extra.getNextcloudToken({ forceRefresh: true })).toEqual(expect.any(String))
      expect(await auth.getNextcloudToken(info)).toEqual(expect.any(String))
      await auth.close()

      expect(touched).toEqual([])
    },
  )
})

it('in refresh-token mode, nothing is read or written when the middleware is built and closed', async () => {
  const touched: string[] = []
  const options: McpAuthOptions = {
    issuer: 'https://idp.example.com',
    resource: 'https://mcp.example.com/mcp',
    clientId: 'mcp-server',
    clientSecret: 'secret',
    storage: untouchable(touched),
    encryptionKey: ENCRYPTION_KEY,
    nextcloud: { url: 'https://cloud.example.com' },
  }

  await createMcpAuth(options, manualClock()).close()

  expect(touched).toEqual([])
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

function untouchable(touched: string[]): StorageAdapter {
  const touch = (name: string) => () => {
    touched.push(name)
    throw new Error('It was touched')
  }
  return { shared: true, get: touch('get'), put: touch('put'), delete: touch('delete'), close: touch('close') }
}
