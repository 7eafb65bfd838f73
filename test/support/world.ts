import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { onTestFinished, TestRunner } from 'vitest'
import type { Clock } from '../../src/clock.js'
import { readConfig } from '../../src/config/read-config.js'
import { createEvents } from '../../src/events.js'
import type { Grant } from '../../src/grants/grant.js'
import { createGrants, type Grants } from '../../src/grants/open-grants.js'
import type { McpAuthEvent, McpAuthInfo, McpAuthOptions, NextcloudRequest, StorageAdapter } from '../../src/index.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import { MODES, type ModeTraits, type NextcloudMode } from '../../src/modes.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { askWith, type Answer, type SendOptions } from './answers.js'
import { manualClock, type ManualClock } from './clock.js'
import { ENCRYPTION_KEY, MCP_CLIENT } from './grant-constants.js'
import type { Handler, Host } from './hosts.js'
import { startNextcloudAccounts, type NextcloudAccounts } from './nextcloud-accounts.js'
import { startNextcloud, type NextcloudServer } from './nextcloud-server.js'
import { turn, until } from './promises.js'
import { createRefreshTokens, type RefreshTokens } from './refresh-tokens.js'
import { NO_SCOPES } from './refusal.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  startAuthorizationServer,
  type MintOptions,
  type ReceivedRequest,
  type ScriptedAuthorizationServer,
} from './scripted-authorization-server.js'
import { createTestBrowser, type TestBrowser, type Visit } from './test-browser.js'

/** The address of Nextcloud where no stand-in runs. */
export const NEXTCLOUD = 'https://cloud.example.com'

/** The parts that a test asks for. */
export interface Parts {
  /** `nextcloud.mode`, or `none`: tokens are verified, and there is no Nextcloud. Default `token-exchange`. */
  readonly mode?: NextcloudMode | 'none'
  /** Options beside those that every instance in the world has; `open()` takes more. */
  readonly options?: McpAuthOptions | ((as: ScriptedAuthorizationServer, nextcloudUrl: string) => McpAuthOptions)
  /** Default: one that stands still. */
  readonly clock?: ManualClock
  /** Where grants are. Default: memory on the world's clock. */
  readonly storage?: StorageAdapter | ((clock: ManualClock) => StorageAdapter)
  /** Default: each is good once. */
  readonly refreshTokens?: RefreshTokens
  /** Whether a stand-in for Nextcloud runs. In app-password mode one does anyway. */
  readonly nextcloud?: true
  /** Changes to the metadata of the authorization server. */
  readonly metadata?: Readonly<Record<string, unknown>>
  /** The server that `handlers` run in. */
  readonly host?: Host
  /** Default: the connect pages. */
  readonly handlers?: (auth: McpAuth) => readonly Handler[]
}

/** Parts of every world. */
export interface World {
  readonly as: ScriptedAuthorizationServer
  readonly clock: ManualClock
  /** Events of all instances. */
  readonly events: McpAuthEvent[]
  /** The instance that the host serves. It is opened when it is first asked for. */
  readonly auth: McpAuth
  /** Another instance, with these options beside the world's. */
  readonly open: (options?: McpAuthOptions) => McpAuth
  /** A verified MCP token with these claims. */
  readonly signIn: (claims?: Record<string, unknown>) => Promise<McpAuthInfo>
  /** Token requests of `auth`. */
  readonly exchanges: () => number
  /** Resolves when so many tokens have come from the authorization server, and what they caused has come to rest. */
  readonly fetched: (count: number) => Promise<void>
  /** The same for failures to get one. */
  readonly failed: (count: number) => Promise<void>
  /** Resolves when so many events of a type have come since the start. */
  readonly happened: (type: string, count?: number) => Promise<void>
  /** Closes everything. A world that a test makes is closed with the test; `beforeAll` and `beforeEach` return this. */
  readonly close: () => Promise<void>
}

/** Parts of a world whose mode keeps grants. */
export interface Keeping {
  readonly storage: StorageAdapter
  readonly refreshTokens: RefreshTokens
  /** Stores a grant with a refresh token as the connect pages would. Resolves to its first refresh token. */
  readonly connect: (
    subject?: string,
    more?: { readonly clientId?: string; readonly refreshToken?: string },
  ) => Promise<string>
  /** The stored grant of a user. */
  readonly stored: (subject?: string) => Promise<Grant | undefined>
  /** The grants as an instance has them. */
  readonly grants: Grants
}

