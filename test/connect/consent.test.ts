import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import { bareHost } from '../support/hosts.js'
import { faultyStorage, meetingStorage, watchedStorage } from '../support/storages.js'
import { expectPage, formOf } from '../support/test-browser.js'
import { world } from '../support/world.js'

const CONNECT = { mode: 'refresh-token', host: bareHost } as const

describe('the page with the question', () => {
  it('changes nothing, however often it is asked for: HEAD', async () => {
    const { storage, calls } = watchedStorage()
    const { link, browser } = await world({ ...CONNECT, storage })
    const url = await link()
    calls.length = 0

    for (let opened = 0; opened < 3; opened += 1) expectPage(await browser().open(url, { method: 'HEAD' }), 200)

    expect(new Set(calls)).toEqual(new Set(['get']))
  })

  it('speaks the language of the browser, and English to whatever names none', async () => {
    const { link, browser } = await world(CONNECT)
    const url = await link()
    const inLanguage = async (language: string) =>
      (await browser().open(url, { headers: [['Accept-Language', language]] })).text
    expect(await inLanguage('de-DE,de;q=0.9,en;q=0.8')).toContain('<h1>Ihre Nextcloud verbinden?</h1>')
    expect(await inLanguage('fr')).toContain('<h1>Connecter votre Nextcloud\u00A0?</h1>')
    for (const other of ['*', 'es']) expect(await inLanguage(other)).toContain('<h1>Connect your Nextcloud?</h1>')
  })

  it('notes once that it was opened and changes nothing else, however often it is opened', async () => {
    const { storage, calls } = watchedStorage()
    const { link, browser } = await world({ ...CONNECT, storage })
    const url = await link()
    calls.length = 0

    for (let opened = 0; opened < 3; opened += 1) expectPage(await browser().open(url), 200)

    expect(calls.filter((call) => call !== 'get')).toEqual(['put'])
    expect(await link()).toBe(url)
  })

  it('is shown where the store takes no writes', async () => {
    const { storage, failing } = watchedStorage()
    const { link, browser } = await world({ ...CONNECT, storage })
    const url = await link()
    failing.add('put')

    expectPage(await browser().open(url), 200)
  })

  it('names the MCP client and all that is going to be asked for, escaped, and not whose link it is', async () => {
    const { link, browser, agree } = await world(CONNECT)
    const [alice, url] = [browser(), await link('alice-of-wonderland', '"><script>1</script>')]

    const { text, headers } = await alice.open(url)

    expect(text).not.toContain('<script')
    expect(text).toContain('&gt;1&lt;')
    expect(text + JSON.stringify(headers)).not.toContain('wonderland')
    const asked = (await agree(alice, url)).searchParams.get('scope')?.split(' ')
    expect(asked).toEqual(['openid', 'offline_access'])
    for (const scope of asked ?? []) expect(text).toContain(`>${scope}<`)
  })

  it.each([
    ['with an empty one', '?ticket='],
    ['with two', `?ticket=${'A'.repeat(43)}&ticket=${'B'.repeat(43)}`],
    ['with one that was never made', `?ticket=${'A'.repeat(43)}`],
    ['with something else', "?ticket=<script>alert('x')</script>"],
  ])('is a 410 %s', async (_how, query) => {
    const { browser, events } = await world(CONNECT)

    const page = await browser().open(`/nextcloud/connect${query}`)

    expectPage(page, 410)
    expect(page.setCookies).toEqual([])
    expect(page.text).not.toContain('<script>')
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'link' }))
  })
})

it('the address of links without a ticket is a 410, and no link that has failed', async () => {
  const { browser, events } = await world(CONNECT)

  expectPage(await browser().open('/nextcloud/connect'), 410)
  expect(events).toEqual([])
})

it('a yes sends the browser on with a Refresh and another cookie, and spends the ticket; its own lasts a minute', async () => {
  const { browser, link, as } = await world(CONNECT)
  const url = await link()
  const alice = browser()
  const question = await alice.open(url)
  const [[oldName = '', oldValue] = []] = alice.cookies

  const going = await alice.press(question, { answer: 'yes' })

  expectPage(going, 200)
  expect(going.headers.location).toBeUndefined()
  expect(going.refreshTo?.origin).toBe(as.issuer)
  expect(going.text).toContain('href=')
  expect([...alice.cookies.values()].filter((value) => value !== oldValue)).toHaveLength(1)
  expect(going.setCookies.find((cookie) => cookie.startsWith(`${oldName}=`))).toContain('; Max-Age=60;')
  expectPage(await alice.open(url), 410)
})

