import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { expect, onTestFinished } from 'vitest'
import type { McpAuthOptions, StorageAdapter } from '../../src/index.js'
import type { McpAuth } from '../../src/mcp-auth.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { ask, askWith, send, type Answer } from './answers.js'
import { manualClock, type ManualClock } from './clock.js'
import { MCP_CLIENT, setUpGrants, type GrantSetup } from './grant-setup.js'
import { bareHost, type Handler, type Host } from './hosts.js'
import { createRefreshTokens } from './refresh-tokens.js'
import {
  CLIENT_ID,
  RESOURCE,
  type MintOptions,
  type ReceivedRequest,
  type ScriptedAuthorizationServer,
} from './scripted-authorization-server.js'

export const ORIGIN = new URL(RESOURCE).origin

/** A page, as a browser has got it. */
export interface Visit {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly setCookies: readonly string[]
  readonly text: string
  /** Where the browser goes on to by itself. */
  readonly refreshTo: URL | undefined
}

export interface BrowserRequest {
  readonly method?: string
  readonly headers?: readonly (readonly [string, string])[]
  readonly body?: string
}

/** A browser that keeps cookies, as far as they are for this one server. */
export interface TestBrowser {
  readonly cookies: Map<string, string>
  /** Opens a URL of the server: its path and query. */
  readonly open: (url: string | URL, request?: BrowserRequest) => Promise<Visit>
  /** Presses a button on a page: sends its form, with the headers that browsers send along. */
  readonly press: (page: Visit, fields?: Record<string, string>, request?: BrowserRequest) => Promise<Visit>
}

/** What the authorization server says of who signed in there, and what it gives. */
export interface SignedIn {
  readonly claims?: Record<string, unknown>
  readonly mint?: MintOptions
  /** The token endpoint's answer; what is undefined is left out. */
  readonly tokens?: Record<string, unknown>
  /** Parameters of the callback; what is undefined is left out. */
  readonly callback?: Record<string, string | undefined>
}

export interface ConnectSetup extends GrantSetup {
  readonly auth: McpAuth
  readonly clock: ManualClock
  readonly url: string
  readonly browser: (url?: string) => TestBrowser
  /** The same browser, at another instance behind the same address. */
  readonly elsewhere: (browser: TestBrowser, options?: McpAuthOptions) => Promise<TestBrowser>
  /** A link for a user and a client. */
  readonly link: (subject?: string, clientId?: string) => Promise<string>
  /** Somebody signs in at the authorization server, which sends the browser back: the path and query of the callback. */
  readonly signIn: (authorizationUrl: URL | undefined, subject?: string, answer?: SignedIn) => Promise<string>
  /** From the link to the authorization server: where the browser is sent. */
  readonly agree: (browser: TestBrowser, link: string) => Promise<URL>
  /** The whole way in one browser. */
  readonly walk: (link: string, subject?: string, answer?: SignedIn, browser?: TestBrowser) => Promise<Visit>
  /** Requests that redeemed a code. */
  readonly redeemed: () => readonly ReceivedRequest[]
  readonly askWith: (path: string, method: string, claims?: Record<string, unknown>) => Promise<Answer>
  readonly ask: typeof ask
}

interface Surroundings {
  readonly options?: McpAuthOptions | ((as: ScriptedAuthorizationServer) => McpAuthOptions)
  readonly storage?: (clock: ManualClock) => StorageAdapter
  readonly host?: Host
  readonly before?: readonly Handler[]
  readonly metadata?: Record<string, unknown>
  readonly clock?: ManualClock
}

