import fc from 'fast-check'
import { createHash } from 'node:crypto'
import { IncomingMessage, ServerResponse, type RequestListener } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { ClientName } from '../../../src/connect/client-names.js'
import { sendPage, type Page } from '../../../src/connect/pages/document.js'
import { createPages } from '../../../src/connect/pages/pages.js'
import type { ConnectHandler } from '../../../src/http/router.js'
import { everyPage, plainWords, type PageWords } from '../../support/connect-pages.js'
import { hosts, listen } from '../../support/hosts.js'

const pages = createPages(plainWords)
const form = { action: '/nextcloud/connect', formValue: 'dG9rZW4' }

/** What a browser gets that asks for a page. */
async function served(page: Page, method = 'GET', cookies?: readonly string[]): Promise<Response> {
  return fetch(await listening((req, res) => sendPage(req, res, page, cookies)), { method })
}

/** The URL of an app that ends with the test. */
async function listening(listener: RequestListener): Promise<string> {
  const app = await listen(listener)
  onTestFinished(app.close)
  return app.url
}

/** Text as a person reads it. */
function readable(html: string): string {
  return html
    .replace(/<style>.*<\/style>/s, '')
    .replace(/<\/?(?:bdi|strong|code)>/g, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&amp;|&lt;|&gt;|&quot;|&#39;/g, (entity) => new Map(Object.entries(ENTITIES)).get(entity) ?? '')
    .replace(/\s+/g, ' ')
}

const ENTITIES = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" }

describe('the pages', () => {
  it.each([...everyPage()])(
    '%s is a document with a language, a title, one main part and one heading',
    (_name, page) => {
      expect(page.html).toMatch(/^<!doctype html>\n<html lang="en" dir="ltr">/)
      const [, title] = /<title>(.+)<\/title>/.exec(page.html) ?? []
      expect(page.html.match(/<h1>.*?<\/h1>/g)).toEqual([`<h1>${title ?? ''}</h1>`])
      expect(page.html.match(/<main>/g)).toHaveLength(1)
      expect(page.html).toContain('name="viewport" content="width=device-width, initial-scale=1"')
    },
  )

  it.each([...everyPage()])('%s has no script, no style of an element and nothing to fetch', (_name, page) => {
    expect(page.html).not.toMatch(/<(?:script|link|img|iframe|object|embed|base|video|audio|image|use)\b/i)
    expect(page.html).not.toMatch(/<[^>]*\s(?:style|src|srcset|background|on\w+)\s*=/i)
    expect(page.html).not.toMatch(/url\(|@import|javascript:|data:/i)
    // What stands there to be copied, nobody fetches.
    const shown = page.html.replaceAll(/<code>[^<]*<\/code>/g, '')
    const addresses = [...shown.matchAll(/(?:https?:)?\/\/[^\s"'<]+/g)].map(([address]) => address)
    // Where a link leads, nothing is fetched from.
    const links = [...page.html.matchAll(/<a [^>]*href="([^"]+)"/g)].map(([, href]) => href)
    expect(addresses.filter((address) => !links.includes(address))).toEqual([])
  })
})

describe('the consent page', () => {
  it('names the MCP client, this server, the Nextcloud host and every scope, and warns who did not ask for it', () => {
    const text = readable(pages.consent({ client: { name: 'Claude' }, scopes: ['openid', 'notes:read'], ...form }).html)
    expect(text).toContain('Claude would like to work in your Nextcloud for you.')
    expect(text).toContain('Through Acme notes')
    expect(text).toContain('Nextcloud cloud.example.com')
    expect(text).toContain('It asks for Know that it is you openid notes:read')
    expect(text).toContain('If somebody sent you this link, say no.')
    // It claims no less than access when no scope is named.
    const without = readable(pages.consent({ client: { name: 'Claude' }, scopes: [], ...form }).html)
    expect(without).toContain('It asks for Access to your Nextcloud as you')
  })

  it.each<[client: ClientName, callsItself: string | undefined, shown: string]>([
    [{ name: 'Claude' }, undefined, 'Claude would'],
    [{ name: 'Claude' }, 'claude-code', 'Claude, which calls itself “claude-code”, would'],
    [{ name: 'Claude' }, 'Claude', 'Claude would'],
    [{ name: 'Claude', host: 'evil.example' }, undefined, '“Claude” from evil.example would'],
    [{ host: 'claude.ai' }, 'Claude', 'claude.ai, which calls itself “Claude”, would'],
    [{ id: 'k3Jd9x…Qw71Zt' }, undefined, 'An app that registered itself (k3Jd9x…Qw71Zt) would'],
    [{ id: 'k3Jd9x…Qw71Zt' }, 'x', 'An app that registered itself (k3Jd9x…Qw71Zt), which calls itself “x”, would'],
    [{}, 'x', 'An app without a name, which calls itself “x”, would'],
  ])('names %j, which calls itself %s, once', (client, callsItself, shown) => {
    const text = readable(pages.consent({ client, callsItself, scopes: [], ...form }).html)
    expect(text).toContain(` ${shown} like to work in your Nextcloud`)
    for (const name of [client.name ?? '-', client.id ?? '-']) expect(text.split(name).length).toBeLessThanOrEqual(2)
  })

  it('lets the host stand out where the name is the claim of its author', () => {
    const { html } = pages.consent({ client: { name: 'Claude', host: 'evil.example' }, scopes: [], ...form })
    expect(html).toContain('“<bdi>Claude</bdi>” from <strong><bdi>evil.example</bdi></strong>')
  })

  it.each<[steps: PageWords['steps'], next: string]>([
    [['sign-in'], 'If you say yes, you sign in as usual, and the connection stays until it is disconnected.'],
    [
      ['app-password'],
      'If you say yes, Nextcloud asks you to grant access. It makes an app password, which you can end there',
    ],
    [['sign-in', 'app-password'], 'If you say yes, you sign in, and then Nextcloud asks you to grant access.'],
  ])('says what follows a yes: %s', (steps, next) => {
    const page = createPages({ ...plainWords, steps }).consent({ client: {}, scopes: [], ...form })
    expect(readable(page.html)).toContain(next)
  })

  it('says how many scopes it leaves out when there are very many', () => {
    const scopes = Array.from({ length: 45 }, (_, index) => `scope-${index}.`)
    const text = readable(pages.consent({ client: { name: 'Claude' }, scopes, ...form }).html)
    expect(text).toContain('scope-39. and 5 more')
    expect(text).not.toContain('scope-40.')
    const all = pages.consent({ client: { name: 'Claude' }, scopes: scopes.slice(0, 40), ...form })
    expect(readable(all.html)).toMatch(/scope-39\.(?! and )/)
  })

  it('sends the hidden value with yes or no to where it is told', () => {
    const { html } = pages.consent({ client: { name: 'Claude' }, scopes: [], ...form })
    expect(html).toContain('<form method="post" action="/nextcloud/connect" autocomplete="off">')
    expect(html).toContain('<input type="hidden" name="token" value="dG9rZW4">')
    expect(html.match(/<button [^>]*>/g)).toEqual([
      '<button class="primary" type="submit" name="answer" value="yes">',
      '<button type="submit" name="answer" value="no">',
    ])
  })
})

describe('the page on the way to the provider', () => {
  it('goes there by itself, and by a link that can be seen', () => {
    const url = 'https://idp.example.com/auth?state=a&scope=b%20c'
    const page = pages.goingOn({ url, host: 'idp.example.com' })
    expect(page.refreshTo).toBe(url)
    expect(page.html).toContain('<a class="go" href="https://idp.example.com/auth?state=a&amp;scope=b%20c">')
    expect(readable(page.html)).toContain('Continue to idp.example.com')
  })

  it('is there over http too, which a server on this computer has', () => {
    expect(pages.goingOn({ url: 'http://127.0.0.1:8080/auth', host: 'x' }).refreshTo).toBe('http://127.0.0.1:8080/auth')
  })

  it('makes one line of ASCII of any address', () => {
    const page = pages.goingOn({ url: 'https://idp.example.com/ü\r\n?q="é', host: 'idp.example.com' })
    expect(page.refreshTo).toBe('https://idp.example.com/%C3%BC?q=%22%C3%A9')
  })

  it.each(['javascript:alert(1)', 'data:text/html,x', 'idp.example.com', '/here'])('refuses %s', (url) => {
    expect(() => pages.goingOn({ url, host: 'idp.example.com' })).toThrow(TypeError)
  })
})

describe('the page at the end', () => {
  it('says "Connected, you can go back" and names the client', () => {
    const text = readable(pages.connected({ client: { name: 'Claude' } }).html)
    expect(text).toContain('Connected, you can go back')
    expect(text).toContain('Claude can now work in your Nextcloud at cloud.example.com.')
  })

  it('offers to disconnect by a form with the hidden value, or not at all', () => {
    const { html } = pages.connected({ client: { name: 'Claude' }, disconnect: { action: '/off', formValue: 'value' } })
    expect(html).toContain('<form method="post" action="/off" autocomplete="off">')
    expect(html).toContain('<input type="hidden" name="token" value="value">')
    expect(html).toContain('<button type="submit">Disconnect</button>')
    expect(pages.connected({ client: { name: 'Claude' } }).html).not.toMatch(/<form|<button|disconnect/i)
  })
})

it('the pages at the end and after it lead to the page of connections, where there is one', () => {
  const link = '<a class="more" href="/nextcloud">'
  for (const overview of ['/nextcloud', undefined]) {
    const shown = [pages.connected({ client: {}, overview }), pages.disconnected({ overview })]
    expect(shown.map(({ html }) => html.includes(link))).toEqual(shown.map(() => overview !== undefined))
  }
})

describe('the page of connections', () => {
  const at = Date.UTC(2026, 0, 9, 8, 5, 59)
  const client = { client: { name: 'Claude' }, since: at, lastUsed: undefined, end: 'ZW5k' }
  const connection = { trouble: undefined, since: at, clients: [client], more: 0 }
  const shown = { ...form, connection, done: undefined, signsOut: true }
  type Given = Partial<Parameters<typeof pages.overview>[0]>

  it('names Nextcloud and this server, and tells state and times in words, in UTC and for machines', () => {
    const { html } = pages.overview({ ...shown, connection: { ...connection, clients: [{ ...client, lastUsed: at }] } })
    const text = readable(html)
    expect(text).toContain(
      'Nextcloud cloud.example.com Through Acme notes State Connected Since 9 January 2026, 08:05 UTC',
    )
    expect(text).toContain('Claude Since 9 January 2026, 08:05 UTC Last used about 9 January 2026, 08:05 UTC')
    expect(html).toContain('<time datetime="2026-01-09T08:05Z">9 January 2026, 08:05 UTC</time>')
  })

  it.each([Number.NaN, Infinity, 9e15])('says that a time is not known where it is none: %d', (since) => {
    expect(readable(pages.overview({ ...shown, connection: { ...connection, since } }).html)).toContain(
      'Since an unknown time',
    )
  })

  it('has a button for each client, which a screen reader tells apart, and says nothing of a use that is not known', () => {
    const clients = [client, { ...client, client: { name: 'Notes' }, end: 'b3RoZXI' }]
    const { html } = pages.overview({ ...shown, connection: { ...connection, clients } })
    expect([
      ...html.matchAll(/<button id="([^"]+)".*? value="([^"]+)" aria-labelledby="([^"]+)">End<\/button>/gs),
    ]).toMatchObject([
      { 1: 'end-0', 2: 'ZW5k', 3: 'end-0 app-0' },
      { 1: 'end-1', 2: 'b3RoZXI', 3: 'end-1 app-1' },
    ])
    expect(html).toContain('<h3 id="app-1">')
    expect(html).not.toContain('Last used')
  })

  it('says how many clients it leaves out, if it does', () => {
    expect(readable(pages.overview({ ...shown, connection: { ...connection, more: 3 } }).html)).toContain('and 3 more')
    expect(readable(pages.overview(shown).html)).not.toContain('more,')
  })

  it.each([
    ['nothing', undefined, 'plain', 'State Not connected', 'Nothing is connected'],
    ['a connection', connection, 'good', 'State Connected', 'End it all'],
    [
      'one that does not work',
      { ...connection, trouble: 'expired' as const },
      'care',
      'State Must be connected again',
      'End it all',
    ],
  ])('says at first sight how it stands: %s', (_what, of, tone, ...words) => {
    const { html } = pages.overview({ ...shown, connection: of })
    expect(html).toContain(`<div class="badge ${tone}">`)
    for (const word of words) expect(readable(html)).toContain(word)
  })

  it.each<[what: string, given: Given, other: Given, words: string]>([
    ['since when', {}, { connection: { ...connection, since: undefined, clients: [] } }, ' Since '],
    ['why it does not work', { connection: { ...connection, trouble: 'expired' } }, {}, 'does not work now'],
    ['the clients', {}, { connection: { ...connection, clients: [] } }, 'Apps that may use it'],
    [
      'a button of a client',
      {},
      { connection: { ...connection, clients: [{ ...client, end: undefined }] } },
      'End End it all',
    ],
    [
      'what a client calls itself',
      { connection: { ...connection, clients: [{ ...client, callsItself: 'claude-code' }] } },
      { connection: { ...connection, clients: [{ ...client, callsItself: 'Claude' }] } },
      'Calls itself “',
    ],
    ['that the rest is shown later', { connection: { ...connection, more: 1 } }, {}, 'and 1 more'],
    ['what was done', { done: 'all' }, {}, 'Your Nextcloud is disconnected'],
    ['the way out', {}, { signsOut: false }, 'Done here?'],
    ['for how long the sign-in of the page counts', {}, { isOwn: true }, 'for ten minutes at most'],
    ['where a sign-in here goes on', { isOwn: true }, {}, 'Sign out at Nextcloud too'],
    [
      'the browsers',
      { sessions: [{ id: 'one', since: at, lastUsed: at, isHere: true }] },
      {},
      'Browsers in which you are signed in',
    ],
    ['the end of everything', {}, { connection: undefined }, 'Disconnect all'],
  ])('shows %s where that is the case, and only there', (_what, given, other, words) => {
    const shows = (of: Given) => readable(pages.overview({ ...shown, ...of }).html).includes(words)
    expect([shows(given), shows(other)]).toEqual([true, false])
  })

  it('tells this browser from others, which alone have a button', () => {
    const sessions = [true, false].map((isHere) => ({ id: `of ${isHere}`, since: at, lastUsed: at, isHere }))
    const { html } = pages.overview({ ...shown, sessions })
    expect([...html.matchAll(/<h3 id="(browser-\d)">(.*?)<\/h3>/g)]).toMatchObject([
      { 1: 'browser-0', 2: 'This browser' },
      { 1: 'browser-1', 2: 'Another browser' },
    ])
    expect(html.match(/aria-labelledby="end-browser-\d browser-\d"/g)).toEqual([
      'aria-labelledby="end-browser-1 browser-1"',
    ])
  })

  it.each<[what: string, asked: object, buttons: readonly string[], words: string]>([
    ['once', {}, ['sign-in'], 'for ten minutes.'],
    ['with another account after the way out', { done: 'out' }, ['another'], 'for ten minutes.'],
    ['at its own server', { isOwn: true }, ['sign-in'], 'for 29 days at most'],
    [
      'at one of several',
      { servers: ['a', 'b'].map((value) => ({ name: `${value}.example`, value })) },
      ['sign-in a', 'sign-in b'],
      'Sign in at a.example Sign in at b.example',
    ],
  ])('offers to sign in %s', (_what, asked, buttons, words) => {
    const { html } = pages.signIn({ ...form, done: undefined, ...asked })
    expect([...html.matchAll(/ name="do" value="(.*?)"/g)].map(([, wish]) => wish)).toEqual(buttons)
    expect(readable(html)).toContain(words)
    expect(html.includes('role="status"')).toBe('done' in asked)
  })

  it.each([
    ['refused', 'does not accept it any more'],
    ['expired', 'is over'],
    ['elsewhere', 'in another way than this server now connects, or for another Nextcloud'],
    ['unreadable', 'under a key that this server does not have any more'],
  ] as const)('says why a connection does not work, and how to make another: %s', (trouble, words) => {
    const text = readable(pages.overview({ ...shown, connection: { ...connection, trouble } }).html)
    expect(text).toContain('State Must be connected again')
    expect(text).toContain(words)
    expect(text).toContain('it gives you a new link')
  })

  it.each([
    ['one', 'That app can no longer use your Nextcloud', false],
    ['one-pending', 'That app can no longer use your Nextcloud', true],
    ['all', 'Your Nextcloud is disconnected', false],
    ['all-pending', 'Your Nextcloud is disconnected', true],
    ['out', 'You have signed out of this page', false],
    ['signed-out', 'You have signed out here', false],
    ['browser', 'You are signed out in that browser', false],
  ] as const)('says what was done, and whether it is tried again elsewhere: %s', (done, words, pending) => {
    for (const { html } of [pages.overview({ ...shown, done }), pages.signIn({ ...form, done })]) {
      expect(html).toContain('role="status"')
      expect(readable(html)).toContain(words)
      expect(/could not be reached to end it there as well/.test(readable(html))).toBe(pending)
    }
  })

  it.each([
    ['answer', 400],
    ['declined', 200],
    ['refused', 502],
    ['id_token', 403],
  ] as const)('has a page for a sign-in that came to nothing: %s', (reason, status) => {
    const page = pages.visitFailed({ reason, error: 'login_required', again: '/nextcloud' })
    expect(page.status).toBe(status)
    expect(page.html).toContain('<a class="go" href="/nextcloud">')
    expect(readable(page.html)).toContain('The reason that your sign-in provider gives: login_required')
    expect(pages.visitFailed({ reason, error: '<b>"', again: '/nextcloud' }).html).not.toContain('The reason that')
  })
})

describe('the pages of what went wrong', () => {
  it.each(['linkUnusable', 'badAnswer', 'providerRefused', 'otherPerson without another try', 'unavailable', 'failed'])(
    '%s says how to get a new link',
    (name) => {
      const text = readable(everyPage().get(name)?.html ?? '')
      expect(text).toContain('go back to the app you came from (your MCP client) and ask for the same thing once more')
    },
  )

  it('tells somebody else to sign out, and offers another try', () => {
    const { html } = pages.otherPerson({ at: 'provider', retry: { action: '/again', formValue: 'value' } })
    expect(readable(html)).toContain('sign out at your sign-in provider')
    expect(html).toContain('<form method="post" action="/again" autocomplete="off">')
    expect(html).toContain('<input type="hidden" name="token" value="value">')
    expect(pages.otherPerson({ at: 'provider' }).html).not.toContain('<form')
  })

  it.each([
    ['provider', 'You have signed in with another account', 'sign out at your sign-in provider'],
    ['app', 'another person is signed in to Acme notes', 'sign out of Acme notes'],
    [
      'nextcloud',
      'The account in Nextcloud at cloud.example.com is another',
      'sign out of Nextcloud at cloud.example.com',
    ],
  ] as const)('says which account is another, and where to sign out: %s', (at, which, way) => {
    const text = readable(pages.otherPerson({ at }).html)
    expect([text.includes(which), text.includes(way)]).toEqual([true, true])
  })

  it.each([
    ['provider', 'The sign-in provider does not answer'],
    ['nextcloud', 'Nextcloud at cloud.example.com does not answer'],
    ['store', 'The place where Acme notes keeps connections does not answer'],
  ] as const)('says who does not answer: %s', (who, words) => {
    expect(readable(pages.unavailable({ retryAfter: 5, who }).html)).toContain(words)
  })

  it.each(['access_denied', 'consent required: see #4 <here>', '~'.repeat(100)])('shows the error code %s', (error) => {
    expect(readable(pages.providerRefused({ error }).html)).toContain(`Its reason: ${error}`)
  })

  it.each(['', ' ', 'a"b', "a'b", 'a\\b', 'a\nb', 'é', '\u202Ea', '~'.repeat(101)])(
    'shows no reason where the error is no error code: %j',
    (error) => {
      const { html } = pages.providerRefused({ error })
      expect(html).not.toContain('Its reason')
      expect(html).toBe(pages.providerRefused({ error: '' }).html)
    },
  )

  it('tells the operator what to switch on when there is no refresh token', () => {
    const text = readable(pages.noRefreshToken().html)
    for (const word of ['refresh_token', 'offline_access', 'consent']) expect(text).toContain(word)
  })

  it.each([
    [1, 1, 'a second'],
    [0, 1, 'a second'],
    [2.2, 3, '3 seconds'],
    [89, 89, '89 seconds'],
    [90, 90, '2 minutes'],
    [300, 300, '5 minutes'],
    [Number.NaN, 30, '30 seconds'],
    [Infinity, 30, '30 seconds'],
  ])('says when another try makes sense: %d', (given, retryAfter, words) => {
    const page = pages.unavailable({ retryAfter: given, who: 'provider' })
    expect(page.retryAfter).toBe(retryAfter)
    expect(readable(page.html)).toContain(`Please wait ${words} before you try again.`)
  })
})

const hostileText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom(
    '',
    '</title></style></script><script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus='alert(1)",
    '&lt;script&gt;&#60;',
    '<!--',
    ']]>',
    '${x}$&$1',
    '\u202E<b>\u2066\u0000\u001B[31m',
    '\uD800',
    'W'.repeat(10_000),
  ),
)

const hostileWords: fc.Arbitrary<PageWords> = fc.record({
  serverName: hostileText,
  nextcloudHost: hostileText,
  steps: fc.constant(['sign-in'] as const),
  clientName: hostileText,
  clientHost: hostileText,
  clientId: hostileText,
  callsItself: hostileText.map((text) => `c${text}`),
  scopes: fc.array(hostileText, { minLength: 3, maxLength: 3 }),
  formValue: hostileText,
  action: hostileText,
  query: hostileText,
  host: hostileText,
  error: hostileText.map((text) => `e${text.replace(/[^\x20-\x7E]|["'\\]/g, '').slice(0, 99)}`),
})

/** The marks that make elements and attributes. */
const structure = (html: string) => html.replace(/[^<>"']/g, '')

describe('hostile text', () => {
  it('changes no element and no attribute of any page, in any parameter', () => {
    const expected = everyPage()
    fc.assert(
      fc.property(hostileWords, (words) => {
        for (const [name, page] of everyPage(words)) {
          expect(structure(page.html), name).toBe(structure(expected.get(name)!.html))
        }
      }),
    )
  })

  it('brings no character that is invisible, breaks a line or turns the direction', () => {
    const spoofed =
      'Cl\u202Eaude\u2066\u200E\u061C\u200B\u00AD\u2060\uFEFF\u3164\u{E0041}\uFFF9\uFFFB\u0000\u0007\u0085\u2028x'
    const { html } = pages.consent({ ...form, client: { name: spoofed }, scopes: [spoofed] })
    expect(html).toContain('<bdi>Claude x</bdi>')
    expect(html.replace(/\n/g, '')).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]|(?!\u200D)\p{Default_Ignorable_Code_Point}/u)
  })

  it('leaves names in other scripts and emoji as they are', () => {
    for (const name of ['می‌خواهم', 'क्‍ष', 'יעל', '👩‍💻', '❤️', '☎\uFE0E', 'ノート帳', '😀'.repeat(100)]) {
      expect(pages.connected({ client: { name } }).html).toContain(`<bdi>${name}</bdi>`)
    }
  })

  it('has a name of its own where nothing readable is left', () => {
    expect(pages.connected({ client: { name: ' \u0301\u200C\u200D Claude ' } }).html).toContain('<bdi>Claude</bdi>')
    for (const name of ['', '  \n', '\u202E\u200B', '\u3164\u2800', '\u0301\u0301']) {
      expect(pages.connected({ client: { name } }).html).toContain('<strong><bdi>An app without a name</bdi></strong>')
    }
  })

  it('is cut where it is too long, and marks are not piled up', () => {
    const { html } = pages.connected({ client: { name: '😀'.repeat(500) } })
    expect(html).toContain(`<bdi>${'😀'.repeat(99)}…</bdi>`)
    expect(pages.connected({ client: { name: `a${'\u0301'.repeat(50)}b` } }).html).toContain(
      `<bdi>a${'\u0301'.repeat(4)}b</bdi>`,
    )
  })

  it('cannot hide the end of a host', () => {
    const { html } = pages.goingOn({ url: 'https://x.example', host: `good.example.${'a'.repeat(300)}.evil.example` })
    expect(html).toMatch(/<bdi>…a{246}\.evil\.example<\/bdi>/)
    const longest = `${'a'.repeat(247)}.evil.example`
    expect(pages.goingOn({ url: 'https://x.example', host: longest }).html).toContain(`<bdi>${longest}</bdi>`)
  })
})

describe('sendPage', () => {
  it('sends the page with headers that keep it to itself', async () => {
    const page = pages.declined()
    const response = await served(page)
    expect(response.status).toBe(200)
    expect(await response.text()).toBe(page.html)
    const { date, connection, 'keep-alive': keepAlive, ...headers } = Object.fromEntries(response.headers)
    expect([date, connection, keepAlive]).not.toContain(undefined)
    expect(headers).toEqual({
      'content-type': 'text/html; charset=utf-8',
      'content-length': String(Buffer.byteLength(page.html)),
      'content-security-policy': expect.stringMatching(
        /^default-src 'none'; style-src 'sha256-[\w+/]{43}='; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/,
      ) as string,
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
    })
  })

  it('lets in exactly the stylesheet that the pages hold', async () => {
    const response = await served(pages.failed())
    const styles = [...(await response.text()).matchAll(/<style>(.*?)<\/style>/gs)].map(([, style]) => style ?? '')
    expect(styles).toHaveLength(1)
    const hash = createHash('sha256').update(styles[0]!).digest('base64')
    expect(response.headers.get('content-security-policy')).toContain(`style-src 'sha256-${hash}';`)
  })

  it('sends on to the provider by a Refresh, and never by a redirect', async () => {
    const response = await served(pages.goingOn({ url: 'https://idp.example.com/auth?a=b;c&d=%0A', host: 'x' }))
    expect(response.status).toBe(200)
    expect(response.headers.get('refresh')).toBe('0; url=https://idp.example.com/auth?a=b;c&d=%0A')
    expect(response.headers.has('location')).toBe(false)
  })

  it.each([
    'https://x.example/\r\nSet-Cookie: a=b',
    ' https://x.example/',
    'https:',
    'https://x.example/ü',
    'javascript:alert(1)',
    '/here',
    '',
  ])('sends nothing on to %j', (refreshTo) => {
    const req = new IncomingMessage(new Socket())
    const res = new ServerResponse(req)
    const send = () => sendPage(req, res, { status: 200, html: 'x', refreshTo })
    expect(send).toThrow(new TypeError('refreshTo must be a URL'))
    expect([res.headersSent, res.hasHeader('refresh')]).toEqual([false, false])
  })

  it('sends a page that is there in English only, whatever the browser likes best', async () => {
    expect(await (await served({ status: 200, html: 'in English' })).text()).toBe('in English')
  })

  it('says when to try again', async () => {
    const response = await served(pages.unavailable({ retryAfter: 17, who: 'store' }))
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '17'])
  })

  it('answers HEAD with the same headers and no body', async () => {
    const page = pages.linkUnusable()
    const response = await served(page, 'HEAD', ['a=b'])
    expect(response.status).toBe(410)
    expect(await response.text()).toBe('')
    const ofConnection = ['connection', 'content-length', 'date', 'keep-alive']
    const own = ({ headers }: Response) => [...headers].filter(([name]) => !ofConnection.includes(name))
    expect(own(response)).toEqual(own(await served(page, 'GET', ['a=b'])))
  })

  it.each(hosts)('keeps the cookies of the app and overrules its headers on $name', async (host) => {
    const before: ConnectHandler = (_req, res, next) => {
      res.setHeader('Set-Cookie', 'session=1; Path=/')
      res.setHeader('Content-Security-Policy', "script-src 'unsafe-inline'")
      res.setHeader('X-Frame-Options', 'SAMEORIGIN')
      res.setHeader('Cache-Control', 'public')
      res.setHeader('Referrer-Policy', 'unsafe-url')
      next()
    }
    const show: ConnectHandler = (req, res) => sendPage(req, res, pages.declined(), ['one=1; HttpOnly', 'two=2'])
    const app = await host.start([before, show])
    onTestFinished(() => app.close())
    const { headers } = await fetch(app.url)
    expect(headers.getSetCookie()).toEqual(['session=1; Path=/', 'one=1; HttpOnly', 'two=2'])
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'; style-src 'sha256-/)
    expect(headers.get('x-frame-options')).toBe('DENY')
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('referrer-policy')).toBe('no-referrer')
  })

  it('is not opened to other origins, nor its address to receivers of reports, by what the app allows', async () => {
    const url = await listening((req, res) => {
      res.setHeader('Access-Control-Allow-Origin', 'https://other.example')
      res.setHeader('Access-Control-Allow-Credentials', 'true')
      res.setHeader('Content-Security-Policy-Report-Only', "default-src 'self'; report-to reports")
      res.setHeader('Reporting-Endpoints', 'reports="https://reports.example"')
      res.setHeader('Report-To', '{"group":"reports"}')
      res.setHeader('NEL', '{"report_to":"reports","max_age":1}')
      res.setHeader('Strict-Transport-Security', 'max-age=1')
      sendPage(req, res, pages.declined())
    })
    const { headers } = await fetch(url)
    expect([...headers.keys()].filter((name) => /^access-control|report|^nel$/.test(name))).toEqual([])
    expect(headers.get('strict-transport-security')).toBe('max-age=1')
  })
})