it('a no spends the ticket, stores nothing and asks nobody', async () => {
  const { browser, link, stored, as, events } = await world(CONNECT)
  const url = await link()
  const alice = browser()

  const page = await alice.press(await alice.open(url), { answer: 'no' })

  expectPage(page, 200)
  expect(page.refreshTo).toBeUndefined()
  expect(alice.cookies.size).toBe(1)
  expectPage(await alice.open(url), 410)
  expect(await stored()).toBeUndefined()
  expect(as.received().map(({ path }) => path)).toEqual(['/.well-known/openid-configuration'])
  expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'declined' }))
})

it.each([
  ['yes', 'yes', 'yes'],
  ['no', 'no'],
  ['no', 'yes'],
])('answers at the very same moment count once, and leave nothing behind: %s, %s', async (...answers) => {
  const inner = new MemoryStorage()
  const kept = new Set<string>()
  const store = meetingStorage({
    shared: true,
    get: (key) => inner.get(key),
    put: (key, ...rest) => (kept.add(key), inner.put(key, ...rest)),
    delete: (key, version) => (kept.delete(key), inner.delete(key, version)),
  })
  const { browser, link } = await world({ ...CONNECT, storage: store })
  const url = await link()
  const browsers = answers.map(() => browser())
  const questions = await Promise.all(browsers.map((each) => each.open(url)))
  store.meet(answers.length)

  const pages = await Promise.all(answers.map((answer, index) => browsers[index]!.press(questions[index]!, { answer })))

  expect(pages.map(({ status }) => status).sort()).toEqual([200, ...answers.slice(1).map(() => 410)])
  // The user's link, the answer, and the sign-in of the one yes that counts.
  expect(kept.size).toBeLessThanOrEqual(3)
  expect(pages.filter(({ refreshTo }) => refreshTo !== undefined).length).toBeLessThanOrEqual(1)
})

describe('an answer is a 403, and the ticket stays unspent,', () => {
  async function setUpQuestion() {
    const setup = await world(CONNECT)
    const url = await setup.link()
    const alice = setup.browser()
    const question = await alice.open(url)
    return { ...setup, url, alice, question, ...formOf(question) }
  }
  it('without the cookie, as from an MCP client that knows the link', async () => {
    const { question, url, alice, events } = await setUpQuestion()
    const kept = new Map(alice.cookies)
    alice.cookies.clear()

    const page = await alice.press(question, { answer: 'yes' })

    expectPage(page, 403)
    expect([page.refreshTo, page.setCookies]).toEqual([undefined, []])
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'form' }))
    for (const [name, value] of kept) alice.cookies.set(name, value)
    expectPage(await alice.press(question, { answer: 'yes' }), 200)
    expectPage(await alice.open(url), 410)
  })

  it('with the cookie of another browser', async () => {
    const { question, url, alice, browser } = await setUpQuestion()
    const bob = browser()
    await bob.open(url)
    const [[name = ''] = []] = alice.cookies
    const [[, value = ''] = []] = bob.cookies
    bob.cookies.set(name, value)

    expectPage(await bob.press(question, { answer: 'yes' }), 403)
    expectPage(await alice.press(question, { answer: 'yes' }), 200)
  })

  it('with the form value of another ticket', async () => {
    const { question, alice, link } = await setUpQuestion()
    const another = await alice.open(await link('bob'))
    const mixed = { ...another, text: another.text.replace(formOf(another).token, formOf(question).token) }

    expectPage(await alice.press(mixed, { answer: 'yes' }), 403)
    expectPage(await alice.press(another, { answer: 'yes' }), 200)
  })

  it.each<[what: string, (token: string) => Record<string, string>, headers?: [string, string]]>([
    ['no form value', () => ({ token: '', answer: 'yes' })],
    ['a made-up one', () => ({ token: `AAAAAAAA.${'A'.repeat(43)}`, answer: 'yes' })],
    ['something behind the form value', (token) => ({ token: `${token}.x`, answer: 'yes' })],
    ['no answer', () => ({})],
    ['neither yes nor no', () => ({ answer: 'maybe' })],
    ['the headers of another site', () => ({ answer: 'yes' }), ['Sec-Fetch-Site', 'cross-site']],
  ])('with %s', async (_what, fieldsWith, header) => {
    const { action, alice, question, token } = await setUpQuestion()
    const headers = [['Content-Type', 'application/x-www-form-urlencoded'] as const, ...(header ? [header] : [])]
    const body = new URLSearchParams({ token, ...fieldsWith(token) }).toString()

    const page = await alice.open(action, { method: 'POST', headers, body })

    expectPage(page, 403)
    expect(page.refreshTo).toBeUndefined()
    expectPage(await alice.press(question, { answer: 'yes' }), 200)
  })
})

