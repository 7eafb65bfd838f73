import { Readable } from 'node:stream'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { ConfigurationError } from '../../../src/errors/errors.js'
import { appPasswordWorld, waitingPage, type AppPasswordWorld } from '../../support/login-visits.js'
import { startNextcloudAccounts } from '../../support/nextcloud-accounts.js'
import { failureOf } from '../../support/promises.js'
import { faultyStorage, overtakenStorage } from '../../support/storages.js'

const ALICE = { subject: 'alice' }
const USER = '/ocs/v2.php/cloud/user'
const CLOSED = '/index.php/apps/closed/api'

/** Alice has connected her account alice.w. */
async function setUp(surroundings: Parameters<typeof appPasswordWorld>[0] = {}) {
  const setup = await appPasswordWorld(surroundings)
  await setup.connectAs('alice.w')
  setup.nextcloud.requests.length = 0
  return setup
}

const dav = (message: string) => ({
  body: `<?xml version="1.0"?><d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns"><s:exception>Sabre\\DAV\\Exception\\NotAuthenticated</s:exception><s:message>${message}</s:message></d:error>`,
})
const ocs = (message: string) => ({
  body: JSON.stringify({ ocs: { meta: { status: 'failure', statuscode: 997, message }, data: [] } }),
})

const basic = ({ nextcloud }: AppPasswordWorld, index = 0): string => {
  const { loginName, password } = nextcloud.appPasswords[index]!
  return `Basic ${Buffer.from(`${loginName}:${password}`).toString('base64')}`
}

