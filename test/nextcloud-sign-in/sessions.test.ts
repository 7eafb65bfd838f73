import { describe, expect, it, vi } from 'vitest'
import { StorageError } from '../../src/errors/errors.js'
import { noteSession, readSessions } from '../../src/nextcloud-sign-in/sessions.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock } from '../support/clock.js'
import { modelRooms } from '../support/model-rooms.js'
import { wordsOf } from '../support/html.js'
import { createVisitor, type PageSeen, type Visitor } from '../support/nextcloud/visitor.js'
import { until } from '../support/promises.js'
import { press } from '../support/press-button.js'
import { ACCOUNT_PASSWORD } from '../support/nextcloud/state.js'
import { clientOf, REDIRECT_URI, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const PAGE = '/nextcloud'
const DAY = 86_400_000

const browserOf = (name: string): Visitor => createVisitor({ name, password: ACCOUNT_PASSWORD })
const pageIn = (browser: Visitor, { origin }: SignInServer): Promise<PageSeen> => browser.open(origin + PAGE)
const sessionIn = (browser: Visitor, { origin }: SignInServer) =>
  /(?:^|; )_session=([^;]*)/.exec(browser.cookies(origin))?.[1]
/** Gives the session of one browser to another as well. Returns its cookies. */
function copySession(from: Visitor, to: Visitor, { origin }: SignInServer): string {
  const pairs = from.cookies(origin).split('; ')
  const ofSession = pairs.filter((pair) => /^_session(?:\.sig)?=/.test(pair))
  for (const pair of ofSession) to.setCookie('127.0.0.1', pair)
  return ofSession.join('; ')
}

/** Whether an app that asks in this browser leads to a sign-in at Nextcloud. */
async function mustSignIn(browser: Visitor, server: SignInServer): Promise<boolean> {
  const client = await registeredClient(server)
  const question = await browser.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
  const response = await fetch(question, { headers: { cookie: browser.cookies(question) } })
  return wordsOf(await response.text()).includes('If you say yes, you sign in at')
}

it('requests with the cookie of a session that has ended leave nothing, and it may be signed in with again', async () => {
  const storage = new MemoryStorage()
  const server = await startSignInServer({ storage })
  const client = await registeredClient(server)
  const [alice, later] = [server.person('alice'), browserOf('alice')]
  await client.signIn(alice)
  const cookie = copySession(alice, later, server)
  await press(alice, await pageIn(alice, server), 'Sign out')
  const before = (await storage.list({ limit: 1_000 })).length
  for (let count = 0; count < 10; count += 1) {
    await (await fetch(`${server.origin}/oauth/authorize`, { headers: { cookie }, redirect: 'manual' })).text()
  }

  expect((await storage.list({ limit: 1_000 })).length).toBe(before)
  expect((await client.signIn(later)).status).toBe(200)
  expect(await mustSignIn(later, server)).toBe(false)
})

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

describe('a session that has ended', () => {
  it.each<[string, (server: SignInServer) => Promise<unknown>]>([
    ['before its person connects again', () => Promise.resolve()],
    [
      'and its person has connected again elsewhere',
      async (server) => (await registeredClient(server)).signIn(browserOf('alice')),
    ],
  ])('neither opens the page nor works it: %s', async (_, next) => {
    const server = await startSignInServer()
    const laptop = server.person('alice')
    await (await registeredClient(server)).signIn(laptop)
    const page = await pageIn(laptop, server)
    const cookies = laptop.cookies(server.origin)
    await server.auth.revoke({ subject: 'alice' })
    await next(server)
    const connected = await server.auth.isProvisioned({ subject: 'alice' })

    expect((await press(laptop, page, 'Disconnect all')).status).toBe(403)

    expect(await server.auth.isProvisioned({ subject: 'alice' })).toBe(connected)
    const seen = await fetch(server.origin + PAGE, { headers: { cookie: cookies } })
    expect(wordsOf(await seen.text())).toContain('Sign in to see which apps')
  })

  it.each<[string, (server: SignInServer, browser: Visitor) => Promise<unknown>]>([
    ['connects', async (server, browser) => (await registeredClient(server)).signIn(browser)],
    ['visits the page', async (server, browser) => press(browser, await pageIn(browser, server), 'Sign in')],
  ])(
    'of a visit without a connection is over for as long as it lives once another has its user id and %s',
    async (_, act) => {
      const clock = manualClock(Date.now())
      const server = await startSignInServer({ clock, storage: new MemoryStorage({}, clock) })
      const first = server.person('alice')
      await press(first, await pageIn(first, server), 'Sign in')
      clock.advance(0.9 * DAY)
      expect(wordsOf((await pageIn(first, server)).html)).toContain('This browser')
      server.nextcloud.occ(['user:delete', 'alice'])

      await act(server, server.person('alice'))

      expect(wordsOf((await pageIn(first, server)).html)).toContain('Sign in to see which apps')
    },
  )

  it('is in no list', async () => {
    const server = await startSignInServer()
    const [laptop, phone] = [server.person('alice'), browserOf('alice')]
    await (await registeredClient(server)).signIn(laptop)
    await server.auth.revoke({ subject: 'alice' })
    await (await registeredClient(server)).signIn(phone)

    expect(wordsOf((await pageIn(phone, server)).html)).not.toContain('Another browser')
  })

  it('does not come back when all that told of the end is gone, however often it was brought', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    try {
      const start = Date.now()
      const clock = manualClock(start)
      const server = await startSignInServer({ clock, storage: new MemoryStorage({}, clock) })
      const client = await registeredClient(server)
      const laptop = server.person('alice')
      await client.signIn(laptop)
      await server.auth.revoke({ subject: 'alice' })
      for (let times = 1; times <= 37; times += 1) {
        clock.advance(0.83 * DAY)
        vi.setSystemTime(clock.now())
        const cookie = laptop.cookies(server.origin)
        await fetch(client.authorizationUrl(), { redirect: 'manual', headers: { cookie } }).then((answer) => {
          for (const set of answer.headers.getSetCookie())
            if (set.startsWith('_session')) laptop.setCookie('127.0.0.1', set.split(';')[0] ?? '')
        })
      }
      await client.signIn(browserOf('alice'))

      const seen = await fetch(server.origin + PAGE, { headers: { cookie: laptop.cookies(server.origin) } })
      expect(wordsOf(await seen.text())).toContain('Sign in to see which apps')
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('a session that is ended', () => {
  /** Alice in two browsers, with a copy of the cookie of the second. */
  async function setUp() {
    const slow = 'https://slow.example.com/client'
    let [asked, open] = [false, (): void => undefined]
    const opened = new Promise<void>((resolve) => (open = resolve))
    const server = await startSignInServer({
      documents: async (url) => {
        asked = true
        await opened
        return { client_id: url, redirect_uris: [REDIRECT_URI], token_endpoint_auth_method: 'none' }
      },
    })
    const [here, there, copy] = [server.person('alice'), browserOf('alice'), browserOf('alice')]
    for (const browser of [here, there]) await (await registeredClient(server)).signIn(browser)
    const cookie = copySession(there, copy, server)
    return {
      ...{ server, here, there, copy },
      /** Begins a request with the cookie that has read the session. It returns a function that has it write. */
      underWay: async () => {
        const answer = fetch(clientOf(server, slow).authorizationUrl(), { headers: { cookie }, redirect: 'manual' })
        await until(() => asked)
        return async () => {
          open()
          return (await answer).status
        }
      },
    }
  }
  type Scene = Awaited<ReturnType<typeof setUp>>

  const ways: readonly [string, (scene: Scene) => Promise<unknown>][] = [
    [
      'on the page in another browser',
      async ({ server, here }) => press(here, await pageIn(here, server), 'End', 'Another browser'),
    ],
    ['by signing out', async ({ server, there }) => press(there, await pageIn(there, server), 'Sign out')],
    [
      'by a new one where it is',
      async ({ server, there }) => {
        const browser = browserOf('alice')
        const page = await pageIn(browser, server)
        copySession(there, browser, server)
        await press(browser, await press(browser, page, 'Sign in'), 'Sign out')
      },
    ],
    [
      'because another person signs in where it is',
      async ({ server, there }) => {
        const bob = server.person('bob')
        copySession(there, bob, server)
        await (await registeredClient(server)).signIn(bob, { prompt: 'login' })
      },
    ],
  ]

  it.each(ways)('%s does not come back by a request that was under way, and a new one can begin', async (_, end) => {
    const scene = await setUp()
    const { server, here, copy } = scene
    const goOn = await scene.underWay()
    await end(scene)

    expect(await goOn()).toBe(303)

    expect(wordsOf((await pageIn(here, server)).html)).not.toContain('Another browser')
    expect([await mustSignIn(copy, server), await mustSignIn(here, server)]).toEqual([true, false])
    await (await registeredClient(server)).signIn(copy)
    expect(await mustSignIn(copy, server)).toBe(false)
  })

  it.each(ways)('%s ends under each of its ids', async (_, end) => {
    const scene = await setUp()
    const { server, there, copy } = scene
    const goOn = await scene.underWay()
    // It gets another id, and then is written under the one of before once more.
    await (await registeredClient(server)).signIn(there)
    await goOn()
    expect(sessionIn(there, server)).not.toBe(sessionIn(copy, server))
    expect([await mustSignIn(there, server), await mustSignIn(copy, server)]).toEqual([false, false])
    const other = browserOf('alice')
    copySession(there, other, server)

    await end(scene)

    expect([await mustSignIn(other, server), await mustSignIn(copy, server)]).toEqual([true, true])
  })
})

it('a session that there is no room for in the list has ended', async () => {
  const server = await startSignInServer()
  const client = await registeredClient(server)
  const first = server.person('alice')
  await client.signIn(first)
  expect(await mustSignIn(first, server)).toBe(false)
  for (let others = 0; others < 49; others += 1) await client.signIn(browserOf('alice'))
  expect(await mustSignIn(first, server)).toBe(false)

  await client.signIn(browserOf('alice'))

  const page = await fetch(server.origin + PAGE, { headers: { cookie: first.cookies(server.origin) } })
  expect(wordsOf(await page.text())).toContain('Sign in to see which apps')
  expect(await mustSignIn(first, server)).toBe(true)
}, 60_000)

it('a session that there is no room for stays in the list until it has ended', async () => {
  const clock = manualClock()
  const rooms = modelRooms(new MemoryStorage(undefined, clock), clock)
  const note = (uid: string, end: (uid: string) => Promise<void> = () => Promise.resolve()) =>
    noteSession(rooms, { accountId: 'alice', uid }, end)
  for (let each = 0; each < 50; each += 1) await note(`session-${each}`)
  const uids = async () => (await readSessions(rooms, 'alice')).map(({ uid }) => uid)

  await expect(note('one-more', () => Promise.reject(new StorageError('unavailable')))).rejects.toThrow(StorageError)
  expect(await uids()).toContain('session-0')
  const ended: string[] = []
  await note('one-more', (uid) => Promise.resolve(void ended.push(uid)))

  expect(ended).toEqual(['session-0'])
  expect(await uids()).toEqual(expect.not.arrayContaining(['session-0']))
  expect(await uids()).toHaveLength(50)
})
