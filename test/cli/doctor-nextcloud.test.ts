import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { systemClock } from '../../src/clock.js'
import { readConfig } from '../../src/config/read-config.js'
import { createEvents } from '../../src/events.js'
import type { Connection } from '../../src/grants/grant-store.js'
import { createGrants } from '../../src/grants/open-grants.js'
import type { NextcloudMode } from '../../src/modes.js'
import type { NextcloudPreset } from '../../src/presets.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { OCS_USER, setUpDoctor, type DoctorSetup, type Outcome } from '../support/doctor-setup.js'
import { has } from '../support/left-out.js'
import type { Told } from '../../src/testing/nextcloud/exchange.js'
import { accessTokenFor, grantCode } from '../support/nextcloud/oidc-app.js'
import { startStandIn, type NextcloudStandIn } from '../support/nextcloud/stand-in.js'
import { addAccount, addToken } from '../support/nextcloud/state.js'
import { CLIENT_ID } from '../support/scripted-authorization-server.js'
import { openStore } from '../support/stores.js'

const folder = mkdtempSync(path.join(tmpdir(), 'doctor-nextcloud-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface NextcloudSetup extends DoctorSetup {
  readonly cloud: NextcloudStandIn
}

/** A fault, the check that has to find it and that alone fails, and what it says and advises. */
type Fault = readonly [name: string, id: string, plant: (setup: NextcloudSetup) => unknown, says: RegExp]

const ALICE = { sub: '8a6e0804', preferred_username: 'alice' }
const html: Told = { status: 200, headers: { 'content-type': 'text/html; charset=UTF-8' }, body: '<!doctype html>' }

/** A set-up in token-exchange mode with a Nextcloud that answers as a real one. */
async function setUpExchange(): Promise<NextcloudSetup> {
  const setup = await setUpDoctor()
  const { issuer } = setup.as
  const cloud = await startStandIn({ provider: { issuer, clientId: 'nextcloud', uid: 'preferred_username' } })
  onTestFinished(() => cloud.close())
  addAccount(cloud.state, 'alice')
  setup.options['nextcloud-url'] = cloud.url
  Object.assign(setup.provider.exchanged, ALICE)
  return Object.assign(setup, { cloud })
}

/** Some paths of Nextcloud are answered so. */
const answering =
  (begin: string, told: Told) =>
  ({ cloud }: NextcloudSetup): void =>
    cloud.disturb((asked) => (asked.path.startsWith(begin) ? told : undefined))

const unsound = (text: string, { finding }: Pick<Outcome, 'finding'>): string =>
  `${finding(text)?.found ?? ''} → ${finding(text)?.fix ?? ''}`

describe('the doctor at a Nextcloud', () => {
  it('finds everything well where user_oidc takes the token', async () => {
    const { failed, finding } = await (await setUpExchange()).run()

    expect(failed).toEqual([])
    expect(finding('nextcloud.account')).toMatchObject({ status: 'passed', found: 'the account is alice' })
    expect(finding('nextcloud.cors')?.status).toBe('passed')
    expect(finding('nextcloud.dav')?.status).toBe('passed')
  })

  it.each<[...Fault]>([
    [
      'a host name that is not trusted',
      'nextcloud.status',
      ({ cloud }) => (cloud.state.settings.trustedDomains = ['cloud.example.com']),
      /does not answer to the host name 127\.0\.0\.1,.*trusted_domains → .*trusted_domains N --value=127\.0\.0\.1/,
    ],
    [
      'a second factor',
      'nextcloud.bearer',
      ({ cloud }) => (cloud.state.settings.twoFactor = 'everybody'),
      /second factor.*8\.7\.0 to 8\.10\.1.*DAV is not affected → .*app-password mode/,
    ],
    [
      'an account that is disabled',
      'nextcloud.bearer',
      ({ cloud }) => (cloud.state.accounts.get('alice')!.enabled = false),
      /as one of alice, .*disabled there → occ user:enable/,
    ],
    [
      'maintenance that status.php does not tell',
      'nextcloud.bearer',
      ({ cloud }) => {
        cloud.disturb(({ path }) => {
          cloud.state.settings.maintenance = path !== '/status.php'
          return undefined
        })
      },
      /in maintenance mode, or waits for an upgrade → occ maintenance:mode --off, or occ upgrade/,
    ],
    [
      'an upgrade that is due, on routes of apps',
      'nextcloud.cors',
      answering('/index.php/apps/notes', html),
      /200 with an HTML page → .*occ upgrade/,
    ],
    [
      'a provider whose tokens user_oidc does not take',
      'nextcloud.bearer',
      ({ cloud }) => (cloud.state.providers[0]!.checkBearer = false),
      /refuses the token \(401\) → .*--check-bearer=1; its client id in aud.*userinfo_bearer_validation.*openid/,
    ],
    [
      'a token that is of the future for Nextcloud',
      'nextcloud.bearer',
      ({ provider }) => {
        const iat = Math.floor(Date.now() / 1_000) + 120
        Object.assign(provider.exchanged, { iat, nbf: iat })
      },
      /from 1(?:19|20) s ahead, and it allows 60 s → .*NTP/,
    ],
    [
      'a second account, of a user who had one',
      'nextcloud.account',
      ({ cloud }) => (cloud.state.providers[0]!.uniqueUid = true),
      /alice has got a second account.*no request fails → .*--mapping-uid=preferred_username --unique-uid=0/,
    ],
    [
      'a proxy that keeps the Authorization header from DAV',
      'nextcloud.dav',
      answering('/remote.php/', { status: 401 }),
      /DAV answers 401.*while OCS takes the token → .*\/remote\.php/,
    ],
    [
      'an app route that takes no token',
      'nextcloud.cors',
      answering('/index.php/apps/notes', { status: 401 }),
      /refuses the token \(401\), which OCS takes/,
    ],
  ])('finds %s, by %s', async (_name, id, plant, says) => {
    const setup = await setUpExchange()
    await plant(setup)
    const outcome = await setup.run()

    expect(outcome.failed).toEqual([id])
    expect(unsound(id, outcome)).toMatch(says)
  })

  it('says what hashed user ids mean where nobody is known to have had another account', async () => {
    const setup = await setUpExchange()
    setup.cloud.state.accounts.delete('alice')
    setup.cloud.state.providers[0]!.uniqueUid = true
    const outcome = await setup.run()

    expect(outcome.failed).toEqual([])
    expect(unsound('nextcloud.account', outcome)).toMatch(/by hashing.* → .*second, empty one.*--unique-uid=0/)
  })

  // Regression: probes as the user had http.timeout, and a first request takes Nextcloud 5 to 7 s.
  it('waits for the first request of a user as long as the server does', async () => {
    const { answers, options, run } = await setUpDoctor()
    const user = answers[OCS_USER]!
    options['timeout'] = '1000'
    answers[OCS_USER] = (request, res) => setTimeout(() => user(request, res), 1_200)

    expect((await run()).failed).toEqual([])
  })
})

/** A set-up in which users connect, at a Nextcloud that may be the provider itself. */
async function setUpGrants(
  preset: NextcloudPreset,
  { mode = 'refresh-token', isProvider = false }: { mode?: NextcloudMode; isProvider?: boolean } = {},
): Promise<NextcloudSetup> {
  const cloud = await startStandIn()
  onTestFinished(() => cloud.close())
  addAccount(cloud.state, 'alice')
  const nextcloud = { url: cloud.url, mode }
  const connect = { identity: 'sub' as const }
  const setup = await setUpDoctor({
    storage: new MemoryStorage(),
    nextcloud,
    connect,
    ...(isProvider && { issuer: cloud.url }),
  })
  Object.assign(setup.options, { mode, preset, 'nextcloud-url': cloud.url, ...(isProvider && { issuer: cloud.url }) })
  setup.token = ''
  setup.environment['TOKEN_ENCRYPTION_KEY'] = randomBytes(32).toString('base64url')
  setup.secrets.push(setup.environment['TOKEN_ENCRYPTION_KEY'])
  return Object.assign(setup, { cloud })
}

/** Nextcloud's app `oidc` is the provider, behind Nextcloud's own nginx configuration. */
async function setUpOidcApp(): Promise<NextcloudSetup> {
  const setup = await setUpGrants('nextcloud-oidc-app', { isProvider: true })
  const { cloud, environment, resource } = setup
  const redirectUris = [`${new URL(resource).origin}/nextcloud/callback`]
  const { OIDC_CLIENT_SECRET: secret = '' } = environment
  cloud.state.oidcClients.push({ id: 1, name: 'mcp', clientId: CLIENT_ID, secret, redirectUris })
  cloud.state.settings.oidcProviderBearerValidation = true
  return setup
}

/** Nextcloud's core app `oauth2` gives the grants, and MCP tokens come from elsewhere. */
async function setUpOAuth2App(): Promise<NextcloudSetup> {
  const setup = await setUpGrants('nextcloud-oauth2-app')
  const { cloud, environment, resource } = setup
  const redirectUris = [`${new URL(resource).origin}/nextcloud/callback`]
  const { OIDC_CLIENT_SECRET: secret = '' } = environment
  cloud.state.oauth2Clients.push({ id: 1, name: 'mcp', clientId: CLIENT_ID, secret, redirectUris })
  return setup
}

describe("the doctor at Nextcloud's own authorization servers", () => {
  it('finds the app oidc well, discovery behind a redirect included', async () => {
    const outcome = await (await setUpOidcApp()).run()

    expect(outcome.failed).toEqual([])
    expect(outcome.finding('discovery.oidc')?.status).toBe('passed')
    expect(outcome.finding('client.credentials')?.status).toBe('passed')
  })

  it('finds the core app oauth2 well, as far as can be seen, and says what cannot', async () => {
    const setup = await setUpOAuth2App()
    const outcome = await setup.run()

    expect(outcome.failed).toEqual([])
    expect(outcome.finding('config')?.found).toMatch(/the app sets connect\.identity/)
    expect(outcome.finding('client.credentials')).toMatchObject({ status: 'left-out' })
    expect(unsound('client.credentials', outcome)).toMatch(
      /knows the client.*secret cannot be tried.* → .*invalid_client/,
    )
    expect(outcome.finding('connect.redirect-uri')?.status).toBe('passed')
    expect(unsound('nextcloud.bearer', outcome)).toMatch(/--storage, and the user by --subject/)
    // The app counts bad requests of an address, and refuses the good ones after ten.
    expect(setup.cloud.state.attempts).toEqual([])
  })

  it.each<readonly [...Fault, () => Promise<NextcloudSetup>]>([
    [
      'a wrong secret of the app oidc',
      'client.credentials',
      ({ cloud }) => Object.assign(cloud.state.oidcClients[0]!, { secret: 'another' }),
      /does not take the credentials of mcp-server.*401.* → .*OIDC_CLIENT_SECRET/,
      setUpOidcApp,
    ],
    [
      'a client that the app oidc does not have',
      'client.credentials',
      ({ cloud }) => cloud.state.oidcClients.pop(),
      /does not take the credentials of mcp-server/,
      setUpOidcApp,
    ],
    [
      'the same without the preset',
      'client.credentials',
      ({ cloud, options }) => {
        delete options['preset']
        cloud.state.oidcClients.pop()
      },
      /does not take the credentials of mcp-server/,
      setUpOidcApp,
    ],
    [
      'maintenance of the Nextcloud that is the provider too',
      'nextcloud.status',
      ({ cloud }) => (cloud.state.settings.maintenance = true),
      /maintenance mode/,
      setUpOidcApp,
    ],
    [
      'maintenance of the Nextcloud that gives the grants',
      'nextcloud.status',
      ({ cloud }) => (cloud.state.settings.maintenance = true),
      /maintenance mode/,
      setUpOAuth2App,
    ],
    [
      'a client that the core app oauth2 does not have',
      'client.credentials',
      ({ cloud }) => cloud.state.oauth2Clients.pop(),
      /has no OAuth 2\.0 client of that id(?!.*mcp-server).* → .*--client-id.*not the secret.*OAuth 2\.0 clients/,
      setUpOAuth2App,
    ],
    [
      'the core app oauth2 switched off',
      'client.credentials',
      answering('/index.php/apps/oauth2', { status: 404 }),
      /api\/v1\/token is not the token endpoint.*404.* → occ app:enable oauth2/,
      setUpOAuth2App,
    ],
    [
      'another redirect URI at the core app oauth2',
      'connect.redirect-uri',
      ({ cloud }) => Object.assign(cloud.state.oauth2Clients[0]!, { redirectUris: ['https://mcp.example.com/cb'] }),
      /to https:\/\/mcp\.example\.com\/cb, and not to http:.*\/nextcloud\/callback → .*to the letter/,
      setUpOAuth2App,
    ],
  ])('finds %s, by %s', async (_name, id, plant, says, setUp) => {
    const setup = await setUp()
    await plant(setup)
    const outcome = await setup.run()

    expect(outcome.failed).toEqual([id])
    expect(unsound(id, outcome)).toMatch(says)
  })
})

/** What a user has in the store, as the app puts it there. */
async function connect(setup: NextcloudSetup, subject: string, granted: Partial<Connection>): Promise<void> {
  const { cloud, options, environment } = setup
  const file = path.join(folder, `${randomBytes(8).toString('hex')}.db`)
  options['storage'] = `sqlite:${file}`
  const { adapter: storage, close } = await openStore({ kind: 'SQLite', file })
  const { issuer = '', resource = '', mode } = options
  const config = readConfig(
    {
      ...{ issuer, resource, clientId: CLIENT_ID, clientSecret: 'x', storage },
      encryptionKey: environment['TOKEN_ENCRYPTION_KEY'],
      nextcloud: { url: cloud.url, mode },
      connect: { identity: 'sub' },
    },
    {},
  )
  const events = createEvents(() => undefined, systemClock)
  const grants = createGrants({ config, grants: config.grants!, storage, clock: systemClock, events })
  const accessToken = granted.accessToken && { ...granted.accessToken, askedFor: grants.askedFor }
  const connection = { fingerprint: 'f', clientId: 'mcp-client', scopes: [], ...granted }
  await grants.store.connect({ issuer, subject }, { ...connection, ...(accessToken && { accessToken }) })
  await close()
}

const tokens = (token: string, sentAt = Date.now()): Partial<Connection> => ({
  refreshToken: 'rt-canary-5Kq8Zp',
  accessToken: { token, expiresIn: 900, sentAt },
})

/** An access token of the app `oidc`. */
async function oidcToken({ cloud: { state, url }, secrets }: NextcloudSetup): Promise<string> {
  const row = grantCode(state, 'alice', new URLSearchParams({ client_id: CLIENT_ID }))
  const token = (row.accessToken = await accessTokenFor(state, url, row))
  secrets.push(token, 'rt-canary-5Kq8Zp')
  return token
}

async function setUpAppPassword(uid = 'alice'): Promise<NextcloudSetup> {
  const setup = await setUpGrants('generic', { mode: 'app-password' })
  const { password } = addToken(setup.cloud.state, { kind: 'app-password', uid, name: 'mcp' })
  setup.secrets.push(password)
  await connect(setup, 'alice', { appPassword: { loginName: uid, password, nextcloud: `${setup.cloud.url}/` } })
  return setup
}

describe.runIf(has('better-sqlite3'))('the doctor and what a user has connected', () => {
  it('tries a stored access token of the user of --subject, and renews nothing', async () => {
    const setup = await setUpOidcApp()
    await connect(setup, 'alice', tokens(await oidcToken(setup)))
    const outcome = await setup.run(['--subject', 'alice'])

    expect(outcome.failed).toEqual([])
    expect(outcome.finding('nextcloud.bearer')?.found).toMatch(/the user there is alice/)
    expect(outcome.finding('nextcloud.dav')?.status).toBe('passed')
  })

  it('names the setting by which Nextcloud takes tokens of its app oidc', async () => {
    const setup = await setUpOidcApp()
    setup.cloud.state.settings.oidcProviderBearerValidation = false
    await connect(setup, 'alice', tokens(await oidcToken(setup)))
    const outcome = await setup.run(['--subject', 'alice'])

    expect(outcome.failed).toEqual(['nextcloud.bearer'])
    expect(unsound('nextcloud.bearer', outcome)).toMatch(
      / → .*occ config:system:set user_oidc oidc_provider_bearer_validation --value=true --type=boolean$/,
    )
  })

  // Presenting one that has ended costs the grant at the app oidc.
  it('presents no access token that has ended', async () => {
    const setup = await setUpOidcApp()
    await connect(setup, 'alice', tokens(await oidcToken(setup), Date.now() - 880_000))
    const outcome = await setup.run(['--subject', 'alice'])

    expect(outcome.finding('nextcloud.bearer')).toMatchObject({ status: 'left-out' })
    expect(outcome.finding('nextcloud.bearer')?.found).toMatch(/has ended.*spends no refresh token/)
    expect(setup.cloud.requests.filter(({ headers }) => headers.authorization?.startsWith('Bearer'))).toEqual([])
  })

  it('finds a key that does not open the grant once', async () => {
    const setup = await setUpOidcApp()
    await connect(setup, 'alice', tokens(await oidcToken(setup)))
    setup.environment['TOKEN_ENCRYPTION_KEY'] = randomBytes(32).toString('base64url')

    expect((await setup.run(['--subject', 'alice'])).failed).toEqual(['storage.records'])
  })

  it('says whom it found no grant of', async () => {
    const setup = await setUpOidcApp()
    await connect(setup, 'alice', tokens(await oidcToken(setup)))
    const outcome = await setup.run(['--subject', 'bob'])

    expect(outcome.finding('nextcloud.bearer')?.found).toMatch(/^bob of .* has no living grant/)
  })

  it('tries the app password of the user of an MCP token', async () => {
    const setup = await setUpAppPassword()
    await connectedUser(setup)
    const outcome = await setup.run()

    expect(outcome.failed).toEqual([])
    expect(outcome.finding('nextcloud.bearer')?.found).toMatch(/the user there is alice/)
    expect(outcome.finding('connect.offline-access')?.found).toBe('no refresh token is asked for in this mode')
    expect(outcome.finding('nextcloud.account')).toMatchObject({
      status: 'passed',
      found: "the account is alice; whether it is this user's, only the app can tell",
      fix: 'the rule sub fits this user',
    })
  })

  const hashed = createHash('sha256').update('7_0_alice').digest('hex')

  it.each([
    { rule: 'sub', says: /by the rule sub, the account alice is this user's/ },
    { rule: 'claim:preferred_username', says: /by the rule claim:preferred_username, the account/ },
    { rule: 'anyone', says: /^the account is alice$/ },
    { rule: 'user_oidc:7', uid: hashed, says: /by the rule user_oidc:7, the account/ },
  ])('finds that the rule $rule says of the account what it should', async ({ rule, uid, says }) => {
    const setup = await setUpAppPassword(uid)
    setup.environment['NEXTCLOUD_IDENTITY'] = rule
    await connectedUser(setup, { preferred_username: 'alice' })
    const outcome = await setup.run()

    expect(outcome.failed).toEqual([])
    expect(outcome.finding('nextcloud.account')).toMatchObject({ status: 'passed' })
    expect(outcome.finding('nextcloud.account')?.found).toMatch(says)
  })

  it.each([
    { rule: 'claim:email', says: /claim email, which the MCP token does not have as a string → .*ID token/ },
    {
      rule: 'claim:nickname',
      says: /account is bob, and the credential opens alice → the rule sub fits.*--identity, NEXTCLOUD_IDENTITY or/,
    },
    {
      rule: 'sub',
      uid: hashed,
      says: /account is alice, and the credential opens \w.* → the rule user_oidc:7 fits this user/,
    },
    {
      rule: 'user_oidc:7',
      uid: 'mallory',
      says: /opens mallory → see the user ids in occ user:list.*another person's account/,
    },
  ])('finds an account that is not the one that the rule $rule expects', async ({ rule, uid, says }) => {
    const setup = await setUpAppPassword(uid)
    await connectedUser(setup, { nickname: 'bob' })
    const outcome = await setup.run(['--identity', rule])

    expect(outcome.failed).toEqual(['nextcloud.account'])
    expect(unsound('nextcloud.account', outcome)).toMatch(says)
  })

  it('needs an MCP token for a rule that compares a claim', async () => {
    const setup = await setUpAppPassword()
    setup.token = ''
    const outcome = await setup.run(['--subject', 'alice', '--identity', 'claim:email'])

    expect(outcome.finding('nextcloud.account')).toMatchObject({ status: 'left-out' })
    expect(outcome.finding('nextcloud.account')?.found).toMatch(/give an MCP token by --token-file/)
  })

  it.each<[...Fault]>([
    [
      'an app password that the user has ended',
      'nextcloud.bearer',
      ({ cloud }) => cloud.state.tokens.pop(),
      /refuses the app password \(401\) → .*connect again/,
    ],
    [
      'the brute-force protection of Nextcloud',
      'nextcloud.bearer',
      ({ cloud: { state } }) => {
        const attempt = { action: 'login', address: '127.0.0.1', name: 'bob', at: Date.now() }
        state.attempts.push(...Array.from({ length: 11 }, () => attempt))
      },
      /429.*brute-force.*good ones too → .*allow list of the app bruteforcesettings/,
    ],
  ])('finds %s, by %s', async (_name, id, plant, says) => {
    const setup = await setUpAppPassword()
    await connectedUser(setup)
    plant(setup)
    const outcome = await setup.run()

    expect(outcome.failed).toEqual([id])
    expect(unsound(id, outcome)).toMatch(says)
  })
})

/** Nextcloud names a login page at another address. */
const loginPageAt =
  (login: string) =>
  ({ cloud }: NextcloudSetup): void =>
    cloud.disturb(({ path }) =>
      path === '/index.php/login/v2'
        ? {
            status: 200,
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ login, poll: { token: 'poll-canary-8dQ' } }),
          }
        : undefined,
    )

