import { describe, expect, it } from 'vitest'
import type { ConnectOptions } from '../../src/options.js'
import { expectPage, setUpConnect } from '../support/connect-setup.js'

describe('a user who agrees and signs in', () => {
  it('has connected Nextcloud, and the first tool call needs no refresh', async () => {
    const { link, walk, stored, auth, as, events, refreshTokens, clock } = await setUpConnect()
    const info = await auth.verify(await as.mint())

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
    const { link, walk, stored, auth, as, connect } = await setUpConnect()
    await connect()
    const info = await auth.verify(await as.mint())
    const before = await info.extra.getNextcloudToken()

    await walk(await link())

    const after = await info.extra.getNextcloudToken()
    expect(after).not.toBe(before)
    expect(after).toBe((await stored())?.accessToken?.token)
  })

  it('does not have the refresh token before revoked, which some servers take for everything', async () => {
    const { link, walk, connect, as } = await setUpConnect()
    as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`
    await connect()

    expectPage(await walk(await link()), 200)

    expect(as.received('/revoke')).toEqual([])
  })

  it('has a grant whose end and scopes are those that the server states', async () => {
    const { link, walk, stored, clock } = await setUpConnect()

    await walk(await link(), 'alice', { tokens: { refresh_expires_in: 1_800, scope: 'openid files' } })

    expect(await stored()).toMatchObject({ refreshEndsAt: clock.now() + 1_800_000, scopes: ['openid', 'files'] })
  })

  it('has a grant without an access token, where its life makes no sense', async () => {
    const { link, walk, stored } = await setUpConnect()

    expectPage(await walk(await link(), 'alice', { tokens: { expires_in: -1 } }), 200)

    expect(await stored()).toMatchObject({ state: 'active' })
    expect(await stored()).not.toHaveProperty('accessToken')
  })

  it('has what cannot be opened any more replaced', async () => {
    const { link, walk, storage, grants, as, stored } = await setUpConnect()
    await storage.put(grants.store.keyOf({ issuer: as.issuer, subject: 'alice' }), 'not to be opened', null)

    expectPage(await walk(await link()), 200)

    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it('sends the code with its verifier, the redirect URI and the resource, and proves who this server is', async () => {
    const { link, agree, browser, signIn, redeemed } = await setUpConnect({
      options: { nextcloud: { resource: 'https://cloud.example.com/', parameters: { extra: 'yes' } } },
    })
    const alice = browser()
    const to = await agree(alice, await link())
    await alice.open(await signIn(to))

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
    const { link, walk, stored, events, refreshTokens } = await setUpConnect()

    const page = await walk(await link('alice-of-wonderland'), 'bob')

    expectPage(page, 403)
    expect(page.text + JSON.stringify(page.headers)).not.toMatch(/wonderland|bob/)
    expect(page.text).toMatch(/sign.{0,3} out/i)
    expect([await stored('alice-of-wonderland'), await stored('bob')]).toEqual([undefined, undefined])
    expect(events.map(({ type }) => type)).not.toContain('grant.stored')
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'person' }))
    expect(refreshTokens.presented).toEqual([])
  })

  it('may try again in the same browser, where the server is told to let the account be picked', async () => {
    const { link, agree, signIn, browser, stored } = await setUpConnect()
    const person = browser()
    const refusal = await person.open(await signIn(await agree(person, await link()), 'bob'))

    const going = await person.press(refusal)

    expectPage(going, 200)
    expect(going.refreshTo?.searchParams.get('prompt')).toBe('select_account consent')
    expectPage(await person.open(await signIn(going.refreshTo, 'alice')), 200)
    expect(await stored()).toMatchObject({ state: 'active' })
    expectPage(await person.press(refusal), 410)
  })

  it('may try again in no other browser, and not as bob', async () => {
    const { link, agree, signIn, browser, stored } = await setUpConnect()
    const person = browser()
    const refusal = await person.open(await signIn(await agree(person, await link()), 'bob'))

    expectPage(await browser().press(refusal), 403)
    const going = await person.press(refusal)
    expectPage(await person.open(await signIn(going.refreshTo, 'bob')), 403)
    expect(await stored()).toBeUndefined()
  })
})

it.each([
  ['of another sign-in', { claims: { nonce: 'another' } }],
  ['that is not there', { tokens: { id_token: undefined } }],
  ['that is not text', { tokens: { id_token: 7 } }],
])('an ID token %s is a 403, and nothing is stored', async (_what, answer) => {
  const { link, walk, stored, events } = await setUpConnect()

  expectPage(await walk(await link(), 'alice', answer), 403)

  expect(await stored()).toBeUndefined()
  expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'id_token' }))
})

describe('a refusal by the authorization server', () => {
  it('is a 502 at the token endpoint, with what the operator needs in an event', async () => {
    const { link, agree, browser, signIn, as, stored, events } = await setUpConnect()
    const alice = browser()
    const callback = await signIn(await agree(alice, await link()))
    as.script('/token', { status: 401, json: { error: 'invalid_client', error_description: '<b>no</b>' } })

    const page = await alice.open(callback)

    expectPage(page, 502)
    expect(page.text).not.toContain('<b>')
    expect(await stored()).toBeUndefined()
    expect(events).toContainEqual(
      expect.objectContaining({
        type: 'connect.failed',
        reason: 'refused',
        error: 'invalid_client',
        hint: expect.stringContaining('clientSecret') as string,
      }),
    )
  })

  it('that quotes a code has it blotted out, however short the code is', async () => {
    const { link, agree, browser, signIn, as, events } = await setUpConnect()
    const alice = browser()
    const callback = await signIn(await agree(alice, await link()), 'alice', { callback: { code: 'short-1' } })
    as.script('/token', { status: 400, json: { error: 'invalid_grant', error_description: 'No code short-1 here' } })

    expectPage(await alice.open(callback), 502)

    const failure = events.find(({ type }) => type === 'connect.failed')
    expect(failure).toMatchObject({ reason: 'refused', errorDescription: 'No code … here' })
  })

  it.each([
    [503, { error: 'server_error' }, 503],
    [200, { token_type: 'DPoP', access_token: 'a', refresh_token: 'b' }, 502],
  ])('at the token endpoint is a page too: %i %j, and the code is not sent again', async (status, json, expected) => {
    const { link, agree, browser, signIn, as, redeemed, stored } = await setUpConnect()
    const alice = browser()
    const callback = await signIn(await agree(alice, await link()))
    as.script('/token', { status, json })

    expectPage(await alice.open(callback), expected)

    expect([redeemed().length, await stored()]).toEqual([1, undefined])
  })

  const errors: [error: string, status: number, reason: string | undefined][] = [
    ['access_denied', 200, 'declined'],
    ['invalid_scope', 502, 'refused'],
    ['<script>alert(1)</script>', 502, 'refused'],
    ['server_error', 503, undefined],
    ['temporarily_unavailable', 503, undefined],
  ]
  it.each(errors)('with error=%s in the callback is a %i', async (error, status, reason) => {
    const { link, walk, stored, redeemed, events } = await setUpConnect()
    const hostile = { error_description: '<script>alert(2)</script>', error_uri: 'javascript:alert(3)' }

    const page = await walk(await link(), 'alice', { callback: { code: undefined, error, ...hostile } })

    expectPage(page, status)
    expect(page.text).not.toMatch(/<script|alert\(2\)|javascript:/)
    expect(redeemed()).toEqual([])
    expect(await stored()).toBeUndefined()
    const failures = events.filter(({ type }) => type === 'connect.failed')
    expect(failures).toMatchObject(reason === undefined ? [] : [{ reason }])
    expect(JSON.stringify(events)).not.toContain('script')
  })

  it.each([
    ['invalid_scope', /connect\.scopes/],
    ['unauthorized_client', /authorization code flow/],
  ])('with error=%s tells the operator what to look at', async (error, hint) => {
    const { link, walk, events } = await setUpConnect()

    await walk(await link(), 'alice', { callback: { code: undefined, error } })

    expect(events).toContainEqual(
      expect.objectContaining({ type: 'connect.failed', error, hint: expect.stringMatching(hint) as string }),
    )
  })
})

it('an answer without a refresh token is a 502, with what to switch on, and nothing is stored', async () => {
  const { link, walk, stored, events } = await setUpConnect()

  const page = await walk(await link(), 'alice', { tokens: { refresh_token: undefined } })

  expectPage(page, 502)
  expect(page.text).toMatch(/refresh token|offline_access/)
  expect(await stored()).toBeUndefined()
  expect(events).toContainEqual(
    expect.objectContaining({
      type: 'connect.failed',
      reason: 'no_refresh_token',
      hint: expect.stringContaining('offline_access') as string,
    }),
  )
})

describe('with pairwise subjects only', () => {
  it('the answer is a 500 before anybody signs in, with a warning for the operator, and the ticket stays', async () => {
    const { link, browser, events, elsewhere, metadata } = await setUpPairwise()
    const alice = browser()
    const question = await alice.open(await link())

    expectPage(await alice.press(question, { answer: 'yes' }), 500)

    expect(events).toContainEqual(
      expect.objectContaining({ type: 'config.warning', option: 'connect.authenticateBrowser' }),
    )
    metadata['subject_types_supported'] = ['pairwise', 'public']
    expectPage(await (await elsewhere(alice)).press(question, { answer: 'yes' }), 200)
  })

  it('found out at the callback, nothing is stored', async () => {
    const { link, agree, browser, signIn, elsewhere, stored, as, redeemed } = await setUpConnect()
    const alice = browser()
    const callback = await signIn(await agree(alice, await link()))
    as.metadata['subject_types_supported'] = ['pairwise']

    expectPage(await (await elsewhere(alice)).open(callback), 500)

    expect(redeemed()).toEqual([])
    expect(await stored()).toBeUndefined()
  })

  it("the app's own sign-in makes up for it", async () => {
    const { link, walk, stored, identity } = await setUpPairwise({ app: 'alice' })

    expectPage(await walk(await link(), 'pairwise-8f31'), 200)

    expect(await stored()).toMatchObject({ state: 'active', clients: ['mcp-client'] })
    expect(identity.subject).toBe('alice')
  })

  async function setUpPairwise({ app }: { app?: string } = {}) {
    const identity = { issuer: '', subject: app ?? '' }
    const setup = await setUpConnect({
      metadata: { subject_types_supported: ['pairwise'] },
      options: (as) => {
        identity.issuer = as.issuer
        return app === undefined ? {} : { connect: { authenticateBrowser: () => Promise.resolve({ ...identity }) } }
      },
    })
    return { ...setup, identity, metadata: setup.as.metadata }
  }
})

describe("the app's own sign-in", () => {
  async function setUpApp(authenticate: NonNullable<ConnectOptions['authenticateBrowser']>) {
    return setUpConnect({ options: { connect: { authenticateBrowser: authenticate } } })
  }
  const somebody = (subject: string | undefined) => ({ subject })

  it.each([
    ['somebody else', 'bob'],
    ['nobody', undefined],
  ])('that says %s at the question makes it a 403, and the ticket stays', async (_who, subject) => {
    const present = somebody(subject)
    const setup = await setUpApp(() =>
      Promise.resolve(
        present.subject === undefined ? undefined : { issuer: setup.as.issuer, subject: present.subject },
      ),
    )
    const browser = setup.browser()
    const question = await browser.open(await setup.link())

    expectPage(await browser.press(question, { answer: 'yes' }), 403)

    present.subject = 'alice'
    expectPage(await browser.press(question, { answer: 'yes' }), 200)
  })

  it.each([
    ['somebody else', 'bob'],
    ['nobody', undefined],
  ])('that says %s at the callback stores nothing, whoever the ID token names', async (_who, subject) => {
    const present = somebody('alice')
    const setup = await setUpApp(() =>
      Promise.resolve(
        present.subject === undefined ? undefined : { issuer: setup.as.issuer, subject: present.subject },
      ),
    )
    const browser = setup.browser()
    const callback = await setup.signIn(await setup.agree(browser, await setup.link()), 'alice')
    present.subject = subject

    const page = await browser.open(callback)

    expectPage(page, 403)
    expect(setup.redeemed()).toEqual([])
    expect(await setup.stored()).toBeUndefined()
  })

  it('that fails is a 500 without a word of it, and the ticket stays', async () => {
    let failing = true
    const setup = await setUpApp(() =>
      failing
        ? Promise.reject(new Error('planted-text'))
        : Promise.resolve({ issuer: setup.as.issuer, subject: 'alice' }),
    )
    const browser = setup.browser()
    const question = await browser.open(await setup.link())

    const page = await browser.press(question, { answer: 'yes' })

    expectPage(page, 500)
    expect(page.text).not.toContain('planted-text')
    failing = false
    expectPage(await browser.press(question, { answer: 'yes' }), 200)
  })
})

describe('a second client of the same user', () => {
  it('is not served by the agreement to the first, and makes the full round', async () => {
    const { link, walk, auth, as, stored } = await setUpConnect()
    await walk(await link())
    const second = await auth.verify(await as.mint({ client_id: 'second' }))
    await expect(second.extra.getNextcloudToken()).rejects.toMatchObject({
      reason: 'consent',
      connectUrl: await link('alice', 'second'),
    })

    expectPage(await walk(await link('alice', 'second')), 200)

    expect(await stored()).toMatchObject({ clients: ['mcp-client', 'second'], generation: 2 })
    expect(await second.extra.getNextcloudToken()).toBe((await stored())?.accessToken?.token)
    const first = await auth.verify(await as.mint())
    expect(await first.extra.getNextcloudToken()).toBe((await stored())?.accessToken?.token)
  })

  it('is served with it where consent is per user', async () => {
    const { link, walk, auth, as, stored } = await setUpConnect({ options: { connect: { consent: 'per-user' } } })
    await walk(await link())
    const second = await auth.verify(await as.mint({ client_id: 'second' }))

    expect(await second.extra.getNextcloudToken()).toBe((await stored())?.accessToken?.token)
  })
})

it('an operator whose MCP tokens name no client hears once that consent per client cannot tell them apart', async () => {
  const warnings = async (options: { connect?: ConnectOptions }) => {
    const { auth, as, events } = await setUpConnect({ options })
    for (const sub of ['alice', 'bob']) {
      const info = await auth.verify(await as.mint({ sub, client_id: undefined }))
      await expect(auth.getNextcloudToken(info)).rejects.toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
    }
    return events.filter((event) => event.type === 'config.warning' && event.option === 'connect.consent')
  }

  expect(await warnings({})).toHaveLength(1)
  expect(await warnings({ connect: { consent: 'per-user' } })).toEqual([])
})
