import { describe, expect, it } from 'vitest'
import { bareHost } from '../support/hosts.js'
import { faultyStorage, meetingStorage } from '../support/storages.js'
import { expectPage } from '../support/test-browser.js'
import { world, type Parts } from '../support/world.js'

const CONNECT = { mode: 'refresh-token', host: bareHost } as const

/** Alice has agreed and signed in, and her browser is about to come back. */
async function setUpReturn(parts: Pick<Parts, 'options' | 'storage'> = {}) {
  const setup = await world({ ...CONNECT, ...parts })
  const alice = setup.browser()
  const to = await setup.agree(alice, await setup.link())
  return { ...setup, alice, to, callback: await setup.authorize(to) }
}

const withParameter = (url: string, name: string, value: string, how: 'set' | 'append' = 'set'): string => {
  const changed = new URL(url, 'http://localhost')
  changed.searchParams[how](name, value)
  return changed.pathname + changed.search
}

describe('the callback', () => {
  it("sends the browser to the operator's URL and to none that comes with the request, and ends its cookie", async () => {
    const { alice, callback, stored } = await setUpReturn({
      options: { connect: { returnTo: 'https://app.example.com/done?from=mcp' } },
    })

    const page = await alice.open(`${callback}&returnTo=https://evil.example&return_to=https://evil.example`)

    expect([page.status, page.headers.location]).toEqual([303, 'https://app.example.com/done?from=mcp'])
    expect([page.headers['cache-control'], page.headers['referrer-policy']]).toEqual(['no-store', 'no-referrer'])
    expect(page.text).toBe('')
    // The form's, for a second submit.
    expect(alice.cookies.size).toBe(1)
    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it('of a connection that fails stays here, whatever the URL to return to is', async () => {
    const { alice, to, authorize } = await setUpReturn({
      options: { connect: { returnTo: 'https://app.example.com/done' } },
    })

    expectPage(await alice.open(await authorize(to, 'bob')), 403)
  })

  it('changes nothing when it is asked for with HEAD', async () => {
    const { alice, callback, redeemed } = await setUpReturn()

    const { status, headers } = await alice.open(callback, { method: 'HEAD' })

    expect([status, headers.allow, redeemed().length]).toEqual([405, 'GET', 0])
    expectPage(await alice.open(callback), 200)
  })
})

describe('a state', () => {
  it.each([
    ['serves', 200],
    ['fails', 503],
  ])('is good once: a replay is a 400, and the code is not sent again, where the server %s', async (_how, status) => {
    const { alice, callback, redeemed, as, events } = await setUpReturn({ options: { http: { retries: 2 } } })
    const cookies = new Map(alice.cookies)
    if (status === 503) as.script('/token', { status })

    expectPage(await alice.open(callback), status)
    for (const [name, value] of cookies) alice.cookies.set(name, value)
    expectPage(await alice.open(callback), 400)

    expect(redeemed()).toHaveLength(1)
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'state' }))
  })

  it('is good once when it comes three times at the very same moment', async () => {
    const store = meetingStorage()
    const { alice, callback, redeemed } = await setUpReturn({ storage: store })
    store.meet(3)

    const pages = await Promise.all([alice.open(callback), alice.open(callback), alice.open(callback)])

    expect(pages.map(({ status }) => status).sort()).toEqual([200, 400, 400])
    expect(redeemed()).toHaveLength(1)
  })

  it.each([
    ['none', (url: string) => url.replace(/state=[^&]*/, '')],
    ['an empty one', (url: string) => withParameter(url, 'state', '')],
    ['one that was never made', (url: string) => withParameter(url, 'state', 'A'.repeat(43))],
    ['something else', (url: string) => withParameter(url, 'state', '<script>alert(1)</script>')],
    ['two', (url: string) => withParameter(url, 'state', 'A'.repeat(43), 'append')],
    ['the same one twice', (url: string) => `${url}&${/state=[^&]*/.exec(url)?.[0] ?? ''}`],
  ])('must be there and be ours: %s is a 400', async (_what, change) => {
    const { alice, callback, redeemed, stored } = await setUpReturn()

    const page = await alice.open(change(callback))

    expectPage(page, 400)
    expect(page.text).not.toContain('<script')
    expect(redeemed()).toEqual([])
    expect(await stored()).toBeUndefined()
    expectPage(await alice.open(callback), 200)
  })

  it('is no ticket, and a ticket is no state', async () => {
    const { alice, to, link } = await setUpReturn()
    const ticket = new URL(await link()).searchParams.get('ticket') ?? ''

    expectPage(await alice.open(`/nextcloud/connect?ticket=${to.searchParams.get('state') ?? ''}`), 410)
    expectPage(await alice.open(`/nextcloud/callback?code=x&state=${ticket}`), 400)
  })
})

