import axe from 'axe-core'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Browser, BrowserContextOptions, Page as BrowserPage } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { sendPage, type Page } from '../../../src/connect/pages/document.js'
import { createPages } from '../../../src/connect/pages/pages.js'
import { createSignInPages } from '../../../src/nextcloud-sign-in/sign-in-pages.js'
import { besidePage, complaintsOf, launchChromium } from '../../support/chromium.js'
import { everyPage, plainWords } from '../../support/connect-pages.js'
import { listen, type RunningApp } from '../../support/hosts.js'
import { has } from '../../support/left-out.js'
import { everySignInPage } from '../../support/sign-in-pages.js'

const DESKTOP = { width: 1280, height: 800 }
const PHONE = { width: 320, height: 640 }

const longWords = {
  ...plainWords,
  serverName: 'N'.repeat(200),
  nextcloudHost: `${'very-long-name.'.repeat(16)}example.com`,
  clientName: `${'W'.repeat(60)} <b>${'m'.repeat(60)}`,
  clientHost: `${'host.'.repeat(40)}example.com`,
  clientId: 'i'.repeat(64),
  callsItself: 'c'.repeat(100),
  scopes: ['openid', 'x'.repeat(200), 'notes:read'],
  host: `${'a'.repeat(250)}.example.com`,
  error: '~'.repeat(100),
}

const plainPages = new Map([...everyPage(), ...everySignInPage()])
const longPages = new Map([...everyPage(longWords), ...everySignInPage(longWords)])
const names = [...plainPages.keys()]

/** The same page without its way on. */
const staying = ({ status, html, htmlIn }: Page): Page => ({ status, html, ...(htmlIn && { htmlIn }) })

const OF_SERVE = ['landing', 'astray', 'notFound']

it('every kind of page is among those that are looked at in a browser', () => {
  const kinds = names.map((name) => name.split(' ')[0])
  const ofSignIn = Object.keys(createSignInPages({ ...plainWords, redirectUri: '' })).map((name) => `signIn.${name}`)
  expect([...new Set(kinds)].sort()).toEqual([...Object.keys(createPages(plainWords)), ...ofSignIn, ...OF_SERVE].sort())
})

