import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import {
  expectPage,
  faultyStorage,
  meetingStorage,
  setUpConnect,
  type FaultyStorage,
} from '../support/connect-setup.js'

/** Alice has agreed and signed in, and her browser is about to come back. */
async function setUpReturn(surroundings: Parameters<typeof setUpConnect>[0] = {}) {
  const setup = await setUpConnect(surroundings)
  const alice = setup.browser()
  const to = await setup.agree(alice, await setup.link())
  return { ...setup, alice, to, callback: await setup.signIn(to) }
}

const withParameter = (url: string, name: string, value: string, how: 'set' | 'append' = 'set'): string => {
  const changed = new URL(url, 'http://localhost')
  changed.searchParams[how](name, value)
  return changed.pathname + changed.search
}

describe('the callback', () => {
  it('ends its cookie when all is well', async () => {
    const { alice, callback } = await setUpReturn({
      options: { connect: { returnTo: 'https://app.example.com/done' } },
    })

    const page = await alice.open(callback)

    expect(page.status).toBe(303)
    expect(alice.cookies.size).toBe(0)
  })

  it("sends the browser to the operator's URL, and to none that comes with the request", async () => {
    const { alice, callback, stored } = await setUpReturn({
      options: { connect: { returnTo: 'https://app.example.com/done?from=mcp' } },
    })

    const page = await alice.open(`${callback}&returnTo=https://evil.example&return_to=https://evil.example`)

    expect([page.status, page.headers.location]).toEqual([303, 'https://app.example.com/done?from=mcp'])
    expect([page.headers['cache-control'], page.headers['referrer-policy']]).toEqual(['no-store', 'no-referrer'])
    expect(page.text).toBe('')
    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it('of a connection that fails stays here, whatever the URL to return to is', async () => {
    const { alice, to, signIn } = await setUpReturn({
      options: { connect: { returnTo: 'https://app.example.com/done' } },
    })

    expectPage(await alice.open(await signIn(to, 'bob')), 403)
  })

  it('changes nothing when it is asked for with HEAD', async () => {
    const { alice, callback, redeemed } = await setUpReturn()

    const { status, headers } = await alice.open(callback, { method: 'HEAD' })

    expect([status, headers.allow, redeemed().length]).toEqual([405, 'GET', 0])
    expectPage(await alice.open(callback), 200)
  })
})

describe('a state', () => {
  it('is good once: a replay is a 400 and never reaches the authorization server', async () => {
    const { alice, callback, redeemed, events } = await setUpReturn()
    const cookies = new Map(alice.cookies)
    expectPage(await alice.open(callback), 200)
    for (const [name, value] of cookies) alice.cookies.set(name, value)

    const page = await alice.open(callback)

    expectPage(page, 400)
    expect(redeemed()).toHaveLength(1)
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'state' }))
  })

  it('is good once when it comes three times at the very same moment', async () => {
    const store = meetingStorage(new MemoryStorage())
    const { alice, callback, redeemed } = await setUpReturn({ storage: () => store })
    store.meet(3)

    const pages = await Promise.all([alice.open(callback), alice.open(callback), alice.open(callback)])

    expect(pages.map(({ status }) => status).sort()).toEqual([200, 400, 400])
    expect(redeemed()).toHaveLength(1)
  })

  it('is spent before the code is sent, so that no failure of the server lets the code out again', async () => {
    const { alice, callback, redeemed, as } = await setUpReturn({ options: { http: { retries: 2 } } })
    const cookies = new Map(alice.cookies)
    as.script('/token', { status: 503 })

    expectPage(await alice.open(callback), 503)
    for (const [name, value] of cookies) alice.cookies.set(name, value)
    expectPage(await alice.open(callback), 400)

    expect(redeemed()).toHaveLength(1)
  })

  it.each([
    ['none', (url: string) => url.replace(/state=[^&]*/, '')],
    ['an empty one', (url: string) => withParameter(url, 'state', '')],
    ['one that was never made', (url: string) => withParameter(url, 'state', 'A'.repeat(43))],
    ['something else', (url: string) => withParameter(url, 'state', '<script>alert(1)</script>')],
    ['two', (url: string) => withParameter(url, 'state', 'A'.repeat(43), 'append')],
    ['the same one twice', (url: string) => `${url}&${/state=[^&]*/.exec(url)?.[0] ?? ''}`],
  ])('has to be there and be ours: %s is a 400', async (_what, change) => {
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
  it('that has the whole URL gets a 403, and the one that began is not disturbed', async () => {
    const { browser, alice, callback, redeemed, events, stored } = await setUpReturn()

    const page = await browser().open(callback)

    expectPage(page, 403)
    expect(redeemed()).toEqual([])
    expect(await stored()).toBeUndefined()
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'browser' }))
    expectPage(await alice.open(callback), 200)
  })

  it('gets a 403 also with a cookie that it has from a flow of its own', async () => {
    const { browser, alice, callback, agree, link } = await setUpReturn()
    const mallory = browser()
    await agree(mallory, await link('mallory'))
    const [[name = ''] = []] = alice.cookies
    const [[, value = ''] = []] = mallory.cookies
    mallory.cookies.set(name, value)

    expectPage(await mallory.open(callback), 403)
  })

  it("gets nothing from a cookie that it planted in the user's browser before", async () => {
    const { browser, link, signIn, redeemed } = await setUpConnect()
    const url = await link()
    const mallory = browser()
    await mallory.open(url)
    const alice = browser()
    for (const [name, value] of mallory.cookies) alice.cookies.set(name, value)
    const planted = [...mallory.cookies.values()]

    const going = await alice.press(await alice.open(url), { answer: 'yes' })
    const callback = await signIn(going.refreshTo)

    const [stateCookie = ''] = going.setCookies.filter((header) => !header.includes('Max-Age=0'))
    expect(planted.some((value) => stateCookie.includes(value))).toBe(false)
    for (const [name] of alice.cookies) mallory.cookies.set(name, planted[0] ?? '')
    expectPage(await mallory.open(callback), 403)
    expect(redeemed()).toEqual([])
  })

  it('does not get the same link, once it is used', async () => {
    const { browser, link, agree, signIn, stored } = await setUpConnect()
    const url = await link()
    const [one, two] = [browser(), browser()]
    const question = await two.open(url)
    const to = await agree(one, url)

    expectPage(await two.press(question, { answer: 'yes' }), 410)
    expectPage(await two.open(await signIn(to)), 403)
    expect(await stored()).toBeUndefined()
    expectPage(await one.open(await signIn(to)), 200)
  })
})

