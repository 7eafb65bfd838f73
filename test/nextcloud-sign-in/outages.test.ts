import { describe, expect, it } from 'vitest'
import { MemoryStorage } from '../../src/index.js'
import { manualClock, pass } from '../support/clock.js'
import { wordsOf } from '../support/html.js'
import { register, registeredClient } from '../support/sign-in-client.js'
import { json, page as html } from '../../src/testing/nextcloud/exchange.js'
import type { Disturbance } from '../support/nextcloud/stand-in.js'
import { ACCOUNT_PASSWORD } from '../support/nextcloud/state.js'
import { createVisitor } from '../support/nextcloud/visitor.js'
import { press } from '../support/press-button.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const HOUR = 3_600_000
const TOKEN = '/index.php/apps/oauth2/api/v1/token'

/** Wrong requests from the address of this server, until Nextcloud takes no more of them. */
async function reachLimit({ nextcloud }: SignInServer): Promise<void> {
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'wrong' })
  let status = 0
  for (let count = 0; count < 20 && status !== 429; count += 1) {
    status = (await fetch(nextcloud.url + TOKEN, { method: 'POST', body })).status
  }
  expect(status).toBe(429)
}

const asked = ({ nextcloud }: SignInServer): number => nextcloud.requests.filter(({ path }) => path === TOKEN).length
const refreshTokenOf = ({ body }: { readonly body: Record<string, unknown> }): string => String(body['refresh_token'])

describe('the token endpoint of Nextcloud at its limit of wrong attempts', () => {
  it('is a page that says how long to wait, and nothing of the sign-in is left', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ clock })
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const callback = await alice.until(client.authorizationUrl(), `${server.origin}/nextcloud/callback`)
    await reachLimit(server)
    const before = asked(server)

    const response = await fetch(callback, { headers: { cookie: alice.cookies(callback) }, redirect: 'manual' })
    const words = wordsOf(await response.text())

    expect([response.status, response.headers.get('location'), response.headers.get('refresh')]).toEqual([
      503,
      null,
      null,
    ])
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(words).toContain('does not answer at the moment')
    expect(words).toMatch(/wait \d+ (?:seconds|minutes)/)
    expect(asked(server)).toBe(before + 1)
    expect(server.nextcloud.state.tokens).toEqual([])
    clock.advance(HOUR)
    expect((await client.signIn(alice)).status).toBe(200)
  })

  it('is a 503 for a refresh, which ends nothing and sends nobody to sign in', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ clock })
    const client = await registeredClient(server)
    const tokens = await client.signIn(server.person('alice'))
    clock.advance(2 * HOUR)
    await reachLimit(server)

    for (let count = 0; count < 3; count += 1) {
      const answer = await client.refresh(refreshTokenOf(tokens))
      expect([answer.status, answer.body['error']]).toEqual([503, 'temporarily_unavailable'])
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      clock.advance(60_000)
    }
    expect(await server.auth.isProvisioned({ subject: 'alice' })).toBe(true)
    clock.advance(HOUR)
    expect((await client.refresh(refreshTokenOf(tokens))).status).toBe(200)
  })
})

