import { describe, expect, it } from 'vitest'
import { appPasswordWorld, waitingPage } from '../support/login-visits.js'
import { bareHost } from '../support/hosts.js'
import { expectPage } from '../support/test-browser.js'
import { watchedStorage } from '../support/storages.js'
import { world } from '../support/world.js'

const CONNECT = { mode: 'refresh-token', host: bareHost } as const

/** A stranger's text: HTML, a quotation mark, a character that turns the direction, and more than is shown. */
const CLAIM = `claude-<b>”\u202E\u0007code${'x'.repeat(10_000)}`
const SHOWN = `<bdi>claude-&lt;b&gt;code${'x'.repeat(86)}</bdi>`

describe('what a client calls itself', () => {
  it('stands on the last page of its link too, and not in the connection', async () => {
    const { auth, link, walk, stored } = await world(CONNECT)
    const url = await link()
    await auth.callsItself(url, CLAIM)

    const connected = await walk(url)

    expectPage(connected, 200)
    expect(connected.text).toContain(`The app calls itself “${SHOWN}”.`)
    expect(JSON.stringify(await stored())).not.toContain('claude-')
  })

  it('stands there after another account was tried first', async () => {
    const { auth, link, agree, authorize, browser } = await world(CONNECT)
    const [url, alice] = [await link(), browser()]
    await auth.callsItself(url, CLAIM)

    const refusal = await alice.open(await authorize(await agree(alice, url), 'bob'))
    const connected = await alice.open(await authorize((await alice.press(refusal)).refreshTo))

    expectPage(refusal, 403)
    expectPage(connected, 200)
    expect(connected.text).toContain(SHOWN)
  })

  it('stands there again for a second click on yes', async () => {
    const { auth, link, authorize, browser } = await world(CONNECT)
    const [url, alice] = [await link(), browser()]
    await auth.callsItself(url, CLAIM)
    const question = await alice.open(url)
    const going = await alice.press(question, { answer: 'yes' })
    await alice.open(await authorize(going.refreshTo))

    const again = await alice.press(question, { answer: 'yes' })

    expectPage(again, 200)
    expect(again.text).toContain(`The app calls itself “${SHOWN}”.`)
  })

  it.each([
    ['en', 'The app calls itself “'],
    ['de', 'Die App nennt sich selbst „'],
    ['fr', 'L’application se présente sous le nom «\u00A0'],
  ])('stands on the page that waits for Nextcloud, and on the last one: in %s', async (language, words) => {
    const { auth, link, browser, authorize, nextcloud } = await appPasswordWorld()
    const [url, alice] = [await link(), browser()]
    await auth.callsItself(url, CLAIM)
    const speaks = { headers: [['Accept-Language', language]] } as const

    const going = await alice.press(await alice.open(url), { answer: 'yes' })
    const waiting = waitingPage(await alice.open(await authorize(going.refreshTo), speaks))
    const looked = await alice.open(waiting.next, speaks)
    await nextcloud.grant(waiting.login, 'alice.w')
    const connected = await alice.open(waiting.next, speaks)

    for (const page of [waiting, looked, connected]) expect(page.text).toContain(words + SHOWN)
  })

  it('is on no page of a client that has said nothing, or that is known by that name', async () => {
    const { auth, link, walk } = await world({
      ...CONNECT,
      options: { connect: { clientName: () => 'Claude' } },
    })
    const url = await link()
    expect((await walk(url)).text).not.toContain('calls itself')
    const next = await link()
    await auth.callsItself(next, 'Claude')

    expect((await walk(next)).text).not.toContain('calls itself')
  })

  it('is sealed wherever it is kept', async () => {
    const { storage, seen } = watchedStorage()
    const { auth, link, walk } = await world({ ...CONNECT, storage })
    const url = await link()
    await auth.callsItself(url, CLAIM)
    await walk(url)

    expect(seen.length).toBeGreaterThan(0)
    expect(seen.join()).not.toContain('claude-')
  })
})
