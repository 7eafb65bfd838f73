import { describe, expect, it, vi } from 'vitest'
import type { ConnectedAccount, ConnectingUser, ConnectOptions, IdentityRule, McpAuthOptions } from '../../src/index.js'
import { failureOf, turn, until } from '../support/promises.js'
import { bareHost } from '../support/hosts.js'
import { expectPage } from '../support/test-browser.js'
import { world } from '../support/world.js'
import { manualClock } from '../support/clock.js'
import { startNextcloudOAuth2 } from '../support/nextcloud-oauth2.js'

const CONNECT = { mode: 'refresh-token', host: bareHost } as const

const ALICE = { subject: 'alice' }
/** Alice of the identity provider is alice.w in Nextcloud. */
const accountOfAlice: IdentityRule = ({ userId }, { subject }) => subject === 'alice' && userId === 'alice.w'

async function setUp(connect: ConnectOptions, options: McpAuthOptions = {}) {
  const clock = manualClock()
  const nextcloud = await startNextcloudOAuth2(clock.now)
  const { clientId, clientSecret, url } = nextcloud
  const setup = await world({
    ...CONNECT,
    clock,
    options: {
      clientId,
      clientSecret,
      ...options,
      connect,
      nextcloud: { url, preset: 'nextcloud-oauth2-app', ...options.nextcloud },
    },
  })
  return {
    ...setup,
    nextcloud,
    /** The whole way in one browser, as an account of Nextcloud's. */
    connectAs: async (uid: string) => {
      const browser = setup.browser()
      return browser.open(await nextcloud.signIn(await setup.agree(browser, await setup.link()), uid))
    },
  }
}

describe("Nextcloud's own oauth2 app", () => {
  it('connects a user whom the app knows, and is asked for nothing that it does not have', async () => {
    const { connectAs, nextcloud, auth, as, clock, signIn } = await setUp({ identity: accountOfAlice })

    expectPage(await connectAs('alice.w'), 200)

    const token = await auth.getNextcloudToken(ALICE)
    expect(nextcloud.takes(token)).toBe(true)
    const [request] = nextcloud.tokenRequests()
    expect([request?.authorization, request?.form.get('client_id')]).toEqual([undefined, nextcloud.clientId])
    expect(new Set(nextcloud.paths())).toEqual(
      new Set(['/index.php/apps/oauth2/api/v1/token', '/ocs/v2.php/cloud/user']),
    )
    // Neither metadata nor keys of the issuer are needed before an MCP token comes in.
    expect(as.received()).toEqual([])
    const info = await signIn()
    expect([info.issuer, await auth.isProvisioned(info)]).toEqual([as.issuer, true])
    clock.advance(3_600_000)
    const renewed = await auth.getNextcloudToken(ALICE)
    expect([nextcloud.takes(token), nextcloud.takes(renewed)]).toEqual([false, true])
  })

  it('is not asked for an ID token: no openid, no nonce', async () => {
    const { agree, browser, link, nextcloud } = await setUp({ identity: accountOfAlice })

    const to = await agree(browser(), await link())

    expect(to.origin + to.pathname).toBe(`${nextcloud.url}/index.php/apps/oauth2/authorize`)
    expect([...to.searchParams.keys()].sort()).toEqual([
      'client_id',
      'code_challenge',
      'code_challenge_method',
      'redirect_uri',
      'response_type',
      'state',
    ])
  })

  it('has lost a connection when it answers invalid_request to the refresh token', async () => {
    const { auth, connectAs, nextcloud, clock, events } = await setUp({ identity: accountOfAlice })
    await connectAs('alice.w')
    nextcloud.deleteSessions()
    clock.advance(3_600_000)

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject({ reason: 'revoked' })
    expect(events).toContainEqual(expect.objectContaining({ type: 'grant.lost', reason: 'revoked' }))
    expect(await auth.revoke(ALICE)).toEqual({ revoked: false })
  })

  it.each<[McpAuthOptions, string]>([
    [
      { authorizationServer: { authorizationEndpoint: 'https://cloud.example.com/apps/oauth2/authorize' } },
      'https://cloud.example.com/apps/oauth2/authorize',
    ],
    [
      { nextcloud: { publicUrl: 'https://example.com/cloud' } },
      'https://example.com/cloud/index.php/apps/oauth2/authorize',
    ],
  ])('may be found elsewhere by browsers: %o', async (options, expected) => {
    const { agree, browser, link } = await setUp({ identity: accountOfAlice }, options)

    const to = await agree(browser(), await link())

    expect(to.origin + to.pathname).toBe(expected)
  })
})

