import { describe, expect, it } from 'vitest'
import { bareHost } from '../support/hosts.js'
import { expectPage, formOf, type Visit } from '../support/test-browser.js'
import { world } from '../support/world.js'

// Mallory knows a link, a state or a whole callback, or has Alice open one. Nothing comes of it, for either.

const CONNECT = { mode: 'refresh-token', host: bareHost } as const
const EVIL = 'https://evil.example'

/** Two people, and the callback of each, before either has come back. */
async function setUp() {
  const setup = await world(CONNECT)
  const { browser, agree, link, authorize } = setup
  const person = async (subject: string) => {
    const own = browser()
    const to = await agree(own, await link(subject))
    return { own, to, callback: await authorize(to, subject) }
  }
  return { ...setup, alice: await person('alice'), mallory: await person('mallory') }
}

const parameter = (url: string, name: string): string => new URL(url, EVIL).searchParams.get(name) ?? ''
const exchanged = (url: string, name: string, other: string): string =>
  url.replace(encodeURIComponent(parameter(url, name)), encodeURIComponent(other))

describe('a code', () => {
  it('of Alice in the callback of Mallory connects neither of them (RFC 9700 §4.5, code injection)', async () => {
    const { alice, mallory, stored, events } = await setUp()
    const injected = exchanged(mallory.callback, 'code', parameter(alice.callback, 'code'))

    expectPage(await mallory.own.open(injected), 403)

    expect([await stored('alice'), await stored('mallory')]).toEqual([undefined, undefined])
    // The ID token has the nonce of the sign-in that the code is of (OpenID Connect Core §3.1.3.7).
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'id_token' }))
  })

  it('of Mallory in the callback of Alice connects neither of them (RFC 9700 §4.7, CSRF)', async () => {
    const { alice, mallory, stored } = await setUp()
    const injected = exchanged(alice.callback, 'code', parameter(mallory.callback, 'code'))

    expectPage(await alice.own.open(injected), 403)

    expect([await stored('alice'), await stored('mallory')]).toEqual([undefined, undefined])
  })

  it('is sent with the verifier of the browser that it came to, and of no other (RFC 7636, PKCE)', async () => {
    const { alice, mallory, redeemed } = await setUp()

    await alice.own.open(alice.callback)
    await mallory.own.open(mallory.callback)

    const verifiers = redeemed().map(({ form }) => form.get('code_verifier'))
    expect(new Set(verifiers).size).toBe(2)
    for (const verifier of verifiers) expect(verifier).toMatch(/^[\w.~-]{43,128}$/)
  })
})

it.each([['plain'], []])(
  'a server that offers only %s as a way of PKCE gets S256 all the same (RFC 9700 §4.8, downgrade)',
  async (...methods) => {
    const { browser, agree, link } = await world({
      ...CONNECT,
      metadata: { code_challenge_methods_supported: methods },
    })

    const { searchParams } = await agree(browser(), await link())

    expect(searchParams.get('code_challenge_method')).toBe('S256')
    expect(searchParams.get('code_challenge')).toMatch(/^[\w-]{43}$/)
  },
)

describe('an answer of the authorization server', () => {
  it.each<[what: string, change: (callback: string) => string]>([
    ['without iss, where the server sends one (RFC 9207 §2.4)', (url) => url.replace(/&iss=[^&]*/, '')],
    ['with iss twice (RFC 6749 §3.1)', (url) => `${url}&iss=${encodeURIComponent(EVIL)}`],
    ['with iss of a slash more', (url) => `${url}%2F`],
    ['with the parameters in one response (JARM)', (url) => url.replace(/\?.*&state/, '?response=eyJ.e30.AAAA&state')],
    ['with an ID token and no code (hybrid and implicit flow)', (url) => url.replace('code=', 'id_token=')],
    ['with an access token and no code (RFC 9700 §2.1.2)', (url) => url.replace('code=', 'access_token=')],
  ])('%s sends no code and stores nothing', async (_what, change) => {
    const { alice, redeemed, stored } = await setUp()

    expectPage(await alice.own.open(change(alice.callback)), 400)

    expect([redeemed(), await stored()]).toEqual([[], undefined])
  })

  it('by POST, as with response_mode form_post from any site, is no answer', async () => {
    const { alice, redeemed } = await setUp()
    const [path = '', query = ''] = alice.callback.split('?')

    const { status } = await alice.own.open(path, {
      method: 'POST',
      headers: [['Content-Type', 'application/x-www-form-urlencoded']],
      body: query,
    })

    expect([status, redeemed()]).toEqual([405, []])
    expectPage(await alice.own.open(alice.callback), 200)
  })
})

describe('a cookie that Mallory has planted in the browser of Alice, with her callback,', () => {
  const planted: readonly (readonly [how: string, plant: (name: string, value: string) => string])[] = [
    [
      'under the name without __Host-, which a sibling host may set',
      (name, value) => `${name.replace('__Host-', '')}=${value}`,
    ],
    ['behind a no-break space, which browsers do not take for __Host-', (name, value) => `\xA0${name}=${value}`],
    ['behind a null character of another script', (name, value) => `\xE2\x80\x80${name}=${value}`],
    ['in the value of another', (name, value) => `a="x, ${name}=${value}"`],
    ['without a name', (name, value) => `=${name}=${value}`],
    ['in capitals', (name, value) => `${name.toUpperCase()}=${value}`],
    ['in escapes', (name, value) => `${name.replace('_', '%5F')}=${value}`],
    ['in the old form of RFC 2965', (name, value) => `$Version=1, ${name}=${value}`],
    ['in quotes', (name, value) => `${name}="${value}"`],
  ]

  it.each(planted)('%s, makes no browser of hers of it (cookie tossing)', async (_how, plant) => {
    const { browser, mallory, redeemed, stored } = await setUp()
    const held = [...mallory.own.cookies]
    for (const [name] of held) expect(name).toMatch(/^__Host-/)
    const cookies = held.map(([name, value]) => plant(name, value)).join('; ')

    const page = await browser().open(mallory.callback, { headers: [['Cookie', cookies]] })

    expectPage(page, 403)
    expect([redeemed(), await stored('mallory')]).toEqual([[], undefined])
    expectPage(await mallory.own.open(mallory.callback), 200)
  })
})

