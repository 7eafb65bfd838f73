import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { SubjectTokenRejectedError } from '../../src/errors/errors.js'
import { createSealer } from '../../src/grants/seal.js'
import type { StorageAdapter } from '../../src/index.js'
import { ENCRYPTION_KEY } from '../support/grant-constants.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { sessionCookie } from '../../src/nextcloud-sign-in/provider.js'
import { manualClock } from '../support/clock.js'
import { wordsOf } from '../support/html.js'
import { addAccount } from '../support/nextcloud/state.js'
import { createVisitor, type Visitor } from '../support/nextcloud/visitor.js'
import { press } from '../support/press-button.js'
import { clientOf, registeredClient, type TokenAnswer } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const refreshTokenOf = ({ body }: { body: Record<string, unknown> }) => String(body['refresh_token'])

/** Ways to end a connection as a whole. */
const ENDS: readonly (readonly [string, (server: SignInServer) => Promise<unknown>])[] = [
  ['the connection was ended by the app', ({ auth }) => auth.revoke({ subject: 'alice' })],
  ['it was ended in Nextcloud', ({ nextcloud }) => Promise.resolve(nextcloud.state.tokens.splice(0))],
]

const ALICE = { subject: 'alice' }

/** The answer of a tool to a client, in words. */
async function useTool({ url }: SignInServer, { body }: TokenAnswer): Promise<string> {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'whoami', arguments: {} } }
  const answer = await fetch(url, {
    method: 'POST',
    headers: { ...headers, authorization: `Bearer ${String(body['access_token'])}` },
    body: JSON.stringify(call),
  })
  return `${answer.status} ${await answer.text()}`
}

