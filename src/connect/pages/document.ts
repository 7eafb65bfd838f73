import type { IncomingMessage, ServerResponse } from 'node:http'
import { preferredLanguage, type Language } from './languages.js'
import { markup, type Markup } from './markup.js'
import { PAGE_STYLE, PAGE_STYLE_SOURCE } from './style.js'
import type { Texts } from './texts/en.js'

/** A page for the person at the browser. */
export interface Page {
  readonly status: number
  /** In English. */
  readonly html: string
  /** Undefined: there is English only. */
  readonly htmlIn?: (language: Language) => string
  /** Address to which the browser goes on by itself. */
  readonly refreshTo?: string
  /** Seconds before it does. Default 0. */
  readonly refreshAfter?: number
  /** Seconds after which another try may work. */
  readonly retryAfter?: number
}

/** The first impression of a page: done, take care, or neither. */
export type Tone = 'plain' | 'good' | 'care'

const GLYPHS: Readonly<Record<Tone, Markup>> = {
  plain: markup`<path d="M7.2 18.5h9.9a4 4 0 0 0 .6-7.95 5.7 5.7 0 0 0-11.1.75A3.65 3.65 0 0 0 7.2 18.5z"/>`,
  good: markup`<path d="m5.5 12.6 4.2 4.2 8.8-9.3"/>`,
  care: markup`<path d="M12 6.5v7M12 17.4v.1"/>`,
}

/** The parts of a document that are its own. */
export interface DocumentParts {
  readonly title: string
  readonly tone: Tone
  readonly server: Markup
  readonly content: Markup
}

/** Writes a whole document. It has no script and fetches nothing, so that {@link sendPage} can forbid both. */
export function writeDocument(
  { language, from }: Pick<Texts, 'language' | 'from'>,
  { title, tone, server, content }: DocumentParts,
): string {
  // Not part of the template, because the policy has the hash of this very text.
  const style: Markup = { html: PAGE_STYLE }
  return markup`<!doctype html>
<html lang="${language}" dir="ltr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title}</title>
<style>${style}</style>
</head>
<body>
<main>
<div class="badge ${tone}"><svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">${GLYPHS[tone]}</svg></div>
<h1>${title}</h1>${content}
<p class="server">${from(server)}</p>
</main>
</body>
</html>
`.html
}

/**
 * In Chromium, `form-action` also binds the redirects that follow a form, and the way to the provider may lead over any number of
 * origins. So the answer to a form is never a redirect there, but a page with a `Refresh`.
 */
const POLICY = [
  "default-src 'none'",
  `style-src ${PAGE_STYLE_SOURCE}`,
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

/**
 * Headers that an app may have set for all it serves, and that would open a page to others: the value in its form to scripts of
 * other origins, and its address, with the ticket or code in it, to receivers of reports.
 */
const NOT_FOR_PAGES = [
  'Access-Control-Allow-Origin',
  'Access-Control-Allow-Credentials',
  'Content-Security-Policy-Report-Only',
  'Reporting-Endpoints',
  'Report-To',
  'NEL',
]

/**
 * Answers a request with a page. The headers that keep it to itself replace those that the app, or helmet, has set.
 *
 * @param cookies whole `Set-Cookie` values, sent beside those of the app
 * @throws TypeError when `page.refreshTo` is not a URL as browsers write it; nothing has been sent then
 */
export function sendPage(req: IncomingMessage, res: ServerResponse, page: Page, cookies: readonly string[] = []): void {
  if (page.refreshTo !== undefined && !/^https?:[\x21-\x7E]+$/.test(page.refreshTo)) {
    throw new TypeError('refreshTo must be a URL')
  }
  setPageHeaders(res, page)
  for (const cookie of cookies) res.appendHeader('Set-Cookie', cookie)
  res.end(req.method === 'HEAD' ? undefined : htmlFor(req, page))
}

/** Returns the document of a page in the language of the person at the browser. */
export function htmlFor({ headers }: Pick<IncomingMessage, 'headers'>, { html, htmlIn }: Page): string {
  return htmlIn?.(preferredLanguage(headers['accept-language'])) ?? html
}

/** Sets the status and the headers of a page that something else sends. */
export function setPageHeaders(res: ServerResponse, page: Page): void {
  for (const name of NOT_FOR_PAGES) res.removeHeader(name)
  res.statusCode = page.status
  res.setHeader('Content-Type', 'text/html; charset=utf-8')
  res.setHeader('Content-Security-Policy', POLICY)
  res.setHeader('X-Frame-Options', 'DENY')
  // The addresses of these pages hold tickets, codes and state.
  res.setHeader('Referrer-Policy', 'no-referrer')
  // Nor do they need `Vary`, because nothing keeps them for another request.
  res.setHeader('Cache-Control', 'no-store')
  res.setHeader('X-Content-Type-Options', 'nosniff')
  // A site that opened the link in a window can neither watch nor steer that window.
  res.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
  res.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
  if (page.refreshTo !== undefined) res.setHeader('Refresh', `${page.refreshAfter ?? 0}; url=${page.refreshTo}`)
  if (page.retryAfter !== undefined) res.setHeader('Retry-After', String(page.retryAfter))
}
