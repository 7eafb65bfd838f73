import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startIdentityProvider, type IdentityProvider } from '../../examples/demo/identity-provider.js'
import { listenOnLoopback, type LoopbackServer } from '../../examples/demo/loopback.js'
import { startNextcloud, type Nextcloud } from '../../examples/demo/nextcloud.js'
import { mcpAuth, MemoryStorage, type McpAuth } from '../../src/index.js'
import { complaintsOf, launchChromium } from '../support/chromium.js'
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
      expect(await page.getByRole('main').innerText()).toContain(`${clientId} can now work in your Nextcloud`)
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
