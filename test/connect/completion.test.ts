import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { ConnectOptions, IdentityRule } from '../../src/options.js'
import { bareHost, listen } from '../support/hosts.js'
import type { ScriptedAnswer } from '../support/scripted-authorization-server.js'
import { expectPage } from '../support/test-browser.js'
import { world } from '../support/world.js'

const CONNECT = { mode: 'refresh-token', host: bareHost } as const

describe('a user who agrees and signs in', () => {
  it('has connected Nextcloud, and the first tool call needs no refresh', async () => {
    const { link, walk, stored, as, events, refreshTokens, clock, signIn } = await world(CONNECT)
    const info = await signIn()

    expectPage(await walk(await link()), 200)

    const grant = await stored()
    expect(grant).toMatchObject({
      state: 'active',
      generation: 1,
      clients: ['mcp-client'],
      refreshToken: refreshTokens.families[0]?.tokens[0],
      accessToken: { expiresIn: 300, sentAt: clock.now() },
      connectedAt: clock.now(),
    })
    expect(await info.extra.getNextcloudToken()).toBe(grant?.accessToken?.token)
    expect(refreshTokens.presented).toEqual([])
    const stories = events.filter(({ type }) => type === 'grant.stored')
    expect(stories).toEqual([
      {
        type: 'grant.stored',
        at: clock.now(),
        issuer: as.issuer,
        subject: 'alice',
        clientId: 'mcp-client',
        fingerprint: grant?.fingerprint,
      },
    ])
  })

  it('is served with the new token where an old one was cached', async () => {
    const { link, walk, stored, connect, signIn } = await world(CONNECT)
    await connect()
    const info = await signIn()
    const before = await info.extra.getNextcloudToken()

    await walk(await link())

    const after = await info.extra.getNextcloudToken()
    expect(after).not.toBe(before)
    expect(after).toBe((await stored())?.accessToken?.token)
  })

  it('does not have the refresh token before revoked, which some servers take for everything', async () => {
    const { link, walk, connect, as } = await world(CONNECT)
    as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`
    await connect()

    expectPage(await walk(await link()), 200)

    expect(as.received('/revoke')).toEqual([])
  })

  it('has a grant whose end and scopes the server states, and no access token whose life makes no sense', async () => {
    const { link, walk, stored, clock } = await world(CONNECT)
    const tokens = { refresh_expires_in: 1_800, scope: 'openid files', expires_in: -1 }

    expectPage(await walk(await link(), 'alice', { tokens }), 200)

    expect(await stored()).toMatchObject({ refreshEndsAt: clock.now() + 1_800_000, scopes: ['openid', 'files'] })
    expect(await stored()).not.toHaveProperty('accessToken')
  })

  it('has what cannot be opened any more replaced', async () => {
    const { link, walk, storage, grants, as, stored } = await world(CONNECT)
    await storage.put(grants.store.keyOf({ issuer: as.issuer, subject: 'alice' }), 'not to be opened', null)

    expectPage(await walk(await link()), 200)

    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it('sends the code with its verifier, the redirect URI and the resource, and proves who this server is', async () => {
    const { link, agree, browser, authorize, redeemed } = await world({
      ...CONNECT,
      options: { nextcloud: { resource: 'https://cloud.example.com/', parameters: { extra: 'yes' } } },
    })
    const alice = browser()
    const to = await agree(alice, await link())
    await alice.open(await authorize(to))

    const [request] = redeemed()
    expect(Object.fromEntries(request?.form ?? [])).toMatchObject({
      grant_type: 'authorization_code',
      redirect_uri: 'https://mcp.example.com/nextcloud/callback',
      resource: 'https://cloud.example.com/',
      extra: 'yes',
      code: expect.stringMatching(/^code-/) as string,
    })
    const verifier = Buffer.from(request?.form.get('code_verifier') ?? '')
    const challenge = Buffer.from(await crypto.subtle.digest('SHA-256', verifier)).toString('base64url')
    expect(challenge).toBe(to.searchParams.get('code_challenge'))
    expect(request?.headers.authorization).toMatch(/^Basic /)
  })
})

describe('another person', () => {
  it("who finishes Alice's link stores nothing for either, and is told why but not whose link it was", async () => {
    const { link, walk, stored, events, refreshTokens } = await world(CONNECT)

    const page = await walk(await link('alice-of-wonderland'), 'bob')

    expectPage(page, 403)
    expect(page.text + JSON.stringify(page.headers)).not.toMatch(/wonderland|bob/)
    expect(page.text).toMatch(/sign.{0,3} out/i)
    expect([await stored('alice-of-wonderland'), await stored('bob')]).toEqual([undefined, undefined])
    expect(events.map(({ type }) => type)).not.toContain('grant.stored')
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'person' }))
    expect(refreshTokens.presented).toEqual([])
  })

  it('may try again in that browser alone, once as Alice: the server is told to let the account be picked', async () => {
    const { link, agree, authorize, browser, stored, clock } = await world(CONNECT)
    const person = browser()
    const refusal = await person.open(await authorize(await agree(person, await link()), 'bob'))

    expectPage(await browser().press(refusal), 403)
    const going = await person.press(refusal)
    expectPage(going, 200)
    expect(going.refreshTo?.searchParams.get('prompt')).toBe('select_account consent')
    const second = await person.open(await authorize(going.refreshTo, 'bob'))
    expectPage(second, 403)
    expect(await stored()).toBeUndefined()
    const last = await person.press(second)
    expectPage(await person.open(await authorize(last.refreshTo, 'alice')), 200)
    expect(await stored()).toMatchObject({ state: 'active' })
    clock.advance(60_000)
    expectPage(await person.press(refusal), 410)
  })
})

const NO_REFRESH_TOKEN = { hint: expect.stringContaining('offline_access') as string }
it.each([
  ['an ID token of another sign-in', { claims: { nonce: 'another' } }, 403, 'id_token', {}],
  ['no ID token', { tokens: { id_token: undefined } }, 403, 'id_token', {}],
  ['an ID token that is not text', { tokens: { id_token: 7 } }, 403, 'id_token', {}],
  ['no refresh token', { tokens: { refresh_token: undefined } }, 502, 'no_refresh_token', NO_REFRESH_TOKEN],
])('an answer with %s stores nothing: %#', async (_what, answer, status, reason, more) => {
  const { link, walk, stored, events } = await world(CONNECT)

  expectPage(await walk(await link(), 'alice', answer), status)

  expect(await stored()).toBeUndefined()
  expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason, ...more }))
})

const hint = (words: RegExp) => expect.stringMatching(words) as string

describe('a refusal by the authorization server', () => {
  /** Alice comes back with a code, which the token endpoint answers like this. */
  async function redeemedWith(answer: ScriptedAnswer, code?: string) {
    const setup = await world(CONNECT)
    const alice = setup.browser()
    const to = await setup.agree(alice, await setup.link())
    const callback = await setup.authorize(to, 'alice', code === undefined ? {} : { callback: { code } })
    setup.as.script('/token', answer)
    return { ...setup, page: await alice.open(callback) }
  }

  it('is a 502 at the token endpoint, with what the operator needs in an event', async () => {
    const json = { error: 'invalid_client', error_description: '<b>no</b>' }
    const { page, stored, events } = await redeemedWith({ status: 401, json })

    expectPage(page, 502)
    expect(page.text).not.toContain('<b>')
    expect(await stored()).toBeUndefined()
    const refused = { type: 'connect.failed', reason: 'refused', error: 'invalid_client', hint: hint(/clientSecret/) }
    expect(events).toContainEqual(expect.objectContaining(refused))
  })

  it('that quotes a code has it blotted out, however short the code is', async () => {
    const json = { error: 'invalid_grant', error_description: 'No code short-1 here' }
    const { page, events } = await redeemedWith({ status: 400, json }, 'short-1')

    expectPage(page, 502)
    const failure = events.find(({ type }) => type === 'connect.failed')
    expect(failure).toMatchObject({ reason: 'refused', errorDescription: 'No code … here' })
  })

  it('is a 502 too, and the code is not sent again, where no bearer token comes', async () => {
    const json = { token_type: 'DPoP', access_token: 'a', refresh_token: 'b' }
    const { page, redeemed, stored } = await redeemedWith({ json })

    expectPage(page, 502)
    expect([redeemed().length, await stored()]).toEqual([1, undefined])
  })

  const errors: [error: string, status: number, event: object | undefined][] = [
    ['access_denied', 200, { reason: 'declined' }],
    ['invalid_scope', 502, { reason: 'refused', error: 'invalid_scope', hint: hint(/connect\.scopes/) }],
    ['unauthorized_client', 502, { reason: 'refused', hint: hint(/authorization code flow/) }],
    ['<script>alert(1)</script>', 502, { reason: 'refused' }],
    ['server_error', 503, undefined],
    ['temporarily_unavailable', 503, undefined],
  ]
  it.each(errors)('with error=%s in the callback is a %i', async (error, status, event) => {
    const { link, walk, stored, redeemed, events } = await world(CONNECT)
    const hostile = { error_description: '<script>alert(2)</script>', error_uri: 'javascript:alert(3)' }

    const page = await walk(await link(), 'alice', { callback: { code: undefined, error, ...hostile } })

    expectPage(page, status)
    expect(page.text).not.toMatch(/<script|alert\(2\)|javascript:/)
    expect(redeemed()).toEqual([])
    expect(await stored()).toBeUndefined()
    expect(events.filter(({ type }) => type === 'connect.failed')).toMatchObject(event === undefined ? [] : [event])
    expect(JSON.stringify(events)).not.toContain('script')
  })
})

describe('with pairwise subjects only', () => {
  it('the answer is a 500 before anybody signs in, and the ticket stays', async () => {
    const { link, browser, elsewhere, as } = await world({
      ...CONNECT,
      metadata: { subject_types_supported: ['pairwise'] },
    })
    const alice = browser()
    const question = await alice.open(await link())

    expectPage(await alice.press(question, { answer: 'yes' }), 500)

    as.metadata['subject_types_supported'] = ['pairwise', 'public']
    expectPage(await (await elsewhere(alice)).press(question, { answer: 'yes' }), 200)
  })

  it('found out at the callback, nothing is stored', async () => {
    const { link, agree, browser, authorize, elsewhere, stored, as, redeemed } = await world(CONNECT)
    const alice = browser()
    const callback = await authorize(await agree(alice, await link()))
    as.metadata['subject_types_supported'] = ['pairwise']

    expectPage(await (await elsewhere(alice)).open(callback), 500)

    expect(redeemed()).toEqual([])
    expect(await stored()).toBeUndefined()
  })
})

describe("the app's own sign-in", () => {
  /** With pairwise subjects only, of which no ID token can tell. */
  async function setUpApp() {
    const authenticateBrowser = vi.fn<NonNullable<ConnectOptions['authenticateBrowser']>>()
    const setup = await world({
      ...CONNECT,
      options: { connect: { authenticateBrowser } },
      metadata: { subject_types_supported: ['pairwise'] },
    })
    const signedIn = (subject: string) => authenticateBrowser.mockResolvedValue({ issuer: setup.as.issuer, subject })
    signedIn('alice')
    return { ...setup, authenticateBrowser, signedIn, alice: setup.browser() }
  }

  it('makes up for an ID token that cannot tell', async () => {
    const { link, walk, stored } = await setUpApp()

    expectPage(await walk(await link(), 'pairwise-8f31'), 200)

    expect(await stored()).toMatchObject({ state: 'active', clients: ['mcp-client'] })
  })

  it.each<[string, IdentityRule]>([
    ['a claim', { claim: 'preferred_username' }],
    ['a function', ({ userId }, { claims }) => userId === claims['preferred_username']],
  ])(
    "compares the account with the link's user by %s, not with an ID token that may be another's",
    async (_, identity) => {
      const accounts: Record<string, string> = { 'Bearer of-alice': 'alice.w', 'Bearer of-bob': 'bob.w' }
      const { url, close } = await listen((req, res) => {
        const id = accounts[req.headers.authorization ?? '']
        const meta = { statuscode: id === undefined ? 997 : 200 }
        res.writeHead(id === undefined ? 401 : 200).end(JSON.stringify({ ocs: { meta, data: { id } } }))
      })
      onTestFinished(close)
      const { auth, as, stored, walk } = await world({
        ...CONNECT,
        options: ({ issuer }) => ({
          nextcloud: { url },
          connect: { identity, authenticateBrowser: () => Promise.resolve({ issuer, subject: 'alice' }) },
        }),
        metadata: { subject_types_supported: ['pairwise'] },
      })
      const link = async () =>
        auth.createConnectUrl(await auth.verify(await as.mint({ preferred_username: 'alice.w' })))
      const asPerson = (name: string) => ({
        claims: { preferred_username: `${name}.w` },
        tokens: { access_token: `of-${name}` },
      })

      expectPage(await walk(await link(), 'pairwise-of-bob', asPerson('bob')), 403)
      expect(await stored()).toBeUndefined()
      expectPage(await walk(await link(), 'pairwise-of-alice', asPerson('alice')), 200)
      expect(await stored()).toMatchObject({ state: 'active' })
    },
  )

  it.each([
    ['says somebody else', 403, () => Promise.resolve({ issuer: 'https://idp.example', subject: 'bob' })],
    ['fails', 500, () => Promise.reject(new Error('planted-text'))],
  ])('that %s at the question makes it a %i without a word of that, and the ticket stays', async (_, status, says) => {
    const { alice, authenticateBrowser, link } = await setUpApp()
    const question = await alice.open(await link())
    authenticateBrowser.mockImplementationOnce(says)

    const page = await alice.press(question, { answer: 'yes' })

    expectPage(page, status)
    expect(page.text).not.toMatch(/planted-text|bob/)
    expectPage(await alice.press(question, { answer: 'yes' }), 200)
  })

  it('that says somebody else at the callback stores nothing, whoever the ID token names', async () => {
    const { alice, agree, authorize, link, redeemed, signedIn, stored } = await setUpApp()
    const callback = await authorize(await agree(alice, await link()))
    signedIn('bob')

    expectPage(await alice.open(callback), 403)

    expect(redeemed()).toEqual([])
    expect(await stored()).toBeUndefined()
  })
})

describe('a second client of the same user', () => {
  it('is not served by the agreement to the first, and makes the full round', async () => {
    const { link, walk, signIn, stored } = await world(CONNECT)
    await walk(await link())
    const second = await signIn({ client_id: 'second' })
    await expect(second.extra.getNextcloudToken()).rejects.toMatchObject({
      reason: 'consent',
      connectUrl: await link('alice', 'second'),
    })

    expectPage(await walk(await link('alice', 'second')), 200)

    expect(await stored()).toMatchObject({ clients: ['mcp-client', 'second'], generation: 2 })
    expect(await second.extra.getNextcloudToken()).toBe((await stored())?.accessToken?.token)
    const first = await signIn()
    expect(await first.extra.getNextcloudToken()).toBe((await stored())?.accessToken?.token)
  })

  it('is served with it where consent is per user', async () => {
    const { link, walk, signIn, stored } = await world({ ...CONNECT, options: { connect: { consent: 'per-user' } } })
    await walk(await link())
    const second = await signIn({ client_id: 'second' })

    expect(await second.extra.getNextcloudToken()).toBe((await stored())?.accessToken?.token)
  })
})

it('an operator whose MCP tokens name no client hears once that consent per client cannot tell them apart', async () => {
  const warnings = async (options: { connect?: ConnectOptions }) => {
    const { auth, as, events } = await world({ ...CONNECT, options })
    for (const sub of ['alice', 'bob']) {
      const info = await auth.verify(await as.mint({ sub, client_id: undefined }))
      await expect(auth.getNextcloudToken(info)).rejects.toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
    }
    return events.filter((event) => event.type === 'config.warning' && event.option === 'connect.consent')
  }

  expect(await warnings({})).toHaveLength(1)
  expect(await warnings({ connect: { consent: 'per-user' } })).toEqual([])
})