describe('a question that Alice has before her', () => {
  async function asked() {
    const setup = await world(CONNECT)
    const alice = setup.browser()
    const question = await alice.open(await setup.link())
    return { ...setup, alice, question, ...formOf(question) }
  }
  const FORM = 'application/x-www-form-urlencoded'
  const form = (token: string): string => new URLSearchParams({ token, answer: 'yes' }).toString()

  it.each<[what: string, type: string, body: (token: string) => string, headers?: [string, string]]>([
    ['as text/plain', 'text/plain', form],
    ['as multipart/form-data', 'multipart/form-data; boundary=x', form],
    ['as JSON', 'application/json', (token) => JSON.stringify({ token, answer: 'yes' })],
    ['by a page of the same site', FORM, form, ['Sec-Fetch-Site', 'same-site']],
    ['by a page of another origin', FORM, form, ['Origin', EVIL]],
    ['by a page of this host on another port', FORM, form, ['Origin', 'https://mcp.example.com:8443']],
    ['by a page of this host without https', FORM, form, ['Origin', 'http://mcp.example.com']],
    ['with the form value twice', FORM, (token) => `${form(token)}&token=${token}`],
    ['with yes and no', FORM, (token) => `${form(token)}&answer=no`],
    ['with the form value in the query alone', FORM, () => 'answer=yes'],
    ['with names in brackets', FORM, (token) => `token[]=${token}&answer[]=yes`],
  ])('takes no answer %s', async (_what, type, body, header) => {
    const { alice, action, token, question } = await asked()

    const page = await alice.open(`${action}&token=${encodeURIComponent(token)}`, {
      method: 'POST',
      headers: [['Content-Type', type], ...(header ? [header] : [])],
      body: body(token),
    })

    expectPage(page, 403)
    expect(page.refreshTo).toBeUndefined()
    expectPage(await alice.press(question, { answer: 'yes' }), 200)
  })

  it.each(['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE'])('takes no answer by %s', async (method) => {
    const { alice, action, token, question } = await asked()

    const { refreshTo } = await alice.open(`${action}&token=${token}&answer=yes`, { method })

    expect(refreshTo).toBeUndefined()
    expectPage(await alice.press(question, { answer: 'yes' }), 200)
  })

  it('takes an override of the method for no answer', async () => {
    const { alice, action, token } = await asked()
    const page = await alice.open(`${action}&_method=POST&token=${token}&answer=yes`, {
      headers: [['X-HTTP-Method-Override', 'POST']],
    })
    expect([page.status, page.refreshTo]).toEqual([200, undefined])
  })
})

describe('a link', () => {
  it.each<[what: string, change: (url: string, other: string) => string]>([
    ['with two tickets', (url, other) => `${url}&ticket=${other}`],
    ['with the ticket twice', (url) => `${url}&ticket=${parameter(url, 'ticket')}`],
    ['with its ticket in a list', (url) => url.replace('ticket=', 'ticket[]=')],
    [
      'with its ticket in capitals',
      (url) => url.replace(parameter(url, 'ticket'), parameter(url, 'ticket').toUpperCase()),
    ],
    ['with a ticket of a prototype', (url) => url.replace(parameter(url, 'ticket'), '__proto__')],
    ['with a ticket of 8,000 characters', (url) => `${url}${'A'.repeat(8_000)}`],
  ])('%s is none (parameter pollution)', async (_what, change) => {
    const { browser, link } = await world(CONNECT)
    const url = await link()

    expectPage(await browser().open(change(url, parameter(await link('bob'), 'ticket'))), 410)
    expectPage(await browser().open(url), 200)
  })

  it('never sends the browser where its parameters say (CWE-601, open redirect)', async () => {
    const { browser, link, agree, authorize } = await world(CONNECT)
    const names = ['returnTo', 'return_to', 'redirect_uri', 'next', 'url', 'post_logout_redirect_uri', 'resource']
    const more = names.map((name) => `&${name}=${encodeURIComponent(EVIL)}`).join('')
    const alice = browser()
    const question = await alice.open(`${await link()}${more}`)
    const { action, token } = formOf(question)
    const going = await alice.open(`${action}${more}`, {
      method: 'POST',
      headers: [['Content-Type', 'application/x-www-form-urlencoded']],
      body: `${new URLSearchParams({ token, answer: 'yes' }).toString()}${more}`,
    })
    const end = await alice.open(`${await authorize(going.refreshTo)}${more}`)

    const sent = (page: Visit): string => JSON.stringify([page.headers, page.text, page.refreshTo])
    for (const page of [question, going, end]) expect(sent(page)).not.toContain('evil.example')
    expectPage(end, 200)
    await agree(browser(), await link('bob'))
  })
})