describe('nextcloudFetch() with an app password', () => {
  it('acts as the account that was connected', async () => {
    const setup = await setUp()
    const info = await setup.signIn()

    const answer = await setup.auth.nextcloudFetch(info, `${USER}?format=json`)

    expect([answer.status, await answer.json()]).toMatchObject([200, { ocs: { data: { id: 'alice.w' } } }])
    const [request] = setup.nextcloud.requests
    expect([request?.headers.authorization, request?.headers['ocs-apirequest']]).toEqual([basic(setup), 'true'])
  })

  it('serves a user by name, and only the MCP clients that the user agreed to', async () => {
    const { auth, as } = await setUp()
    const other = await auth.verify(await as.mint({ client_id: 'another' }))

    expect((await auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
    expect(await auth.rotate(ALICE)).toBeUndefined()
    expect(await failureOf(auth.nextcloudFetch(other, USER))).toMatchObject({
      code: 'ERR_NOT_PROVISIONED',
      reason: 'consent',
      connectUrl: expect.stringContaining('/nextcloud/connect?ticket=') as string,
    })
    expect(await failureOf(auth.nextcloudFetch({ subject: 'bob' }, USER))).toMatchObject({ reason: 'never' })
    expect(await failureOf(auth.rotate({ subject: 'bob' }))).toMatchObject({ reason: 'never' })
  })
})

describe('a 401', () => {
  it('of one route is the answer, once Nextcloud has said that it knows the app password, asked once a minute', async () => {
    const { auth, nextcloud, clock } = await setUp()
    nextcloud.disturb(({ path }) => (path === CLOSED ? 401 : undefined))

    expect((await auth.nextcloudFetch(ALICE, CLOSED)).status).toBe(401)
    expect(nextcloud.requests.map(({ path }) => path)).toEqual([CLOSED, USER])
    expect(await auth.isProvisioned(ALICE)).toBe(true)

    for (let count = 0; count < 2; count += 1) await auth.nextcloudFetch(ALICE, CLOSED)
    expect(nextcloud.received(USER)).toHaveLength(1)
    clock.advance(60_000)
    await auth.nextcloudFetch(ALICE, CLOSED)
    expect(nextcloud.received(USER)).toHaveLength(2)

    nextcloud.deleteAll()
    clock.advance(60_000)
    expect(await failureOf(auth.nextcloudFetch(ALICE, CLOSED))).toMatchObject({ reason: 'revoked' })
  })

  it('during which the user ends the connection is an answer without one', async () => {
    let meanwhile: (() => Promise<unknown>) | undefined
    const { auth, nextcloud } = await setUp({
      options: {
        http: {
          async fetch(url, init) {
            const answer = await fetch(url, init)
            const act = meanwhile
            if (act !== undefined && new URL(url).pathname === USER) {
              meanwhile = undefined
              await act()
            }
            return answer
          },
        },
      },
    })
    nextcloud.disturb(({ path }) => (path === CLOSED ? 401 : undefined))
    meanwhile = () => auth.revoke(ALICE)

    expect(
      await failureOf(auth.getNextcloudCredential(ALICE).then(() => auth.nextcloudFetch(ALICE, CLOSED))),
    ).toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
  })

  it('is the end of a grant whose app password Nextcloud no longer knows', async () => {
    const { auth, nextcloud, stored, events, as } = await setUp()
    expect((await auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
    const fingerprint = (await stored())?.fingerprint
    nextcloud.deleteAll()

    expect(await failureOf(auth.nextcloudFetch(ALICE, USER))).toMatchObject({
      code: 'ERR_NOT_PROVISIONED',
      reason: 'revoked',
      connectUrl: expect.any(String) as string,
    })

    expect(await auth.isProvisioned(ALICE)).toBe(false)
    expect(await stored()).toMatchObject({ state: 'needs-reconnect' })
    expect(events.filter(({ type }) => type === 'grant.lost')).toMatchObject([
      { issuer: as.issuer, subject: 'alice', fingerprint, reason: 'revoked' },
    ])
    const asked = nextcloud.requests.length
    expect(await failureOf(auth.nextcloudFetch(ALICE, USER))).toMatchObject({ reason: 'revoked' })
    expect(nextcloud.requests).toHaveLength(asked)
  })

  it('to a stream is the end of such a grant too', async () => {
    const { auth, nextcloud } = await setUp()
    nextcloud.deleteAll()

    const body = Readable.from(['two notes'])
    expect(await failureOf(auth.nextcloudFetch(ALICE, USER, { method: 'PUT', body }))).toMatchObject({
      code: 'ERR_NOT_PROVISIONED',
      reason: 'revoked',
    })

    expect(await auth.isProvisioned(ALICE)).toBe(false)
  })

  it.each([
    ['is unavailable', 503],
    ['turns requests away', 429],
    ['breaks the connection', 0],
    ['has lost the route', 404],
    ['is behind something that wants a password itself', 401],
  ])('is the answer if Nextcloud %s when it is asked for more, until it says more', async (_, status) => {
    const { auth, nextcloud } = await setUp()
    nextcloud.deleteAll()
    let asked = 0
    nextcloud.disturb(({ path }) => {
      asked += path === USER ? 1 : 0
      // The first 401 is not of Nextcloud.
      return path === USER && asked <= 2 ? [401, status][asked - 1] : undefined
    })

    expect((await auth.nextcloudFetch(ALICE, USER)).status).toBe(401)

    expect(asked).toBe(2)
    expect(await auth.isProvisioned(ALICE)).toBe(true)
    expect(await failureOf(auth.nextcloudFetch(ALICE, USER))).toMatchObject({ reason: 'revoked' })
  })

  const WRONG = dav('Username or password was incorrect')
  it.each([
    ['of a public share of WebDAV', '/public.php/webdav/', WRONG, 0],
    ['of a public share with a password', '/public.php/dav/files/aBcD', WRONG, 0],
    ['of a public share behind two slashes', 'x/..//public.php/webdav/', WRONG, 0],
    ['of a public share whose first name is escaped', '/%70ublic%2Ephp/dav/files/aBcD%ff', WRONG, 0],
    ['of a public share in capitals', '/PUBLIC.php/webdav/', WRONG, 0],
    ['after a redirect to a public share', '/s/aBcD/download', WRONG, 0],
    [
      'of an app with a sign-in of its own',
      '/ocs/v2.php/apps/app_api/ex-app/state',
      ocs('AppAPI authentication failed'),
      1,
    ],
  ])('%s is about another credential: the grant lives, and no wrong sign-in counts', async (_, path, told, asked) => {
    const { auth, nextcloud, events } = await setUp()
    nextcloud.disturb((request) => {
      if (request.path.endsWith('/download'))
        return { status: 303, headers: { location: '/public.php/dav/files/aBcD' } }
      return request.path === USER ? undefined : { status: 401, ...told }
    })

    for (let count = 0; count < 12; count += 1) expect((await auth.nextcloudFetch(ALICE, path)).status).toBe(401)

    expect(await auth.isProvisioned(ALICE)).toBe(true)
    expect(nextcloud.received(USER)).toHaveLength(asked)
    expect((await auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
    expect(events.map(({ type }) => type)).not.toContain('grant.lost')
  })

  it('has another try with what was connected elsewhere meanwhile', async () => {
    const setup = await setUp()
    const { auth, nextcloud, events } = setup
    await auth.nextcloudFetch(ALICE, USER)
    nextcloud.deleteAll()
    await reconnect(setup)
    nextcloud.requests.length = 0

    expect((await auth.nextcloudFetch(ALICE, USER)).status).toBe(200)

    expect(nextcloud.requests.map(({ headers }) => headers.authorization)).toEqual([
      expect.stringMatching(/^Basic /),
      basic(setup),
    ])
    expect(events.map(({ type }) => type)).not.toContain('grant.lost')
  })
})

/** The user connects again, at another instance. */
async function reconnect({ elsewhere, browser, link, agree, authorize, nextcloud }: AppPasswordWorld) {
  const there = await elsewhere(browser())
  const { login, next } = waitingPage(await there.open(await authorize(await agree(there, await link()))))
  await nextcloud.grant(login, 'alice.w')
  await there.open(next)
}

describe('getNextcloudCredential()', () => {
  it('is a login name and an app password here, with the headers to send, and shows nothing secret of itself', async () => {
    const setup = await setUp()
    const { loginName, password } = setup.nextcloud.appPasswords[0]!

    const credential = await setup.auth.getNextcloudCredential(ALICE)

    expect([credential.type, credential.type === 'basic' && [credential.loginName, credential.password]]).toEqual([
      'basic',
      [loginName, password],
    ])
    expect(credential.headers).toEqual({ Authorization: basic(setup), 'OCS-APIRequest': 'true' })
    const shown = [inspect(credential, { depth: null }), JSON.stringify(credential), JSON.stringify({ ...credential })]
    expect(shown.join()).toContain('alice.w')
    expect(shown.join()).not.toContain(password)
    expect(shown.join()).not.toContain(basic(setup).slice(6))
    expect([Object.isFrozen(credential), Object.isFrozen(credential.headers)]).toEqual([true, true])
  })

  it('is a bearer token in other modes', async () => {
    const { open, ...setup } = await setUp()
    const auth = open({ connect: false, nextcloud: { mode: 'token-exchange' } })
    const info = await auth.verify(await setup.as.mint())
    setup.as.script('/token', { json: { access_token: 'the-token', token_type: 'Bearer', expires_in: 300 } })

    const credential = await auth.getNextcloudCredential(info)

    expect(credential.type === 'bearer' && credential.token).toBe('the-token')
    expect(credential.headers).toEqual({ Authorization: 'Bearer the-token', 'OCS-APIRequest': 'true' })
    expect(inspect(credential)).toBe("{ type: 'bearer' }")
    expect(JSON.stringify(credential)).toBe('{"type":"bearer"}')
  })

  it('takes the place of getNextcloudToken(), which says so', async () => {
    const { auth, signIn } = await setUp()
    const info = await signIn()
    const refusal = new ConfigurationError(
      'There are no Nextcloud tokens in app-password mode: use nextcloudFetch or getNextcloudCredential',
      'nextcloud.mode',
    )

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toEqual(refusal)
    expect(await failureOf(info.extra.getNextcloudToken())).toEqual(refusal)
  })
})

describe('an app password in the cache', () => {
  it('is got without a request, and looked for in the store again after cache.grantCheck', async () => {
    const { auth, as, clock, nextcloud, open } = await setUp()
    const before = as.received().length
    for (let count = 0; count < 2; count += 1) await auth.getNextcloudCredential(ALICE)
    expect(nextcloud.requests).toEqual([])
    expect(as.received()).toHaveLength(before)
    expect(auth.stats()).toMatchObject({ nextcloudCacheMisses: 1, nextcloudCacheHits: 1 })
    await open().revoke(ALICE)

    clock.advance(9_999)
    await auth.getNextcloudCredential(ALICE)
    clock.advance(1)
    expect(await failureOf(auth.getNextcloudCredential(ALICE))).toMatchObject({ reason: 'revoked' })
  })

  it('serves through an outage of the store, for an hour', async () => {
    const storage = faultyStorage()
    const { auth, clock, nextcloud } = await setUp({ storage })
    await auth.nextcloudFetch(ALICE, USER)
    storage.failFrom(1)
    clock.advance(3_539_000)

    expect((await auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
    clock.advance(61_000)
    expect(await failureOf(auth.getNextcloudCredential(ALICE))).toMatchObject({ code: 'ERR_STORAGE' })
    expect(nextcloud.appPasswords).toHaveLength(1)
  })
})

describe('revoke()', () => {
  it('deletes the app password in Nextcloud too', async () => {
    const { auth, nextcloud, events } = await setUp()

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })

    expect(nextcloud.appPasswords).toEqual([])
    expect(await auth.isProvisioned(ALICE)).toBe(false)
    expect(events).toContainEqual(expect.objectContaining({ type: 'grant.revoked', revoked: true }))
    expect(await auth.revoke(ALICE)).toEqual({ revoked: false })
  })

  it.each([503, 401, 403, 0])('deletes the grant here also where Nextcloud does not: %i', async (status) => {
    const { auth, nextcloud, stored } = await setUp()
    nextcloud.disturb(() => status)

    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'pending' })

    expect(await auth.isProvisioned(ALICE)).toBe(false)
    expect(JSON.stringify(await stored())).not.toContain(nextcloud.appPasswords[0]?.password)
  })

  it('by the MCP client leaves what another client needs', async () => {
    const { askWith, auth, nextcloud, grants, as } = await setUp()
    const identity = { issuer: as.issuer, subject: 'alice' }
    const { appPassword, fingerprint } = (await grants.store.read(grants.store.keyOf(identity)))!.grant
    await grants.store.connect(identity, { appPassword: appPassword!, fingerprint, clientId: 'another', scopes: [] })

    const answer = await askWith('/nextcloud/disconnect', 'POST')

    expect(answer.body).toEqual({ revoked: false })
    expect(nextcloud.appPasswords).toHaveLength(1)
    expect(await auth.isProvisioned({ ...ALICE, clientId: 'another' })).toBe(true)
    expect(await auth.isProvisioned({ ...ALICE, clientId: 'mcp-client' })).toBe(false)
  })
})

describe('a store that another Nextcloud has used', () => {
  it('has app passwords that this one never sees, and that serve again when it is back', async () => {
    const setup = await setUp()
    const other = await startNextcloudAccounts(setup.clock.now)
    const moved = setup.open({ nextcloud: { url: other.url } })

    expect(await failureOf(moved.nextcloudFetch(ALICE, USER))).toMatchObject({ reason: 'never' })
    expect(await moved.isProvisioned(ALICE)).toBe(false)

    expect(other.requests).toEqual([])
    expect((await setup.auth.nextcloudFetch(ALICE, USER)).status).toBe(200)
  })
})

describe('a store that another mode has used', () => {
  it('has grants of no use here, which are kept for a way back until they are replaced', async () => {
    const setup = await appPasswordWorld()
    const { open, auth, askWith } = setup
    await setup.connect()
    const before = open({ nextcloud: { mode: 'refresh-token' } })
    const provisioned = async () => [await auth.isProvisioned(ALICE), await before.isProvisioned(ALICE)]

    expect(await provisioned()).toEqual([false, true])
    expect(await failureOf(auth.nextcloudFetch(ALICE, USER))).toMatchObject({ reason: 'revoked' })
    const { body } = await askWith('/nextcloud/status', 'GET')
    expect(body).toMatchObject({ connected: false, reason: 'revoked' })

    await setup.connectAs('alice.w')
    expect(await provisioned()).toEqual([true, false])
  })

  it('has an app password of that mode deleted in Nextcloud with a disconnection', async () => {
    const { open, nextcloud } = await setUp()
    const refreshing = open({ nextcloud: { mode: 'refresh-token' } })

    expect(await refreshing.revoke(ALICE)).toEqual({ revoked: true })
    expect(nextcloud.appPasswords).toEqual([])
  })
})

it('a refusal ends the grant as another instance has changed it meanwhile', async () => {
  const storage = overtakenStorage()
  const { auth, as, nextcloud, grants, stored, events } = await setUp({ storage })
  nextcloud.state.accounts.get('alice.w')!.enabled = false
  storage.before(1, () => grants.store.agree({ issuer: as.issuer, ...ALICE }, 'second'))

  expect(await failureOf(auth.nextcloudFetch(ALICE, USER))).toMatchObject({ reason: 'revoked' })

  expect(await stored()).toMatchObject({ state: 'needs-reconnect', clients: ['mcp-client', 'second'] })
  expect(events.filter(({ type }) => type === 'grant.lost')).toHaveLength(1)
})
