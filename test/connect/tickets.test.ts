import { describe, expect, it } from 'vitest'
import { createTickets } from '../../src/connect/tickets.js'
import { NotProvisionedError, StorageError } from '../../src/errors/errors.js'
import { createEvents } from '../../src/events.js'
import { createGrants } from '../../src/grants/open-grants.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { failureOf, turn } from '../support/promises.js'
import { bareHost } from '../support/hosts.js'
import { faultyStorage, watchedStorage } from '../support/storages.js'
import { expectPage } from '../support/test-browser.js'
import { world } from '../support/world.js'

const CONNECT = { mode: 'refresh-token', host: bareHost } as const

/** Links in a store, as an instance makes them. */
function setUp(given: { clock?: ManualClock; storage?: StorageAdapter; key?: number } = {}) {
  const { clock = manualClock(), key = 1 } = given
  const { storage = new MemoryStorage(undefined, clock) } = given
  const grants = createGrants({
    config: { client: undefined, resource: 'https://mcp.example.com/mcp', http: { timeout: 1_000 } },
    grants: {
      encryptionKeys: [new Uint8Array(32).fill(key)],
      credential: 'refresh-token',
      nextcloud: '',
      endsAlone: false,
      askedFor: '',
    },
    storage,
    clock,
    events: createEvents(() => undefined, clock),
  })
  const tickets = createTickets({ ...grants, clock }, 'https://mcp.example.com/nextcloud/connect')
  const link = async (subject = 'alice', clientId = 'mcp-client') =>
    (await tickets.linkFor({ identity: { issuer: 'https://idp.example', subject }, clientId })).connectUrl
  const read = (url: string) => tickets.read(new URL(url).searchParams.get('ticket') ?? '')
  return { clock, storage, tickets, link, read }
}

describe('what a client calls itself', () => {
  it('stands on the page of its link, which stays the same, and the latest word counts', async () => {
    const { tickets, link, read } = setUp()
    const url = await link()

    for (const name of ['one', undefined, 7, '\u202E', 'two']) await tickets.callsItself(url, name)

    expect((await read(url))?.value.callsItself).toBe('two')
    expect(await link()).toBe(url)
  })

  it('is kept of no link that is unknown, and written once', async () => {
    const { calls, storage } = watchedStorage()
    const { tickets, link } = setUp({ storage })
    const url = await link()
    calls.length = 0

    await tickets.callsItself(`${url}x`, 'one')
    await tickets.callsItself('nonsense', 'one')
    for (let again = 0; again < 3; again += 1) await tickets.callsItself(url, 'one')

    expect(calls.filter((call) => call !== 'get')).toEqual(['put'])
  })

  it('is shown on the page that asks, and a store that fails takes nothing but the name', async () => {
    const storage = faultyStorage()
    const { auth, link, browser } = await world({ ...CONNECT, storage })
    const url = await link()

    await auth.callsItself(url, 'claude-<b>code')
    storage.failFrom(1)
    await auth.callsItself(url, 'another')
    storage.heal()

    expect((await browser().open(url)).text).toContain('which calls itself “<bdi>claude-&lt;b&gt;code</bdi>”')
  })
})