describe('a Nextcloud that is unavailable', () => {
  it.each([
    ['in maintenance', { status: 503, headers: { 'x-nextcloud-maintenance-mode': '1' }, body: '' }, undefined],
    ['busy', { status: 503, headers: { 'retry-after': '120' }, body: '' }, '120'],
    ['at its limit', { status: 429, body: '' }, undefined],
    ['broken', { status: 500, body: '<h1>Internal Server Error</h1>' }, undefined],
  ])('(%s) is a 503 for a refresh, and the refresh token stays good', async (_what, told, wait) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const tokens = await client.signIn(server.person('alice'))
    server.nextcloud.disturb(({ path }) => (path.includes('/cloud/user') ? told : undefined))

    const answer = await client.refresh(refreshTokenOf(tokens))
    server.nextcloud.disturb(undefined)

    expect([answer.status, answer.body['error']]).toEqual([503, 'temporarily_unavailable'])
    expect(answer.headers.get('retry-after')).toEqual(wait ?? expect.stringMatching(/^[1-9]\d*$/))
    expect((await client.refresh(refreshTokenOf(tokens))).status).toBe(200)
  })

  it.each<[string, ReturnType<Disturbance>]>([
    ['has no end', 'half'],
    ['breaks off', 'broken'],
    ['is too long', json(200, { ocs: { data: { id: 'alice', more: 'x'.repeat(20_000) } } })],
  ])('gives an answer to a refresh that %s: a 503, and the refresh token stays good', async (_what, told) => {
    const server = await startSignInServer({ http: { timeout: 500, maxResponseBytes: 20_000 } })
    const client = await registeredClient(server)
    const tokens = await client.signIn(server.person('alice'))
    server.nextcloud.disturb(({ path }) => (path.includes('/cloud/user') ? told : undefined))

    const answer = await client.refresh(refreshTokenOf(tokens))
    server.nextcloud.disturb(undefined)

    expect([answer.status, answer.body['error']]).toEqual([503, 'temporarily_unavailable'])
    expect((await client.refresh(refreshTokenOf(tokens))).status).toBe(200)
  })

  it.each([TOKEN, '/cloud/user'])(
    'holds back its answer at %s: a page for the person, and the next try signs in',
    async (path) => {
      const server = await startSignInServer({ http: { timeout: 500 } })
      const client = await registeredClient(server)
      const alice = server.person('alice')
      const callback = await alice.until(client.authorizationUrl(), `${server.origin}/nextcloud/callback`)
      server.nextcloud.disturb((request) => (request.path.includes(path) ? 'never' : undefined))

      const page = await alice.open(callback)
      server.nextcloud.disturb(undefined)

      expect(page.status).toBe(503)
      expect(wordsOf(page.html)).toContain('does not answer at the moment')
      expect((await client.signIn(alice)).status).toBe(200)
    },
  )

  it('holds back its answer to a refresh: a 503, and the refresh token stays good', async () => {
    const server = await startSignInServer({ http: { timeout: 500 } })
    const client = await registeredClient(server)
    const tokens = await client.signIn(server.person('alice'))
    server.nextcloud.disturb(({ path }) => (path.includes('/cloud/user') ? 'never' : undefined))

    const answer = await client.refresh(refreshTokenOf(tokens))
    server.nextcloud.disturb(undefined)

    expect([answer.status, answer.body['error']]).toEqual([503, 'temporarily_unavailable'])
    expect((await client.refresh(refreshTokenOf(tokens))).status).toBe(200)
  })
})

describe('an answer with status 200 that names nobody', () => {
  it.each([
    ['the page of a proxy', html(200, 'Please sign in to the network')],
    ['an upgrade that is due', html(200, 'Update needed')],
    ['OCS without a user', json(200, { ocs: { meta: { statuscode: 200 }, data: [] } })],
  ])('ends nothing at a refresh, nor when the person visits the page of connections: %s', async (_what, told) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const tokens = await client.signIn(server.person('alice'))
    const browser = createVisitor({ name: 'alice', password: ACCOUNT_PASSWORD })
    const page = await browser.open(`${server.origin}/nextcloud`)
    let asked = 0
    // The first question of the visit is who has signed in, and the second is whether the connection is theirs.
    server.nextcloud.disturb(({ path }) => (path.includes('/cloud/user') && (asked += 1) > 1 ? told : undefined))

    const seen = await press(browser, page, 'Sign in')
    const refreshed = await client.refresh(refreshTokenOf(tokens))
    server.nextcloud.disturb(undefined)

    expect([seen.status, refreshed.status]).toEqual([503, 200])
    expect(await server.auth.isProvisioned({ subject: 'alice' })).toBe(true)
    expect((await client.refresh(refreshTokenOf(refreshed))).status).toBe(200)
  })
})

describe('an answer of Nextcloud to a refresh', () => {
  it.each([
    ['names another account', json(200, { ocs: { data: { id: 'bob' } } }), 'invalid_grant'],
    [
      'is a redirect, which says nothing of the connection',
      { status: 302, headers: { location: '/' }, body: '' },
      undefined,
    ],
  ])('that %s', async (_what, told, error) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const tokens = await client.signIn(server.person('alice'))
    server.nextcloud.disturb(({ path }) => (path.includes('/cloud/user') ? told : undefined))

    const answer = await client.refresh(refreshTokenOf(tokens))

    expect([answer.status, answer.body['error']]).toEqual([error === undefined ? 200 : 400, error])
  })
})