/** What the authorization server says of the user who signed in, and what it gives. */
export interface SignedIn {
  readonly claims?: Record<string, unknown>
  readonly mint?: MintOptions
  /** The token endpoint's answer; what is undefined is left out. */
  readonly tokens?: Record<string, unknown>
  /** Parameters of the callback; what is undefined is left out. */
  readonly callback?: Record<string, string | undefined>
}

/** Parts of a world with a host. */
export interface Served {
  readonly url: string
  readonly browser: (url?: string) => TestBrowser
  /** The same browser, at another instance behind the same address. */
  readonly elsewhere: (browser: TestBrowser, options?: McpAuthOptions) => Promise<TestBrowser>
  /** A connect link for a user and a client. */
  readonly link: (subject?: string, clientId?: string) => Promise<string>
  /** The user signs in at the authorization server: path and query of the callback. */
  readonly authorize: (authorizationUrl: URL | undefined, subject?: string, answer?: SignedIn) => Promise<string>
  /** From the link to the authorization server: the URL that the browser is sent to. */
  readonly agree: (browser: TestBrowser, link: string) => Promise<URL>
  /** The whole way in one browser. */
  readonly walk: (link: string, subject?: string, answer?: SignedIn, browser?: TestBrowser) => Promise<Visit>
  /** Requests that redeemed a code. */
  readonly redeemed: () => readonly ReceivedRequest[]
  readonly askWith: (path: string, method: string, claims?: Record<string, unknown>) => Promise<Answer>
}

/** Parts of a world with a stand-in for Nextcloud. */
export interface Fetching<Nextcloud> {
  readonly nextcloud: Nextcloud
  /** `nextcloudFetch` of `auth` as alice. */
  readonly fetch: (path: string | URL | Request, init?: NextcloudRequest) => ReturnType<McpAuth['nextcloudFetch']>
}

type KeepingMode = 'refresh-token' | 'app-password'

/** The world with the parts that were asked for. */
export type WorldOf<P extends Parts> = World &
  (P extends { readonly mode: KeepingMode } ? Keeping : unknown) &
  (P extends { readonly host: Host } ? Served : unknown) &
  (P extends { readonly mode: 'app-password' }
    ? Fetching<NextcloudAccounts>
    : P extends { readonly nextcloud: true }
      ? Fetching<NextcloudServer>
      : unknown)

/**
 * Everything that the middleware has to do with: an authorization server that does as it is told, a clock that stands still,
 * and what else a test asks for. Only what is asked for is started.
 *
 * ```ts
 * const { auth, signIn, exchanges } = await world()
 * const { open, connect, refreshTokens } = await world({ mode: 'refresh-token' })
 * const { link, walk, stored } = await world({ mode: 'refresh-token', host: bareHost })
 * const { fetch, nextcloud } = await world({ nextcloud: true })
 * let bed: World
 * beforeAll(async () => {
 *   bed = await world({ mode: 'none' })
 *   return bed.close
 * })
 * ```
 */