it('has no client for this server: the link asks nothing and says what to do, and is good once that is mended', async () => {
  const setup = await setUp({ identity: accountOfAlice })
  const { link, browser, nextcloud, clock, connectAs } = setup
  const address = await link()
  const putBack = nextcloud.deleteClient()

  const page = await browser().open(address)

  expectPage(page, 500)
  expect(page.text).toContain('https://mcp.example.com/nextcloud/callback')
  putBack()
  clock.advance(5_000)
  expectPage(await browser().open(address), 200)
  expectPage(await connectAs('alice.w'), 200)
})

describe('codes that somebody makes up', () => {
  /** Statuses of the pages, and how many of the codes were sent. */
  async function sentOf(
    { link, agree, browser }: Pick<Setup, 'link' | 'agree' | 'browser'>,
    sent: () => number,
    more = '',
  ) {
    const statuses: number[] = []
    for (let count = 0; count < 8; count += 1) {
      const mallory = browser()
      const state = (await agree(mallory, await link())).searchParams.get('state') ?? ''
      const page = await mallory.open(`/nextcloud/callback?state=${state}&code=${'x'.repeat(128)}${more}`)
      statuses.push(page.status)
    }
    return { statuses, sent: sent() }
  }

  it('come to Nextcloud five times, so that nobody is throttled there', async () => {
    const setup = await setUp({ identity: accountOfAlice })
    const { nextcloud, events, connectAs } = setup

    const { statuses, sent } = await sentOf(setup, () => nextcloud.tokenRequests().length)

    expect(statuses).toEqual([...Array<number>(5).fill(502), ...Array<number>(3).fill(429)])
    expect(sent).toBe(5)
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'too_many' }))
    expectPage(await connectAs('alice.w'), 429)
    setup.clock.advance(60 * MINUTE)
    expectPage(await connectAs('alice.w'), 200)
  })

  it('all come to a server that does not count them', async () => {
    const setup = await world(CONNECT)
    setup.as.script('/token', { status: 400, json: { error: 'invalid_grant' } })

    const { statuses, sent } = await sentOf(
      setup,
      () => setup.as.received('/token').length,
      `&iss=${encodeURIComponent(setup.as.issuer)}`,
    )

    expect([statuses, sent]).toEqual([Array<number>(8).fill(502), 8])
  })
})

/** The tokens that Nextcloud takes: those of the app's sessions. */
const alive = ({ nextcloud }: Setup): number => nextcloud.sessions().length
type Setup = Awaited<ReturnType<typeof setUp>>
const APPPASSWORD = '/ocs/v2.php/core/apppassword'
const TOKEN = '/index.php/apps/oauth2/api/v1/token'
const MINUTE = 60_000

/** Lets what a moved clock has begun come to rest. */
async function rest(): Promise<void> {
  for (let turns = 0; turns < 20; turns += 1) await turn()
  await new Promise((resolve) => setTimeout(resolve, 60))
}

/** Lets pending deletions be tried until something is so. A busy machine may need more of them. */
async function laterUntil(setup: Setup, isSo: () => boolean): Promise<void> {
  for (let minutes = 0; minutes < 300 && !isSo(); minutes += 1) await later(setup, 1)
}

/** Lets pending deletions be tried. */
async function later(setup: Setup, minutes: number): Promise<void> {
  for (let passed = 0; passed < minutes; passed += 1) {
    setup.clock.advance(MINUTE)
    await rest()
  }
}

