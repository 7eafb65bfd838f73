import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/storage/memory.js'
import { sessionCookie } from '../../src/nextcloud-sign-in/provider.js'
import { manualClock } from '../support/clock.js'
import { wordsOf } from '../support/html.js'
import { addAccount } from '../support/nextcloud/state.js'
import { createVisitor, type Visitor } from '../support/nextcloud/visitor.js'
import { clientOf, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const refreshTokenOf = ({ body }: { body: Record<string, unknown> }) => String(body['refresh_token'])

/** Ways to end a connection as a whole. */
const ENDS: readonly (readonly [string, (server: SignInServer) => Promise<unknown>])[] = [
  ['the connection was ended by the app', ({ auth }) => auth.revoke({ subject: 'alice' })],
  ['it was ended in Nextcloud', ({ nextcloud }) => Promise.resolve(nextcloud.state.tokens.splice(0))],
]

/** What a browser is asked when a client that it does not know yet sends it here. */
async function questionAt(server: SignInServer, browser: Visitor): Promise<string> {
  const client = await registeredClient(server)
  const question = await browser.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
  return wordsAt(question, browser)
}

/** What a page says to a browser, which presses nothing. */
async function wordsAt(page: URL, browser: Visitor): Promise<string> {
  return wordsOf(await (await fetch(page, { headers: { cookie: browser.cookies(page) } })).text())
}

/** Ends one client on the page of connections. */
async function endOnPage({ origin }: SignInServer, browser: Visitor, index: number): Promise<void> {
  const page = `${origin}/nextcloud`
  const seen = await fetch(page, { headers: { cookie: browser.cookies(page) } })
  const html = await seen.text()
  const token = /name="token" value="([^"]+)"/.exec(html)?.[1] ?? ''
  const wishes = [...html.matchAll(/name="do" value="([\w-]{43})"/g)].map(([, wish]) => wish ?? '')
  const set = seen.headers.getSetCookie().map((cookie) => cookie.split(';')[0])
  const { status } = await fetch(page, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: [browser.cookies(page), ...set].join('; '), origin },
    body: new URLSearchParams({ token, do: wishes[index] ?? '' }),
  })
  expect(status).toBe(303)
}

describe('a refresh token of before the end stays dead when the user connects the same client again', () => {
  it.each(ENDS)('%s', async (_how, end) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const old = refreshTokenOf(await client.signIn(server.person('alice')))
    await end(server)

    const fresh = await clientOf(server, client.clientId).signIn(server.person('alice'))

    expect((await client.refresh(old)).status).toBe(400)
    expect((await client.refresh(refreshTokenOf(fresh))).status).toBe(200)
  })

  it('also when all that told of the end is gone', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ clock, storage: new MemoryStorage({}, clock) })
    const client = await registeredClient(server)
    const old = refreshTokenOf(await client.signIn(server.person('alice')))
    await server.auth.revoke({ subject: 'alice' })
    clock.advance(31 * 86_400_000)

    const fresh = await clientOf(server, client.clientId).signIn(server.person('alice'))

    expect((await client.refresh(old)).status).toBe(400)
    expect((await client.refresh(refreshTokenOf(fresh))).status).toBe(200)
  })

  it('that client alone was ended on the page of connections, and the other goes on', async () => {
    const server = await startSignInServer()
    const [client, other] = [await registeredClient(server), await registeredClient(server)]
    const old = refreshTokenOf(await client.signIn(server.person('alice')))
    const browser = server.person('alice')
    const others = refreshTokenOf(await other.signIn(browser))
    const listed = async () =>
      (await server.auth.connections()).connections.flatMap(({ clients }) => clients.map(({ clientId }) => clientId))
    await endOnPage(server, browser, (await listed()).indexOf(client.clientId))
    expect(await listed()).toEqual([other.clientId])

    const fresh = await clientOf(server, client.clientId).signIn(browser)

    expect((await client.refresh(old)).status).toBe(400)
    expect((await client.refresh(refreshTokenOf(fresh))).status).toBe(200)
    expect((await other.refresh(others)).status).toBe(200)
  })
})

describe('a session of before the end is none when the user connects again from another browser', () => {
  it.each(ENDS)('%s', async (_how, end) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const [laptop, phone] = [server.person('alice'), server.person('alice')]
    await client.signIn(laptop)
    expect(await questionAt(server, laptop)).toContain('signed in as alice')
    await end(server)
    await client.signIn(phone)

    const asked = await questionAt(server, laptop)
    expect([asked.includes('signed in as'), asked.includes('If you say yes, you sign in at')]).toEqual([false, true])
    expect(await questionAt(server, phone)).toContain('signed in as alice')
  })

  it('not even between its question and the answer', async () => {
    const server = await startSignInServer()
    const [client, another] = [await registeredClient(server), await registeredClient(server)]
    const laptop = server.person('alice')
    await client.signIn(laptop)
    const question = await laptop.until(another.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    expect(await wordsAt(question, laptop)).toContain('signed in as alice')
    await server.auth.revoke({ subject: 'alice' })
    await client.signIn(server.person('alice'))

    expect(await wordsAt(question, laptop)).not.toContain('signed in as')
  })
})

it('a user id that was given to another person brings the first one nothing', async () => {
  const server = await startSignInServer()
  const { state } = server.nextcloud
  const client = await registeredClient(server)
  const before = server.person('alice')
  const old = refreshTokenOf(await client.signIn(before))
  state.accounts.delete('alice')
  state.tokens.splice(0)
  state.sessions.clear()
  addAccount(state, 'alice')
  Object.assign(state.accounts.get('alice')!, { password: 'other-password' })
  await clientOf(server, client.clientId).signIn(createVisitor({ name: 'alice', password: 'other-password' }))

  expect((await client.refresh(old)).status).toBe(400)
  expect(await questionAt(server, before)).not.toContain('signed in as')
})

it.each([
  ['https://mcp.example.com', '__Host-mcp-nextcloud-session'],
  ['http://127.0.0.1:3000', '_session'],
])('the cookie of a session at %s is %s', (issuer, name) => {
  expect(sessionCookie(issuer)).toBe(name)
})