/** An app with the connect pages, between an authorization server that does as it is told and a clock that stands still. */
export async function setUpConnect(surroundings: Surroundings = {}): Promise<ConnectSetup> {
  const { options = {}, host = bareHost, before = [], metadata = {} } = surroundings
  const { clock = manualClock() } = surroundings
  const refreshTokens = createRefreshTokens()
  const storage = surroundings.storage?.(clock) ?? new MemoryStorage(undefined, clock)
  const setup = await setUpGrants({ clock, storage, refreshTokens })
  const { as } = setup
  Object.assign(as.metadata, {
    authorization_endpoint: `${as.issuer}/authorize?tenant=acme`,
    scopes_supported: ['openid', 'offline_access'],
    authorization_response_iss_parameter_supported: true,
    ...metadata,
  })
  const codes = new Map<string, Record<string, unknown>>()
  as.script('/token', (request: ReceivedRequest, res: ServerResponse) => {
    if (request.form.get('grant_type') !== 'authorization_code') return refreshTokens.answer(request, res)
    const code = request.form.get('code') ?? ''
    const answer = codes.get(code)
    codes.delete(code)
    res.writeHead(answer === undefined ? 400 : 200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(answer ?? { error: 'invalid_grant' }))
  })
  const auth = setup.open(typeof options === 'function' ? options(as) : options)
  const app = await host.start([...before, auth.routes()])
  onTestFinished(() => app.close())

  async function signIn(to: URL | undefined, subject = 'alice', answer: SignedIn = {}): Promise<string> {
    if (to === undefined) throw new Error('The browser was not sent to the authorization server')
    const seconds = Math.floor(clock.now() / 1_000)
    const { searchParams } = to
    const idToken = await as.mint(
      {
        aud: CLIENT_ID,
        sub: subject,
        nonce: searchParams.get('nonce'),
        iat: seconds,
        exp: seconds + 300,
        client_id: undefined,
        scope: undefined,
        ...answer.claims,
      },
      { header: { typ: 'JWT' }, ...answer.mint },
    )
    const code = `code-${randomBytes(16).toString('base64url')}`
    const accessToken = `access-${randomBytes(16).toString('base64url')}`
    codes.set(code, {
      access_token: accessToken,
      token_type: 'Bearer',
      expires_in: 300,
      refresh_token: refreshTokens.issue(),
      id_token: idToken,
      ...answer.tokens,
    })
    const redirect = new URL(searchParams.get('redirect_uri') ?? '')
    const parameters: Record<string, string | undefined> = {
      code,
      state: searchParams.get('state') ?? '',
      iss: as.issuer,
      ...answer.callback,
    }
    for (const [name, value] of Object.entries(parameters))
      if (value !== undefined) redirect.searchParams.append(name, value)
    return redirect.pathname + redirect.search
  }

  async function agree(browser: TestBrowser, link: string): Promise<URL> {
    const going = await browser.press(await browser.open(link), { answer: 'yes' })
    if (going.refreshTo === undefined) throw new Error(`The browser was not sent on: ${going.status}`)
    return going.refreshTo
  }

  const newBrowser = (url = app.url): TestBrowser => createTestBrowser(url)
  return {
    ...setup,
    clock,
    auth,
    url: app.url,
    browser: newBrowser,
    async elsewhere(browser, given) {
      const other = await host.start([setup.open(given).routes()])
      onTestFinished(() => other.close())
      return createTestBrowser(other.url, browser.cookies)
    },
    link: (subject = 'alice', clientId = MCP_CLIENT) => auth.createConnectUrl({ subject, clientId }),
    signIn,
    agree,
    async walk(link, subject, answer, browser = newBrowser()) {
      return browser.open(await signIn(await agree(browser, link), subject, answer))
    },
    redeemed: () => as.received('/token').filter(({ form }) => form.get('grant_type') === 'authorization_code'),
    askWith: async (path, method, claims) => askWith(app.url, await as.mint(claims), { path, method }),
    ask,
  }
}

