import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/index.js'
import { registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

const METADATA = '/.well-known/oauth-authorization-server'

/** Asks as the browser of a visitor does, for something that a page has embedded. */
const load = (
  url: string | URL,
  destination: string,
  {
    headers = {},
    ...init
  }: Omit<RequestInit, 'headers'> & { readonly headers?: Readonly<Record<string, string>> } = {},
) => fetch(url, { redirect: 'manual', ...init, headers: { ...headers, 'sec-fetch-dest': destination } })

describe('a page of somebody else’s', () => {
  it.each(['image', 'empty', 'script', 'iframe', 'object'])(
    'begins no sign-in in a visitor’s browser as %s',
    async (as) => {
      const storage = new MemoryStorage()
      const server = await startSignInServer({ storage })
      const url = (await registeredClient(server)).authorizationUrl()
      const before = await storage.list({ limit: 1_000 })

      const seen = await load(url, as)

      expect([seen.status, seen.headers.get('cache-control'), seen.headers.getSetCookie()]).toEqual([
        403,
        'no-store',
        [],
      ])
      expect(await storage.list({ limit: 1_000 })).toEqual(before)
      expect((await load(url, 'document')).status).toBe(303)
    },
  )

  // A proxy has taken `Upgrade` away.
  it('begins no sign-in by a WebSocket, with which a browser says nothing of where it comes from', async () => {
    const storage = new MemoryStorage()
    const server = await startSignInServer({ storage })
    const url = (await registeredClient(server)).authorizationUrl()
    const before = await storage.list({ limit: 1_000 })
    const headers = {
      origin: 'https://evil.example',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    }

    expect((await fetch(url, { redirect: 'manual', headers })).status).toBe(403)

    expect(await storage.list({ limit: 1_000 })).toEqual(before)
  })

  // As Chromium sends for speculation rules: a navigation otherwise.
  it.each(['prefetch', 'prefetch;prerender', 'prefetch;anonymous-client-ip'])(
    'begins no sign-in by a prefetch (%s)',
    async (purpose) => {
      const storage = new MemoryStorage()
      const server = await startSignInServer({ storage })
      const url = (await registeredClient(server)).authorizationUrl()
      const before = await storage.list({ limit: 1_000 })

      expect((await load(url, 'document', { headers: { 'sec-purpose': purpose } })).status).toBe(403)

      expect(await storage.list({ limit: 1_000 })).toEqual(before)
    },
  )

  it('has no visitor’s browser bring a code to this server, which counts them', async () => {
    const server = await startSignInServer({ trustProxy: true })
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const callback = await alice.until(client.authorizationUrl(), `${server.origin}/nextcloud/callback`)
    const asked = server.nextcloud.requests.length

    for (let at = 0; at < 10; at += 1) {
      const seen = await load(callback, 'image', { headers: { 'x-forwarded-for': `${60 + at}.51.1.9` } })
      expect(seen.status).toBe(403)
    }

    expect(server.nextcloud.requests).toHaveLength(asked)
    expect(server.events.filter(({ type }) => type === 'connect.failed')).toEqual([])
    // Nothing was spent.
    const back = await alice.until(callback, 'https://client.example.com/callback')
    expect(back.searchParams.get('code')).not.toBeNull()
  })

  it('embeds no step of a sign-in', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const browser = server.person('alice')
    const question = await browser.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    const headers = { cookie: browser.cookies(question) }
    const steps = [question, `${question.href}/done`, question.href.replace('/sign-in/', '/authorize/')]

    for (const step of steps) {
      expect((await load(step, 'iframe', { headers })).status).toBe(403)
      expect((await load(step, 'document', { headers })).status).not.toBe(403)
    }
    expect((await load(question, 'iframe', { headers, method: 'POST' })).status).toBe(403)
  })

  it.each(['', '/connect', '/callback', '/disconnect'])('embeds no page at /nextcloud%s', async (path) => {
    const server = await startSignInServer()
    const isForm = path === '/disconnect'
    const init = isForm ? { method: 'POST', body: new URLSearchParams({ token: 'guessed' }) } : {}
    const body = async (as: string) => (await load(`${server.origin}/nextcloud${path}`, as, init)).text()

    expect(await body('image')).toBe('This address opens in a window of its own only')
    expect(await body('document')).toContain('<!doctype html>')
  })

  it('reads the metadata, registers itself and gets tokens, as a client in a browser does', async () => {
    const { origin } = await startSignInServer()
    const body = JSON.stringify({ redirect_uris: ['https://client.example.com/callback'] })
    const post = { method: 'POST', body, headers: { 'content-type': 'application/json' } }

    expect((await load(origin + METADATA, 'empty')).status).toBe(200)
    expect((await load(`${origin}/oauth/jwks`, 'empty')).status).toBe(200)
    expect((await load(`${origin}/oauth/register`, 'empty', post)).status).toBe(201)
    const asked = new URLSearchParams({ grant_type: 'authorization_code', client_id: 'unknown', code: 'guessed' })
    expect((await load(`${origin}/oauth/token`, 'empty', { method: 'POST', body: asked })).status).toBe(401)
    expect((await load(`${origin}/nextcloud/status`, 'empty')).status).toBe(401)
  })
})
