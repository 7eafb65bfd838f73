import { beforeEach, describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { createTestBrowser } from '../support/test-browser.js'
import { LIFE, startNextcloudOidcApp, type NextcloudOidcApp } from '../support/providers/nextcloud-oidc-app.js'
import { optionsOf, outcomeOf, refused, startServer, type RunningServer } from '../support/providers/page.js'
import { STAND_IN_SECRET } from '../support/providers/stand-in.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'

const ALICE = { subject: 'alice' }
const USER = '/ocs/v2.php/cloud/user?format=json'
/** The page leaves these to the environment. */
const FROM_ENVIRONMENT = { clientId: 'mcp-server', clientSecret: STAND_IN_SECRET, allowedClients: ['mcp-client'] }
const MCP_TOKEN = { user: 'alice', client: 'mcp-client', resource: RESOURCE }

let clock: ManualClock
let app: NextcloudOidcApp
let options: McpAuthOptions

beforeEach(async () => {
  clock = manualClock()
  await startApp()
})

async function startApp(ways: { older?: boolean } = {}): Promise<void> {
  app = await startNextcloudOidcApp(clock, ways)
  const servers = { 'https://cloud.example.com': app.origin }
  const sqlite = { SqliteStorage: storageOn(clock) }
  const modules = { 'better-sqlite3': { default: Object }, 'mcp-nextcloud-auth/sqlite': sqlite }
  options = { ...optionsOf('nextcloud-oidc-app.md', servers, modules), ...FROM_ENVIRONMENT }
}

/** In the place of the page's, with the clock of the test. */
const storageOn = (on: ManualClock) =>
  class extends MemoryStorage {
    constructor() {
      super(undefined, on)
    }
  }

/** The whole way in a browser. */
async function connect({ auth, url }: RunningServer, user = 'alice'): Promise<number> {
  const browser = createTestBrowser(url)
  const consent = await browser.open(await auth.createConnectUrl({ subject: user, clientId: 'mcp-client' }))
  const going = await browser.press(consent, { answer: 'yes' })
  return (await browser.open(await app.authorize(going.refreshTo!, user))).status
}

async function connected(): Promise<RunningServer> {
  const server = await startServer(options, clock)
  expect(await connect(server)).toBe(200)
  return server
}

const statusOf = async ({ auth }: RunningServer) => (await auth.nextcloudFetch(ALICE, USER)).status

describe('with the options of docs/nextcloud-oidc-app.md', () => {
  it('a user connects once, and tools act in Nextcloud with an opaque token', async () => {
    const server = await connected()

    const answer = await server.auth.nextcloudFetch(ALICE, USER)

    expect([answer.status, await answer.json()]).toMatchObject([200, { ocs: { data: { id: 'alice' } } }])
    expect(app.presented.map(({ token }) => token)).toEqual([expect.stringMatching(/^[0-9a-f]{72}$/)])
  })

  it('a refresh token is asked for by offline_access', async () => {
    await connected()

    expect(app.rows.map(({ scope }) => scope)).toEqual(['openid offline_access'])
  })

  it('an MCP token that is a JWT is verified here', async () => {
    const server = await connected()

    expect(await server.call(await app.issueMcpToken({ ...MCP_TOKEN, jwt: true }))).toMatchObject({ status: 200 })
    expect(app.received('/apps/oidc/introspect')).toEqual([])
  })

  it('the secret goes in the body, which is where the app looks once it has found client_id there', async () => {
    await connected()

    for (const { headers, form } of app.received('/apps/oidc/token')) {
      expect([headers.authorization, form.get('client_id')]).toEqual([undefined, 'mcp-server'])
    }
  })
})

it('an opaque MCP token, the default, is refused: its introspection names the client and not this server as aud', async () => {
  const server = await startServer(options, clock)

  expect(await server.call(await app.issueMcpToken(MCP_TOKEN))).toMatchObject({ status: 401 })

  expect(server.events).toContainEqual(
    expect.objectContaining({ reason: 'audience', claim: 'aud', found: ['mcp-client'], verified: true }),
  )
})

it('any client can have a token for this server: allowedClients keeps out those that are not listed', async () => {
  const server = await startServer(options, clock)

  const token = await app.issueMcpToken({ ...MCP_TOKEN, client: 'registered-itself', jwt: true })

  expect(await server.call(token)).toMatchObject({ status: 401 })
  expect(server.events).toContainEqual(expect.objectContaining({ reason: 'client', found: ['registered-itself'] }))
})

it('a token exchange is refused, invalid_grant: the operator’s to mend, and no MCP client must sign in again', async () => {
  const exchanging = { ...options, storage: undefined, encryptionKey: undefined, nextcloud: { url: app.origin } }
  const server = await startServer(exchanging, clock)
  const outcome = await outcomeOf(server, await app.issueMcpToken({ ...MCP_TOKEN, jwt: true }))

  expect(outcome).toMatchObject(refused('invalid_grant', /^The authorization server does not offer this grant: /))
})

it('a wrong secret is 400 invalid_client: the hint names it, and the grant is kept', async () => {
  await connected()
  const wrong = await startServer(options, clock, { clientSecret: 'wrong' })
  clock.advance(LIFE * 1_000 - 10_000)

  await expect(wrong.auth.rotate(ALICE)).rejects.toMatchObject({
    code: 'ERR_TOKEN_REQUEST',
    httpStatus: 400,
    hint: expect.stringMatching(/clientSecret/) as string,
  })

  expect(await wrong.auth.isProvisioned(ALICE)).toBe(true)
})

it('a token is not used after its end, by which the grant would be lost', async () => {
  const server = await connected()
  expect(await statusOf(server)).toBe(200)

  for (const seconds of [LIFE - 31, 1, LIFE - 30, LIFE - 30]) {
    clock.advance(seconds * 1_000)
    expect(await statusOf(server)).toBe(200)
  }

  expect(Math.max(...app.presented.map(({ age = Infinity }) => age))).toBeLessThan(LIFE)
  expect(app.rows).toHaveLength(1)
})

it('a refresh kills the token before it, so none is made ahead while that one is in use', async () => {
  const server = await connected()
  await statusOf(server)
  const before = app.refreshes().length

  clock.advance((LIFE - 60) * 1_000)
  expect(await statusOf(server)).toBe(200)
  // It waits for what goes on in the background.
  await server.auth.close()

  expect(app.refreshes()).toHaveLength(before)
})

it('of two refreshes at once only the last pair lives, so instances on one store make one', async () => {
  const one = await connected()
  const two = await startServer(options, clock)
  clock.advance((LIFE - 20) * 1_000)
  const before = app.refreshes().length

  const tokens = await Promise.all([one, two].map(({ auth }) => auth.getNextcloudToken(ALICE)))

  expect(app.refreshes()).toHaveLength(before + 1)
  expect(tokens[0]).toBe(tokens[1])
  expect(await statusOf(two)).toBe(200)
})

it('a refresh token ends after 900 s by default: its user is asked to connect again, and a job can keep it alive', async () => {
  const server = await connected()
  for (let round = 0; round < 4; round += 1) {
    clock.advance((LIFE - 60) * 1_000)
    await server.auth.rotate(ALICE)
  }
  expect(await statusOf(server)).toBe(200)

  clock.advance((LIFE + 1) * 1_000)

  await expect(server.auth.getNextcloudToken(ALICE)).rejects.toMatchObject({
    code: 'ERR_NOT_PROVISIONED',
    reason: 'expired',
    connectUrl: expect.stringMatching(/^https:\/\/mcp\.example\.com\/nextcloud\/connect\?ticket=/) as string,
  })
})

it.each([{ older: false }, { older: true }])(
  'a grant that the app has dropped must be made again, whatever it calls that (older versions: $older)',
  async ({ older }) => {
    await startApp({ older })
    const server = await connected()
    app.rows.length = 0
    clock.advance((LIFE - 20) * 1_000)

    await expect(server.auth.getNextcloudToken(ALICE)).rejects.toMatchObject({
      code: 'ERR_NOT_PROVISIONED',
      reason: 'revoked',
    })

    expect(await connect(server)).toBe(200)
    expect(await statusOf(server)).toBe(200)
  },
)

it('there is no revocation endpoint: a disconnection deletes what is here, and says so', async () => {
  const server = await connected()

  expect(await server.auth.revoke(ALICE)).toEqual({ revoked: 'unsupported' })

  expect(await server.auth.isProvisioned(ALICE)).toBe(false)
})

it('the issuer follows the host of the request: by another name it is another issuer, and that is said', async () => {
  const discoveryUrl = `${app.origin.replace('127.0.0.1', 'localhost')}/index.php/.well-known/openid-configuration`
  const server = await startServer(options, clock, { discoveryUrl })

  await expect(server.auth.ready()).rejects.toMatchObject({
    code: 'ERR_CONFIGURATION',
    option: 'discoveryUrl',
    message: expect.stringMatching(/^The discovery document names the issuer "http:\/\/localhost/) as string,
  })
})
