import { describe, expect, it, vi } from 'vitest'
import type { ConnectedAccount, ConnectingUser, ConnectOptions, IdentityRule, McpAuthOptions } from '../../src/index.js'
import { failureOf } from '../support/promises.js'
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

  it('has no endpoint for revocations', async () => {
    const { auth, connectAs } = await setUp({ identity: accountOfAlice })
    await connectAs('alice.w')

    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'unsupported' })
    expect(await auth.isProvisioned(ALICE)).toBe(false)
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
