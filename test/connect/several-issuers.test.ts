import { hash, randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { MemoryStorage } from '../../src/index.js'
import type { McpAuthOptions } from '../../src/index.js'
import { ENCRYPTION_KEY, MCP_CLIENT } from '../support/grant-constants.js'
import { bareHost } from '../support/hosts.js'
import { wordsOf } from '../support/html.js'
import { startNextcloudAccounts } from '../support/nextcloud-accounts.js'
import { createRefreshTokens } from '../support/refresh-tokens.js'
import type { ReceivedRequest, ScriptedAuthorizationServer } from '../support/scripted-authorization-server.js'
import { createTestBrowser, ORIGIN, type TestBrowser, type Visit } from '../support/test-browser.js'
import { CLIENTS, twoIssuers, type TwoIssuers } from '../support/two-issuers.js'

type At = 'a' | 'b'

/** What the server says that gives the code, in place of the truth. */
interface Lies {
  readonly idToken?: (honest: Record<string, unknown>) => Promise<string>
  readonly callback?: Record<string, string | undefined>
}

/** Both servers have users sign in, and the pages run. */
async function setUp(options: McpAuthOptions = {}, metadata: Record<string, unknown> = {}) {
  const two = await twoIssuers()
  const { a, b, clock } = two
  const nextcloud = { url: 'https://cloud.example.com', mode: 'refresh-token' } as const
  const storage = new MemoryStorage(undefined, clock)
  const auth = two.open({ storage, encryptionKey: ENCRYPTION_KEY, nextcloud, ...options })
  const app = await bareHost.start([auth.routes()])
  onTestFinished(app.close)
  const codes = { a: signsIn(a, metadata), b: signsIn(b, metadata) }

  /** Alice signs in at one server: path and query of the callback. */
  async function authorize(at: At, to: URL | undefined, { idToken, callback }: Lies = {}): Promise<string> {
    expect(to?.origin).toBe(two[at].issuer)
    const seconds = Math.floor(clock.now() / 1_000)
    const nonce = to?.searchParams.get('nonce')
    const honest = {
      aud: CLIENTS[at].clientId,
      nonce,
      iat: seconds,
      exp: seconds + 300,
      client_id: undefined,
      scope: undefined,
    }
    const mint = idToken ?? ((claims: Record<string, unknown>) => two[at].mint(claims, { header: { typ: 'JWT' } }))
    const code = codes[at].give(await mint(honest))
    const back = new URL(to?.searchParams.get('redirect_uri') ?? '')
    const said = { code, state: to?.searchParams.get('state') ?? '', iss: two[at].issuer }
    const parameters: Record<string, string | undefined> = { ...said, ...callback }
    for (const [name, value] of Object.entries(parameters)) if (value !== undefined) back.searchParams.set(name, value)
    return back.pathname + back.search
  }
  const browser = createTestBrowser(app.url)
  /** From a link for alice of an issuer to the server where she is to sign in. */
  async function agree(at: At): Promise<URL | undefined> {
    const link = await auth.createConnectUrl({ issuer: two[at].issuer, subject: 'alice', clientId: MCP_CLIENT })
    return (await browser.press(await browser.open(link), { answer: 'yes' })).refreshTo
  }
  const isConnected = (at: At) => auth.isProvisioned({ issuer: two[at].issuer, subject: 'alice', clientId: MCP_CLIENT })
  return { ...two, auth, browser, agree, authorize, isConnected }
}

/** Gives codes, and for each of them tokens, once. */
function signsIn(as: ScriptedAuthorizationServer, metadata: Record<string, unknown>) {
  Object.assign(as.metadata, {
    authorization_endpoint: `${as.issuer}/authorize`,
    scopes_supported: ['openid', 'offline_access'],
    authorization_response_iss_parameter_supported: true,
    ...metadata,
  })
  const refreshTokens = createRefreshTokens()
  const known = new Map<string, string>()
  as.script('/token', (request: ReceivedRequest, res: ServerResponse) => {
    if (request.form.get('grant_type') !== 'authorization_code') return refreshTokens.answer(request, res)
    const code = request.form.get('code') ?? ''
    const idToken = known.get(code)
    known.delete(code)
    const tokens = {
      access_token: fresh(),
      token_type: 'Bearer',
      expires_in: 300,
      refresh_token: refreshTokens.issue(),
      id_token: idToken,
    }
    res.writeHead(idToken === undefined ? 400 : 200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(idToken === undefined ? { error: 'invalid_grant' } : tokens))
  })
  return {
    give(idToken: string): string {
      const code = fresh()
      known.set(code, idToken)
      return code
    },
  }
}

const fresh = (): string => randomBytes(16).toString('base64url')
const redeemed = (as: ScriptedAuthorizationServer) =>
  as.received('/token').filter(({ form }) => form.get('grant_type') === 'authorization_code')
const clientOf = ({ headers }: ReceivedRequest): string =>
  Buffer.from((headers.authorization ?? '').split(' ')[1] ?? '', 'base64')
    .toString()
    .split(':')[0] ?? ''

describe('a connection', () => {
  it.each(['a', 'b'] as const)('is made at the issuer of the user, with the client there: %s', async (at) => {
    const setup = await setUp()
    const { agree, authorize, browser, isConnected } = setup
    const other = at === 'a' ? 'b' : 'a'
    const to = await agree(at)
    expect(to?.searchParams.get('client_id')).toBe(CLIENTS[at].clientId)
    expect((await browser.open(await authorize(at, to))).status).toBe(200)
    expect([await isConnected(at), await isConnected(other)]).toEqual([true, false])
    expect(redeemed(setup[at]).map(clientOf)).toEqual([CLIENTS[at].clientId])
    expect(setup[other].received()).toEqual([])
    expect(setup.events.filter(({ type }) => type === 'grant.stored')).toMatchObject([{ issuer: setup[at].issuer }])
  })

  it.each(['a', 'b'] as const)(
    'for this server’s own work is consent for its client at the issuer of the user: %s',
    async (at) => {
      const { auth, browser, authorize, ...two } = await setUp()
      const link = await auth.createConnectUrl({ issuer: two[at].issuer, subject: 'alice' })
      const { refreshTo } = await browser.press(await browser.open(link), { answer: 'yes' })
      await browser.open(await authorize(at, refreshTo))

      const { connections } = await auth.connections()
      expect(connections).toMatchObject([{ issuer: two[at].issuer, clients: [{ clientId: CLIENTS[at].clientId }] }])
    },
  )

  it.each(['a', 'b'] as const)('is made at one issuer while the other is unavailable: %s', async (at) => {
    const setup = await setUp()
    await setup[at === 'a' ? 'b' : 'a'].stop()
    expect((await setup.browser.open(await setup.authorize(at, await setup.agree(at)))).status).toBe(200)
    expect(await setup.isConnected(at)).toBe(true)
  })

  it('is not begun while its own issuer is unavailable', async () => {
    const { a, auth, browser } = await setUp()
    await a.stop()
    const link = await auth.createConnectUrl({ issuer: a.issuer, subject: 'alice', clientId: MCP_CLIENT })
    expect((await browser.open(link)).status).toBe(503)
  })

  it('of the same subject at the other issuer is another one, and ends alone', async () => {
    const setup = await setUp()
    for (const at of ['a', 'b'] as const)
      expect((await setup.browser.open(await setup.authorize(at, await setup.agree(at)))).status).toBe(200)
    await setup.auth.revoke({ issuer: setup.a.issuer, subject: 'alice' })
    expect([await setup.isConnected('a'), await setup.isConnected('b')]).toEqual([false, true])
  })
})

describe('an answer from the wrong issuer', () => {
  it.each(['a', 'b'] as const)(
    'is refused by its iss, and the code goes to nobody (RFC 9207): begun at %s',
    async (at) => {
      const setup = await setUp()
      const other = setup[at === 'a' ? 'b' : 'a']
      const back = await setup.authorize(at, await setup.agree(at), { callback: { iss: other.issuer } })
      expect((await setup.browser.open(back)).status).toBe(400)
      expect([...redeemed(setup.a), ...redeemed(setup.b)]).toEqual([])
      expect([await setup.isConnected('a'), await setup.isConnected('b')]).toEqual([false, false])
    },
  )

  it('is refused without iss, where the server that was asked says that it sends one', async () => {
    const setup = await setUp()
    const back = await setup.authorize('b', await setup.agree('b'), { callback: { iss: undefined } })
    expect((await setup.browser.open(back)).status).toBe(400)
    expect([...redeemed(setup.a), ...redeemed(setup.b)]).toEqual([])
  })

  it('with its code and without iss goes to the server that was asked, which does not know the code', async () => {
    const setup = await setUp({}, { authorization_response_iss_parameter_supported: undefined })
    const [toA, toB] = [await setup.agree('a'), await setup.agree('b')]
    const code = new URL(await setup.authorize('b', toB), ORIGIN).searchParams.get('code') ?? ''
    const back = await setup.authorize('a', toA, { callback: { iss: undefined, code } })
    expect((await setup.browser.open(back)).status).toBe(502)
    expect([redeemed(setup.a).length, redeemed(setup.b).length]).toEqual([1, 0])
  })

  it.each([
    ['of the other issuer, in its name', 'other', (issuer: string) => issuer],
    ['of the other issuer, in the name of this one', 'other', () => undefined],
    ['of this one, in the name of the other', 'own', (issuer: string) => issuer],
  ] as const)('has no ID token that counts: one %s', async (_name, signer, named) => {
    const setup = await setUp()
    const { a, b } = setup
    const idToken = (honest: Record<string, unknown>) => {
      const iss = named(b.issuer) ?? a.issuer
      return (signer === 'other' ? b : a).mint({ ...honest, iss }, { header: { typ: 'JWT' } })
    }
    const visit = await setup.browser.open(await setup.authorize('a', await setup.agree('a'), { idToken }))
    expect(visit.status).toBe(403)
    expect([await setup.isConnected('a'), await setup.isConnected('b')]).toEqual([false, false])
  })

  it('has no ID token that counts: one for the client of the other', async () => {
    const setup = await setUp()
    const idToken = (honest: Record<string, unknown>) =>
      setup.a.mint({ ...honest, aud: CLIENTS.b.clientId }, { header: { typ: 'JWT' } })
    const visit = await setup.browser.open(await setup.authorize('a', await setup.agree('a'), { idToken }))
    expect([visit.status, await setup.isConnected('a')]).toEqual([403, false])
  })
})

describe('where issuers do not name themselves in their answers (RFC 9700 §4.4)', () => {
  const silent = { authorization_response_iss_parameter_supported: undefined }
  const unnamed = { callback: { iss: undefined } }
  /** Milliseconds for which metadata is taken as it is. */
  const MAX_AGE = 3_600_000
  const refusals = ({ events }: Pick<TwoIssuers, 'events'>) =>
    events.flatMap((event) => (event.type === 'connect.failed' ? [event.reason] : []))
  const callbackOf = (to: URL | undefined): string => to?.searchParams.get('redirect_uri') ?? ''
  /** The same answer, at the redirect URI of another request. */
  const movedTo = (to: URL | undefined, answer: string): string =>
    new URL(callbackOf(to)).pathname + new URL(answer, ORIGIN).search

  it('each after the first has a redirect URI of its own, at which it connects', async () => {
    const setup = await setUp({}, silent)
    const place = hash('sha256', setup.b.issuer).slice(0, 16)
    for (const [at, path] of [
      ['a', '/nextcloud/callback'],
      ['b', `/nextcloud/callback/${place}`],
    ] as const) {
      const to = await setup.agree(at)
      expect(callbackOf(to)).toBe(ORIGIN + path)
      expect((await setup.browser.open(await setup.authorize(at, to, unnamed))).status).toBe(200)
      expect(redeemed(setup[at]).map(({ form }) => form.get('redirect_uri'))).toEqual([ORIGIN + path])
    }
    expect([await setup.isConnected('a'), await setup.isConnected('b')]).toEqual([true, true])
  })

  it('each after the first lets people in on the page of connections at its own redirect URI', async () => {
    const { browser, authorize } = await setUp({}, silent)
    const page = await browser.open('/nextcloud')
    const [, wish = ''] = [...page.text.matchAll(/name="do" value="([^"]*)"/g)].map(([, value]) => value)
    const { refreshTo } = await browser.press(page, { do: wish })
    const back = await authorize('b', refreshTo, unnamed)
    expect(back).toMatch(/^\/nextcloud\/callback\/[\da-f]{16}\?/)
    expect((await browser.open(back)).status).toBe(303)
  })

  it('one has the redirect URI of the first, if it names itself', async () => {
    const setup = await setUp({}, silent)
    Object.assign(setup.b.metadata, { authorization_response_iss_parameter_supported: true })
    expect(callbackOf(await setup.agree('b'))).toBe(`${ORIGIN}/nextcloud/callback`)
  })

  it.each([
    ['a', 'b'],
    ['b', 'a'],
  ] as const)(
    'the code of one is not redeemed at another that has sent the person there: begun at %s, of %s',
    async (hostile, honest) => {
      const setup = await setUp({}, silent)
      const [toHostile, toHonest] = [await setup.agree(hostile), await setup.agree(honest)]
      const state = toHostile?.searchParams.get('state') ?? ''
      const back = await setup.authorize(honest, toHonest, { callback: { iss: undefined, state } })
      expect((await setup.browser.open(back)).status).toBe(400)
      expect(refusals(setup)).toEqual(['answer'])
      expect([...redeemed(setup.a), ...redeemed(setup.b)]).toEqual([])
      // Its state is spent.
      expect((await setup.browser.open(movedTo(toHostile, back))).status).toBe(400)
      expect([...redeemed(setup.a), ...redeemed(setup.b)]).toEqual([])
    },
  )

  it('nor for the page of connections', async () => {
    const setup = await setUp({}, silent)
    const page = await setup.browser.open('/nextcloud')
    const [, wish = ''] = [...page.text.matchAll(/name="do" value="([^"]*)"/g)].map(([, value]) => value)
    const state = (await setup.browser.press(page, { do: wish })).refreshTo?.searchParams.get('state') ?? ''
    const back = await setup.authorize('a', await setup.agree('a'), { callback: { iss: undefined, state } })
    expect((await setup.browser.open(back)).status).toBe(400)
    expect(refusals(setup)).toEqual(['answer'])
    expect([...redeemed(setup.a), ...redeemed(setup.b)]).toEqual([])
  })

  it('one that says that it does, and takes it back on the way, gets no code of the first', async () => {
    const setup = await setUp({}, silent)
    Object.assign(setup.b.metadata, { authorization_response_iss_parameter_supported: true })
    await setup.agree('b')
    setup.clock.advance(MAX_AGE - 1_000)
    const state = (await setup.agree('b'))?.searchParams.get('state') ?? ''
    const back = await setup.authorize('a', await setup.agree('a'), { callback: { iss: undefined, state } })
    Object.assign(setup.b.metadata, silent)
    setup.clock.advance(2_000)
    // Its metadata is fetched again.
    await vi.waitFor(async () => expect(callbackOf(await setup.agree('b'))).not.toBe(`${ORIGIN}/nextcloud/callback`))
    expect((await setup.browser.open(back)).status).toBe(400)
    expect(refusals(setup)).toEqual(['answer'])
    expect(redeemed(setup.b)).toEqual([])
  })
})

describe('the page of connections', () => {
  const buttons = ({ text }: Visit): string[] =>
    [...text.matchAll(/name="do" value="([^"]*)"/g)].map(([, value]) => value ?? '')
  const leave = async (browser: TestBrowser, wish: string): Promise<Visit> =>
    browser.press(await browser.open('/nextcloud'), { do: wish })

  it('lets the person choose an issuer, and shows the connection of that one', async () => {
    const { a, b, browser, agree, authorize } = await setUp()
    await browser.open(await authorize('b', await agree('b')))
    const page = await browser.open('/nextcloud')
    for (const as of [a, b]) expect(wordsOf(page.text)).toContain(`Sign in at ${new URL(as.issuer).host}`)
    const [atA = '', atB = ''] = buttons(page)
    for (const [at, wish, state] of [
      ['a', atA, 'Not connected'],
      ['b', atB, 'Connected'],
    ] as const) {
      const { refreshTo } = await leave(browser, wish)
      expect(refreshTo?.searchParams.get('client_id')).toBe(CLIENTS[at].clientId)
      expect((await browser.open(await authorize(at, refreshTo))).status).toBe(303)
      const seen = await browser.open('/nextcloud')
      expect(wordsOf(seen.text)).toContain(`State ${state}`)
      await browser.press(seen, { do: 'sign-out' })
    }
  })

  it.each(['sign-in', 'another', 'sign-in unknown', ''])('begins no sign-in for the wish %j', async (wish) => {
    const { a, b, browser } = await setUp()
    const { status, refreshTo } = await leave(browser, wish)
    expect([status, refreshTo]).toEqual([403, undefined])
    expect([...a.received(), ...b.received()]).toEqual([])
  })

  it('lets nobody in whom the other issuer names', async () => {
    const { a, b, browser, authorize } = await setUp()
    const [atA = ''] = buttons(await browser.open('/nextcloud'))
    const { refreshTo } = await leave(browser, atA)
    const idToken = (honest: Record<string, unknown>) =>
      b.mint({ ...honest, iss: a.issuer }, { header: { typ: 'JWT' } })
    expect((await browser.open(await authorize('a', refreshTo, { idToken }))).status).toBe(403)
    expect(buttons(await browser.open('/nextcloud')).length).toBe(2)
  })

  it('offers one issuer while the other is unavailable', async () => {
    const { a, browser, authorize } = await setUp()
    await a.stop()
    const [atA = '', atB = ''] = buttons(await browser.open('/nextcloud'))
    expect((await leave(browser, atA)).status).toBe(503)
    const { refreshTo } = await leave(browser, atB)
    expect((await browser.open(await authorize('b', refreshTo))).status).toBe(303)
  })
})

it('in app-password mode the sign-in is at the issuer of the user, too', async () => {
  const accounts = await startNextcloudAccounts(Date.now)
  onTestFinished(accounts.close)
  const setup = await setUp({ nextcloud: { url: accounts.url, mode: 'app-password' }, connect: { identity: 'anyone' } })
  const to = await setup.agree('b')
  expect(to?.searchParams.get('client_id')).toBe(CLIENTS.b.clientId)
  expect((await setup.browser.open(await setup.authorize('b', to))).status).toBe(200)
  expect([redeemed(setup.a).length, redeemed(setup.b).length]).toEqual([0, 1])
})
