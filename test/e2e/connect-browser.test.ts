import axe from 'axe-core'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startIdentityProvider, type IdentityProvider } from '../../examples/demo/identity-provider.js'
import { listenOnLoopback, type LoopbackServer } from '../../examples/demo/loopback.js'
import { startNextcloud, type Nextcloud } from '../../examples/demo/nextcloud.js'
import { mcpAuth, MemoryStorage, type McpAuth } from '../../src/index.js'
import { besidePage, complaintsOf, launchChromium } from '../support/chromium.js'
import { has } from '../support/left-out.js'

const clientId = 'Notes <b>app</b>'
const alice = { subject: 'alice', clientId }
const bob = { subject: 'bob', clientId }

let identityProvider: IdentityProvider
let nextcloud: Nextcloud
let server: LoopbackServer
let auth: McpAuth

beforeEach(async () => {
  identityProvider = await startIdentityProvider()
  const { issuer, client } = identityProvider
  nextcloud = await startNextcloud({ issuer })
  server = await listenOnLoopback()
  // Another site than the provider, as browsers see it: they tell sites apart by host, not by port.
  const origin = server.origin.replace('127.0.0.1', 'localhost')
  auth = mcpAuth({
    issuer,
    ...client,
    resource: `${origin}/mcp`,
    resourceName: 'Acme notes',
    nextcloud: { url: nextcloud.url, mode: 'refresh-token', resource: identityProvider.nextcloudResource },
    storage: new MemoryStorage(),
    connect: { scopes: ['openid', 'offline_access'] },
  })
  serveRoutes()
  identityProvider.registerConnectCallback(auth.connectRedirectUri ?? '')
})
afterEach(async () => {
  await auth.close()
  await Promise.all([server.close(), nextcloud.close(), identityProvider.close()])
})

function serveRoutes(): void {
  const routes = auth.routes()
  server.serve((req, res) => routes(req, res, () => res.writeHead(404).end()))
}

