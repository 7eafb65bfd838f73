import { inspect } from 'node:util'
import { describe, expect, it, vi } from 'vitest'
import type { ConnectedAccount, ConnectingUser, ConnectOptions } from '../../src/index.js'
import { appPasswordWorld, waitingPage } from '../support/login-visits.js'
import { failureOf, turn } from '../support/promises.js'
import { faultyStorage, watchedStorage } from '../support/storages.js'
import { expectPage } from '../support/test-browser.js'

const ALICE = { subject: 'alice' }
const MINUTE = 60_000

describe('a user who connects a Nextcloud that takes no tokens', () => {
  it('signs in at the authorization server first, agrees in Nextcloud, and has connected it', async () => {
    const options = { resourceName: 'Notizen für Müller' }
    const { begin, browser, nextcloud, stored, events, as, auth } = await appPasswordWorld({ options })
    const alice = browser()

    const waiting = await begin(alice)

    expectPage(waiting, 200)
    expect(await auth.isProvisioned(ALICE)).toBe(false)
    expect((await nextcloud.grant(waiting.login, 'alice.w')).text).toContain('Account connected')
    const page = await alice.open(waiting.next)
    expectPage(page, 200)
    expect(page.text).toContain('Connected, you can go back')
    expect(await auth.isProvisioned(ALICE)).toBe(true)
    const grant = await stored()
    expect(grant).toMatchObject({
      state: 'active',
      clients: ['mcp-client'],
      appPassword: { loginName: 'alice.w', password: nextcloud.appPasswords[0]?.password },
    })
    // What the user sees among the devices in Nextcloud.
    expect(nextcloud.appPasswords[0]?.name).toBe('Notizen fur Muller')
    expect(await auth.isProvisioned({ ...ALICE, clientId: 'mcp-client' })).toBe(true)
    expect(await auth.isProvisioned({ ...ALICE, clientId: 'another' })).toBe(false)
    expect(events.filter(({ type }) => type === 'grant.stored')).toMatchObject([
      { issuer: as.issuer, subject: 'alice', clientId: 'mcp-client', fingerprint: grant?.fingerprint },
    ])
  })

  it('is asked there for who it is and nothing else, and nothing of that is kept', async () => {
    const { browser, link, authorize, stored, grants, as } = await appPasswordWorld()
    const alice = browser()

    const going = await alice.press(await alice.open(await link()), { answer: 'yes' })

    const asked = going.refreshTo?.searchParams
    expect([asked?.get('scope'), asked?.get('prompt'), asked?.has('resource')]).toEqual(['openid', null, false])
    expect(asked?.get('nonce')).toBeTruthy()
    await alice.open(await authorize(going.refreshTo))
    expect(await stored()).toBeUndefined()
    expect(await grants.store.version(grants.store.keyOf({ issuer: as.issuer, subject: 'alice' }))).toBeUndefined()
  })

  it('who is somebody else at the authorization server starts nothing in Nextcloud', async () => {
    const { browser, link, agree, authorize, nextcloud, events } = await appPasswordWorld()
    const bob = browser()

    expectPage(await bob.open(await authorize(await agree(bob, await link()), 'bob')), 403)

    expect(nextcloud.begun()).toBe(0)
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'person' }))
  })

  it('sees the end once, whoever shows the cookie again', async () => {
    const { begin, browser, nextcloud } = await appPasswordWorld()
    const alice = browser()
    const { login, next } = await begin(alice)
    const cookies = [...alice.cookies]
    await nextcloud.grant(login, 'alice.w')
    expectPage(await alice.open(next), 200)

    for (const [name, value] of cookies) alice.cookies.set(name, value)

    expectPage(await alice.open(next), 400)
  })
})

describe("the app's own sign-in", () => {
  async function setUp() {
    const authenticateBrowser = vi.fn<NonNullable<ConnectOptions['authenticateBrowser']>>()
    const setup = await appPasswordWorld({
      options: { clientId: undefined, clientSecret: undefined, connect: { authenticateBrowser } },
    })
    authenticateBrowser.mockResolvedValue({ issuer: setup.as.issuer, subject: 'alice' })
    return setup
  }

  it('stands in for the authorization server, at which nobody is sent then', async () => {
    const { connectAs, browser, auth, as } = await setUp()

    expectPage(await connectAs('alice.w'), 200)

    expect(await auth.isProvisioned(ALICE)).toBe(true)
    expect(as.received()).toEqual([])
    expect(auth.connectRedirectUri).toBeUndefined()
    expect((await browser().open('/nextcloud/callback?state=none')).status).toBe(404)
  })

  it('leaves the link good where Nextcloud is unavailable, and spends it once it is not', async () => {
    const { link, browser, nextcloud, clock } = await setUp()
    const alice = browser()
    const consent = await alice.open(await link())
    nextcloud.disturb(() => 503)
    const unavailable = await alice.press(consent, { answer: 'yes' })
    expectPage(unavailable, 503)
    expect(unavailable.text).toMatch(/<p>Nextcloud at .* does not answer/)
    nextcloud.disturb(undefined)

    expectPage(await alice.press(consent, { answer: 'yes' }), 200)
    clock.advance(MINUTE)
    expectPage(await alice.press(consent, { answer: 'yes' }), 410)
  })
})