describe('a link', () => {
  it('holds 256 random bits and nothing else, and leads to its purpose', async () => {
    const { link, read } = setUp()
    const url = await link()

    expect(url).toMatch(/^https:\/\/mcp\.example\.com\/nextcloud\/connect\?ticket=[\w-]{43}$/)
    expect((await read(url))?.value).toEqual({
      identity: { issuer: 'https://idp.example', subject: 'alice' },
      clientId: 'mcp-client',
      formKey: expect.stringMatching(/^[\w-]{43}$/) as string,
      selectAccount: false,
    })
  })

  it('is on the origin of the resource, under the path that the operator chose', async () => {
    const { link, auth } = await world({ ...CONNECT, options: { connect: { path: '/account/cloud' } } })

    expect(await link()).toMatch(/^https:\/\/mcp\.example\.com\/account\/cloud\/connect\?ticket=[\w-]{43}$/)
    expect(auth.connectRedirectUri).toBe('https://mcp.example.com/account/cloud/callback')
  })

  it('stays the same while five minutes of it are left, and is replaced then', async () => {
    const { link, clock, read } = setUp()
    const first = await link()
    clock.advance(300_000)
    expect(await link()).toBe(first)

    clock.advance(1)
    const second = await link()

    expect(second).not.toBe(first)
    expect([await read(first), (await read(second))?.value.clientId]).toEqual([undefined, 'mcp-client'])
  })

  it.each([
    ['keeps to that', (clock: ManualClock) => new MemoryStorage(undefined, clock)],
    ['keeps it longer', () => new MemoryStorage(undefined, { monotonic: () => 0 })],
  ])('is good for ten minutes in a store that %s', async (_how, storageOf) => {
    const clock = manualClock()
    const { link, read } = setUp({ clock, storage: storageOf(clock) })
    const url = await link()

    clock.advance(599_999)
    expect(await read(url)).toBeDefined()
    clock.advance(1)
    expect(await read(url)).toBeUndefined()
    expect(await link()).not.toBe(url)
  })

  it('is the same one from every instance on the store, also when they are asked at once', async () => {
    const first = setUp()
    const others = [setUp(first), setUp(first), setUp(first)]

    const urls = await Promise.all([first, ...others].map(({ link }) => link()))

    expect(new Set(urls).size).toBe(1)
    expect(await first.link()).toBe(urls[0])
  })

  it('leaves no ticket behind that another instance was quicker to make', async () => {
    const clock = manualClock()
    const storage = new MemoryStorage(undefined, clock)
    const first = setUp({ clock, storage })
    const others = [setUp(first), setUp(first), setUp(first)]

    await Promise.all([first, ...others].map(({ link }) => link()))

    // The record of the links, and one ticket.
    expect(await storage.list({ limit: 100 })).toHaveLength(2)
  })

  it('is another one for another user, for another client, and once it is used', async () => {
    const { link, read, tickets } = setUp()
    const urls = [await link(), await link('bob'), await link('alice', 'another-client')]
    const used = await read(urls[0]!)
    expect(await tickets.spend(used!)).toBe(true)
    expect(await tickets.spend(used!)).toBe(false)

    urls.push(await link())

    expect(new Set(urls).size).toBe(4)
  })

  it('is another one where the first was sealed with a key that is gone', async () => {
    const before = setUp()
    const first = await before.link()
    const renewed = setUp({ ...before, key: 2 })

    // The key may be on its way to this process.
    expect(await failureOf(renewed.read(first))).toBeInstanceOf(StorageError)
    const second = await renewed.link()

    expect(second).not.toBe(first)
    expect(await renewed.link()).toBe(second)
  })

  it.each(['', 'A'.repeat(42), 'A'.repeat(44), 'A'.repeat(5_000), '\0'.repeat(43), "<script>alert('x')</script>"])(
    'is nothing that the store is asked about unless it can be one: %j',
    async (ticket) => {
      const storage = faultyStorage()

      expect(await setUp({ storage }).tickets.read(ticket)).toBeUndefined()
      expect(storage.calls()).toBe(0)
    },
  )

  it.each([0, 1, 2, 3])('is a StorageError when the store fails at call %i of making it', async (call) => {
    const storage = faultyStorage()
    const { link, read } = setUp({ storage })
    storage.failFrom(call + 1)

    // Three calls make a link. If the fourth fails, it is made.
    if (call < 3) await expect(link()).rejects.toThrow(StorageError)
    else await link()

    storage.heal()
    expect(await read(await link())).toBeDefined()
  })
})

