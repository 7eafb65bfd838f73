import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { expectPage, setUpConnect } from '../support/connect-setup.js'

/** `Set-Cookie` values of the whole way, in order. */
async function cookiesOfTheWay(resource?: string): Promise<string[]> {
  const { link, browser, signIn } = await setUpConnect(resource === undefined ? {} : { options: { resource } })
  const alice = browser()
  const question = await alice.open(await link())
  const going = await alice.press(question, { answer: 'yes' })
  const connected = await alice.open(await signIn(going.refreshTo))
  return [question, going, connected].flatMap(({ setCookies }) => setCookies)
}

const NAME = '(mcp-nextcloud-[\\w-]{8})'

describe('every cookie', () => {
  it('on https is bound to this host, out of reach of scripts, Lax, and of ten minutes', async () => {
    const cookies = await cookiesOfTheWay()

    const set = new RegExp(`^__Host-${NAME}=[\\w-]{43}; Max-Age=600; Path=/; HttpOnly; SameSite=Lax; Secure$`)
    const end = new RegExp(`^__Host-${NAME}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure$`)
    expect(cookies.map((cookie) => (set.test(cookie) ? 'set' : end.test(cookie) ? 'end' : cookie))).toEqual([
      'set',
      'end',
      'set',
      'end',
      'set',
    ])
  })

  it('on http, which is on loopback, is the same without what needs https', async () => {
    const cookies = await cookiesOfTheWay('http://127.0.0.1:3000/mcp')

    const set = new RegExp(`^${NAME}=[\\w-]{43}; Max-Age=600; Path=/; HttpOnly; SameSite=Lax$`)
    const end = new RegExp(`^${NAME}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax$`)
    expect(cookies.map((cookie) => (set.test(cookie) ? 'set' : end.test(cookie) ? 'end' : cookie))).toEqual([
      'set',
      'end',
      'set',
      'end',
      'set',
    ])
  })

  it('has a value of its own', async () => {
    const cookies = await cookiesOfTheWay()
    const values = cookies.map((cookie) => /=([\w-]{43});/.exec(cookie)?.[1]).filter((value) => value !== undefined)

    expect(new Set(values).size).toBe(3)
  })
})

describe('a browser', () => {
  it('that opens the page again and again keeps eight cookies at most, the latest ones', async () => {
    const { link, browser } = await setUpConnect()
    const url = await link()
    const alice = browser()
    const first = await alice.open(url)
    const second = await alice.open(url)
    for (let opened = 2; opened < 9; opened += 1) await alice.open(url)

    expect(alice.cookies.size).toBe(8)
    expectPage(await alice.press(first, { answer: 'yes' }), 403)
    expectPage(await alice.press(second, { answer: 'yes' }), 200)
  })

  it("keeps the app's own cookies", async () => {
    const { link, browser } = await setUpConnect({
      before: [
        (_req: IncomingMessage, res: ServerResponse, next: () => void) => {
          res.setHeader('Set-Cookie', 'session=the-apps-own; Path=/')
          next()
        },
      ],
    })
    const alice = browser()
    const url = await link()
    for (let opened = 0; opened < 12; opened += 1) await alice.open(url)

    expect(alice.cookies.get('session')).toBe('the-apps-own')
    expect(alice.cookies.size).toBe(9)
  })

  it("is told nothing of the app's cookies, however many it has", async () => {
    const { link, browser } = await setUpConnect()
    const alice = browser()
    for (let count = 0; count < 20; count += 1) alice.cookies.set(`app-${count}`, 'theirs')

    const page = await alice.open(await link())

    expect(page.setCookies).toEqual([expect.stringMatching(/^__Host-mcp-nextcloud-[\w-]{8}=[\w-]{43};/)])
  })

  it('that was given a second value under the same name is known by the one that is ours', async () => {
    const { link, browser, agree, signIn } = await setUpConnect()
    const alice = browser()
    const callback = await signIn(await agree(alice, await link()))
    const [[name = '', value = ''] = []] = alice.cookies
    alice.cookies.clear()

    const page = await alice.open(callback, { headers: [['Cookie', `${name}=planted; a; ${name}=${value}`]] })

    expectPage(page, 200)
  })
})
