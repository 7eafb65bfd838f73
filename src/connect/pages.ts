import type { IncomingMessage, ServerResponse } from 'node:http'

/** A page, ready to be sent. */
export interface Page {
  readonly status: number
  readonly html: string
  /** URL that the browser goes on to by itself. */
  readonly refreshTo?: string
}

/** What every page may name. */
export interface PageContext {
  readonly serverName: string
  readonly nextcloudHost: string
}

/** A form of one button: where it goes, and the value that its hidden field `token` holds. */
export interface FormTarget {
  /** Path and query on this origin. */
  readonly action: string
  readonly formValue: string
}

/** The pages of the connection, each for one outcome. */
export interface Pages {
  readonly consent: (p: FormTarget & { readonly clientName: string; readonly scopes: readonly string[] }) => Page
  readonly goingOn: (p: { readonly url: string; readonly host: string }) => Page
  readonly connected: (p: { readonly clientName: string; readonly disconnect?: FormTarget }) => Page
  readonly declined: () => Page
  readonly disconnected: () => Page
  readonly linkUnusable: () => Page
  readonly notFromHere: () => Page
  readonly otherPerson: (p: { readonly retry?: FormTarget }) => Page
  readonly badAnswer: () => Page
  readonly providerRefused: (p: { readonly error: string }) => Page
  readonly noRefreshToken: () => Page
  readonly unavailable: (p: { readonly retryAfter: number }) => Page
  readonly failed: () => Page
}

export function createPages({ serverName, nextcloudHost }: PageContext): Pages {
  const page = (status: number, title: string, content = ''): Page => ({
    status,
    html: `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escape(title)}</title><h1>${escape(title)}</h1>${content}</html>`,
  })
  const form = ({ action, formValue }: FormTarget, buttons: string): string =>
    `<form method="post" action="${escape(action)}"><input type="hidden" name="token" value="${escape(formValue)}">${buttons}</form>`
  const says = (text: string): string => `<p>${escape(text)}</p>`

  return {
    consent: ({ clientName, scopes, ...target }) =>
      page(
        200,
        'Connect Nextcloud?',
        `${says(`${clientName} wants to act in ${nextcloudHost} through ${serverName}: ${scopes.join(' ')}`)}${form(
          target,
          '<button name="answer" value="yes">Yes</button><button name="answer" value="no">No</button>',
        )}`,
      ),
    goingOn: ({ url, host }) => ({
      ...page(200, 'Going on', `<a href="${escape(url)}">${escape(host)}</a>`),
      refreshTo: url,
    }),
    connected: ({ clientName, disconnect }) =>
      page(200, 'Connected', says(clientName) + (disconnect ? form(disconnect, '<button>Disconnect</button>') : '')),
    declined: () => page(200, 'Not connected'),
    disconnected: () => page(200, 'Disconnected'),
    linkUnusable: () => page(410, 'This link cannot be used any more', says('Ask your MCP client for a new one.')),
    notFromHere: () => page(403, 'This did not begin in this browser'),
    otherPerson: ({ retry }) =>
      page(
        403,
        'Somebody else is signed in',
        says('Sign out there, or try again with another account.') +
          (retry ? form(retry, '<button>Try again</button>') : ''),
      ),
    badAnswer: () => page(400, 'The answer of the provider cannot be used'),
    providerRefused: ({ error }) => page(502, 'The provider refused', says(error)),
    noRefreshToken: () => page(502, 'The provider gave no refresh token', says('Switch on offline_access.')),
    unavailable: ({ retryAfter }) => page(503, 'Not available', says(`Try again in ${retryAfter} s.`)),
    failed: () => page(500, 'Something went wrong here'),
  }
}

/** Answers with a page, over whatever headers the app has set before. */
export function sendPage(req: IncomingMessage, res: ServerResponse, page: Page, cookies: readonly string[] = []): void {
  res.statusCode = page.status
  res.setHeader('Content-Type', 'text/html; charset=utf-8')
  res.setHeader(
    'Content-Security-Policy',
    "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  )
  res.setHeader('X-Frame-Options', 'DENY')
  res.setHeader('Referrer-Policy', 'no-referrer')
  res.setHeader('Cache-Control', 'no-store')
  res.setHeader('X-Content-Type-Options', 'nosniff')
  if (page.refreshTo !== undefined) res.setHeader('Refresh', `0; url=${page.refreshTo}`)
  if (cookies.length > 0) res.appendHeader('Set-Cookie', cookies)
  res.end(req.method === 'HEAD' ? undefined : page.html)
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