/** The answer of an endpoint for clients, with the token of one. */
async function accountAt(
  { origin }: SignInServer,
  name: 'status' | 'disconnect',
  { body }: TokenAnswer,
): Promise<string> {
  const answer = await fetch(`${origin}/nextcloud/${name}`, {
    method: name === 'status' ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${String(body['access_token'])}` },
  })
  return `${answer.status} ${await answer.text()}`
}

/** The link by which the client of a token has its user connect. */
const linkOf = async ({ auth }: SignInServer, { body }: TokenAnswer): Promise<string> =>
  auth.createConnectUrl(await auth.verify(String(body['access_token'])))

/** Returns where the grant is in the store, as it is stored, and opened. */
async function storedGrant(storage: StorageAdapter) {
  const sealer = createSealer([new Uint8Array(Buffer.from(ENCRYPTION_KEY, 'base64url'))])
  for (const key of (await storage.list?.({ limit: 1_000 })) ?? []) {
    const { value, version } = (await storage.get(key)) ?? expect.unreachable()
    const opened = await sealer.open(key, value).catch(() => undefined)
    if (typeof opened === 'object' && opened !== null && 'generation' in opened) return { key, version, opened }
  }
  return expect.unreachable()
}

/** Seals the grant as an instance with another key would have. */
async function sealGrantElsewhere(storage: StorageAdapter): Promise<void> {
  const { key, version, opened } = await storedGrant(storage)
  const others = createSealer([new Uint8Array(randomBytes(32))])
  await storage.put(key, await others.seal(key, opened), version, 86_400_000)
}

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

it('a number in the store that no clock comes to keeps the user out of nothing: the next sign-in connects', async () => {
  const server = await startSignInServer()
  const client = await registeredClient(server)
  await client.signIn(server.person('alice'))
  const { key, version } = await storedGrant(server.storage)
  await server.storage.put(key, 'taken-back:999999999999999', version)

  const fresh = await client.signIn(server.person('alice'))

  expect(await useTool(server, fresh)).toContain('200')
  expect((await client.refresh(refreshTokenOf(fresh))).status).toBe(200)
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

const ENDED = 'The access token is no longer accepted'

describe('a connection that was ended in Nextcloud and is made again by a link', () => {
  it('gives back to others nothing, and what the person signs in next works at once', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const thief = server.person('alice')
    const stolen = refreshTokenOf(await client.signIn(thief))
    const phone = server.person('alice')
    const own = await clientOf(server, client.clientId).signIn(phone)
    const link = await linkOf(server, own)
    server.nextcloud.state.tokens.splice(0)
    // Without a link, which would leave the app with a token that the new connection refuses.
    expect(await useTool(server, own)).toContain(ENDED)
    expect(await useTool(server, own)).toMatch(/^401 .*invalid_token/)

    expect((await phone.open(link)).status).toBe(200)

    expect(await server.auth.isProvisioned(ALICE)).toBe(true)
    expect((await client.refresh(stolen)).status).toBe(400)
    expect((await client.refresh(refreshTokenOf(own))).status).toBe(400)
    expect(await questionAt(server, thief)).not.toContain('signed in as')
    const again = await clientOf(server, client.clientId).signIn(phone)
    expect(again.status).toBe(200)
    expect(await useTool(server, again)).toContain('"id\\":\\"alice')
    expect((await client.refresh(refreshTokenOf(again))).status).toBe(200)
  })

  it('leaves a living one to all who have it', async () => {
    const server = await startSignInServer()
    const [client, other] = [await registeredClient(server), await registeredClient(server)]
    const alice = server.person('alice')
    const [own, others] = [await client.signIn(alice), await other.signIn(alice)]

    expect((await alice.open(await linkOf(server, own))).status).toBe(200)

    for (const [one, { refresh }] of [[own, client] as const, [others, other] as const])
      expect((await refresh(refreshTokenOf(one))).status).toBe(200)
    expect(await questionAt(server, alice)).toContain('signed in as alice')
  })
})

describe('an access token of before the end', () => {
  it.each(ENDS)('is refused once the user has connected the same client again: %s', async (_how, end) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const old = await client.signIn(server.person('alice'))
    const verified = await server.auth.verify(String(old.body['access_token']))
    expect(await useTool(server, old)).toContain('"id\\":\\"alice')
    await end(server)
    const fresh = await clientOf(server, client.clientId).signIn(server.person('alice'))

    expect(await accountAt(server, 'status', old)).toMatch(/^401 .*invalid_token/)
    expect(await accountAt(server, 'disconnect', old)).toMatch(/^401 .*invalid_token/)
    expect(await server.auth.isProvisioned(verified)).toBe(false)
    await expect(server.auth.createConnectUrl(verified)).rejects.toBeInstanceOf(SubjectTokenRejectedError)
    await expect(server.auth.revoke(verified)).rejects.toBeInstanceOf(SubjectTokenRejectedError)
    expect(await useTool(server, old)).toContain(ENDED)
    // From then on the client hears that it must get another one.
    expect(await useTool(server, old)).toMatch(/^401 .*invalid_token/)
    await expect(server.auth.verify(String(old.body['access_token']))).rejects.toThrow(ENDED)
    expect(await useTool(server, fresh)).toContain('"id\\":\\"alice')
    expect(await accountAt(server, 'status', fresh)).toBe('200 {"connected":true}')
  })

  it.each<[string, (server: SignInServer, answer: TokenAnswer) => Promise<unknown>]>([
    [
      'at the endpoint',
      async (server, answer) => JSON.parse((await accountAt(server, 'disconnect', answer)).slice(4)) as unknown,
    ],
    ['by the app', async ({ auth }, { body }) => auth.revoke(await auth.verify(String(body['access_token'])))],
  ])(
    'ends a connection that this server has no key of, %s, and whoever has the key ends the rest',
    async (_how, end) => {
      const server = await startSignInServer()
      const client = await registeredClient(server)
      const answer = await client.signIn(server.person('alice'))
      await sealGrantElsewhere(server.storage)

      expect(await end(server, answer)).toEqual({ revoked: 'pending' })
      expect(await server.auth.isProvisioned(ALICE)).toBe(false)
    },
  )

  it('is refused at another instance too', async () => {
    const server = await startSignInServer()
    const [client, other] = [await registeredClient(server), await registeredClient(server)]
    const alice = server.person('alice')
    const [old, others] = [await client.signIn(alice), await other.signIn(alice)]
    const second = { ...server, url: `${(await server.another()).url}/mcp` }
    await accountAt(server, 'disconnect', old)
    await clientOf(server, client.clientId).signIn(alice)

    expect(await useTool(second, others)).toContain('"id\\":\\"alice')
    expect(await useTool(second, old)).toContain(ENDED)
    expect(await useTool(second, old)).toMatch(/^401 /)
    expect(await useTool(second, others)).toContain('"id\\":\\"alice')
  })

  it('of one client does not end with another, however often that disconnects', async () => {
    const server = await startSignInServer()
    const [client, other] = [await registeredClient(server), await registeredClient(server)]
    const alice = server.person('alice')
    const [own, others] = [await client.signIn(alice), await other.signIn(alice)]
    for (let times = 0; times < 24; times += 1) await accountAt(server, 'disconnect', own)

    expect(await useTool(server, others)).toContain('"id\\":\\"alice')
    expect((await other.refresh(refreshTokenOf(others))).status).toBe(200)
    expect(await questionAt(server, alice)).toContain('signed in as alice')
  })

  it('is good for its user by name, and for a client whose user has taken nothing back', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const own = await client.signIn(server.person('alice'))
    await clientOf(server, client.clientId).signIn(server.person('alice'))

    expect(await useTool(server, own)).toContain('"id\\":\\"alice')
    expect(await server.auth.isProvisioned({ ...ALICE, clientId: client.clientId })).toBe(true)
  })
})

it('a token whose user has disconnected leads to a connection, as long as there is none', async () => {
  const server = await startSignInServer()
  const client = await registeredClient(server)
  const alice = server.person('alice')
  const old = await client.signIn(alice)
  const verified = await server.auth.verify(String(old.body['access_token']))

  expect(await server.auth.revoke(verified)).toMatchObject({ revoked: true })
  expect(await linkOf(server, old)).toMatch(/^http/)
  await expect(server.auth.revoke(verified)).resolves.toHaveProperty('revoked')
  expect(await server.auth.createConnectUrl({ ...ALICE, clientId: client.clientId })).toMatch(/^http/)
})

describe('a user id that was given to another person', () => {
  const OTHER = createVisitor.bind(undefined, { name: 'alice', password: 'other-password' })

  function giveIdOn({ nextcloud: { state } }: SignInServer): void {
    state.accounts.delete('alice')
    state.tokens.splice(0)
    state.sessions.clear()
    addAccount(state, 'alice')
    Object.assign(state.accounts.get('alice')!, { password: 'other-password' })
  }

  type Connects = (server: SignInServer, clientId: string, before: Visitor) => Promise<unknown>

  /** Answers the token endpoint of Nextcloud with this status, after its first answer. */
  function disturbRenewals({ nextcloud }: SignInServer, status: number): void {
    let answers = 0
    nextcloud.disturb(({ path }) => (path.includes('/oauth2/api/v1/token') && (answers += 1) > 1 ? status : undefined))
  }

  it.each<[string, Connects]>([
    ['signs in with the same app', (server, clientId) => clientOf(server, clientId).signIn(OTHER())],
    ['signs in with another app', async (server) => (await registeredClient(server)).signIn(OTHER())],
    ...[429, 503].map((status): [string, Connects] => [
      `signs in while Nextcloud answers ${status} to renewals`,
      async (server, clientId) => {
        disturbRenewals(server, status)
        await clientOf(server, clientId).signIn(OTHER())
        server.nextcloud.disturb(undefined)
      },
    ]),
    [
      'begins at the page of connections, and connects by a link',
      async (server, clientId) => {
        const second = OTHER()
        const page = await press(second, await second.open(`${server.origin}/nextcloud`), 'Sign in')
        expect(wordsOf(page.html)).toContain('Nothing is connected')
        const own = await clientOf(server, clientId).signIn(second)
        expect((await second.open(await linkOf(server, own))).status).toBe(200)
      },
    ],
    [
      'connects by a link in the browser of the first, while nobody has noticed',
      async (server, _clientId, before) => {
        const link = await server.auth.createConnectUrl({ ...ALICE, clientId: 'app' })
        const second = OTHER()
        for (const pair of before.cookies(new URL(server.origin)).split('; ')) second.setCookie('127.0.0.1', pair)
        expect((await second.open(link)).status).toBe(200)
      },
    ],
  ])('brings the first one nothing: the second %s', async (_, connect) => {
    const server = await startSignInServer()
    const [client, other] = [await registeredClient(server), await registeredClient(server)]
    const before = server.person('alice')
    const first = await client.signIn(before)
    const old = [first, await other.signIn(before)].map(refreshTokenOf)
    giveIdOn(server)

    await connect(server, client.clientId, before)

    expect(await server.auth.isProvisioned(ALICE)).toBe(true)
    expect([(await client.refresh(old[0]!)).status, (await other.refresh(old[1]!)).status]).toEqual([400, 400])
    expect(await questionAt(server, before)).not.toContain('signed in as')
  })

  it('is not disconnected by the page on which the first one connected', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const first = server.person('alice')
    const connected = await first.open(await linkOf(server, await client.signIn(first)))
    giveIdOn(server)
    const own = await clientOf(server, client.clientId).signIn(OTHER())

    const pressed = await press(first, connected, 'Disconnect')

    expect([pressed.status, wordsOf(pressed.html)]).toEqual([403, expect.stringContaining('Nothing was changed')])
    expect(await useTool(server, own)).toContain('"id\\":\\"alice')
  })
})

it.each([
  ['https://mcp.example.com', '__Host-mcp-nextcloud-session'],
  ['http://127.0.0.1:3000', '_session'],
])('the cookie of a session at %s is %s', (issuer, name) => {
  expect(sessionCookie(issuer)).toBe(name)
})
