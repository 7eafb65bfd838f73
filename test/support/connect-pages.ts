import type { Page } from '../../src/connect/pages/document.js'
import { createPages, type PageContext, type Pages } from '../../src/connect/pages/pages.js'

/** What a page is made with. */
export interface PageWords extends PageContext {
  readonly clientName: string
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
  clientName: 'Claude',
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
  const { clientName, scopes, host, error, query } = words
  const form = { action: words.action, formValue: words.formValue }
  return new Map([
    ['consent', pages.consent({ clientName, scopes, ...form })],
    ['consent without scopes', pages.consent({ clientName, scopes: [], ...form })],
    ['goingOn', pages.goingOn({ url: `https://idp.example.com/auth?${query}`, host })],
    [
      'waiting',
      pages.waiting({
        clientName,
        login: `https://cloud.example.com/login/v2/flow/${words.formValue}`,
        next: 'https://mcp.example.com/nextcloud/login?flow=c3RhdGU',
      }),
    ],
    ['connected', pages.connected({ clientName, disconnect: form })],
    ['connected for good', pages.connected({ clientName })],
    ['declined', pages.declined()],
    ['disconnected', pages.disconnected()],
    ['linkUnusable', pages.linkUnusable()],
    ['notFromHere', pages.notFromHere()],
    ['otherPerson', pages.otherPerson({ retry: form })],
    ['otherPerson without another try', pages.otherPerson({})],
    ['badAnswer', pages.badAnswer()],
    ['providerRefused', pages.providerRefused({ error })],
    ['noRefreshToken', pages.noRefreshToken()],
    ['unavailable', pages.unavailable({ retryAfter: 30 })],
    ['tooMany', pages.tooMany({ retryAfter: 540 })],
    ['failed', pages.failed()],
  ])
}
