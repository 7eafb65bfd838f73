import { describe, expect, it } from 'vitest'
import type { McpAuth, NextcloudConnection } from '../src/index.js'
import { appPasswordWorld } from './support/login-visits.js'
import { failureOf } from './support/promises.js'
import { world } from './support/world.js'

/** A world in which each of these users is connected. */
async function setUp(...subjects: readonly string[]) {
  const setup = await world({ mode: 'refresh-token' })
  for (const subject of subjects) await setup.connect(subject)
  return setup
}

async function all(auth: McpAuth, limit?: number): Promise<readonly NextcloudConnection[]> {
  const found: NextcloudConnection[] = []
  let after: string | undefined
  do {
    const { connections, next } = await auth.connections({ after, limit })
    found.push(...connections)
    after = next
  } while (after !== undefined)
  return found.sort((one, other) => (one.subject < other.subject ? -1 : 1))
}

describe('auth.connections()', () => {
  it('tells who is connected, with which clients, since when, and when they were last served', async () => {
    const { auth, as, clock, connect } = await setUp('alice')
    const first = clock.now()
    clock.advance(10_000)
    await connect('alice', { clientId: 'second' })
    await auth.getNextcloudToken({ subject: 'alice', clientId: 'second' })

    expect(await auth.connections()).toEqual({
      connections: [
        {
          issuer: as.issuer,
          subject: 'alice',
          clients: [
            { clientId: 'mcp-client', since: first },
            { clientId: 'second', since: clock.now(), lastUsed: clock.now() },
          ],
          since: clock.now(),
          state: 'active',
        },
      ],
    })
  })

  it('tells of the last use to every instance, once it is stored', async () => {
    const { auth, open, clock } = await setUp('alice')
    const other = open()
    const first = clock.now()
    await auth.getNextcloudToken({ subject: 'alice', clientId: 'mcp-client' })
    clock.advance(1)
    await auth.close()

    const [alice] = await all(other)

    expect(alice?.clients).toEqual([{ clientId: 'mcp-client', since: first, lastUsed: first }])
  })

  it('notes the use of a client whose calls are all served from the cache', async () => {
    const { auth, connect, clock, signIn } = await setUp('alice')
    await connect('alice', { clientId: 'second' })
    await auth.getNextcloudToken(await signIn())
    await auth.getNextcloudToken(await signIn({ client_id: 'second' }))

    const [alice] = await all(auth)

    expect(alice?.clients.map(({ lastUsed }) => lastUsed)).toEqual([clock.now(), clock.now()])
  })

  it('notes no use of the operator’s own work, nor of a client that the user did not agree to', async () => {
    const { auth, storage } = await setUp('alice')
    await auth.getNextcloudToken({ subject: 'alice' })
    await failureOf(auth.getNextcloudToken({ subject: 'alice', clientId: 'stranger' }))
    const before = await storage.list!({ limit: 100 })

    await auth.close()

    expect((await all(auth))[0]?.clients).toEqual([{ clientId: 'mcp-client', since: expect.any(Number) as number }])
    expect(await storage.list!({ limit: 100 })).toEqual(before)
  })

  it('leaves no last use behind a disconnection', async () => {
    const { auth, storage } = await setUp('alice')
    const keys = await storage.list!({ limit: 100 })
    await auth.getNextcloudToken({ subject: 'alice', clientId: 'mcp-client' })
    await auth.revoke({ subject: 'alice' })
    await auth.close()

    expect(await storage.list!({ limit: 100 })).toEqual(keys)
    expect(await all(auth)).toEqual([])
  })

  it.each([1, 2, 100])('comes in pages, of %i connections at most', async (limit) => {
    const subjects = ['alice', 'bob', 'carol', 'dave', 'eve']
    const { auth } = await setUp(...subjects)

    expect((await all(auth, limit)).map(({ subject }) => subject)).toEqual(subjects)
    expect((await auth.connections({ limit })).connections).toHaveLength(Math.min(limit, subjects.length))
  })

  it('tells of its own configuration only', async () => {
    const { auth, open } = await setUp('alice')
    const others = [
      open({ nextcloud: { url: 'https://two.example.com' } }),
      open({ resource: 'https://mcp.example.com/other' }),
    ]

    for (const other of others) expect(await all(other)).toEqual([])
    expect(await all(auth)).toHaveLength(1)
  })

  it('tells of connections that were refused, and of none that was ended on purpose', async () => {
    const { auth, refreshTokens, connect } = await setUp('bob')
    const token = await connect('alice')
    refreshTokens.revoke(token)
    await failureOf(auth.getNextcloudToken({ subject: 'alice' }))
    await auth.revoke({ subject: 'bob' })

    expect((await all(auth)).map(({ subject, state }) => [subject, state])).toEqual([['alice', 'needs-reconnect']])
  })

  it('tells of app passwords as well', async () => {
    const setup = await appPasswordWorld()
    await setup.connectAs('alice.w')

    expect(await all(setup.auth)).toMatchObject([{ subject: 'alice', state: 'active' }])
  })

  it.each([0, -1, 1.5, 1_001, NaN, '10' as never, null as never])('refuses the limit %s', async (limit) => {
    const { auth } = await setUp()
    await expect(auth.connections({ limit })).rejects.toThrow(TypeError)
  })

  it.each(['', 'alice', 'v1:', `v1:${'a'.repeat(43)}\0`, 1 as never, null as never])(
    'refuses what is no next: %j',
    async (after) => {
      const { auth } = await setUp()
      await expect(auth.connections({ after })).rejects.toThrow(TypeError)
    },
  )

  it('is refused where there is nothing to list, or no list', async () => {
    const { auth } = await world()
    expect(await failureOf(auth.connections())).toMatchObject({ option: 'nextcloud.mode', code: 'ERR_CONFIGURATION' })

    const { storage, open } = await setUp('alice')
    const listless = {
      shared: true,
      get: storage.get.bind(storage),
      put: storage.put.bind(storage),
      delete: storage.delete.bind(storage),
    }
    const failure = await failureOf(open({ storage: listless }).connections())
    expect(failure).toMatchObject({ option: 'storage', code: 'ERR_CONFIGURATION' })
  })
})
