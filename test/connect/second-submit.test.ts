import { describe, expect, it } from 'vitest'
import { bareHost } from '../support/hosts.js'
import { appPasswordWorld, waitingPage } from '../support/login-visits.js'
import { expectPage } from '../support/test-browser.js'
import { world } from '../support/world.js'

const CONNECT = { mode: 'refresh-token', host: bareHost } as const
const MINUTE = 60_000

async function setUp() {
  const setup = await world(CONNECT)
  const alice = setup.browser()
  const url = await setup.link()
  const question = await alice.open(url)
  const press = (answer: 'yes' | 'no') => alice.press(question, { answer })
  return { ...setup, alice, url, question, press }
}

describe('a form that the same browser sends again within a minute', () => {
  it('leads on with a fresh state each time; the first callback connects, the others are told so', async () => {
    const { alice, press, authorize, redeemed, events, auth } = await setUp()

    const going = [await press('yes'), await press('yes'), await press('yes')]

    for (const page of going) expectPage(page, 200)
    const states = going.map(({ refreshTo }) => refreshTo?.searchParams.get('state'))
    expect(new Set([...states, undefined]).size).toBe(4)
    for (const { refreshTo } of [...going].reverse()) {
      const end = await alice.open(await authorize(refreshTo))
      expectPage(end, 200)
      expect(end.text).toContain('Connected, you can go back')
    }
    expect(redeemed()).toHaveLength(1)
    expect(events.filter(({ type }) => type === 'grant.stored')).toHaveLength(1)
    expect(await auth.isProvisioned({ subject: 'alice' })).toBe(true)
    expect((await press('yes')).text).toContain('Connected, you can go back')
  })

  it('regression: filled the store with offers to disconnect, one for each time', async () => {
    const { alice, press, authorize, storage } = await setUp()
    const { refreshTo } = await press('yes')
    const kept = new Map(alice.cookies)
    await alice.open(await authorize(refreshTo))
    const records = async () => (await storage.list!({ limit: 1_000 })).length
    const before = await records()

    const offered = []
    for (let round = 0; round < 30; round += 1) {
      // A browser would end its oldest cookies.
      alice.cookies.clear()
      for (const [name, value] of kept) alice.cookies.set(name, value)
      const page = await press(round % 2 === 0 ? 'yes' : 'no')
      expectPage(page, 200)
      expect(page.text).toContain('Connected, you can go back')
      offered.push(page.text.includes('/nextcloud/disconnect'))
    }

    // The first "yes" was one of the twenty.
    expect(offered).toEqual([...Array<boolean>(19).fill(true), ...Array<boolean>(11).fill(false)])
    expect(await records()).toBe(before + 19)
  })

  it('leads on from each of two tabs', async () => {
    const { alice, url, press } = await setUp()
    const other = await alice.open(url)

    expectPage(await press('yes'), 200)
    const second = await alice.press(other, { answer: 'yes' })

    expectPage(second, 200)
    expect(second.refreshTo).toBeDefined()
  })

  it('leads on at the very same moment', async () => {
    const { press } = await setUp()

    const pages = await Promise.all([press('yes'), press('yes')])

    for (const page of pages) expect([page.status, page.refreshTo === undefined]).toEqual([200, false])
  })

  it.each([
    ['no', 'yes'],
    ['no', 'no'],
    ['yes', 'no'],
    ['yes', 'no', 'yes'],
  ] as const)('connects nothing once it says no: %s, %s', async (...answers) => {
    const { alice, press, authorize, stored, redeemed } = await setUp()

    const pages = []
    for (const answer of answers) pages.push(await press(answer))

    const last = pages.at(-1)!
    expectPage(last, 200)
    expect([last.refreshTo, last.text.includes('Not connected')]).toEqual([undefined, true])
    const led = pages.find(({ refreshTo }) => refreshTo !== undefined)
    if (led !== undefined) expect((await alice.open(await authorize(led.refreshTo))).text).toContain('Not connected')
    expect([redeemed(), await stored()]).toEqual([[], undefined])
  })

  it('is a 403 without an answer', async () => {
    const { alice, question, press, stored } = await setUp()
    await press('yes')

    expectPage(await alice.press(question, {}), 403)
    expect(await stored()).toBeUndefined()
  })

  it('says no once, however many say so at the very same moment', async () => {
    const { press, events, happened } = await setUp()
    await press('yes')

    const pages = await Promise.all([press('no'), press('no'), press('no')])
    await happened('connect.failed')

    for (const page of pages) {
      expectPage(page, 200)
      expect(page.text).toContain('Not connected')
    }
    expect(events.filter((event) => event.type === 'connect.failed').length).toBe(1)
  })

  it('is a 410 from another browser, without the cookie, and after a minute', async () => {
    const { alice, browser, url, press, question, clock } = await setUp()
    await press('yes')
    const kept = new Map(alice.cookies)

    expectPage(await browser().press(question, { answer: 'yes' }), 410)
    alice.cookies.clear()
    expectPage(await press('yes'), 410)
    for (const [name, value] of kept) alice.cookies.set(name, value)
    expectPage(await alice.open(url), 410)
    clock.advance(MINUTE - 1)
    expectPage(await press('yes'), 200)
    clock.advance(1)
    expectPage(await press('yes'), 410)
  })

  it('is a 410 from a browser that had the page open as well, and did not answer', async () => {
    const { browser, url, press } = await setUp()
    const bob = browser()
    const question = await bob.open(url)
    await press('yes')

    expectPage(await bob.press(question, { answer: 'yes' }), 410)
  })
})