describe('the doctor at a login flow', () => {
  async function setUp(): Promise<NextcloudSetup> {
    const setup = await setUpGrants('generic', { mode: 'app-password' })
    setup.secrets.push('poll-canary-8dQ', 'flow-canary-2Lr')
    return setup
  }

  it('finds the login page where people open Nextcloud', async () => {
    const setup = await setUp()
    const outcome = await setup.run()

    expect(outcome.failed).toEqual([])
    expect(outcome.finding('nextcloud.login-flow')).toMatchObject({
      status: 'passed',
      found: `the login page of Nextcloud is at ${setup.cloud.url}`,
    })
  })

  it('finds a login page at the public address that Nextcloud alone knows', async () => {
    const [setup, shown] = [await setUp(), await startStandIn()]
    onTestFinished(() => shown.close())
    loginPageAt(`${shown.url}/index.php`)(setup)
    const outcome = await setup.run()

    expect(outcome.finding('nextcloud.login-flow')).toMatchObject({
      status: 'passed',
      found: `the login page of Nextcloud is at ${shown.url}`,
    })
  })

  it('does not judge a login page whose name is not known here', async () => {
    const setup = await setUp()
    loginPageAt('http://cloud.invalid/login/v2/flow/flow-canary-2Lr')(setup)
    const outcome = await setup.run()

    expect(outcome.finding('nextcloud.login-flow')?.status).toBe('left-out')
    expect(unsound('nextcloud.login-flow', outcome)).toMatch(
      /login page at http:\/\/cloud\.invalid,.*cannot be reached from here \(\w+\).* → .*NEXTCLOUD_PUBLIC_URL/,
    )
  })

  it.each<[...Fault]>([
    [
      'an address that has lost its port',
      'nextcloud.login-flow',
      loginPageAt('http://127.0.0.1:1/login/v2/flow/flow-canary-2Lr'),
      /login page at http:\/\/127\.0\.0\.1:1,.*not there \(\w+\) → .*overwritehost --value=127\.0\.0\.1:\d+, and overwriteprotocol --value=http;/,
    ],
    [
      'an answer without a flow',
      'nextcloud.login-flow',
      answering('/index.php/login/v2', html),
      /answers a login flow with something else \(status 200\) → .*answer POST \/index\.php\/login\/v2/,
    ],
  ])('finds %s, by %s', async (_name, id, plant, says) => {
    const setup = await setUp()
    plant(setup)
    const outcome = await setup.run()

    expect(outcome.failed).toEqual([id])
    expect(unsound(id, outcome)).toMatch(says)
  })
})

/** The MCP token is one of the user who has connected. */
async function connectedUser(setup: NextcloudSetup, claims: object = {}): Promise<void> {
  setup.token = await setup.as.mint({ aud: setup.resource, sub: 'alice', ...claims })
}