describe('another browser', () => {
  it('that has the whole URL, and a cookie of a flow of its own, gets a 403 and disturbs nobody', async () => {
    const { browser, alice, callback, redeemed, events, stored, agree, link } = await setUpReturn()
    const mallory = browser()
    expectPage(await mallory.open(callback), 403)
    await agree(mallory, await link('mallory'))
    const [[name = ''] = []] = alice.cookies
    const [[, value = ''] = []] = mallory.cookies
    mallory.cookies.set(name, value)
    expectPage(await mallory.open(callback), 403)

    expect(redeemed()).toEqual([])
    expect(await stored()).toBeUndefined()
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'browser' }))
    expectPage(await alice.open(callback), 200)
  })

  it("gets nothing from a cookie that it planted in the user's browser before", async () => {
    const { browser, link, authorize, redeemed } = await world(CONNECT)
    const url = await link()
    const mallory = browser()
    await mallory.open(url)
    const alice = browser()
    for (const [name, value] of mallory.cookies) alice.cookies.set(name, value)
    const planted = [...mallory.cookies.values()]

    const going = await alice.press(await alice.open(url), { answer: 'yes' })
    const callback = await authorize(going.refreshTo)

    const [stateCookie = ''] = going.setCookies.filter((header) => !header.includes('Max-Age=0'))
    expect(planted.some((value) => stateCookie.includes(value))).toBe(false)
    for (const [name] of alice.cookies) mallory.cookies.set(name, planted[0] ?? '')
    expectPage(await mallory.open(callback), 403)
    expect(redeemed()).toEqual([])
  })
})

it('two tabs of one browser each come to their end', async () => {
  const { browser, link, agree, authorize, stored } = await world(CONNECT)
  const tabs = browser()
  const first = await agree(tabs, await link('alice', 'one'))
  const second = await agree(tabs, await link('alice', 'two'))

  expectPage(await tabs.open(await authorize(first)), 200)
  expectPage(await tabs.open(await authorize(second)), 200)

  expect((await stored())?.clients.toSorted()).toEqual(['one', 'two'])
})

it.each([
  ['is from another issuer (mix-up)', (url: string) => withParameter(url, 'iss', 'https://evil.example')],
  ['has no code', (url: string) => url.replace(/code=[^&]*/, '')],
  ['has two codes', (url: string) => withParameter(url, 'code', 'another', 'append')],
])('an answer that %s is a 400, no code is sent, and it is spent', async (_what, change) => {
  const { alice, callback, redeemed, stored, events } = await setUpReturn()

  expectPage(await alice.open(change(callback)), 400)

  expect(redeemed()).toEqual([])
  expect(await stored()).toBeUndefined()
  expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'answer' }))
  expectPage(await alice.open(callback), 400)
})

describe('while the store is unavailable,', () => {
  async function setUpFaulty() {
    const store = faultyStorage()
    return { ...(await setUpReturn({ storage: store })), store }
  }

  it.each([
    [1, 'no code is sent, and a reload serves later', 0, 200],
    [2, 'no code is sent, and a reload serves later', 0, 200],
    [3, 'no code is sent, and a reload serves later', 0, 200],
    [4, 'the code is spent', 1, 400],
    [5, 'the code is spent', 1, 400],
    [6, 'the code is spent', 1, 400],
  ])('from call %i on, it is a 503 and nothing is stored; %s', async (call, _what, codes, reload) => {
    const { store, alice, callback, redeemed, stored, events } = await setUpFaulty()
    store.failFrom(call)

    const page = await alice.open(callback)

    expectPage(page, 503)
    expect([page.headers['retry-after'], redeemed().length]).toEqual(['5', codes])
    store.heal()
    expect(await stored()).toBeUndefined()
    expect(events.map(({ type }) => type)).not.toContain('grant.stored')
    expectPage(await alice.open(callback), reload)
  })

  it.each([
    ['for a moment at call 4', 4, 2, true],
    ['for a moment at call 5', 5, 2, true],
    ['for a moment at call 6', 6, 2, true],
    ['for the offer to disconnect, which is left out', 7, Infinity, false],
  ])('%s, the grant is stored all the same', async (_when, call, count, offers) => {
    const { store, alice, callback, stored, redeemed } = await setUpFaulty()
    store.failFrom(call, count)

    const page = await alice.open(callback)

    expectPage(page, 200)
    expect([page.text.includes('<form'), redeemed().length]).toEqual([offers, 1])
    store.heal()
    expect(await stored()).toMatchObject({ state: 'active' })
  })
})

it.each([
  ['metadata', '/.well-known/openid-configuration'],
  ['keys', '/jwks'],
])('while the %s of the server cannot be had, it is a 503, nothing is spent, and a reload serves', async (_, path) => {
  const { elsewhere, as, clock, callback, alice, redeemed, stored } = await setUpReturn()
  const restarted = await elsewhere(alice, { http: { retries: 0 } })
  as.script(path, { status: 503 })

  const page = await restarted.open(callback)

  expectPage(page, 503)
  expect(Number(page.headers['retry-after'])).toBeGreaterThan(0)
  expect(redeemed()).toEqual([])
  as.script(path)
  clock.advance(60_000)
  expectPage(await restarted.open(callback), 200)
  expect(await stored()).toMatchObject({ state: 'active' })
})