describe('the links of one user', () => {
  const clients = (count: number) => Array.from({ length: count }, (_, index) => `client-${index}`)
  const isLiving = async ({ read }: ReturnType<typeof setUp>, url: string) => (await read(url)) !== undefined
  const living = async (setup: ReturnType<typeof setUp>, urls: readonly string[]) => {
    const lives = await Promise.all(urls.map((url) => isLiving(setup, url)))
    return urls.filter((_, index) => lives[index])
  }
  const opened = async ({ read, tickets }: ReturnType<typeof setUp>, url: string) => tickets.opened((await read(url))!)

  it('leave room for others, however many clients ask', async () => {
    const keys = new Set<string>()
    const memory = new MemoryStorage()
    let most = 0
    const storage: StorageAdapter = {
      shared: false,
      get: (key) => memory.get(key),
      async put(...args) {
        const version = await memory.put(...args)
        if (version !== null) keys.add(args[0])
        most = Math.max(most, keys.size)
        return version
      },
      async delete(key, expected) {
        const isDeleted = await memory.delete(key, expected)
        if (isDeleted) keys.delete(key)
        return isDeleted
      },
    }
    const { link, read } = setUp({ storage })

    await Promise.all(clients(5_000).map((client) => link('mallory', client)))
    for (const client of clients(5_050).slice(5_000)) await link('mallory', client)

    expect(keys.size).toBe(21)
    expect(most).toBeLessThanOrEqual(22)
    expect(await read(await link('alice'))).toBeDefined()
  })

  it('are twenty: the next one ends the oldest that nobody has opened', async () => {
    const setup = setUp()
    const urls: string[] = []
    for (const client of clients(20)) urls.push(await setup.link('alice', client))
    for (const index of [0, 1, 3]) await opened(setup, urls[index]!)

    urls.push(await setup.link('alice', 'one-more'), await setup.link('alice', 'and-another'))

    const ended = [urls[2], urls[4]]
    expect(await living(setup, urls)).toEqual(urls.filter((url) => !ended.includes(url)))
    expect(await setup.link('alice', 'client-0')).toBe(urls[0])
    expect(await setup.link('alice', 'client-2')).not.toBe(urls[2])
  })

  it('are twenty: the next one ends the oldest where all were opened', async () => {
    const setup = setUp()
    const urls: string[] = []
    for (const client of clients(20)) urls.push(await setup.link('alice', client))
    for (const url of urls.toReversed()) await opened(setup, url)

    urls.push(await setup.link('alice', 'one-more'))

    expect(await living(setup, urls)).toEqual(urls.slice(1))
  })

  it('are counted among all instances on the store', async () => {
    const first = setUp()
    const instances = [first, setUp(first), setUp(first)]
    const asked = instances.flatMap(({ link }, instance) => clients(20).map((id) => link('alice', `${instance}-${id}`)))

    const urls = await Promise.all(asked)

    expect(await living(first, urls)).toHaveLength(20)
    const elsewhere = await living(first, urls)
    const [unopened, ...shown] = elsewhere
    for (const url of shown) await opened(instances[1]!, url)
    const last = await instances[2]!.link('alice', 'one-more')
    expect(await living(first, [...elsewhere, last])).toEqual([...shown, last])
    expect(await first.read(unopened!)).toBeUndefined()
  })

  it('do not count once they are used, and those of others never do', async () => {
    const setup = setUp()
    const urls: string[] = []
    for (const client of clients(20)) urls.push(await setup.link('alice', client))
    for (const url of urls.slice(5, 10)) await setup.tickets.spend((await setup.read(url))!)
    for (const client of clients(20)) await setup.link('bob', client)

    for (const client of ['a', 'b', 'c', 'd', 'e']) urls.push(await setup.link('alice', client))

    expect(await living(setup, urls)).toEqual([...urls.slice(0, 5), ...urls.slice(10)])
  })

  it('that are second attempts count as opened: others make way before them', async () => {
    const setup = setUp()
    const purpose = { identity: { issuer: 'https://idp.example', subject: 'alice' }, clientId: 'mcp-client' }
    const again = await setup.tickets.again(purpose)

    for (const client of clients(25)) await setup.link('alice', client)

    expect(await setup.tickets.read(again.secret)).toBeDefined()
  })

  it('hold second attempts as well, which no other link replaces', async () => {
    const setup = setUp()
    const purpose = { identity: { issuer: 'https://idp.example', subject: 'alice' }, clientId: 'mcp-client' }
    const url = await setup.link()
    const first = await setup.tickets.again(purpose)
    const second = await setup.tickets.again(purpose)
    expect(await setup.link()).toBe(url)
    expect(await setup.tickets.read(first.secret)).toBeDefined()

    for (let attempts = 0; attempts < 20; attempts += 1) await setup.tickets.again(purpose)

    expect(await setup.tickets.read(first.secret)).toBeUndefined()
    expect(await setup.tickets.read(second.secret)).toBeUndefined()
    expect(await isLiving(setup, url)).toBe(false)
  })

  it('are left as they are by the use of one that is not among them any more', async () => {
    const { storage, calls } = watchedStorage()
    const { tickets, link, read } = setUp({ storage })
    const first = (await read(await link('alice', 'first')))!
    const [listKey = ''] = (await storage.list!({ limit: 100 })).filter((key) => key !== first.key)
    await storage.delete(listKey, (await storage.get(listKey))!.version)
    const second = await link('alice', 'second')
    calls.length = 0

    expect(await tickets.spend(first)).toBe(true)

    expect(calls).not.toContain('put')
    expect(await link('alice', 'second')).toBe(second)
  })

  it('cost two looks while they live', async () => {
    const { storage, calls } = watchedStorage()
    const { link } = setUp({ storage })
    await link()
    for (const client of clients(19)) await link('alice', client)
    calls.length = 0

    await link()

    expect(calls).toEqual(['get', 'get'])
  })

  it('are not waited for in turn where the store does not answer', async () => {
    const clock = manualClock()
    const storage: StorageAdapter = { ...faultyStorage(), get: () => new Promise(() => undefined) }
    const { link } = setUp({ clock, storage })

    const failures = clients(5).map((client) => failureOf(link('alice', client)))
    await turn()
    clock.advance(5_000)

    for (const failure of failures) expect(await failure).toBeInstanceOf(StorageError)
  })

  it('stay in a store that fails while their page is shown', async () => {
    const storage = faultyStorage()
    const setup = setUp({ storage })
    const url = await setup.link()
    const ticket = (await setup.read(url))!
    storage.failFrom(1)

    await setup.tickets.opened(ticket)

    storage.heal()
    expect(await setup.link()).toBe(url)
  })

  it('end with a page that says so, and the one that was opened stays', async () => {
    const { link, browser } = await world(CONNECT)
    const [shown, unseen] = [await link('alice', 'shown'), await link('alice', 'unseen')]
    expectPage(await browser().open(shown), 200)

    for (const client of clients(19)) await link('alice', client)

    expectPage(await browser().open(shown), 200)
    expectPage(await browser().open(unseen), 410)
  })
})