describe('while the user is in Nextcloud', () => {
  it('the page comes again every five seconds, with the same way to Nextcloud', async () => {
    const { begin, browser, nextcloud } = await appPasswordWorld()
    const alice = browser()
    const first = await begin(alice)
    // It is no end that Nextcloud refuses for a while.
    nextcloud.disturb(() => 403)

    const second = waitingPage(await alice.open(first.next))

    expect([second.login, second.next.href]).toEqual([first.login, first.next.href])
    expect(first.next.href).not.toContain([...alice.cookies.values()].at(-1))
  })

  it('another browser learns nothing of it', async () => {
    const { begin, browser, nextcloud, polls, events } = await appPasswordWorld()
    const { next, login } = await begin()
    await nextcloud.grant(login, 'alice.w')

    const page = await browser().open(next)

    expectPage(page, 403)
    expect(page.text).not.toContain('login/v2')
    expect(polls()).toBe(0)
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'browser' }))
  })

  it('a cookie that somebody has planted before its own does not count', async () => {
    const { begin, browser } = await appPasswordWorld()
    const alice = browser()
    const { next, login } = await begin(alice)
    const name = `__Host-mcp-nextcloud-${next.searchParams.get('flow') ?? ''}`
    const cookie = `${name}=${'x'.repeat(43)}; ${name}=${alice.cookies.get(name) ?? ''}`

    expect(waitingPage(await browser().open(next, { headers: [['Cookie', cookie]] })).login).toBe(login)
  })

  it('a link preview changes nothing', async () => {
    const { begin, browser, polls } = await appPasswordWorld()
    const alice = browser()
    const { next } = await begin(alice)

    expect((await alice.open(next, { method: 'HEAD' })).status).toBe(405)
    expect(polls()).toBe(0)
  })

  it('another instance behind the same address goes on with it', async () => {
    const { begin, browser, elsewhere, nextcloud, auth } = await appPasswordWorld()
    const alice = browser()
    const { next, login } = await begin(alice)
    await nextcloud.grant(login, 'alice.w')

    expect((await (await elsewhere(alice)).open(next)).text).toContain('Connected')
    expect(await auth.isProvisioned(ALICE)).toBe(true)
  })

  it('it is over after twenty minutes', async () => {
    const { begin, browser, clock, events } = await appPasswordWorld()
    const alice = browser()
    const { next } = await begin(alice)
    clock.advance(20 * MINUTE)

    const page = await alice.open(next)

    expectPage(page, 410)
    expect(page.headers['refresh']).toBeUndefined()
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'link' }))
  })

  it('close() ends the questions', async () => {
    const { storage, calls } = watchedStorage()
    const { begin, clock, auth } = await appPasswordWorld({ storage })
    await begin()
    await auth.close()
    calls.length = 0

    clock.advance(10_000)
    await turn()

    expect(calls).toEqual([])
  })
})

describe('an app password, which Nextcloud gives once,', () => {
  it('is held while the store is unavailable, with a page that says so, and stored by close() at the latest', async () => {
    const storage = faultyStorage()
    const { begin, browser, nextcloud, stored, auth, polls } = await appPasswordWorld({ storage })
    const alice = browser()
    const { next, login } = await begin(alice)
    await nextcloud.grant(login, 'alice.w')
    nextcloud.disturb(({ path }) => {
      if (path === '/index.php/login/v2/poll') storage.failFrom(1)
      return undefined
    })

    const page = await alice.open(next)

    expectPage(page, 503)
    expect(page.headers['refresh']).toBe(`5; url=${next.href}`)
    storage.heal()
    await auth.close()
    expect((await stored())?.appPassword?.loginName).toBe('alice.w')
    expect(polls()).toBe(1)
  })

  it.each([
    { loginName: 'a:b' },
    { loginName: undefined },
    { loginName: 1 },
    { appPassword: '' },
    { appPassword: 'a\nb' },
  ])('is refused with %j', async (poll) => {
    const { connectAs, nextcloud, stored, events } = await appPasswordWorld()
    nextcloud.change({ poll })

    expectPage(await connectAs('alice.w'), 502)

    expect(await stored()).toBeUndefined()
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'answer' }))
  })
})

it('no app password, poll token, cookie or address of a flow is in an event, a URL or a value of the store', async () => {
  const { storage, seen } = watchedStorage()
  const identity = vi.fn<(account: ConnectedAccount, who: ConnectingUser) => boolean>(() => true)
  const options = { connect: { identity } }
  const { begin, browser, nextcloud, events, auth, as, redeemed } = await appPasswordWorld({ options, storage })
  const secrets: string[] = []
  const addresses: string[] = []
  for (const says of [true, false]) {
    identity.mockReturnValueOnce(says)
    const alice = browser()
    const { login, next } = await begin(alice)
    await nextcloud.grant(login, 'alice.w')
    secrets.push(login.split('/').at(-1) ?? '', ...alice.cookies.values(), nextcloud.appPasswords.at(-1)!.password)
    addresses.push(next.href)
    await alice.open(next)
  }
  await auth.nextcloudFetch(ALICE, '/ocs/v2.php/cloud/user')
  nextcloud.deleteAll()
  const failure = await failureOf(auth.nextcloudFetch(ALICE, '/ocs/v2.php/cloud/user'))
  secrets.push(...nextcloud.received('/index.php/login/v2/poll').map(({ body }) => body.slice('token='.length)))

  const shown = inspect([events, failure, seen, addresses, identity.mock.calls], {
    depth: Infinity,
    maxStringLength: Infinity,
    maxArrayLength: Infinity,
  })
  expect(secrets.length).toBeGreaterThanOrEqual(8)
  expect(secrets.every((secret) => secret.length >= 43)).toBe(true)
  for (const secret of secrets) expect(shown).not.toContain(secret)
  expect(seen.join()).not.toMatch(/alice/)
  expect(redeemed()).toHaveLength(2)
  expect(as.received('/token').every(({ form }) => form.get('grant_type') === 'authorization_code')).toBe(true)
})