describe('a disconnection', () => {
  it('ends the tokens in Nextcloud, by one refresh and the access token that comes for it', async () => {
    const setup = await setUp({ identity: accountOfAlice })
    const { auth, connectAs, nextcloud, events, stored } = setup
    await connectAs('alice.w')
    const token = await auth.getNextcloudToken(ALICE)
    const { refreshToken = '' } = (await stored())!
    await rest()
    const before = nextcloud.paths().length

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })

    expect([alive(setup), nextcloud.takes(token), await auth.isProvisioned(ALICE)]).toEqual([0, false, false])
    expect(nextcloud.paths().slice(before)).toEqual([TOKEN, APPPASSWORD])
    expect(nextcloud.tokenRequests().at(-1)?.form.get('refresh_token')).toBe(refreshToken)
    expect(events).toContainEqual(expect.objectContaining({ type: 'grant.revoked', subject: 'alice', revoked: true }))
    await later(setup, 15)
    expect(nextcloud.paths().slice(before)).toHaveLength(2)
  })

  it.each<[string, (path: string) => number | undefined]>([
    ['is unavailable', () => 503],
    ['breaks every connection', () => 0],
    ['refreshes, and ends nothing', (path) => (path === APPPASSWORD ? 503 : undefined)],
    ['does not let this server end anything', (path) => (path === APPPASSWORD ? 403 : undefined)],
  ])('is pending while Nextcloud %s, and is caught up', async (_what, says) => {
    const setup = await setUp({ identity: accountOfAlice })
    const { auth, connectAs, nextcloud, storage } = setup
    await connectAs('alice.w')
    await rest()
    nextcloud.disturb(({ path }) => says(path))

    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'pending' })
    expect(await auth.isProvisioned(ALICE)).toBe(false)
    await later(setup, 3)
    nextcloud.disturb(undefined)
    await laterUntil(setup, () => setup.events.filter(({ type }) => type === 'grant.revoked').length === 2)

    expect(alive(setup)).toBe(0)
    expect(setup.events.filter(({ type }) => type === 'grant.revoked')).toMatchObject([
      { revoked: 'pending' },
      { revoked: true },
    ])
    expect(JSON.stringify(storage)).not.toContain(nextcloud.clientSecret)
  })

  it('is caught up for somebody who is disabled for a time', async () => {
    const setup = await setUp({ identity: accountOfAlice })
    const { auth, connectAs, nextcloud } = setup
    await connectAs('alice.w')
    nextcloud.enable('alice.w', false)
    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'pending' })
    await later(setup, 12)
    expect(alive(setup)).toBe(1)
    nextcloud.enable('alice.w', true)
    await laterUntil(setup, () => alive(setup) === 0)

    expect(alive(setup)).toBe(0)
  })

  it('sends no refresh token after close(), and is caught up by another instance', async () => {
    const setup = await setUp({ identity: accountOfAlice })
    const { auth, connectAs, nextcloud, open } = setup
    await connectAs('alice.w')
    await rest()
    await auth.close()
    const before = nextcloud.tokenRequests().length

    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'pending' })

    expect(nextcloud.tokenRequests()).toHaveLength(before)
    await open().ready()
    await laterUntil(setup, () => alive(setup) === 0)
    expect(alive(setup)).toBe(0)
  })

  it('goes on at another instance with the token that came for the first, which the store has before it is used', async () => {
    const setup = await setUp({ identity: accountOfAlice })
    const { auth, connectAs, nextcloud, open, clock } = setup
    await connectAs('alice.w')
    await rest()
    // The process ends between the refresh and the end: nothing that it does later counts.
    const closed = new Promise<void>((resolve) => {
      nextcloud.disturb(({ path }) => {
        if (path === APPPASSWORD) resolve()
        return path === APPPASSWORD ? 'never' : undefined
      })
    })
    void auth.revoke(ALICE)
    await closed
    nextcloud.disturb(undefined)
    expect(alive(setup)).toBe(1)
    clock.advance(MINUTE)
    const another = open()
    await another.isProvisioned(ALICE)
    clock.advance(1_000)

    await until(() => alive(setup) === 0)
  })

  it('that the user has made in Nextcloud already is one', async () => {
    const setup = await setUp({ identity: accountOfAlice })
    await setup.connectAs('alice.w')
    setup.nextcloud.deleteSessions()

    expect(await setup.auth.revoke(ALICE)).toEqual({ revoked: true })
  })

  it('whose refresh is answered, and the answer is lost, is told, with what the user can do', async () => {
    const setup = await setUp({ identity: accountOfAlice })
    await setup.connectAs('alice.w')
    setup.nextcloud.disturb(({ path }) => (path === TOKEN ? 'lost' : undefined))
    expect(await setup.auth.revoke(ALICE)).toEqual({ revoked: 'pending' })
    setup.nextcloud.disturb(undefined)
    await laterUntil(setup, () => setup.events.filter(({ type }) => type === 'grant.revoked').length === 2)

    expect(setup.events.filter(({ type }) => type === 'grant.revoked').at(-1)).toMatchObject({
      subject: 'alice',
      revoked: false,
      hint: expect.stringMatching(/answer of Nextcloud was lost.*Devices & sessions/s) as string,
    })
  })

  it('while another instance renews leaves neither token alive', async () => {
    const setup = await setUp({ identity: accountOfAlice })
    const { auth, connectAs, nextcloud, open, stored } = setup
    await connectAs('alice.w')
    await rest()
    const another = open()
    let ended: Promise<unknown> | undefined
    nextcloud.afterwards(async ({ path }) => {
      if (path !== TOKEN || ended !== undefined) return
      ended = auth.revoke(ALICE)
      while ((await stored())?.state !== 'disconnected') await turn()
    })

    expect(await failureOf(another.rotate(ALICE))).toMatchObject({ code: 'ERR_NOT_PROVISIONED' })

    expect(await ended).toEqual({ revoked: 'pending' })
    await until(() => alive(setup) === 0)
    await rest()
    expect(setup.events.filter(({ type }) => type === 'grant.revoked')).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ revoked: 'pending' }),
        expect.objectContaining({ revoked: true }),
      ]),
    )
    expect(setup.events.filter((event) => event.type === 'grant.revoked')).toHaveLength(2)
  })
})