if (has('Chromium')) {
  let browser: Browser
  let app: RunningApp
  /** Bodies of the forms that were sent. */
  let sent: string[] = []

  beforeAll(async () => {
    browser = await launchChromium()
    app = await listen((req, res) => void serve(req, res))
  })
  afterAll(async () => {
    await browser.close()
    await app.close()
  })
  beforeEach(() => {
    sent = []
  })

  /** Every page under its name, with plain words or with `?long` ones; a form is answered with the page `declined`. */
  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? '', 'http://localhost')
    if (req.method === 'POST') sent.push(`${url.pathname} ${await text(req)}`)
    const name = req.method === 'POST' ? 'declined' : decodeURIComponent(url.pathname.slice(1))
    const page = (url.searchParams.has('long') ? longPages : plainPages).get(name)
    // It has to stay where it is to be looked at.
    if (page !== undefined) sendPage(req, res, staying(page))
    else res.writeHead(404).end()
  }

  /** A tab of this kind. It is one for all tests of a kind, since starting one takes longer than a test. */
  function tab(options: BrowserContextOptions = {}): Promise<BrowserPage> {
    const kind = JSON.stringify(options)
    const known = tabs.get(kind) ?? browser.newPage({ viewport: DESKTOP, ...options })
    tabs.set(kind, known)
    return known
  }
  const tabs = new Map<string, Promise<BrowserPage>>()

  async function open(name: string, options: BrowserContextOptions = {}, query = ''): Promise<BrowserPage> {
    const page = await tab(options)
    await page.goto(`${app.url}/${encodeURIComponent(name)}${query}`)
    return page
  }

  // No colour depends on the width.
  describe.each([
    { colorScheme: 'light', viewport: DESKTOP, where: 'a desktop' },
    { colorScheme: 'dark', viewport: PHONE, where: 'a phone' },
  ] as const)('on $where, in $colorScheme', ({ colorScheme, viewport }) => {
    it.each(names)('axe finds nothing to complain of, nor does the browser: %s', async (name) => {
      await expectAccessible(await tab({ colorScheme, viewport }), name)
    })
  })

  describe.each([
    { locale: 'de-CH', language: 'de' },
    { locale: 'fr-FR', language: 'fr' },
  ])('in a browser set to $locale', ({ locale, language }) => {
    const inLanguage = names.filter((name) => plainPages.get(name)?.htmlIn !== undefined)
    it.each(inLanguage)('axe finds nothing to complain of, and all fits on a phone: %s', async (name) => {
      const page = await tab({ locale, viewport: PHONE })
      await expectAccessible(page, name)
      expect(await besidePage(page, 'document.documentElement.lang')).toBe(language)
      expect(await overflow(page)).toEqual([])
    })
  })

  async function expectAccessible(page: BrowserPage, name: string): Promise<void> {
    const complaints = complaintsOf(page)
    await page.goto(`${app.url}/${encodeURIComponent(name)}`)
    // At its end nothing lies behind the buttons that stay in sight, so that axe can tell every colour.
    const result = (await besidePage(
      page,
      'scrollTo(0, document.body.scrollHeight)',
      axe.source,
      'axe.run({ preload: false })',
    )) as axe.AxeResults
    const seen = (results: readonly axe.Result[]) =>
      results.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
    expect(seen(result.violations)).toEqual([])
    expect(seen(result.incomplete)).toEqual([])
    expect(result.passes.map(({ id }) => id)).toEqual(expect.arrayContaining(['color-contrast', 'landmark-one-main']))
    // A page that is an error is an error to the console, and nothing else is.
    expect(
      complaints.filter((complaint) => !/^Failed to load resource: .* status of [45]\d\d/.test(complaint)),
    ).toEqual([])
  }

  /** Whether anything sticks out of the window or of what it stands in. */
  async function overflow(page: BrowserPage): Promise<unknown> {
    return besidePage(
      page,
      `[...document.querySelectorAll('*')]
        .filter((element) => element.scrollWidth > element.clientWidth && element.clientWidth > 0)
        .filter((element) => getComputedStyle(element).display !== 'inline')
        .map((element) => element.outerHTML.slice(0, 100))`,
    )
  }

  describe('a narrow window', () => {
    it.each(names)('scrolls only downwards, whatever the words: %s', async (name) => {
      expect(await overflow(await open(name, { viewport: PHONE }))).toEqual([])
      expect(await overflow(await open(name, { viewport: PHONE }, '?long'))).toEqual([])
    })
  })

  describe('text of twice the size', () => {
    it.each(names)('fits, on a desktop and on a phone: %s', async (name) => {
      for (const viewport of [DESKTOP, PHONE]) {
        // Their own tabs, by a name that changes nothing: the size stays with the tab.
        const page = await open(name, { viewport, userAgent: 'large text' })
        const session = await page.context().newCDPSession(page)
        await session.send('Page.setFontSizes', { fontSizes: { standard: 32, fixed: 26 } })
        expect(await besidePage(page, `getComputedStyle(document.querySelector('p')).fontSize`)).toBe('32px')
        expect(await overflow(page)).toEqual([])
      }
    })
  })

  /** What has the focus, and how that shows. */
  function focused(page: BrowserPage): Promise<unknown> {
    return besidePage(
      page,
      `(({ textContent }, { outlineStyle, outlineWidth }) => [textContent, outlineStyle, outlineWidth])(
        document.activeElement, getComputedStyle(document.activeElement))`,
    )
  }
  const shown = (label: string) => [label, 'solid', '3px']

  describe('the keyboard alone', () => {
    it('reaches yes, then no, and Enter answers no', async () => {
      const page = await open('consent')
      await page.keyboard.press('Tab')
      expect(await focused(page)).toEqual(shown('Yes, connect'))
      await page.keyboard.press('Tab')
      expect(await focused(page)).toEqual(shown('No, thanks'))
      await page.keyboard.press('Enter')
      await page.getByRole('heading', { name: 'Not connected' }).waitFor()
      expect(sent).toEqual(['/nextcloud/connect token=dG9rZW4&answer=no'])
    })

    it.each([
      ['consent', 'Yes, connect', 'token=dG9rZW4&answer=yes'],
      ['connected', 'Disconnect', 'token=dG9rZW4'],
      ['otherPerson', 'Try again with another account', 'token=dG9rZW4'],
      ['signIn', 'Sign in', 'token=dG9rZW4&do=sign-in'],
      ['overview', 'End', 'token=dG9rZW4&do=dG9rZW4'],
      ['overview of consent per user', 'Disconnect all', 'token=dG9rZW4&do=all'],
    ])('sends the form of the page %s', async (name, label, body) => {
      const page = await open(name)
      await page.keyboard.press('Tab')
      expect(await focused(page)).toEqual(shown(label))
      await page.keyboard.press('Enter')
      await page.getByRole('heading', { name: 'Not connected' }).waitFor()
      expect(sent).toEqual([`/nextcloud/connect ${body}`])
    })

    it('reaches every button of the page of connections, by names that tell them apart', async () => {
      const page = await open('overview')
      const names = ['End “Claude” from claude.ai', 'End Notes at work', 'Disconnect all', 'Sign out']
      for (const name of names) {
        await page.keyboard.press('Tab')
        const focused = page.getByRole('button', { name, exact: true }).and(page.locator(':focus'))
        expect(await focused.count()).toBe(1)
      }
    })

    it('reaches the link to the provider', async () => {
      const page = await open('goingOn')
      await page.keyboard.press('Tab')
      expect(await focused(page)).toEqual(shown('Continue to idp.example.com'))
    })
  })

  describe('what is to be pressed', () => {
    it.each([
      'consent',
      'goingOn',
      'connected',
      'disconnected',
      'otherPerson',
      'signIn',
      'overview',
      'visitOver',
      'signIn.consent',
      'signIn.goOn',
    ])('is large enough for a finger: %s', async (name) => {
      for (const viewport of [DESKTOP, PHONE]) {
        const page = await open(name, { viewport })
        const boxes = await Promise.all((await page.locator('button, a').all()).map((target) => target.boundingBox()))
        expect(boxes.length).toBeGreaterThan(0)
        for (const box of boxes) expect(Math.min(box!.width, box!.height)).toBeGreaterThanOrEqual(44)
      }
    })

    it('has an edge where the system draws in its own colours', async () => {
      const page = await open('consent', { forcedColors: 'active' })
      const edges = await besidePage(
        page,
        `[...document.querySelectorAll('button')].map((button) => getComputedStyle(button).borderTopStyle)`,
      )
      expect(edges).toEqual(['solid', 'solid'])
    })

    it.each([
      ['reduce', '0s'],
      ['no-preference', '0.12s, 0.12s'],
    ] as const)('moves as the person likes it: %s', async (reducedMotion, duration) => {
      const page = await open('consent', { reducedMotion })
      expect(await besidePage(page, `getComputedStyle(document.querySelector('button')).transitionDuration`)).toBe(
        duration,
      )
    })
  })

  describe('a button', () => {
    /** Begins the time without pointer again, and stops it `time` ms later, however busy the machine is. */
    const heldAt = (time: number) => `
      for (const { style } of document.querySelectorAll('button, .go')) style.animationName = 'none'
      document.body.offsetWidth
      for (const { style } of document.querySelectorAll('button, .go')) style.animationName = ''
      const held = document.getAnimations().filter(({ animationName }) => animationName === 'no-pointer')
      for (const animation of held) Object.assign((animation.pause(), animation), { currentTime: ${time} })
      held.length`
    const STARTS = [
      ['consent', 'Yes, connect'],
      ['connected', 'Disconnect'],
      ['otherPerson', 'Try again with another account'],
      ['signIn.consent', 'Yes, sign in'],
      ['signIn.consent of somebody known', 'Yes, allow it'],
    ] as const

    it.each(
      STARTS.flatMap((start) => (['no-preference', 'reduce'] as const).map((motion) => [...start, motion] as const)),
    )('takes no pointer for the first 0.7 s, and then does: %s, %s, motion %s', async (name, label, reducedMotion) => {
      const page = await open(name, { reducedMotion })
      const button = page.getByRole('button', { name: label, exact: true })
      await button.scrollIntoViewIfNeeded()
      const box = (await button.boundingBox())!
      const click = () => page.mouse.click(box.x + box.width / 2, box.y + box.height / 2)
      const before = sent.length
      for (const time of [0, 350, 699]) {
        expect(await besidePage(page, heldAt(time))).toBeGreaterThan(0)
        await click()
      }
      expect(sent).toHaveLength(before)
      sent.length = 0
      expect(await besidePage(page, heldAt(700))).toBeGreaterThan(0)
      await click()
      await page.getByRole('heading', { name: 'Not connected' }).waitFor()
      expect(sent).toHaveLength(1)
    })

    it.each([
      'consent',
      'consent of a registered app',
      'consent to an app password',
      'signIn.consent',
      'signIn.consent of a registered app',
    ])('of the question is above the fold of a phone, whatever the names: %s', async (name) => {
      for (const query of ['', '?long']) {
        const page = await open(name, { viewport: { width: 360, height: 640 } }, query)
        for (const button of await page.locator('button').all()) {
          const { y, height } = (await button.boundingBox())!
          expect(y + height).toBeLessThanOrEqual(640)
        }
      }
    })
  })

  describe('the policy of the pages', () => {
    it('lets the answer lead on, by a Refresh, over one origin to another', async () => {
      const provider = await listen((_req, res) => res.writeHead(302, { location: signIn.url }).end())
      const signIn = await listen((_req, res) => res.end('<h1>Sign in</h1>'))
      const goingOn = { status: 200, html: '<p>On', refreshTo: `${provider.url}/auth` }
      const own = await listen((req, res) => {
        sendPage(req, res, req.method === 'POST' ? goingOn : plainPages.get('consent')!)
      })
      onTestFinished(async () => {
        await Promise.all([provider.close(), signIn.close(), own.close()])
      })
      const page = await tab()
      const complaints = complaintsOf(page)
      await page.goto(own.url)
      await page.getByRole('button', { name: 'Yes, connect' }).click()
      await page.getByRole('heading', { name: 'Sign in' }).waitFor()
      expect(complaints).toEqual([])
    })

    it('keeps the pages out of frames', async () => {
      const frames = await listen((_req, res) => res.end(`<iframe src="${app.url}/consent"></iframe>`))
      onTestFinished(() => frames.close())
      const page = await tab()
      const complaints = complaintsOf(page)
      await page.goto(frames.url)
      expect(page.frames()[1]?.url()).not.toContain('/consent')
      expect(complaints.join()).toContain("frame-ancestors 'none'")
    })

    it('lets no script and no other style in', async () => {
      const injected = '<script>document.title = "script"</script><style>main { display: none }</style></main>'
      const hurt = await listen((req, res) => {
        const { status, html } = plainPages.get('declined')!
        sendPage(req, res, { status, html: html.replace('</main>', injected) })
      })
      onTestFinished(() => hurt.close())
      const page = await tab()
      const complaints = complaintsOf(page)
      await page.goto(hurt.url)
      expect(await page.title()).toBe('Not connected')
      expect(await page.getByRole('main').isVisible()).toBe(true)
      // The browser may say it more than once.
      expect(complaints.join()).toMatch(/inline script/)
      expect(complaints.join()).toMatch(/inline style/)
    })
  })
}