if (has('Chromium')) {
  let browser: Browser
  let contexts: BrowserContext[] = []

  beforeAll(async () => {
    browser = await launchChromium()
  })
  afterAll(() => browser.close())
  afterEach(async () => {
    await Promise.all(contexts.map((context) => context.close()))
    contexts = []
  })

  /** A person's browser, in which nobody is signed in yet. */
  async function newBrowser(): Promise<Page> {
    const context = await browser.newContext()
    contexts.push(context)
    return context.newPage()
  }

  const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click()
  const heading = (page: Page, name: string) => page.getByRole('heading', { name, level: 1, exact: true }).waitFor()

  /** What a person does at the provider. */
  async function signIn(page: Page, person: string): Promise<void> {
    await heading(page, 'Sign in')
    await press(page, person)
    await heading(page, 'Allow access?')
    await press(page, 'Allow')
  }

  async function agree(page: Page, link: string): Promise<void> {
    await page.goto(link)
    await heading(page, 'Connect your Nextcloud?')
    await press(page, 'Yes, connect')
  }

  describe('in a real browser', () => {
    it('a user opens the link, sees who wants what, agrees, signs in and is connected', async () => {
      const page = await newBrowser()
      const complaints = complaintsOf(page)
      await page.goto(await auth.createConnectUrl(alice))
      const asked = await page.getByRole('main').innerText()
      for (const named of [clientId, 'Acme notes', new URL(nextcloud.url).host, 'openid', 'offline_access']) {
        expect(asked).toContain(named)
      }
      await press(page, 'Yes, connect')
      await signIn(page, 'alice')
      await heading(page, 'Connected, you can go back')
      expect(await page.getByRole('main').innerText()).toContain(
        `An app that registered itself (${clientId}) can now work in your Nextcloud`,
      )
      expect(complaints).toEqual([])
      expect(await auth.isProvisioned(alice)).toBe(true)
      const response = await auth.nextcloudFetch(alice, '/ocs/v2.php/cloud/user?format=json')
      expect(await response.json()).toMatchObject({ ocs: { data: { id: 'alice' } } })
    })

    it('the page that says "Connected" disconnects again', async () => {
      const page = await newBrowser()
      await agree(page, await auth.createConnectUrl(alice))
      await signIn(page, 'alice')
      await press(page, 'Disconnect')
      await heading(page, 'Disconnected')
      expect(await auth.isProvisioned(alice)).toBe(false)
    })

    it('a user who was signed in with another account can try again with the right one', async () => {
      const page = await newBrowser()
      await agree(page, await auth.createConnectUrl(alice))
      await signIn(page, 'bob')
      await heading(page, 'That is another account')
      expect(await auth.isProvisioned(alice)).toBe(false)
      await press(page, 'Try again with another account')
      await signIn(page, 'alice')
      await heading(page, 'Connected, you can go back')
      expect(await auth.isProvisioned(alice)).toBe(true)
      expect(await auth.isProvisioned(bob)).toBe(false)
    })

    it('the answer of the provider is of no use in another browser', async () => {
      const [own, other] = [await newBrowser(), await newBrowser()]
      const link = await auth.createConnectUrl(alice)
      await agree(own, link)
      const caught = new Promise<string>((resolve) => {
        server.serve((req, res) => {
          resolve(new URL(req.url ?? '', link).href)
          res.end('<h1>Caught</h1>')
        })
      })
      await signIn(own, 'alice')
      await heading(own, 'Caught')
      serveRoutes()
      const response = await other.goto(await caught)
      expect(response?.status()).toBe(403)
      await heading(other, 'Please open the link again')
      expect(await auth.isProvisioned(alice)).toBe(false)
      await own.reload()
      await heading(own, 'Connected, you can go back')
    })

    it('a user signs in to the page of connections, ends one client, then all, and signs out', async () => {
      const other = { subject: 'alice', clientId: 'Calendar app' }
      const first = await newBrowser()
      for (const who of [alice, other]) {
        await agree(first, await auth.createConnectUrl(who))
        // The provider knows this browser from the second time on.
        await (who === alice ? signIn(first, 'alice') : allow(first))
        await heading(first, 'Connected, you can go back')
      }
      await first.getByRole('link', { name: 'See all connections' }).click()
      await heading(first, 'See your connection')

      // Another browser, by keyboard alone.
      const page = await newBrowser()
      const complaints = complaintsOf(page)
      await page.goto(pageUrl())
      await heading(page, 'See your connection')
      await page.keyboard.press('Tab')
      await page.keyboard.press('Enter')
      await signIn(page, 'alice')
      await heading(page, 'Your Nextcloud connection')
      expect(page.url()).toBe(pageUrl())
      const shown = await page.getByRole('main').innerText()
      for (const named of [new URL(nextcloud.url).host, 'Connected', 'UTC']) expect(shown).toContain(named)
      expect(await page.getByRole('listitem').count()).toBe(2)
      expect(await axeOf(page)).toEqual([])

      await page.getByRole('button', { name: /^End / }).first().focus()
      await page.keyboard.press('Enter')
      await page.getByText('That app can no longer use your Nextcloud').waitFor()
      expect(await axeOf(page)).toEqual([])
      expect([await auth.isProvisioned(alice), await auth.isProvisioned(other)].sort()).toEqual([false, true])
      await page.reload()
      expect(await page.getByText('That app can no longer').count()).toBe(0)

      await press(page, 'Disconnect all')
      await page.getByText('Your Nextcloud is disconnected').waitFor()
      expect([await auth.isProvisioned(alice), await auth.isProvisioned(other)]).toEqual([false, false])

      await press(page, 'Sign out')
      await page.getByText('You have signed out of this page.').waitFor()
      expect(await axeOf(page)).toEqual([])
      await page.goBack()
      await heading(page, 'See your connection')
      expect(complaints).toEqual([])
    })

    it('another site can neither frame the page nor end a connection with the browser of a user', async () => {
      const page = await newBrowser()
      await agree(page, await auth.createConnectUrl(alice))
      await signIn(page, 'alice')
      await page.goto(pageUrl())
      await press(page, 'Sign in')
      await heading(page, 'Your Nextcloud connection')
      const token = await page.locator('input[name=token]').first().getAttribute('value')
      const evil = await listenOnLoopback()
      evil.serve((req, res) => {
        const form = `<form method="post" action="${pageUrl()}"><input name="token" value="${token ?? ''}"><button name="do" value="all">Win</button></form>`
        res.setHeader('Content-Type', 'text/html')
        res.end(req.url === '/frame' ? `<iframe src="${pageUrl()}"></iframe>` : form)
      })

      await page.goto(`${evil.origin}/frame`)
      const framed = page.frameLocator('iframe').locator('body')
      expect(await framed.innerText()).toBe('This address opens in a window of its own only')
      await page.goto(evil.origin)
      await press(page, 'Win')
      await heading(page, 'Please open this page again')

      await evil.close()
      expect(await auth.isProvisioned(alice)).toBe(true)
    })

    const pageUrl = (): string => (auth.connectRedirectUri ?? '').replace(/\/callback$/, '')

    /** What a person does at the provider in a browser that is signed in there. */
    async function allow(page: Page): Promise<void> {
      await heading(page, 'Allow access?')
      await press(page, 'Allow')
    }

    async function axeOf(page: Page): Promise<string[]> {
      const { violations } = (await besidePage(page, axe.source, 'axe.run({ preload: false })')) as axe.AxeResults
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
    }

    it('a user can connect two clients in two tabs at once', async () => {
      const one = await newBrowser()
      const two = await one.context().newPage()
      const other = { subject: 'alice', clientId: 'Calendar app' }
      await agree(one, await auth.createConnectUrl(alice))
      await heading(one, 'Sign in')
      await signInElsewhere(two, other)
      await one.reload()
      await signIn(one, 'alice')
      await heading(one, 'Connected, you can go back')
      expect([await auth.isProvisioned(alice), await auth.isProvisioned(other)]).toEqual([true, true])
    })

    async function signInElsewhere(page: Page, who: typeof alice): Promise<void> {
      await agree(page, await auth.createConnectUrl(who))
      await signIn(page, 'alice')
      await heading(page, 'Connected, you can go back')
    }
  })
}