describe('a connection that replaces another', () => {
  it('has the tokens before ended in Nextcloud', async () => {
    const setup = await setUp({ identity: accountOfAlice })
    const { auth, connectAs, nextcloud } = setup
    await connectAs('alice.w')
    const old = await auth.getNextcloudToken(ALICE)

    await connectAs('alice.w')

    await until(() => alive(setup) === 1)
    await rest()
    const token = await auth.getNextcloudToken(ALICE)
    expect([nextcloud.takes(old), nextcloud.takes(token), alive(setup)]).toEqual([false, true, 1])
  })

  it('has them ended later, if Nextcloud is unavailable meanwhile', async () => {
    const setup = await setUp({ identity: accountOfAlice })
    await setup.connectAs('alice.w')
    await rest()
    setup.nextcloud.disturb(({ path }) => (path === APPPASSWORD ? 503 : undefined))
    await setup.connectAs('alice.w')
    await rest()
    expect(alive(setup)).toBe(2)
    setup.nextcloud.disturb(undefined)
    await laterUntil(setup, () => alive(setup) === 1)

    expect([alive(setup), setup.nextcloud.takes(await setup.auth.getNextcloudToken(ALICE))]).toEqual([1, true])
  })
})

describe('connect.identity', () => {
  it('is shown the account as Nextcloud names it, and whose link it is', async () => {
    const identity = vi.fn<(account: ConnectedAccount, who: ConnectingUser) => boolean>(() => true)
    const { connectAs, as, nextcloud } = await setUp({ identity })

    await connectAs('alice.w')

    expect(identity.mock.calls).toEqual([
      [
        { userId: 'alice.w', loginName: 'alice.w', displayName: 'alice.w', server: `${nextcloud.url}/` },
        { issuer: as.issuer, subject: 'alice', clientId: 'mcp-client', claims: {} },
      ],
    ])
  })

  it('comes on top of the sign-in of the app: who is not its user connects nobody, and may try another account', async () => {
    const { connectAs, auth, as, events } = await setUp({
      authenticateBrowser: () => Promise.resolve({ issuer: as.issuer, subject: 'alice' }),
      identity: accountOfAlice,
    })

    const page = await connectAs('bob')

    expectPage(page, 403)
    expect(page.text).toContain('Try again with another account')
    expect(page.text).not.toContain('alice')
    expect(await auth.isProvisioned(ALICE)).toBe(false)
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'person', userId: 'bob' }))
    expect(events.map(({ type }) => type)).not.toContain('grant.stored')
    expectPage(await connectAs('alice.w'), 200)
  })

  it('comes on top of an ID token, and cannot stand in for it', async () => {
    const identity = vi.fn<(account: ConnectedAccount, who: ConnectingUser) => boolean>(() => true)
    const { walk, link, auth, nextcloud } = await world({
      ...CONNECT,
      nextcloud: true,
      options: { connect: { identity } },
    })

    expectPage(await walk(await link(), 'bob'), 403)
    expectPage(await walk(await link(), 'alice', { tokens: { id_token: undefined } }), 403)
    expect([identity.mock.calls, nextcloud.received]).toEqual([[], []])
    nextcloud.handle((_request, res) => res.end('{"ocs":{"data":{"id":"alice"}}}'))
    identity.mockReturnValueOnce(false)
    expectPage(await walk(await link()), 403)
    expect(await auth.isProvisioned(ALICE)).toBe(false)
    expectPage(await walk(await link()), 200)
  })
})
