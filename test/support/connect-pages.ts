import type { Page } from '../../src/connect/pages/document.js'
import type { Connection } from '../../src/connect/pages/overview.js'
import { createPages, type PageContext, type Pages } from '../../src/connect/pages/pages.js'

/** What a page is made with. */
export interface PageWords extends PageContext {
  readonly clientName: string
  readonly clientHost: string
  readonly clientId: string
  readonly callsItself: string
  readonly scopes: readonly string[]
  readonly formValue: string
  readonly action: string
  /** Query of the provider's URL. */
  readonly query: string
  readonly host: string
  readonly error: string
}

export const plainWords: PageWords = {
  serverName: 'Acme notes',
  nextcloudHost: 'cloud.example.com',
  steps: ['sign-in'],
  clientName: 'Claude',
  clientHost: 'claude.ai',
  clientId: 'k3Jd9x…Qw71Zt',
  callsItself: 'claude-code',
  scopes: ['openid', 'offline_access', 'notes:read'],
  formValue: 'dG9rZW4',
  action: '/nextcloud/connect',
  query: 'client_id=mcp-server&state=c3RhdGU',
  host: 'idp.example.com',
  error: 'access_denied',
}

/** Every page, by what shows it, with and without its form. */
export function everyPage(words: PageWords = plainWords): ReadonlyMap<string, Page> {
  const pages: Pages = createPages(words)
  const withAppPassword = createPages({ ...words, steps: ['sign-in', 'app-password'] })
  const { callsItself, scopes, host, error, query } = words
  const client = { name: words.clientName, host: words.clientHost }
  const registered = { id: words.clientId }
  const form = { action: words.action, formValue: words.formValue }
  const connected = {
    trouble: undefined,
    since: Date.UTC(2026, 2, 5, 9, 7),
    clients: [client, { name: 'Notes at work' }].map((client, index) => ({
      client,
      since: Date.UTC(2026, 2 + index, 5, 9, 7),
      lastUsed: index === 0 ? Date.UTC(2026, 10, 28, 14, 0) : undefined,
      end: words.formValue,
    })),
    more: 3,
  } satisfies Connection
  const visit = { done: 'one', signsOut: true } as const
  return new Map([
    ['consent', pages.consent({ client, callsItself, scopes, ...form })],
    ['consent of a registered app', pages.consent({ client: registered, callsItself, scopes, ...form })],
    ['consent to an app password', withAppPassword.consent({ client, callsItself, scopes: [], ...form })],
    ['goingOn', pages.goingOn({ url: `https://idp.example.com/auth?${query}`, host })],
    [
      'waiting',
      pages.waiting({
        client,
        callsItself,
        login: `https://cloud.example.com/login/v2/flow/${words.formValue}`,
        next: 'https://mcp.example.com/nextcloud/login?flow=c3RhdGU',
      }),
    ],
    ['connected', pages.connected({ client, callsItself, disconnect: form, overview: '/nextcloud' })],
    ['connected for good', pages.connected({ client: registered })],
    ['declined', pages.declined()],
    ['withdrawn', pages.withdrawn()],
    ['disconnected', pages.disconnected({ overview: '/nextcloud' })],
    ['linkUnusable', pages.linkUnusable()],
    ['notFromHere', pages.notFromHere()],
    ['otherPerson', pages.otherPerson({ at: 'provider', retry: form })],
    ['otherPerson in Nextcloud', pages.otherPerson({ at: 'nextcloud', retry: form })],
    ['otherPerson without another try', pages.otherPerson({ at: 'app' })],
    ['badAnswer', pages.badAnswer()],
    ['providerRefused', pages.providerRefused({ error })],
    ['noRefreshToken', pages.noRefreshToken()],
    ['unavailable', pages.unavailable({ retryAfter: 30, who: 'provider' })],
    ['tooMany', pages.tooMany({ retryAfter: 540 })],
    ['tooManyRefused', pages.tooManyRefused()],
    ['unknownClient', pages.unknownClient({ redirectUri: 'https://mcp.example.com/nextcloud/callback' })],
    ['failed', pages.failed()],
    ['signIn', pages.signIn({ ...form, done: undefined })],
    ['signIn after signing out', pages.signIn({ ...form, done: 'out' })],
    ['overview', pages.overview({ ...form, ...visit, connection: connected })],
    [
      'overview with browsers',
      pages.overview({
        ...form,
        ...visit,
        connection: { ...connected, clients: connected.clients.map((entry) => ({ ...entry, callsItself })) },
        isOwn: true,
        sessions: [true, false].map((isHere) => ({
          id: `session ${isHere}`,
          since: connected.since,
          lastUsed: connected.since,
          isHere,
        })),
      }),
    ],
    ['signIn at its own server', pages.signIn({ ...form, done: 'signed-out', isOwn: true })],
    ['overview of nothing', pages.overview({ ...form, ...visit, done: 'all-pending', connection: undefined })],
    ...(['refused', 'expired', 'elsewhere'] as const).map(
      (trouble) =>
        [`overview ${trouble}`, pages.overview({ ...form, ...visit, connection: { ...connected, trouble } })] as const,
    ),
    [
      'overview unreadable',
      pages.overview({
        ...form,
        ...visit,
        connection: { trouble: 'unreadable', since: undefined, clients: [], more: 0 },
      }),
    ],
    [
      'overview of consent per user',
      pages.overview({
        ...form,
        done: undefined,
        signsOut: false,
        connection: { ...connected, clients: connected.clients.map((client) => ({ ...client, end: undefined })) },
      }),
    ],
    ['notSignedIn', pages.notSignedIn({ again: '/nextcloud' })],
    ['cannotTell', pages.cannotTell()],
    ['visitFailed', pages.visitFailed({ reason: 'refused', error, again: '/nextcloud' })],
    ['visitOver', pages.visitOver({ again: '/nextcloud' })],
  ])
}