it('a connection that turns out to be of another account ends with the visit of its person, here alone', async () => {
  const clock = manualClock(Date.now())
  const server = await startSignInServer({ clock })
  await (await registeredClient(server)).signIn(server.person('alice'))
  const browser = createVisitor({ name: 'alice', password: ACCOUNT_PASSWORD })
  const page = await browser.open(`${server.origin}/nextcloud`)
  const before = server.nextcloud.state.tokens.length
  let asked = 0
  const another = json(200, { ocs: { data: { id: 'bob' } } })
  server.nextcloud.disturb(({ path }) => (path.includes('/cloud/user') && (asked += 1) > 1 ? another : undefined))

  const seen = await press(browser, page, 'Sign in')
  server.nextcloud.disturb(undefined)

  expect([seen.status, wordsOf(seen.html)]).toEqual([200, expect.stringContaining('Nothing is connected')])
  expect(await server.auth.isProvisioned({ subject: 'alice' })).toBe(false)
  // Nor is it ended there later: it is of somebody else.
  for (let minutes = 0; minutes < 15; minutes += 1) {
    clock.advance(60_000)
    await new Promise((resolve) => setTimeout(resolve, 40))
  }
  expect(server.nextcloud.state.tokens).toHaveLength(before)
})

/** A store that can be unavailable. */
function switchableStorage() {
  const memory = new MemoryStorage()
  const own = Object.getOwnPropertyDescriptors(MemoryStorage.prototype)
  const down = () => Promise.reject(new Error('the disk is gone'))
  return {
    storage: memory,
    goDown: () => void Object.assign(memory, { get: down, put: down, delete: down, list: down }),
    comeBack: () => {
      for (const name of ['get', 'put', 'delete', 'list'] as const) Object.defineProperty(memory, name, own[name])
    },
  }
}

interface Sent {
  readonly method?: string
  readonly body?: string | URLSearchParams
  readonly type?: string
}