describe('while the store is unavailable,', () => {
  async function setUpFaulty() {
    const store = faultyStorage()
    return { ...(await world({ ...CONNECT, storage: store })), store }
  }

  it('the question is a 503 with Retry-After', async () => {
    const { store, link, browser } = await setUpFaulty()
    const url = await link()
    store.failFrom(1)

    const page = await browser().open(url)

    expectPage(page, 503)
    expect(page.headers['retry-after']).toBe('5')
    store.heal()
    expectPage(await browser().open(url), 200)
  })

  it.each([1, 2, 3])('the answer is a 503, from call %i on, and serves later', async (call) => {
    const { store, link, browser } = await setUpFaulty()
    const alice = browser()
    const question = await alice.open(await link())
    store.failFrom(call)

    const page = await alice.press(question, { answer: 'yes' })

    expectPage(page, 503)
    expect([page.headers['retry-after'], page.refreshTo]).toEqual(['5', undefined])
    store.heal()
    expectPage(await alice.press(question, { answer: 'yes' }), 200)
  })
})

it('a user begins no more than twenty connections of a client in ten minutes, since each leaves something in the store', async () => {
  const { link, browser, clock, agree, events } = await world(CONNECT)
  for (let round = 0; round < 20; round += 1) await agree(browser(), await link())

  const alice = browser()
  const url = await link()
  const page = await alice.press(await alice.open(url), { answer: 'yes' })

  expectPage(page, 429)
  expect(page.headers['retry-after']).toBe('600')
  expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'too_many' }))
  await agree(browser(), await link('bob'))
  clock.advance(600_000)
  await agree(browser(), await link())
})

it('regression: a user filled the store by saying no to link after link', async () => {
  const { storage, link, browser, clock } = await world(CONNECT)
  const records = async () => (await storage.list!({ limit: 1_000 })).length
  const say = async (answer: 'yes' | 'no', url: string) => {
    const alice = browser()
    return alice.press(await alice.open(url), { answer })
  }
  for (let round = 0; round < 20; round += 1) expectPage(await say('no', await link()), 200)

  const url = await link()
  const before = await records()
  for (let round = 0; round < 5; round += 1) expectPage(await say('no', url), 429)

  expect(await records()).toBe(before)
  expectPage(await say('no', await link('bob')), 200)
  clock.advance(600_000)
  expectPage(await say('no', await link()), 200)
})

it('clients that begin twenty connections each keep no other of the user from connecting', async () => {
  const { auth, as, browser, agree } = await world(CONNECT)
  const linkFor = async (client_id: string) => auth.createConnectUrl(await auth.verify(await as.mint({ client_id })))
  for (const client of ['first', 'second']) {
    for (let round = 0; round < 20; round += 1) await agree(browser(), await linkFor(client))
  }
  await agree(browser(), await linkFor('third'))

  const alice = browser()
  expectPage(await alice.press(await alice.open(await linkFor('third')), { answer: 'yes' }), 429)
  await agree(alice, await linkFor('fourth'))
})

it('while the authorization server is unavailable, the question is a 503 with Retry-After, and serves later', async () => {
  const { as, link, browser, clock } = await world({ ...CONNECT, options: { http: { retries: 0 } } })
  const [alice, url] = [browser(), await link()]
  await as.stop()

  const page = await alice.open(url)

  expectPage(page, 503)
  expect(Number(page.headers['retry-after'])).toBeGreaterThan(0)
  await as.restart()
  clock.advance(60_000)
  expectPage(await alice.press(await alice.open(url), { answer: 'yes' }), 200)
})