export async function world(): Promise<World>
export async function world<const P extends Parts>(parts: P): Promise<WorldOf<P>>
export async function world(parts: Parts = {}): Promise<World> {
  const { mode = 'token-exchange', clock = manualClock(), metadata = {} } = parts
  const ends: (() => unknown)[] = []
  const close = async (): Promise<void> => {
    for (const end of ends.splice(0).reverse()) await end()
  }
  // The type says that there is one, and in `beforeAll` there is none.
  const isInTest = (TestRunner.getCurrentTest as () => unknown)() !== undefined
  if (isInTest) onTestFinished(close)

  const as = await startAuthorizationServer(clock.now)
  ends.push(as.close)
  Object.assign(as.metadata, metadata)
  const nextcloud =
    mode === 'app-password'
      ? await startNextcloudAccounts(clock.now)
      : parts.nextcloud === true
        ? await startNextcloud()
        : undefined
  const nextcloudUrl = nextcloud?.url ?? NEXTCLOUD
  const given = typeof parts.options === 'function' ? parts.options(as, nextcloudUrl) : (parts.options ?? {})
  const keeping = mode === 'refresh-token' || mode === 'app-password' ? createKeeping(as, clock, parts) : undefined
  const events: McpAuthEvent[] = []
  const optionsFor = (more: McpAuthOptions = {}): McpAuthOptions => ({
    issuer: as.issuer,
    resource: RESOURCE,
    ...(mode !== 'none' && { clientId: CLIENT_ID }),
    ...(mode !== 'none' && given.clientAuth === undefined && { clientSecret: CLIENT_SECRET }),
    ...(keeping && { storage: keeping.storage, encryptionKey: ENCRYPTION_KEY }),
    onEvent: (event) => events.push(event),
    ...(['requiredScopes', 'scopesSupported'].every((name) => !(name in { ...given, ...more })) && NO_SCOPES),
    ...given,
    ...more,
    ...(mode === 'app-password' && { connect: withRule(more.connect ?? given.connect) }),
    ...(mode !== 'none' && { nextcloud: { url: nextcloudUrl, mode, ...given.nextcloud, ...more.nextcloud } }),
  })
  const open = (more?: McpAuthOptions): McpAuth => {
    const auth = createMcpAuth(optionsFor(more), clock)
    ends.push(() => auth.close())
    return auth
  }
  let first: McpAuth | undefined
  const auth = () => (first ??= open())
  const signIn = async (claims?: Record<string, unknown>) => auth().verify(await as.mint(claims))
  const eventsCome = async (count: number, counts: (event: McpAuthEvent) => boolean): Promise<void> => {
    await until(() => events.filter(counts).length >= count)
    await turn()
  }
  const everywhere: World = {
    as,
    clock,
    events,
    get auth() {
      return auth()
    },
    open,
    signIn,
    exchanges: () => auth().stats().exchanges,
    fetched: (count) => eventsCome(count, (event) => event.type === 'nextcloud.token' && event.source === 'idp'),
    failed: (count) => eventsCome(count, (event) => event.type === 'nextcloud.failed'),
    happened: (type, count = 1) => eventsCome(count, (event) => event.type === type),
    close,
  }
  let alice: Promise<McpAuthInfo> | undefined
  return joined(
    everywhere,
    keeping === undefined ? {} : withGrants(as, keeping, clock, optionsFor),
    parts.host === undefined ? {} : await serve(parts.host, parts, everywhere, keeping ?? noKeeping, ends),
    nextcloud === undefined
      ? {}
      : {
          nextcloud,
          fetch: async (path: string | URL | Request, init?: NextcloudRequest) =>
            auth().nextcloudFetch(await (alice ??= signIn()), path, init),
        },
  )
}

/** Connect options whose test is not about accounts let any account of Nextcloud in. */
const withRule = (connect: McpAuthOptions['connect']): McpAuthOptions['connect'] =>
  connect !== false && { identity: 'anyone', ...connect }

/** One object of all members, getters included. */
function joined(first: World, ...others: readonly object[]): World {
  for (const other of others) Object.defineProperties(first, Object.getOwnPropertyDescriptors(other))
  return first
}

/** Answers of the token endpoint by code. Each is good once. */
type Codes = Map<string, Record<string, unknown>>

/** A mode without grants has no codes either. */
const noKeeping = { codes: new Map() as Codes, refreshTokens: createRefreshTokens() }

function createKeeping(as: ScriptedAuthorizationServer, clock: ManualClock, parts: Parts) {
  const { refreshTokens = createRefreshTokens() } = parts
  const storage =
    typeof parts.storage === 'function' ? parts.storage(clock) : (parts.storage ?? new MemoryStorage(undefined, clock))
  const codes: Codes = new Map()
  as.script('/token', (request: ReceivedRequest, res: ServerResponse) => {
    if (request.form.get('grant_type') !== 'authorization_code') return refreshTokens.answer(request, res)
    const code = request.form.get('code') ?? ''
    const answer = codes.get(code)
    codes.delete(code)
    res.writeHead(answer === undefined ? 400 : 200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(answer ?? { error: 'invalid_grant' }))
  })
  return { storage, refreshTokens, codes }
}

function withGrants(
  { issuer }: ScriptedAuthorizationServer,
  { storage, refreshTokens }: ReturnType<typeof createKeeping>,
  clock: ManualClock,
  optionsFor: (more?: McpAuthOptions) => McpAuthOptions,
): Keeping {
  let opened: Grants | undefined
  const grants = (): Grants => (opened ??= openGrants(optionsFor(), storage, clock))
  let forTokens: Grants | undefined
  const refreshTokenGrants = (): Grants =>
    (forTokens ??= openGrants(optionsFor({ nextcloud: { mode: 'refresh-token' } }), storage, clock))
  return {
    storage,
    refreshTokens,
    get grants() {
      return grants()
    },
    async connect(subject = 'alice', { clientId = MCP_CLIENT, refreshToken = refreshTokens.issue() } = {}) {
      const { fingerprint: hash, store } = refreshTokenGrants()
      const fingerprint = hash(refreshToken)
      await store.connect({ issuer, subject }, { refreshToken, fingerprint, clientId, scopes: ['openid'] })
      return refreshToken
    },
    stored: async (subject = 'alice') => (await grants().store.look({ issuer, subject }))?.grant,
  }
}