it('two tabs of one browser each come to their end', async () => {
  const { browser, link, agree, signIn, stored } = await setUpConnect()
  const tabs = browser()
  const first = await agree(tabs, await link('alice', 'one'))
  const second = await agree(tabs, await link('alice', 'two'))

  expectPage(await tabs.open(await signIn(first)), 200)
  expectPage(await tabs.open(await signIn(second)), 200)

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

describe('while something is away,', () => {
  async function setUpFaulty() {
    let store: FaultyStorage | undefined
    const setup = await setUpReturn({
      storage: (clock) => (store = faultyStorage(new MemoryStorage(undefined, clock))),
    })
    return { ...setup, store: store! }
  }

  it.each([1, 2])(
    'the store from call %i on, it is a 503, no code is sent, and a reload serves later',
    async (call) => {
      const { store, alice, callback, redeemed } = await setUpFaulty()
      store.failFrom(call)

      const page = await alice.open(callback)

      expectPage(page, 503)
      expect([page.headers['retry-after'], redeemed().length]).toEqual(['5', 0])
      store.heal()
      expectPage(await alice.open(callback), 200)
    },
  )

  it.each([3, 4])('the store for good from call %i on, it is a 503 and nothing is told as stored', async (call) => {
    const { store, alice, callback, stored, events } = await setUpFaulty()
    store.failFrom(call)

    const page = await alice.open(callback)

    expectPage(page, 503)
    store.heal()
    expect(await stored()).toBeUndefined()
    expect(events.map(({ type }) => type)).not.toContain('grant.stored')
  })

  it.each([3, 4])('the store for a moment at call %i, the grant is stored all the same', async (call) => {
    const { store, alice, callback, stored, redeemed } = await setUpFaulty()
    store.failFrom(call, 2)

    expectPage(await alice.open(callback), 200)

    expect(await stored()).toMatchObject({ state: 'active' })
    expect(redeemed()).toHaveLength(1)
  })

  it('the store for the offer to disconnect, the grant is stored and there is no offer', async () => {
    const { store, alice, callback, stored } = await setUpFaulty()
    store.failFrom(5)

    const page = await alice.open(callback)

    expectPage(page, 200)
    expect(page.text).not.toContain('<form')
    store.heal()
    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it('the server, before its metadata are known, it is a 503, and a reload serves later', async () => {
    const { elsewhere, as, clock, callback, alice, redeemed } = await setUpReturn()
    const restarted = await elsewhere(alice, { http: { retries: 0 } })
    await as.stop()

    const page = await restarted.open(callback)

    expectPage(page, 503)
    expect(Number(page.headers['retry-after'])).toBeGreaterThan(0)
    expect(redeemed()).toEqual([])
    await as.restart()
    clock.advance(60_000)
    expectPage(await restarted.open(callback), 200)
  })

  it('the server, when the code is sent, it is a 503 and nothing is stored', async () => {
    const { as, callback, alice, stored } = await setUpReturn({ options: { http: { retries: 0 } } })
    await as.stop()

    expectPage(await alice.open(callback), 503)

    expect(await stored()).toBeUndefined()
  })

  it('the keys of the server, it is a 503, nothing is spent, and the page can be loaded again', async () => {
    const { alice, callback, as, stored, clock, redeemed } = await setUpReturn()
    as.script('/jwks', { status: 500 })

    const page = await alice.open(callback)

    expectPage(page, 503)
    expect(Number(page.headers['retry-after'])).toBeGreaterThan(0)
    expect(await stored()).toBeUndefined()
    expect(redeemed()).toEqual([])
    as.script('/jwks', { json: { keys: as.keys } })
    clock.advance(60_000)
    expectPage(await alice.open(callback), 200)
    expect(await stored()).toMatchObject({ state: 'active' })
  })
})
