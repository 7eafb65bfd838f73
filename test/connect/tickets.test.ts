import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { NotProvisionedError, StorageError } from '../../src/errors/errors.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { failureOf } from '../support/broker-setup.js'
import { expectPage, faultyStorage, setUpConnect } from '../support/connect-setup.js'

const ALICE = { subject: 'alice', clientId: 'mcp-client' }

describe('a link', () => {
  it('is on the origin of the resource and holds 256 random bits and nothing else', async () => {
    const { link } = await setUpConnect()

    expect(await link()).toMatch(/^https:\/\/mcp\.example\.com\/nextcloud\/connect\?ticket=[\w-]{43}$/)
  })

  it('is under the path that the operator chose', async () => {
    const { link, auth } = await setUpConnect({ options: { connect: { path: '/account/cloud' } } })

    expect(await link()).toMatch(/^https:\/\/mcp\.example\.com\/account\/cloud\/connect\?ticket=[\w-]{43}$/)
    expect(auth.connectRedirectUri).toBe('https://mcp.example.com/account/cloud/callback')
  })

  it('stays the same while five minutes of it are left', async () => {
    const { link, clock } = await setUpConnect()
    const first = await link()

    clock.advance(300_000)
    const second = await link()

    expect(second).toBe(first)
  })

  it('is replaced when less is left, and the one before is no longer good', async () => {
    const { link, clock, browser } = await setUpConnect()
    const first = await link()

    clock.advance(300_001)
    const second = await link()

    expect(second).not.toBe(first)
    expectPage(await browser().open(first), 410)
    expectPage(await browser().open(second), 200)
  })

  it('is good for ten minutes', async () => {
    const { link, clock, browser } = await setUpConnect()
    const url = await link()

    clock.advance(599_999)
    expectPage(await browser().open(url), 200)
    clock.advance(1)
    expectPage(await browser().open(url), 410)
  })

  it('ends after ten minutes also where the store keeps it longer', async () => {
    const keeping = (): MemoryStorage => new MemoryStorage(undefined, { monotonic: () => 0 })
    const { link, clock, browser } = await setUpConnect({ storage: keeping })
    const url = await link()

    clock.advance(600_000)

    expectPage(await browser().open(url), 410)
    expect(await link()).not.toBe(url)
  })

  it('is the same one from every instance on the store, also when they are asked at once', async () => {
    const { open, link, auth } = await setUpConnect()
    const others = [open(), open(), open()]

    const urls = await Promise.all([auth, ...others].map((instance) => instance.createConnectUrl(ALICE)))

    expect(new Set(urls).size).toBe(1)
    expect(await link()).toBe(urls[0])
  })

  it('is another one for another user and for another client', async () => {
    const { link } = await setUpConnect()

    const urls = await Promise.all([link(), link('bob'), link('alice', 'another-client')])

    expect(new Set(urls).size).toBe(3)
  })

  it('is another one once it is used', async () => {
    const { link, browser, agree } = await setUpConnect()
    const first = await link()
    await agree(browser(), first)

    expect(await link()).not.toBe(first)
  })

  it('is another one where the first was sealed with a key that is gone', async () => {
    const { open, link } = await setUpConnect()
    const first = await link()
    const renewed = open({ encryptionKey: randomBytes(32).toString('base64url') })

    const second = await renewed.createConnectUrl(ALICE)

    expect(second).not.toBe(first)
    expect(await renewed.createConnectUrl(ALICE)).toBe(second)
  })

  it.each([0, 1, 2, 3])('is a StorageError when the store fails at call %i of making it', async (call) => {
    let store = faultyStorage(new MemoryStorage())
    const { link, browser } = await setUpConnect({
      storage: (clock) => (store = faultyStorage(new MemoryStorage(undefined, clock))),
    })
    store.failFrom(call + 1)

    // Three calls make a link; where the fourth fails, it is made.
    if (call < 3) expect(await failureOf(link())).toBeInstanceOf(StorageError)
    else await link()

    store.heal()
    expectPage(await browser().open(await link()), 200)
  })
})

describe('the error of a tool call without a grant', () => {
  it('carries the link, an id that is not the ticket, and the end of the link in seconds', async () => {
    const { auth, as, clock, link } = await setUpConnect()
    const info = await auth.verify(await as.mint())

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
    const { auth, as, link } = await setUpConnect()
    const info = await auth.verify(await as.mint())
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
    const { auth, as, link } = await setUpConnect()
    const infos = await Promise.all(
      ['one', 'two'].map(async (clientId) => auth.verify(await as.mint({ client_id: clientId }))),
    )

    const errors = await Promise.all(infos.map((info) => failureOf(info.extra.getNextcloudToken())))

    expect(errors.map((error) => (error as NotProvisionedError).connectUrl)).toEqual([
      await link('alice', 'one'),
      await link('alice', 'two'),
    ])
  })

  it('carries no link where the pages are switched off', async () => {
    const { open, as } = await setUpConnect()
    const auth = open({ connect: false })
    const info = await auth.verify(await as.mint())

    const error = (await failureOf(info.extra.getNextcloudToken())) as NotProvisionedError

    expect([error.connectUrl, error.elicitationId, error.expiresAt]).toEqual([undefined, undefined, undefined])
    expect(error.body).not.toHaveProperty('connect_url')
    expect(auth.connectRedirectUri).toBeUndefined()
    expect(await failureOf(auth.createConnectUrl(info))).toMatchObject({ code: 'ERR_CONFIGURATION', option: 'connect' })
  })

  it('is a StorageError where the link cannot be made', async () => {
    const store = faultyStorage(new MemoryStorage())
    const { auth, as } = await setUpConnect({ storage: () => store })
    const info = await auth.verify(await as.mint())
    store.failFrom(2)

    expect(await failureOf(info.extra.getNextcloudToken())).toBeInstanceOf(StorageError)
  })

  it("names this server as the client, where it is the operator's own work that needs the grant", async () => {
    const { auth, walk, stored } = await setUpConnect()

    const error = (await failureOf(auth.getNextcloudToken({ subject: 'alice' }))) as NotProvisionedError
    await walk(error.connectUrl ?? '')

    expect(await stored()).toMatchObject({ clients: ['mcp-server'] })
  })

  it('ends with the abort of its caller', async () => {
    const { auth, as } = await setUpConnect()
    const info = await auth.verify(await as.mint())
    const controller = new AbortController()

    const failure = failureOf(info.extra.getNextcloudToken({ signal: controller.signal }))
    controller.abort(new Error('enough'))

    expect(await failure).toMatchObject({ message: 'enough' })
  })
})