/** The grants of an instance with these options. */
export function openGrants(options: McpAuthOptions, storage: StorageAdapter, clock: Clock): Grants {
  const config = readConfig(options, {})
  if (config.grants === undefined) throw new Error('That mode keeps no grants')
  return createGrants({ config, grants: config.grants, storage, clock, events: createEvents(undefined, clock) })
}

async function serve(
  host: Host,
  { handlers = (auth) => [auth.routes()], metadata = {} }: Parts,
  { as, auth, clock, open }: World,
  keeping: Pick<ReturnType<typeof createKeeping>, 'codes' | 'refreshTokens'>,
  ends: (() => unknown)[],
): Promise<Served> {
  Object.assign(as.metadata, {
    authorization_endpoint: `${as.issuer}/authorize?tenant=acme`,
    scopes_supported: ['openid', 'offline_access'],
    authorization_response_iss_parameter_supported: true,
    ...metadata,
  })
  const start = async (instance: McpAuth): Promise<string> => {
    const app = await host.start(handlers(instance))
    ends.push(app.close)
    return app.url
  }
  const url = await start(auth)
  const browser = (at = url): TestBrowser => createTestBrowser(at)
  const authorize: Served['authorize'] = (to, subject, answer) =>
    authorized({ as, clock }, keeping, { to, subject, answer })
  const agree: Served['agree'] = async (user, link) => {
    const going = await user.press(await user.open(link), { answer: 'yes' })
    if (going.refreshTo === undefined) throw new Error(`The browser was not sent on: ${going.status}`)
    return going.refreshTo
  }
  return {
    url,
    browser,
    elsewhere: async (user, given) => createTestBrowser(await start(open(given)), user.cookies),
    link: (subject = 'alice', clientId = MCP_CLIENT) => auth.createConnectUrl({ subject, clientId }),
    authorize,
    agree,
    walk: async (link, subject, answer, user = browser()) =>
      user.open(await authorize(await agree(user, link), subject, answer)),
    redeemed: () => as.received('/token').filter(({ form }) => form.get('grant_type') === 'authorization_code'),
    askWith: async (path, method, claims) =>
      askWith(url, await as.mint(claims), { path, method } satisfies SendOptions),
  }
}

interface Arrival {
  readonly to: URL | undefined
  readonly subject?: string | undefined
  readonly answer?: SignedIn | undefined
}

/** A user signs in at the authorization server, which gives a code and sends the browser back. */
async function authorized(
  { as, clock }: Pick<World, 'as' | 'clock'>,
  { codes, refreshTokens }: Pick<ReturnType<typeof createKeeping>, 'codes' | 'refreshTokens'>,
  { to, subject = 'alice', answer = {} }: Arrival,
): Promise<string> {
  if (to === undefined) throw new Error('The browser was not sent to the authorization server')
  const seconds = Math.floor(clock.now() / 1_000)
  const claims = {
    aud: CLIENT_ID,
    sub: subject,
    nonce: to.searchParams.get('nonce'),
    iat: seconds,
    exp: seconds + 300,
    client_id: undefined,
    scope: undefined,
    ...answer.claims,
  }
  const code = fresh('code')
  codes.set(code, {
    access_token: fresh('access'),
    token_type: 'Bearer',
    expires_in: 300,
    refresh_token: refreshTokens.issue(),
    id_token: await as.mint(claims, { header: { typ: 'JWT' }, ...answer.mint }),
    ...answer.tokens,
  })
  const redirect = new URL(to.searchParams.get('redirect_uri') ?? '')
  const parameters = { code, state: to.searchParams.get('state') ?? '', iss: as.issuer, ...answer.callback }
  for (const [name, value] of Object.entries<string | undefined>(parameters))
    if (value !== undefined) redirect.searchParams.append(name, value)
  return redirect.pathname + redirect.search
}

const fresh = (kind: string): string => `${kind}-${randomBytes(16).toString('base64url')}`

/** The modes that have a trait, in the order of their table. */
export function modesWhere(has: (traits: ModeTraits) => boolean): NextcloudMode[] {
  return (Object.keys(MODES) as NextcloudMode[]).filter((mode) => has(MODES[mode]))
}
