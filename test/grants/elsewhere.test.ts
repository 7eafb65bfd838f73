import { describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { watchedStorage } from '../support/storages.js'
import { world } from '../support/world.js'

/** Users who connected under one configuration, and another one on the same store. */
async function setUp(
  users: number,
  changed: McpAuthOptions,
  mode: 'refresh-token' | 'app-password' = 'refresh-token',
  options: McpAuthOptions = {},
) {
  const watched = watchedStorage()
  const setup = await world({ mode, storage: watched.storage, options })
  for (let index = 0; index < users; index += 1) {
    const identity = { issuer: setup.as.issuer, subject: `user-${index}` }
    const secret =
      mode === 'refresh-token'
        ? { refreshToken: `token-${index}` }
        : { appPassword: { loginName: 'a', password: `password-${index}`, nextcloud: setup.grants.owner.nextcloud } }
    await setup.grants.store.connect(identity, { ...secret, fingerprint: 'f', clientId: 'mcp-client', scopes: [] })
  }
  const other = setup.open(changed)
  /** What was told, once the look has ended. */
  const warnings = async () => {
    await other.close()
    return setup.events.flatMap((event) =>
      event.type === 'config.warning' && event.message.startsWith('no connection in the store')
        ? [[event.option, event.message]]
        : [],
    )
  }
  const ask = async (auth = other, subject = 'nobody') => {
    await auth.isProvisioned({ subject })
  }
  return { ...setup, ...watched, other, warnings, ask }
}

describe('a store whose connections are all of another configuration', () => {
  it.each<[part: string, changed: McpAuthOptions, option: string, found: RegExp]>([
    [
      'resource',
      { resource: 'https://mcp.example.com/new' },
      'resource',
      /made with resource https:\/\/mcp\.example\.com\/mcp\. .* grants move --from-resource https:\/\/mcp\.example\.com\/mcp$/,
    ],
    [
      'Nextcloud',
      { nextcloud: { url: 'https://new.example.com' } },
      'nextcloud.url',
      /grants move --from-nextcloud-url http.*\/$/,
    ],
    [
      'resource and Nextcloud',
      { resource: 'https://mcp.example.com/new', nextcloud: { url: 'https://new.example.com' } },
      'resource',
      /grants move --from-resource https:\/\/mcp\.example\.com\/mcp --from-nextcloud-url http/,
    ],
    ['client', { clientId: 'new' }, 'clientId', /with clientId \S+\. .* grants move --from-client-id \S+$/],
    ['issuer', { issuer: 'https://new.example.com' }, 'issuer', /grants move --from-issuer http:\/\/\S+$/],
  ])('is told of when a user has none, with what has become of the %s', async (_part, changed, option, found) => {
    const { ask, warnings } = await setUp(2, changed, 'app-password')

    await ask()
    await ask()

    expect(await warnings()).toEqual([[option, expect.stringMatching(found)]])
  })

  it.each<[part: string, changed: McpAuthOptions]>([
    ['client', { clientId: 'new' }],
    ['issuer', { issuer: 'https://new.example.com' }],
  ])(
    'with refresh tokens of another %s is told of without a command, because none could move them',
    async (_part, changed) => {
      const { ask, warnings } = await setUp(2, changed)

      await ask()

      expect(await warnings()).toHaveLength(1)
      expect((await warnings())[0]?.[1]).toMatch(
        /every user has to connect again, because refresh tokens cannot be moved/,
      )
    },
  )

  it('is told of with a command that a shell takes for what it is, whatever the old client is called', async () => {
    const { ask, warnings } = await setUp(1, { clientId: 'new' }, 'app-password', { clientId: "it's $(mine); &" })

    await ask()

    expect(await warnings()).toEqual([
      ['clientId', expect.stringMatching(/ --from-client-id 'it'\\''s \$\(mine\); &'$/)],
    ])
  })

  it('is looked through for a thousand records at most, once', async () => {
    const { ask, calls, warnings } = await setUp(1_500, { resource: 'https://mcp.example.com/new' })
    calls.length = 0

    await ask()
    await ask()
    await warnings()

    expect(calls.filter((call) => call === 'list')).toHaveLength(1)
    expect(calls.filter((call) => call === 'get').length).toBeLessThanOrEqual(1_010)
  })
})

describe('nothing is told', () => {
  it('where this configuration has a connection as well', async () => {
    const { ask, warnings, grants, open } = await setUp(1, { resource: 'https://mcp.example.com/new' })
    const auth = open()
    await ask(auth, 'somebody')
    await auth.close()
    expect(await warnings()).toEqual([])
    expect(grants.owner.resource).toBe('https://mcp.example.com/mcp')
  })

  it('where the store is empty, or its connections have ended', async () => {
    const empty = await setUp(0, { resource: 'https://mcp.example.com/new' })
    await empty.ask()
    expect(await empty.warnings()).toEqual([])

    const ended = await setUp(1, { resource: 'https://mcp.example.com/new' })
    await ended.auth.revoke({ subject: 'user-0' })
    await ended.ask()
    expect(await ended.warnings()).toEqual([])
  })

  it('where the look fails, and no call fails for it', async () => {
    const { ask, warnings, failing } = await setUp(1, { resource: 'https://mcp.example.com/new' })
    failing.add('list')
    await ask()
    expect(await warnings()).toEqual([])
  })
})