describe('a store that is unavailable', () => {
  it('is a 503 at each step of a sign-in, which goes on from there when it is back', async () => {
    const { storage, goDown, comeBack } = switchableStorage()
    const server = await startSignInServer({ storage })
    const alice = server.person('alice')
    const { origin } = server
    /** The step fails as an outage while the store is down, and leads nowhere. */
    const failsAt = async (url: string | URL, init: Sent = {}): Promise<void> => {
      goDown()
      const headers = { cookie: alice.cookies(url), ...(init.type !== undefined && { 'content-type': init.type }) }
      const { method = 'GET', body = null } = init
      const response = await fetch(url, { redirect: 'manual', method, body, headers })
      comeBack()
      const { status, headers: told } = response
      const step = new URL(url).pathname.replace(/[\w-]{21,}/, '…')
      expect([step, status, told.get('location'), told.get('refresh')]).toEqual([step, 503, null, null])
      expect([step, told.get('retry-after')]).toEqual([step, expect.stringMatching(/^[1-9]\d*$/)])
    }
    const form = (fields: Record<string, string>) => ({
      method: 'POST',
      body: new URLSearchParams(fields),
    })

    const body = JSON.stringify({ redirect_uris: ['https://client.example.com/callback'] })
    await failsAt(`${origin}/oauth/register`, { method: 'POST', body, type: 'application/json' })
    expect((await register(origin)).status).toBe(201)
    const client = await registeredClient(server)
    await failsAt(client.authorizationUrl())
    const question = await alice.until(client.authorizationUrl(), `${origin}/oauth/sign-in/`)
    await failsAt(question)
    const html = await (await fetch(question, { headers: { cookie: alice.cookies(question) } })).text()
    await failsAt(question, form({ token: /name="token" value="([^"]+)"/.exec(html)?.[1] ?? '', answer: 'yes' }))
    const callback = await alice.until(question, `${origin}/nextcloud/callback`)
    await failsAt(callback)
    const done = await alice.until(callback, `${origin}/oauth/sign-in/`)
    await failsAt(done)
    const resume = await alice.until(done, `${origin}/oauth/authorize/`)
    await failsAt(resume)
    const code = (await alice.until(resume, 'https://client.example.com/')).searchParams.get('code') ?? ''
    const down = async (step: () => ReturnType<typeof client.redeem>): Promise<void> => {
      goDown()
      const {
        status,
        body: { error },
        headers,
      } = await step()
      comeBack()
      expect([status, error, headers.get('retry-after')]).toEqual([503, 'temporarily_unavailable', '5'])
    }
    await down(() => client.redeem(code))
    const tokens = await client.redeem(code)
    expect(tokens.status).toBe(200)
    await down(() => client.refresh(refreshTokenOf(tokens)))
    await failsAt(`${origin}/oauth/revoke`, form({ client_id: client.clientId, token: refreshTokenOf(tokens) }))
    await failsAt(`${origin}/nextcloud`)
    expect((await client.refresh(refreshTokenOf(tokens))).status).toBe(200)
  })

  it('takes no connection after Nextcloud has given its tokens: these are ended there later, and the next sign-in works', async () => {
    const clock = manualClock(Date.now())
    const { storage, goDown, comeBack } = switchableStorage()
    const server = await startSignInServer({ clock, storage, http: { timeout: 500 } })
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const callback = await alice.until(client.authorizationUrl(), `${server.origin}/nextcloud/callback`)
    server.nextcloud.disturb(({ path }) => {
      if (path.includes('/cloud/user')) goDown()
      return undefined
    })

    const opened = alice.open(callback)
    await pass(clock, 3_000, 50)
    server.nextcloud.disturb(undefined)
    comeBack()
    expect((await opened).status).toBe(503)
    await pass(clock, 15 * 60_000, 20_000)

    expect(server.nextcloud.state.tokens).toEqual([])
    expect((await client.signIn(alice)).status).toBe(200)
  })
})

describe('an account of Nextcloud', () => {
  it('that is renamed stays the same person, with the new name', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const tokens = await client.signIn(server.person('alice'))
    const account = server.nextcloud.state.accounts.get('alice')
    if (account !== undefined) account.displayName = 'Alice Smith'

    const next = await client.refresh(refreshTokenOf(tokens))

    expect(next.status).toBe(200)
    expect(await server.auth.nextcloudUser({ token: String(next.body['access_token']) })).toMatchObject({
      id: 'alice',
      displayName: 'Alice Smith',
    })
  })

  it.each(['user:disable', 'user:delete'])('that has ended (%s) gets nothing more from any client', async (command) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const tokens = await client.signIn(alice)
    server.nextcloud.occ([command, 'alice'])

    expect((await client.refresh(refreshTokenOf(tokens))).body['error']).toBe('invalid_grant')
    await expect(server.auth.nextcloudUser({ token: String(tokens.body['access_token']) })).rejects.toThrow()
  })

  it('that is disabled and enabled again is signed in once more', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const tokens = await client.signIn(alice)
    server.nextcloud.occ(['user:disable', 'alice'])
    expect((await client.refresh(refreshTokenOf(tokens))).status).toBe(400)
    server.nextcloud.occ(['user:enable', 'alice'])

    expect((await client.signIn(server.person('alice'))).status).toBe(200)
  })

  it('that is deleted leaves nothing to whoever gets its user id later, nor to the apps of the first', async () => {
    const server = await startSignInServer()
    const [client, other] = [await registeredClient(server), await registeredClient(server)]
    const first = server.person('alice')
    const before = await client.signIn(first)
    server.nextcloud.occ(['user:delete', 'alice'])
    const second = server.person('alice')

    const tokens = await other.signIn(second)

    expect(tokens.status).toBe(200)
    expect((await client.refresh(refreshTokenOf(before))).body['error']).toBe('invalid_grant')
    await expect(server.auth.nextcloudUser({ token: String(before.body['access_token']) })).rejects.toThrow()
    expect((await other.refresh(refreshTokenOf(tokens))).status).toBe(200)
  })
})