describe('the error of a tool call without a grant', () => {
  it('carries the link, an id that is not the ticket, and the end of the link in seconds', async () => {
    const { clock, link, signIn } = await world(CONNECT)
    const info = await signIn()

    const error = (await failureOf(info.extra.getNextcloudToken())) as NotProvisionedError

    expect(error).toBeInstanceOf(NotProvisionedError)
    const { connectUrl, elicitationId, expiresAt, body, reason } = error
    expect(connectUrl).toBe(await link())
    expect(expiresAt).toBe(clock.now() / 1_000 + 600)
    expect(elicitationId).toMatch(/^[\da-f-]{36}$/)
    expect(connectUrl).not.toContain(elicitationId)
    expect(reason).toBe('never')
    expect(body).toEqual({
      error: 'nextcloud_not_connected',
      error_description: 'Nextcloud is not connected yet',
      connect_url: connectUrl,
    })
  })

  it('carries the same link whichever way the token was asked for', async () => {
    const { auth, link, signIn } = await world(CONNECT)
    const info = await signIn()
    const asked = [
      auth.getNextcloudToken(info),
      auth.nextcloudFetch(info, '/ocs/v2.php/cloud/user'),
      auth.rotate(info),
      info.extra.getNextcloudToken(),
    ]

    const errors = (await Promise.all(asked.map(failureOf))) as NotProvisionedError[]

    const url = await link()
    expect(errors.map(({ connectUrl }) => connectUrl)).toEqual([url, url, url, url])
    expect(new Set(errors.map(({ elicitationId }) => elicitationId)).size).toBe(1)
  })

  it('carries the link of its own client, where several clients of a user ask at once', async () => {
    const { link, signIn } = await world(CONNECT)
    const infos = await Promise.all(['one', 'two'].map((clientId) => signIn({ client_id: clientId })))

    const errors = await Promise.all(infos.map((info) => failureOf(info.extra.getNextcloudToken())))

    expect(errors.map((error) => (error as NotProvisionedError).connectUrl)).toEqual([
      await link('alice', 'one'),
      await link('alice', 'two'),
    ])
  })

  it('carries no link where the pages are switched off', async () => {
    const { open, as } = await world(CONNECT)
    const auth = open({ connect: false })
    const info = await auth.verify(await as.mint())

    const error = (await failureOf(info.extra.getNextcloudToken())) as NotProvisionedError

    expect([error.connectUrl, error.elicitationId, error.expiresAt]).toEqual([undefined, undefined, undefined])
    expect(error.body).not.toHaveProperty('connect_url')
    expect(auth.connectRedirectUri).toBeUndefined()
    expect(await failureOf(auth.createConnectUrl(info))).toMatchObject({ code: 'ERR_CONFIGURATION', option: 'connect' })
  })

  it('is a StorageError where the link cannot be made', async () => {
    const store = faultyStorage()
    const { signIn } = await world({ ...CONNECT, storage: store })
    const info = await signIn()
    store.failFrom(2)

    expect(await failureOf(info.extra.getNextcloudToken())).toBeInstanceOf(StorageError)
  })

  it("names this server as the client, where it is the operator's own work that needs the grant", async () => {
    const { auth, walk, stored } = await world(CONNECT)

    const error = (await failureOf(auth.getNextcloudToken({ subject: 'alice' }))) as NotProvisionedError
    await walk(error.connectUrl ?? '')

    expect(await stored()).toMatchObject({ clients: ['mcp-server'] })
  })

  it('ends with the abort of its caller', async () => {
    const { signIn } = await world(CONNECT)
    const info = await signIn()
    const controller = new AbortController()

    const failure = failureOf(info.extra.getNextcloudToken({ signal: controller.signal }))
    controller.abort(new Error('enough'))

    expect(await failure).toMatchObject({ message: 'enough' })
  })
})
