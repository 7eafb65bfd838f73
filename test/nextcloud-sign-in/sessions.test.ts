import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { wordsOf } from '../support/html.js'
import { createVisitor, type PageSeen, type Visitor } from '../support/nextcloud/visitor.js'
import { press } from '../support/press-button.js'
import { ACCOUNT_PASSWORD } from '../support/nextcloud/state.js'
import { registeredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const PAGE = '/nextcloud'
const DAY = 86_400_000

const browserOf = (name: string): Visitor => createVisitor({ name, password: ACCOUNT_PASSWORD })
const pageIn = (browser: Visitor, { origin }: SignInServer): Promise<PageSeen> => browser.open(origin + PAGE)
const sessionIn = (browser: Visitor, { origin }: SignInServer) =>
  /(?:^|; )_session=([^;]*)/.exec(browser.cookies(origin))?.[1]
/** Whether an app that asks in this browser leads to a sign-in at Nextcloud. */
async function mustSignIn(browser: Visitor, server: SignInServer): Promise<boolean> {
  const client = await registeredClient(server)
  const question = await browser.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
  const response = await fetch(question, { headers: { cookie: browser.cookies(question) } })
  return wordsOf(await response.text()).includes('If you say yes, you sign in at')
}

describe('the page of connections at a sign-in server', () => {
  it('signs a person in by Nextcloud, shows what is connected, and keeps no token of that sign-in', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server, { client_name: 'Notes of mine' })
    await client.signIn(server.person('alice'))
    const before = server.nextcloud.state.tokens.map(({ id }) => id)
    const browser = browserOf('alice')

    const asked = await pageIn(browser, server)
    const shown = await press(browser, asked, 'Sign in')

    expect([asked.status, shown.status, shown.url.pathname]).toEqual([200, 200, PAGE])
    const words = wordsOf(shown.html)
    expect(words).toContain('State Connected')
    expect(words).toMatch(/An app that registered itself .* Calls itself “ Notes of mine ”/)
    expect(words).toMatch(/This browser Since .* UTC Last used about .* Another browser Since/)
    expect(server.nextcloud.state.tokens.map(({ id }) => id)).toEqual(before)
    // It is a sign-in of the server: no app leads to Nextcloud now.
    expect(await mustSignIn(browser, server)).toBe(false)
  })

  it('shows nothing to somebody who says no, or whose code comes to another browser', async () => {
    const server = await startSignInServer()
    const [alice, mallory] = [server.person('alice'), server.person('mallory')]
    const asked = await pageIn(mallory, server)
    const token = /name="token" value="([^"]+)"/.exec(asked.html)?.[1] ?? ''
    const left = await fetch(server.origin + PAGE, {
      method: 'POST',
      headers: { cookie: mallory.cookies(server.origin), origin: server.origin },
      body: new URLSearchParams({ token, do: 'sign-in' }),
    })
    const way = /^0; url=(.+)$/.exec(left.headers.get('refresh') ?? '')?.[1] ?? ''
    const callback = await mallory.until(way, `${server.origin}/nextcloud/callback`)

    const seen = await alice.open(callback)

    expect(seen.status).toBe(403)
    expect(sessionIn(alice, server)).toBeUndefined()
    expect(server.nextcloud.state.tokens).toEqual([])
    expect(wordsOf((await pageIn(alice, server)).html)).toContain('Sign in to see which apps')
    const state = new URL(callback).searchParams.get('state') ?? ''
    const again = await fetch(`${server.origin}/nextcloud/callback?error=access_denied&state=${state}`)
    expect(again.status).toBe(400)
  })

  it('signs out of this browser alone, and the apps go on', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const [here, there] = [server.person('alice'), browserOf('alice')]
    const tokens = await client.signIn(here)
    await client.signIn(there)
    const cookies = here.cookies(server.origin)

    const out = await press(here, await pageIn(here, server), 'Sign out')

    expect(wordsOf(out.html)).toContain('You have signed out here. Your apps go on.')
    expect(sessionIn(here, server)).toBeUndefined()
    // The cookie is worth nothing any more, whoever has a copy of it.
    const copy = await fetch(server.origin + PAGE, { headers: { cookie: cookies } })
    expect(wordsOf(await copy.text())).toContain('Sign in to see which apps')
    expect(await mustSignIn(here, server)).toBe(true)
    expect(await mustSignIn(there, server)).toBe(false)
    expect((await client.refresh(String(tokens.body['refresh_token']))).status).toBe(200)
  })

  it('ends the session of another browser', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const [here, there] = [server.person('alice'), browserOf('alice')]
    await client.signIn(here)
    await client.signIn(there)

    const after = await press(here, await pageIn(here, server), 'End', 'Another browser')

    expect(wordsOf(after.html)).toContain('You are signed out in that browser.')
    expect(wordsOf(after.html)).not.toContain('Another browser')
    expect([await mustSignIn(there, server), await mustSignIn(here, server)]).toEqual([true, false])
  })

  it('ends all other sessions with the connection, and a session of before is no use after the next sign-in', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const [here, there] = [server.person('alice'), browserOf('alice')]
    await client.signIn(here)
    const tokens = await client.signIn(there)

    const after = await press(here, await pageIn(here, server), 'Disconnect all')

    expect(wordsOf(after.html)).toContain('Your Nextcloud is disconnected')
    expect((await client.refresh(String(tokens.body['refresh_token']))).body['error']).toBe('invalid_grant')
    await client.signIn(here)
    expect(await mustSignIn(there, server)).toBe(true)
  })

  it('lists no session that has ended by itself', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ clock, storage: new MemoryStorage({}, clock) })
    const client = await registeredClient(server)
    await client.signIn(server.person('alice'))
    clock.advance(DAY + 1_000)
    const browser = browserOf('alice')

    const shown = await press(browser, await pageIn(browser, server), 'Sign in')

    expect(wordsOf(shown.html)).toContain('This browser')
    expect(wordsOf(shown.html)).not.toContain('Another browser')
  })

  it('takes over no session that somebody has planted in the browser', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const mallory = server.person('mallory')
    await client.signIn(mallory)
    const alice = server.person('alice')
    const planted = mallory.cookies(server.origin)
    for (const pair of planted.split('; ')) if (pair.startsWith('_session')) alice.setCookie('127.0.0.1', pair)

    // The page is Mallory's, until somebody signs out.
    const out = await press(alice, await pageIn(alice, server), 'Sign out')
    const shown = await press(alice, out, 'Sign in')

    expect(wordsOf(shown.html)).toContain('This browser')
    expect(sessionIn(alice, server)).not.toBe(sessionIn(mallory, server))
    const copy = await fetch(server.origin + PAGE, { headers: { cookie: planted } })
    expect(wordsOf(await copy.text())).toContain('Sign in to see which apps')
  })

  it('lets no other person end anything, and no other site', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const [alice, bob] = [server.person('alice'), server.person('bob')]
    await client.signIn(alice)
    await client.signIn(bob)
    const page = await pageIn(alice, server)

    const byBob = await press(bob, page, 'Disconnect all').catch((error: unknown) => error)
    const token = /name="token" value="([^"]+)"/.exec(page.html)?.[1] ?? ''
    const crossSite = await fetch(server.origin + PAGE, {
      method: 'POST',
      headers: {
        cookie: alice.cookies(server.origin),
        origin: 'https://evil.example.com',
        'sec-fetch-site': 'cross-site',
      },
      body: new URLSearchParams({ token, do: 'sign-out' }),
    })

    expect([(byBob as PageSeen).status, crossSite.status]).toEqual([403, 403])
    expect(wordsOf((await pageIn(alice, server)).html)).toContain('State Connected')
    expect(wordsOf((await pageIn(bob, server)).html)).toContain('State Connected')
  })
})
