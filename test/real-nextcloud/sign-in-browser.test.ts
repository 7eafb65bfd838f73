import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import axe from 'axe-core'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { besidePage, complaintsOf, launchChromium } from '../support/chromium.js'
import { has } from '../support/left-out.js'
import { registeredClient, type RegisteredClient } from '../support/sign-in-client.js'
import { signInAtNextcloud } from './support/nextcloud-pages.js'
import { serveBeside, type Served } from './support/serve.js'
import { closeTarget, openTarget, type Account, type Target } from './support/target.js'

const LIGHT = { viewport: { width: 1280, height: 800 }, colorScheme: 'light' } as const
const DARK = { ...LIGHT, colorScheme: 'dark' } as const
const PHONE = { viewport: { width: 360, height: 740 }, colorScheme: 'dark' } as const

if (has('Chromium')) {
  let target: Target
  let account: Account
  let browser: Browser

  beforeAll(async () => {
    target = await openTarget()
    account = await target.createAccount()
    browser = await launchChromium()
  })
  afterAll(async () => {
    await browser.close()
    await closeTarget()
  })

  /** A browser in which nobody is signed in, and an MCP client on the same computer, which the browser comes back to. */
  async function open(options: BrowserContextOptions): Promise<{
    readonly server: Served
    readonly client: RegisteredClient
    readonly page: Page
    readonly complaints: readonly string[]
  }> {
    const server = await serveBeside(target, 'localhost')
    const back: Server = createServer((_req, res) => res.end('<title>Client</title><h1>Back at the client</h1>'))
    back.listen(0, '127.0.0.1')
    await once(back, 'listening')
    const callback = `http://127.0.0.1:${(back.address() as AddressInfo).port}/callback`
    const context = await browser.newContext(options)
    onTestFinished(async () => {
      await context.close()
      back.closeAllConnections()
      back.close()
    })
    const place = { origin: server.origin, url: `${server.origin}/mcp` }
    const client = await registeredClient(place, { redirect_uris: [callback] })
    const page = await context.newPage()
    return { server, client, page, complaints: complaintsOf(page) }
  }

  const heading = (page: Page, name: string) => page.getByRole('heading', { name, level: 1, exact: true }).waitFor()
  const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click()

  /** What axe finds at the end of a page, where nothing lies behind the buttons that stay in sight. */
  async function axeOf(page: Page): Promise<string[]> {
    const result = (await besidePage(
      page,
      'scrollTo(0, document.body.scrollHeight)',
      axe.source,
      'axe.run({ preload: false })',
    )) as axe.AxeResults
    return [...result.violations, ...result.incomplete].map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`,
    )
  }

  /** The code that the browser has brought back. */
  async function codeOf(page: Page): Promise<string> {
    await heading(page, 'Back at the client')
    return new URL(page.url()).searchParams.get('code') ?? ''
  }

  describe('in a real browser', () => {
    it.each([
      ['on a desktop, in light', LIGHT],
      ['on a desktop, in dark', DARK],
      ['on a phone', PHONE],
    ])('a person goes from the client by consent and Nextcloud back to it with a code: %s', async (_where, options) => {
      const { server, client, page, complaints } = await open(options)

      const shown = await page.goto(client.authorizationUrl().href)
      await heading(page, 'Let this app use your Nextcloud?')
      expect(await shown?.headerValue('content-security-policy')).toMatch(/^default-src 'none'; style-src 'sha256-/)
      const words = await page.getByRole('main').innerText()
      const { host } = new URL(target.url)
      for (const named of ['Test client', 'an app on this device (127.0.0.1)', host, 'Write new notes']) {
        expect(words).toContain(named)
      }
      expect(await axeOf(page)).toEqual([])
      const seen = [...complaints]
      await press(page, 'Yes, sign in')
      await signInAtNextcloud(page, account)
      expect(await page.locator('body').innerText()).toContain(server.name)
      await press(page, 'Grant access')
      const answer = await client.redeem(await codeOf(page))

      expect([answer.status, seen]).toEqual([200, []])
    })

    it('a person who is known here agrees to a second client on one page, by keyboard alone', async () => {
      const { client, server, page } = await open(DARK)
      await page.goto(client.authorizationUrl().href)
      await press(page, 'Yes, sign in')
      await signInAtNextcloud(page, account)
      await press(page, 'Grant access')
      await codeOf(page)
      const metadata = { client_name: 'Another client', redirect_uris: [page.url().split('?')[0]] }
      const other = await registeredClient({ origin: server.origin, url: `${server.origin}/mcp` }, metadata)

      await page.goto(other.authorizationUrl().href)
      expect(await page.getByRole('main').innerText()).toContain(`You are signed in as ${account.uid}.`)
      expect(await axeOf(page)).toEqual([])
      await page.keyboard.press('Tab')
      await page.keyboard.press('Enter')

      expect((await other.redeem(await codeOf(page))).status).toBe(200)
    })

    it('a person who says no is back at the client, and has been nowhere else', async () => {
      const { client, page } = await open(LIGHT)
      await page.goto(client.authorizationUrl().href)

      await press(page, 'No, thanks')

      await heading(page, 'Back at the client')
      expect(new URL(page.url()).searchParams.get('error')).toBe('access_denied')
    })

    it('from the start page a person comes to their connection, and ends it', async () => {
      const { client, server, page, complaints } = await open(PHONE)
      await page.goto(client.authorizationUrl().href)
      await press(page, 'Yes, sign in')
      await signInAtNextcloud(page, account)
      await press(page, 'Grant access')
      const { body } = await client.redeem(await codeOf(page))
      const seen = complaints.length

      await page.goto(`${server.origin}/`)
      await heading(page, 'Connect your app to your Nextcloud')
      expect(await axeOf(page)).toEqual([])
      await page.getByRole('link', { name: 'Your connection' }).click()
      await heading(page, 'Your Nextcloud connection')
      expect(await axeOf(page)).toEqual([])
      await press(page, 'Disconnect all')
      await page.getByText('Your Nextcloud is disconnected').waitFor()

      expect((await client.refresh(String(body['refresh_token']))).body['error']).toBe('invalid_grant')
      expect(complaints.slice(seen)).toEqual([])
    })
  })
}
