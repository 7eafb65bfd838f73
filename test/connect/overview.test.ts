import { describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { digest } from '../../src/connect/cookies.js'
import { MOST_VISITORS } from '../../src/connect/overview.js'
import { ANY_CLIENT, deadGrant, refusedGrant, type Grant } from '../../src/grants/grant.js'
import { bareHost, behindProxy } from '../support/hosts.js'
import { wordsOf } from '../support/html.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'
import { appPasswordWorld } from '../support/login-visits.js'
import { faultyStorage } from '../support/storages.js'
import { expectPage, formOf, ORIGIN, type TestBrowser, type Visit } from '../support/test-browser.js'
import { world, type Parts, type Served, type SignedIn } from '../support/world.js'
import { slowly } from '../support/slowly.js'

const CONNECT = { mode: 'refresh-token', host: bareHost } as const
const PAGE = '/nextcloud'

/** Alice has connected Nextcloud for these clients, and has a browser in which she has not signed in. */
async function setUp(
  parts: Pick<Parts, 'options' | 'storage' | 'metadata' | 'host'> = {},
  clients = ['Claude', 'Notes'],
) {
  const setup = await world({ ...CONNECT, ...parts })
  for (const clientId of clients) {
    await setup.connect('alice', { clientId })
    setup.clock.advance(3_600_000)
  }
  return { ...setup, alice: setup.browser() }
}

/** From the page to the authorization server: the URL that the browser is sent to. */
async function leave(browser: TestBrowser): Promise<URL> {
  const going = await browser.press(await browser.open(PAGE), { do: 'sign-in' })
  if (going.refreshTo === undefined) throw new Error(`The browser was not sent on: ${going.status}`)
  return going.refreshTo
}

/** The whole way to the page. */
async function visit(
  { authorize }: Pick<Served, 'authorize'>,
  browser: TestBrowser,
  subject?: string,
  answer?: SignedIn,
): Promise<Visit> {
  const back = await browser.open(await authorize(await leave(browser), subject, answer))
  expect([back.status, back.headers['location']]).toEqual([303, ORIGIN + PAGE])
  return browser.open(PAGE)
}

/** The value of the button that ends the access of a client. */
function endOf({ text }: Visit, name: string): string {
  const entry = text.split('<li>').find((part) => part.includes(`<bdi>${name}</bdi>`))
  const value = /name="do" value="([\w-]{43})"/.exec(entry ?? '')?.[1]
  if (value === undefined) throw new Error(`There is no button to end ${name}`)
  return value
}

/** Presses a button, and follows the answer back to the page. */
async function pressed(browser: TestBrowser, page: Visit, wish: string): Promise<Visit> {
  const back = await browser.press(page, { do: wish })
  expect([back.status, back.headers['location'], back.headers['referrer-policy']]).toEqual([
    303,
    ORIGIN + PAGE,
    'no-referrer',
  ])
  return browser.open(PAGE)
}

describe('before a sign-in', () => {
  it.each(['GET', 'HEAD'])('%s shows the way in, and neither starts nor stores anything', async (method) => {
    const store = faultyStorage()
    const { alice, as } = await setUp({ storage: store }, [])
    const calls = store.calls()

    expectPage(await alice.open(PAGE, { method }), 200)

    expect(store.calls()).toBe(calls)
    expect(as.received('/token')).toEqual([])
  })

  it('asks the authorization server for the name alone: no scope but openid, no consent, no resource', async () => {
    const { alice } = await setUp({
      options: {
        nextcloud: { resource: 'https://cloud.example.com', parameters: { tenant: 'acme' }, scopes: ['files'] },
        connect: { authorizationParameters: { prompt: 'consent login', resource: 'urn:x', acr_values: 'strong' } },
      },
    })

    const { searchParams } = await leave(alice)

    expect(searchParams.get('scope')).toBe('openid')
    expect(searchParams.get('prompt')).toBe('login')
    expect(searchParams.has('resource')).toBe(false)
    expect(searchParams.get('acr_values')).toBe('strong')
    expect(searchParams.get('redirect_uri')).toBe(`${ORIGIN}/nextcloud/callback`)
    expect(searchParams.get('code_challenge_method')).toBe('S256')
  })

  it.each([
    ['the server has pairwise subjects alone', { subject_types_supported: ['pairwise'] }, {}],
    [
      'the server has no ID tokens',
      {},
      { nextcloud: { preset: 'nextcloud-oauth2-app' }, connect: { identity: () => true } } satisfies McpAuthOptions,
    ],
  ])('says that it cannot tell who is there where %s, and names the other ways', async (_what, metadata, options) => {
    const { alice, events } = await setUp({ metadata, options })

    const page = await alice.open(PAGE)

    expectPage(page, 403)
    expect(wordsOf(page.text)).toContain('POST …/disconnect')
    expect(page.text).not.toContain('<form')
    expect(events.filter(({ type }) => type === 'config.warning' || type === 'connect.failed')).toEqual([])
  })

  it('is a 503 and no way in while the authorization server is unavailable', async () => {
    const { alice, as } = await setUp()
    as.script('/.well-known/openid-configuration', (_req, res) => void res.writeHead(503).end())

    expectPage(await alice.open(PAGE), 503)
  })

  it('leaves the path alone where the MCP endpoint has it', async () => {
    const { alice, walk, link, auth } = await world({
      ...CONNECT,
      options: { connect: { path: new URL(RESOURCE).pathname } },
    }).then((setup) => ({ ...setup, alice: setup.browser(), auth: setup.auth }))

    expect((await alice.open(new URL(RESOURCE).pathname, { method: 'POST' })).status).toBe(404)
    expect((await walk(await link(), 'alice', {}, alice)).text).not.toContain('See all connections')
    expect(auth.connectRedirectUri).toBe(`${RESOURCE}/callback`)
  })
})

describe('after a sign-in', () => {
  it('says what is connected, for which clients and since when, and keeps no token', async () => {
    const setup = await setUp()
    const asked = setup.redeemed().length

    const page = await visit(setup, setup.alice)

    expectPage(page, 200)
    const words = wordsOf(page.text)
    expect(words).toContain('Nextcloud cloud.example.com')
    expect(words).toContain('State Connected')
    for (const name of ['Claude', 'Notes']) expect(words).toContain(name)
    const moments = [...page.text.matchAll(/<time datetime="([^"]+)">/g)].map(([, at = '']) => Date.parse(at))
    // The connection and the second client, an hour after the first.
    expect(new Set(moments).size).toBe(2)
    expect(setup.redeemed().length).toBe(asked + 1)
    expect(setup.redeemed().at(-1)?.form.has('resource')).toBe(false)
    expect(await setup.stored()).toMatchObject({ state: 'active', clients: ['Claude', 'Notes'] })
  })

  it('says when each client was last served, and nothing of one that never was', async () => {
    const setup = await setUp()
    setup.grants.uses.note({ issuer: setup.as.issuer, subject: 'alice' }, 'Claude')
    await setup.grants.uses.settle()

    const page = await visit(setup, setup.alice)

    const at = new Date(setup.clock.now()).toISOString().slice(0, 16)
    const [, claude = '', notes = ''] = page.text.split('<li>')
    expect(claude).toContain(`Last used about <time datetime="${at}Z">`)
    expect(notes).not.toContain('Last used')
  })

  it('shows a hundred clients, and asks for the names of no others', async () => {
    const asked: string[] = []
    const clientName = (id: string): string => (asked.push(id), `App ${id}`)
    const clients = Array.from({ length: 103 }, (_, index) => `client-${index}`)
    const setup = await setUp({ options: { connect: { clientName } } }, ['client-0'])
    const { store } = setup.grants
    const key = store.keyOf({ issuer: setup.as.issuer, subject: 'alice' })
    const { grant, version } = (await store.read(key))!
    await store.write(key, { ...grant, clients }, version)

    const page = await visit(setup, setup.alice)

    expect(wordsOf(page.text)).toContain('and 3 more')
    expect(asked).toHaveLength(100)
  })

  it('says so where nothing is connected', async () => {
    const setup = await setUp({}, [])

    const page = await visit(setup, setup.alice)

    expectPage(page, 200)
    expect(wordsOf(page.text)).toContain('Nothing is connected')
    expect(page.text).not.toContain('value="all"')
  })

  it("shows nothing of another person's", async () => {
    const setup = await setUp()

    const page = await visit(setup, setup.browser(), 'bob')

    expect(wordsOf(page.text)).toContain('Nothing is connected')
    expect(page.text).not.toContain('Claude')
  })

  it.each<[string, (grant: Grant, now: number) => Grant, string]>([
    [
      'its time is over',
      (grant, now) => ({ ...grant, refreshEndsAt: now }),
      'The time for which your sign-in provider gave it is over.',
    ],
    ['it was refused', refusedGrant, 'Nextcloud, or your sign-in provider, does not accept it any more.'],
    [
      'it is of another mode',
      (grant, now) => deadGrant(grant, 'another_mode', now),
      'It was made in another way than this server now connects',
    ],
  ])('says why a connection must be made again: %s', async (_why, change, words) => {
    const setup = await setUp()
    const { store } = setup.grants
    const key = store.keyOf({ issuer: setup.as.issuer, subject: 'alice' })
    const { grant, version } = (await store.read(key))!
    await store.write(key, change(grant, setup.clock.now()), version)

    const page = wordsOf((await visit(setup, setup.alice)).text)

    expect(page).toContain('State Must be connected again')
    expect(page).toContain(words)
  })

  it('names every app where the operator has imported the connection for all', async () => {
    const setup = await setUp({ options: { connect: { clientName: (id) => `App ${id}` } } }, [])
    await setup.connect('alice', { clientId: 'Claude' })
    const { store } = setup.grants
    const key = store.keyOf({ issuer: setup.as.issuer, subject: 'alice' })
    const { grant, version } = (await store.read(key))!
    await store.write(key, { ...grant, clients: [ANY_CLIENT] }, version)

    const words = wordsOf((await visit(setup, setup.alice)).text)

    expect(words).toContain('Every app that you sign in with')
    expect(words).not.toContain('App *')
  })

  it('offers to end what it cannot open', async () => {
    const setup = await setUp()
    const { records, store } = setup.grants
    const key = store.keyOf({ issuer: setup.as.issuer, subject: 'alice' })
    const { value, version } = (await records.peek(key))!
    await records.writeSealed(key, value.slice(0, -8), version)

    const page = await visit(setup, setup.alice)
    expect(wordsOf(page.text)).toContain('It is stored under a key that this server does not have any more.')

    expect(wordsOf((await pressed(setup.alice, page, 'all')).text)).toContain('Nothing is connected')
  })

  it('counts for ten minutes, and no longer', async () => {
    const setup = await setUp()
    const page = await visit(setup, setup.alice)
    setup.clock.advance(599_000)
    expect(wordsOf((await setup.alice.open(PAGE)).text)).toContain('Claude')
    setup.clock.advance(1_000)

    expect((await setup.alice.open(PAGE)).text).toContain('value="sign-in"')

    expectPage(await setup.alice.press(page, { do: 'all' }), 403)
    expect(await setup.stored()).toMatchObject({ state: 'active' })
  })

  it('ends an earlier one in the same browser, which two tabs have begun', async () => {
    const setup = await setUp()
    const ways = [await leave(setup.alice), await leave(setup.alice)]
    const [first = '', second = ''] = await Promise.all(ways.map((way) => setup.authorize(way)))
    await setup.alice.open(first)
    const earlier = setup.browser()
    for (const [name, value] of setup.alice.cookies) earlier.cookies.set(name, value)
    expect((await earlier.open(PAGE)).text).toContain('value="all"')

    await setup.alice.open(second)

    expect((await earlier.open(PAGE)).text).toContain('value="sign-in"')
    expect((await setup.alice.open(PAGE)).text).toContain('value="all"')
  })

  it('counts at another instance on the same store', async () => {
    const setup = await setUp()
    const page = await visit(setup, setup.alice)
    const elsewhere = await setup.elsewhere(setup.alice)

    await pressed(elsewhere, page, endOf(page, 'Claude'))

    expect(await setup.stored()).toMatchObject({ clients: ['Notes'] })
  })

  it('is kept in a cookie that is its own, for this host, for no script and for ten minutes', async () => {
    const setup = await setUp()
    const back = await setup.alice.open(await setup.authorize(await leave(setup.alice)))

    const [, cookie = ''] = back.setCookies

    expect(cookie).toMatch(
      /^__Host-mcp-nextcloud-[\w-]{8}=[\w-]{43}; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax; Secure$/,
    )
  })
})

describe('the buttons', () => {
  it('end the access of one client, and the page says so once', async () => {
    const setup = await setUp()
    const page = await visit(setup, setup.alice)

    const after = await pressed(setup.alice, page, endOf(page, 'Claude'))

    expect(wordsOf(after.text)).toContain('That app can no longer use your Nextcloud')
    expect(after.text).not.toContain('<bdi>Claude</bdi>')
    expect(after.text).toContain('<bdi>Notes</bdi>')
    expect(await setup.stored()).toMatchObject({ state: 'active', clients: ['Notes'] })
    expect(wordsOf((await setup.alice.open(PAGE)).text)).not.toContain('That app can no longer')
  })

  it('end the connection with its last client', async () => {
    const setup = await setUp({}, ['Claude'])
    const page = await visit(setup, setup.alice)

    const after = await pressed(setup.alice, page, endOf(page, 'Claude'))

    expect(wordsOf(after.text)).toContain('Nothing is connected')
    expect(await setup.stored()).toMatchObject({ state: 'disconnected' })
    expect(setup.events.filter(({ type }) => type === 'grant.revoked')).toHaveLength(1)
  })

  it('end everything at once', async () => {
    const setup = await setUp()

    const after = await pressed(setup.alice, await visit(setup, setup.alice), 'all')

    expect(wordsOf(after.text)).toContain('Your Nextcloud is disconnected')
    expect(await setup.stored()).toMatchObject({ state: 'disconnected', clients: [] })
  })

  it.each([
    ['all', 'Your Nextcloud is disconnected'],
    ['Claude', 'That app can no longer use'],
  ])('say that the authorization server could not be reached, and is tried again: %s', async (what, words) => {
    const setup = await setUp({}, ['Claude'])
    setup.as.metadata['revocation_endpoint'] = `${setup.as.issuer}/revoke`
    setup.as.script('/revoke', (_req, res) => void res.writeHead(503).end())
    const page = await visit(setup, setup.alice)

    const after = await pressed(setup.alice, page, what === 'all' ? what : endOf(page, what))

    expect(wordsOf(after.text)).toContain(words)
    expect(wordsOf(after.text)).toContain('This server tries that again by itself')
    expect(await setup.stored()).toMatchObject({ state: 'disconnected' })
  })

  it('do nothing for a client that has no access any more', async () => {
    const setup = await setUp()
    const page = await visit(setup, setup.alice)
    await pressed(setup.alice, page, endOf(page, 'Claude'))

    const after = await pressed(setup.alice, page, endOf(page, 'Claude'))

    expect(wordsOf(after.text)).not.toContain('can no longer use')
    expect(await setup.stored()).toMatchObject({ state: 'active', clients: ['Notes'] })
  })

  it('do nothing for a client whose connection is gone with all it had', async () => {
    const setup = await setUp()
    const page = await visit(setup, setup.alice)
    const { storage, grants, as } = setup
    const key = grants.store.keyOf({ issuer: as.issuer, subject: 'alice' })
    await storage.delete(key, (await storage.get(key))!.version)

    const after = await pressed(setup.alice, page, endOf(page, 'Claude'))

    expect(wordsOf(after.text)).toContain('Nothing is connected')
    expect(wordsOf(after.text)).not.toContain('can no longer use')
    expect(setup.events.filter(({ type }) => type === 'grant.revoked')).toEqual([])
  })

  it('of single clients are not there where consent is per user, and end nothing then', async () => {
    const setup = await setUp({ options: { connect: { consent: 'per-user' } } })
    const page = await visit(setup, setup.alice)
    expect(page.text).toContain('<bdi>Claude</bdi>')
    expect(page.text).not.toMatch(/>End</)

    await pressed(setup.alice, page, digest('Claude'))
    expect(await setup.stored()).toMatchObject({ state: 'active', clients: ['Claude', 'Notes'] })

    await pressed(setup.alice, page, 'all')
    expect(await setup.stored()).toMatchObject({ state: 'disconnected' })
  })

  it('sign out, in this browser and for every copy of its cookie', async () => {
    const setup = await setUp()
    const page = await visit(setup, setup.alice)
    const copy = new Map(setup.alice.cookies)

    const after = await pressed(setup.alice, page, 'sign-out')

    expect(wordsOf(after.text)).toContain('You have signed out of this page.')
    // Whoever signs out and in again may want another account.
    const going = await setup.alice.press(after, { do: /name="do" value="([^"]+)"/.exec(after.text)?.[1] ?? '' })
    expect(going.refreshTo?.searchParams.get('prompt')).toBe('select_account')
    for (const [name, value] of copy) setup.alice.cookies.set(name, value)
    expect((await setup.alice.open(PAGE)).text).toContain('value="sign-in"')
    expectPage(await setup.alice.press(page, { do: 'all' }), 403)
    expect(await setup.stored()).toMatchObject({ state: 'active' })
  })
})

describe('an attack', () => {
  it.each([
    ['another site, as the browser says', [['Sec-Fetch-Site', 'cross-site']]],
    ['another host of this site', [['Sec-Fetch-Site', 'same-site']]],
    ['another origin', [['Origin', 'https://evil.example']]],
  ] as const)('by a form of %s changes nothing', async (_where, headers) => {
    const setup = await setUp()
    const page = await visit(setup, setup.alice)

    const answer = await setup.alice.open(PAGE, {
      method: 'POST',
      headers: [['Content-Type', 'application/x-www-form-urlencoded'], ...headers],
      body: `token=${formOf(page).token}&do=all`,
    })

    expectPage(answer, 403)
    expect(await setup.stored()).toMatchObject({ state: 'active' })
  })

  it.each([
    ['without its value', undefined, 'alice'],
    ['with the value of the way in', 'way in', 'alice'],
    ['with the value of another person', 'bob', 'alice'],
    ['in the browser of another person', 'alice', 'bob'],
    ['in a browser that has not signed in', 'alice', 'nobody'],
  ] as const)('by the form %s changes nothing', async (_how, value, whose) => {
    const setup = await setUp()
    const [bob, nobody] = [setup.browser(), setup.browser()]
    const wayIn = await setup.alice.open(PAGE)
    const pages = { alice: await visit(setup, setup.alice), bob: await visit(setup, bob, 'bob'), 'way in': wayIn }
    await nobody.open(PAGE)
    await setup.connect('bob', { clientId: 'Claude' })
    const token = value === undefined ? '' : formOf(pages[value]).token
    const browser = { alice: setup.alice, bob, nobody }[whose]

    expectPage(await browser.press(pages.alice, { token, do: 'all' }), 403)

    expect([await setup.stored('alice'), await setup.stored('bob')]).toMatchObject([
      { state: 'active' },
      { state: 'active' },
    ])
  })

  it('with a callback in a browser that did not begin signs nobody in, and the owner still can', async () => {
    const setup = await setUp()
    const mallory = setup.browser()
    const callback = await setup.authorize(await leave(mallory), 'mallory')

    expectPage(await setup.alice.open(callback), 403)
    expect((await setup.alice.open(PAGE)).text).toContain('value="sign-in"')

    expect((await mallory.open(callback)).status).toBe(303)
  })

  it('with a callback that was used never reaches the authorization server', async () => {
    const setup = await setUp()
    const callback = await setup.authorize(await leave(setup.alice))
    const cookies = new Map(setup.alice.cookies)
    await setup.alice.open(callback)
    const redeemed = setup.redeemed().length
    for (const [name, value] of cookies) setup.alice.cookies.set(name, value)

    expectPage(await setup.alice.open(callback), 400)

    expect(setup.redeemed()).toHaveLength(redeemed)
  })

  it('that plants a cookie before the sign-in does not share it', async () => {
    const setup = await setUp()
    const mallory = setup.browser()
    await mallory.open(PAGE)
    for (const [name, value] of mallory.cookies) setup.alice.cookies.set(name, value)

    expect(wordsOf((await visit(setup, setup.alice)).text)).toContain('Claude')

    expect((await mallory.open(PAGE)).text).toContain('value="sign-in"')
  })

  it('that sets the cookie twice is not taken for anybody', async () => {
    const setup = await setUp()
    await visit(setup, setup.alice)
    const [[name = '', value = ''] = []] = setup.alice.cookies

    const page = await setup
      .browser()
      .open(PAGE, { headers: [['Cookie', `${name}=${value}; ${name}=${'A'.repeat(43)}`]] })

    expect(page.text).toContain('value="sign-in"')
  })

  it.each([
    ['an ID token of another nonce', { claims: { nonce: 'other' } }, 403],
    ['an ID token for another client', { claims: { aud: 'other' } }, 403],
    ['no ID token', { tokens: { id_token: undefined } }, 403],
    ['an answer of another issuer', { callback: { iss: 'https://evil.example' } }, 400],
    ['no code', { callback: { code: undefined } }, 400],
    ['a refusal', { callback: { code: undefined, error: 'server_refuses' } }, 502],
    ['a no', { callback: { code: undefined, error: 'access_denied' } }, 200],
    ['an outage', { callback: { code: undefined, error: 'temporarily_unavailable' } }, 503],
  ] satisfies [string, SignedIn, number][])('by %s signs nobody in', async (_what, answer, status) => {
    const setup = await setUp()

    expectPage(await setup.alice.open(await setup.authorize(await leave(setup.alice), 'alice', answer)), status)

    expect((await setup.alice.open(PAGE)).text).toContain('value="sign-in"')
  })

  it('that mixes up what sign-ins are for fails: that of a connection opens no page, that of the page connects nothing', async () => {
    const setup = await setUp({}, [])
    const toPage = await leave(setup.alice)
    const toConnection = await setup.agree(setup.alice, await setup.link())
    const [forPage, forConnection] = [
      new URL(await setup.authorize(toPage), ORIGIN),
      new URL(await setup.authorize(toConnection), ORIGIN),
    ]
    const [pageState, connectionState] = [forPage, forConnection].map((url) => url.searchParams.get('state') ?? '')
    forPage.searchParams.set('state', connectionState ?? '')
    forConnection.searchParams.set('state', pageState ?? '')

    // Each code is for another verifier and nonce.
    expectPage(await setup.alice.open(forPage), 403)
    expectPage(await setup.alice.open(forConnection), 403)

    expect(await setup.stored()).toBeUndefined()
    expect((await setup.alice.open(PAGE)).text).toContain('value="sign-in"')
  })

  it.each([
    ['a sign-in for the page', async (setup: Awaited<ReturnType<typeof setUp>>) => visit(setup, setup.alice), 'page'],
    [
      'a sign-in for a connection',
      async (setup: Awaited<ReturnType<typeof setUp>>) => setup.walk(await setup.link(), 'alice', {}, setup.alice),
      'connection',
    ],
  ] as const)('needs more than %s, which does that and nothing else', async (_what, way, kind) => {
    const setup = await setUp({}, [])

    await way(setup)

    expect((await setup.stored()) === undefined).toBe(kind === 'page')
    expect((await setup.alice.open(PAGE)).text.includes('value="sign-in"')).toBe(kind === 'connection')
  })

  it.each([
    ['a body of 20 KB', `token=x&do=all&more=${'x'.repeat(20_000)}`],
    ['a body of many fields', 'do=all&'.repeat(2_000)],
    ['nothing', ''],
  ])('with %s is a 403', async (_what, body) => {
    const setup = await setUp()
    await visit(setup, setup.alice)
    const headers = [['Content-Type', 'application/x-www-form-urlencoded']] as const

    expectPage(await setup.alice.open(PAGE, { method: 'POST', headers, body }), 403)

    expect(await setup.stored()).toMatchObject({ state: 'active' })
  })

  slowly(
    'by very many sign-ins that nobody finishes fills no store: each address has its share, and all together a thousand',
    async () => {
      const store = faultyStorage()
      const setup = await setUp({ storage: store, host: behindProxy }, [])
      const wayIn = await setup.alice.open(PAGE)
      const kept = new Map(setup.alice.cookies)
      const begin = async (address: string): Promise<Visit> => {
        setup.alice.cookies.clear()
        for (const [name, value] of kept) setup.alice.cookies.set(name, value)
        return setup.alice.press(wayIn, { do: 'sign-in' }, { headers: [['X-Forwarded-For', address]] })
      }
      const refusedAt = async (address: string): Promise<void> => {
        const calls = store.calls()
        const refused = await begin(address)
        expectPage(refused, 429)
        expect(refused.headers['retry-after']).toBe('600')
        expect(store.calls()).toBe(calls)
      }
      const { all } = MOST_VISITORS
      const [each] = MOST_VISITORS.each
      for (let begun = 0; begun < all; begun += 1) {
        const address = `${Math.floor(begun / each) + 1}.51.100.1`
        if (begun % each === 0 && begun > 0) await refusedAt(`${Math.floor(begun / each)}.51.100.1`)
        expect((await begin(address)).status).toBe(200)
      }

      await refusedAt('198.51.100.1')
    },
  )
})

describe('a refresh token that comes along', () => {
  it('is revoked where nothing is connected by one', async () => {
    const there = await setUpWithRevocation([])

    await visit(there, there.alice, 'alice', { tokens: { refresh_token: 'came-along' } })
    await there.happenedAtRevocation(1)

    expect(there.as.received('/revoke').map(({ form }) => form.get('token'))).toEqual(['came-along'])
  })

  it('is left alone where the connection is one too, because both may be of one grant there', async () => {
    const there = await setUpWithRevocation(['Claude'])

    await visit(there, there.alice, 'alice', { tokens: { refresh_token: 'came-along' } })
    await there.auth.close()

    expect(there.as.received('/revoke')).toEqual([])
  })

  async function setUpWithRevocation(clients: string[]) {
    const setup = await setUp({}, clients)
    setup.as.metadata['revocation_endpoint'] = `${setup.as.issuer}/revoke`
    setup.as.script('/revoke', (_req, res) => void res.writeHead(200).end())
    const happenedAtRevocation = async (count: number): Promise<void> => {
      await expect.poll(() => setup.as.received('/revoke').length).toBe(count)
    }
    return { ...setup, auth: setup.auth, happenedAtRevocation }
  }
})

describe("the app's own sign-in", () => {
  const appSays = (who: () => unknown): McpAuthOptions => ({
    connect: { authenticateBrowser: () => Promise.resolve(who() as undefined) },
  })

  it('shows the page at once, without a sign-in of its own to end', async () => {
    let issuer = ''
    const setup = await setUp({ options: appSays(() => ({ issuer, subject: 'alice' })) })
    issuer = setup.as.issuer

    const page = await setup.alice.open(PAGE)

    expectPage(page, 200)
    expect(page.text).toContain('<bdi>Claude</bdi>')
    expect(page.text).not.toContain('Sign out')
    await pressed(setup.alice, page, endOf(page, 'Claude'))
    expect(await setup.stored()).toMatchObject({ clients: ['Notes'] })
  })

  it.each([
    ['nobody', undefined],
    ['null', null],
    ['a user without a subject', { issuer: 'https://idp.example.com' }],
    ['an empty one', { issuer: 'https://idp.example.com', subject: '' }],
    [
      'a user of another issuer, such as that before a move',
      { issuer: 'https://before.example.com', subject: 'alice' },
    ],
  ])('that knows %s is a 403 that says to sign in there first', async (_who, who) => {
    const { alice } = await setUp({ options: appSays(() => who) })

    const page = await alice.open(PAGE)

    expectPage(page, 403)
    expect(wordsOf(page.text)).toContain('Please sign in first')
    expect(page.text).not.toContain('<form')
  })

  it('that changes makes the form of the person before worthless', async () => {
    let who = { issuer: '', subject: 'alice' }
    const setup = await setUp({ options: appSays(() => who) })
    await setup.connect('bob', { clientId: 'Claude' })
    who = { issuer: setup.as.issuer, subject: 'alice' }
    const page = await setup.alice.open(PAGE)
    who = { ...who, subject: 'bob' }

    expectPage(await setup.alice.press(page, { do: 'all' }), 403)

    expect([await setup.stored('alice'), await setup.stored('bob')]).toMatchObject([
      { state: 'active' },
      { state: 'active' },
    ])
  })

  it('begins no sign-in', async () => {
    const setup = await setUp({ options: appSays(() => undefined) })

    expectPage(await setup.alice.open(PAGE, { method: 'POST' }), 403)
  })
})

describe('an outage', () => {
  it('of the store is a 503 at each step, and the next try works', async () => {
    const store = faultyStorage()
    const setup = await setUp({ storage: store })
    store.failFrom(1, 1)
    expectPage(await setup.alice.press(await setup.alice.open(PAGE), { do: 'sign-in' }), 503)
    const page = await visit(setup, setup.alice)
    for (const call of [1, 2]) {
      store.failFrom(call, 1)
      expectPage(await setup.alice.open(PAGE), 503)
    }
    store.failFrom(2, 1)
    expectPage(await setup.alice.press(page, { do: 'all' }), 503)
    expect(await setup.stored()).toMatchObject({ state: 'active' })

    await pressed(setup.alice, page, 'all')

    expect(await setup.stored()).toMatchObject({ state: 'disconnected' })
  })

  it('of the authorization server at the callback spends nothing, so that a reload works', async () => {
    const setup = await setUp()
    const callback = await setup.authorize(await leave(setup.alice))
    const elsewhere = await setup.elsewhere(setup.alice)
    setup.as.script('/.well-known/openid-configuration', (_req, res) => void res.writeHead(503).end())
    expectPage(await elsewhere.open(callback), 503)

    expect((await setup.alice.open(callback)).status).toBe(303)
  })
})

describe('in app-password mode', () => {
  it('the page shows the connection, keeps nothing of its sign-in, and ends it in Nextcloud too', async () => {
    const setup = await appPasswordWorld()
    const alice = setup.browser()
    await setup.connectAs('alice', alice)

    const page = await visit(setup, setup.browser())
    expect(wordsOf(page.text)).toContain('State Connected')
    const mine = setup.browser()
    const after = await pressed(mine, await visit(setup, mine), 'all')

    expect(wordsOf(after.text)).toContain('Your Nextcloud is disconnected')
    expect(await setup.stored()).toMatchObject({ state: 'disconnected' })
    expect(setup.events.filter(({ type }) => type === 'grant.revoked')).toMatchObject([{ revoked: true }])
  })
})

describe('the other pages', () => {
  it('lead to it', async () => {
    const setup = await setUp({}, [])
    const connected = await setup.walk(await setup.link(), 'alice', {}, setup.alice)
    expect(connected.text).toContain('<a class="more" href="/nextcloud">')

    const disconnected = await setup.alice.press(connected)

    expect(disconnected.text).toContain('<a class="more" href="/nextcloud">')
  })
})