describe('in app-password mode, a form that is sent again', () => {
  it('leads to the same login, begun by whichever callback comes first, and ends connected', async () => {
    const { browser, link, authorize, nextcloud } = await appPasswordWorld()
    const alice = browser()
    const question = await alice.open(await link())
    const going = [await alice.press(question, { answer: 'yes' }), await alice.press(question, { answer: 'yes' })]

    const first = waitingPage(await alice.open(await authorize(going[1]!.refreshTo)))
    const second = waitingPage(await alice.open(await authorize(going[0]!.refreshTo)))
    const third = waitingPage(await alice.press(question, { answer: 'yes' }))

    expect(new Set([first.login, second.login, third.login]).size).toBe(1)
    expect(nextcloud.received('/index.php/login/v2').length).toBe(1)
    await nextcloud.grant(first.login, 'alice')
    expect((await alice.open(first.next)).text).toContain('Connected, you can go back')
    expect((await alice.press(question, { answer: 'yes' })).text).toContain('Connected, you can go back')
  })

  it('that says no before anything has begun in Nextcloud ends the yes', async () => {
    const { browser, link, authorize, nextcloud, auth } = await appPasswordWorld()
    const alice = browser()
    const question = await alice.open(await link())
    const going = await alice.press(question, { answer: 'yes' })

    const no = await alice.press(question, { answer: 'no' })

    expectPage(no, 200)
    expect(no.text).toContain('Not connected')
    expect((await alice.open(await authorize(going.refreshTo))).text).toContain('Not connected')
    expect(nextcloud.begun()).toBe(0)
    expect(await auth.isProvisioned({ subject: 'alice' })).toBe(false)
  })

  it('shows the end of its login, and hands out no cookie for it', async () => {
    const options = { connect: { identity: () => false } }
    const { browser, link, authorize, nextcloud } = await appPasswordWorld({ options })
    const alice = browser()
    const question = await alice.open(await link())
    const going = await alice.press(question, { answer: 'yes' })
    const waiting = waitingPage(await alice.open(await authorize(going.refreshTo)))
    await nextcloud.grant(waiting.login, 'mallory')

    const end = await alice.press(question, { answer: 'yes' })

    expectPage(end, 403)
    expect(end.headers['set-cookie']).not.toContainEqual(expect.stringContaining('Max-Age=1500'))
  })

  it('leads to the same login where the app says who is at the browser, and to none once it says no', async () => {
    const options = (as: { issuer: string }) => ({
      connect: {
        identity: () => true,
        authenticateBrowser: () => Promise.resolve({ issuer: as.issuer, subject: 'alice' }),
      },
    })
    const { browser, link, nextcloud, auth } = await appPasswordWorld({ options })
    const alice = browser()
    const question = await alice.open(await link())

    const pages = await Promise.all([1, 2, 3].map(() => alice.press(question, { answer: 'yes' })))
    const again = waitingPage(await alice.press(question, { answer: 'yes' }))

    expect(new Set([...pages, again].map((page) => waitingPage(page).login)).size).toBe(1)
    expect((await alice.press(question, { answer: 'no' })).text).toContain('Not connected')
    await nextcloud.grant(again.login, 'alice')
    await alice.open(again.next)
    expect(await auth.isProvisioned({ subject: 'alice' })).toBe(false)
  })
})