export function createTestBrowser(server: string, cookies = new Map<string, string>()): TestBrowser {
  async function open(url: string | URL, { method = 'GET', headers = [], body }: BrowserRequest = {}): Promise<Visit> {
    const { pathname, search } = new URL(url, ORIGIN)
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const { response, text } = await send(server, {
      method,
      path: pathname + search,
      headers: [...(cookie === '' ? [] : [['Cookie', cookie] as const]), ...headers],
      ...(body !== undefined && { body }),
    })
    const setCookies = response.headers['set-cookie'] ?? []
    for (const header of setCookies) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(header) ?? []
      if (header.includes('Max-Age=0;')) cookies.delete(name)
      else cookies.set(name, value)
    }
    const refresh = /^0; url=(.*)$/.exec(String(response.headers['refresh'] ?? ''))?.[1]
    const refreshTo = refresh === undefined ? undefined : new URL(refresh)
    return { status: response.statusCode ?? 0, headers: response.headers, setCookies, text, refreshTo }
  }

  return {
    cookies,
    open,
    async press(page, fields = {}, request = {}) {
      const form = formOf(page)
      return open(form.action, {
        method: 'POST',
        body: new URLSearchParams({ token: form.token, ...fields }).toString(),
        ...request,
        headers: [
          ['Content-Type', 'application/x-www-form-urlencoded'],
          ['Origin', 'null'],
          ['Sec-Fetch-Site', 'same-origin'],
          ...(request.headers ?? []),
        ],
      })
    },
  }
}

/** The form on a page. */
export function formOf({ text }: Pick<Visit, 'text'>): { readonly action: string; readonly token: string } {
  const action = attribute(/<form\b[^>]*>/.exec(text)?.[0], 'action')
  const inputs = [...text.matchAll(/<input\b[^>]*>/g)].map(([tag]) => tag)
  const token = attribute(
    inputs.find((tag) => attribute(tag, 'name') === 'token'),
    'value',
  )
  if (action === undefined || token === undefined) throw new Error(`There is no form on the page: ${text}`)
  return { action, token }
}

function attribute(tag: string | undefined, name: string): string | undefined {
  const value = new RegExp(` ${name}="([^"]*)"`).exec(tag ?? '')?.[1]
  return value === undefined ? undefined : unescape(value)
}

/** Expects a page with this status, and with the headers that every page has. */
export function expectPage({ status, headers }: Visit, expected: number): void {
  expect({
    status,
    type: headers['content-type'],
    cache: headers['cache-control'],
    referrer: headers['referrer-policy'],
    framed: /frame-ancestors 'none'/.test(String(headers['content-security-policy'])),
  }).toEqual({
    status: expected,
    type: 'text/html; charset=utf-8',
    cache: 'no-store',
    referrer: 'no-referrer',
    framed: true,
  })
}

/** A store that can be made to fail. */
export interface FaultyStorage extends StorageAdapter {
  /** Calls so far. */
  readonly calls: () => number
  /** Fails from the call with this number on, counted from now, for so many calls. */
  readonly failFrom: (call: number, count?: number) => void
  readonly heal: () => void
}

export function faultyStorage(inner: StorageAdapter): FaultyStorage {
  let calls = 0
  let failing: readonly [first: number, end: number] = [Infinity, Infinity]
  function guard<T>(run: () => Promise<T>): Promise<T> {
    calls += 1
    return calls >= failing[0] && calls < failing[1] ? Promise.reject(new Error('the store is away')) : run()
  }
  return {
    shared: true,
    get: (key) => guard(() => inner.get(key)),
    put: (...args) => guard(() => inner.put(...args)),
    delete: (...args) => guard(() => inner.delete(...args)),
    calls: () => calls,
    failFrom(call, count = Infinity) {
      failing = [calls + call, calls + call + count]
    },
    heal() {
      failing = [Infinity, Infinity]
    },
  }
}

/** A store in which deletions wait for each other: so many at a time come about at the very same moment. */
export function meetingStorage(inner: StorageAdapter): StorageAdapter & { readonly meet: (count: number) => void } {
  let missing = 0
  let open = (): void => undefined
  let meeting = Promise.resolve()
  return {
    shared: true,
    get: (key) => inner.get(key),
    put: (...args) => inner.put(...args),
    async delete(...args) {
      missing -= 1
      if (missing === 0) open()
      await meeting
      return inner.delete(...args)
    },
    meet(count) {
      missing = count
      meeting = new Promise((resolve) => (open = resolve))
    },
  }
}

function unescape(html: string): string {
  return html
    .replace(/&#(\d+);/g, (_match, code: string) => String.fromCharCode(Number(code)))
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
}
