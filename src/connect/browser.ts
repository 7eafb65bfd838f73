import type { IncomingMessage, ServerResponse } from 'node:http'
import { urlOf, type RouteHandler } from '../http/router.js'
import { sendPage, type Page } from './pages/document.js'

/** The answer to a browser: a page, or the operator's own address for the end of the way. */
export type Outcome = ({ readonly page: Page } | { readonly returnTo: string }) & {
  /** `Set-Cookie` values for what the answer offers. */
  readonly cookies?: readonly string[]
}

/** Handles a request of a person's browser. What it throws becomes a page too. */
export type PageHandler = (req: IncomingMessage, res: ServerResponse) => Promise<Outcome>

export function sendOutcome(req: IncomingMessage, res: ServerResponse, outcome: Outcome): void {
  if ('page' in outcome) return sendPage(req, res, outcome.page, outcome.cookies)
  for (const cookie of outcome.cookies ?? []) res.appendHeader('Set-Cookie', cookie)
  res.statusCode = 303
  res.setHeader('Location', outcome.returnTo)
  res.setHeader('Cache-Control', 'no-store')
  // The URL of this answer may hold a code, which is spent, and must not be told to the next site.
  res.setHeader('Referrer-Policy', 'no-referrer')
  res.end()
}

/**
 * Whether a page embeds, fetches or has prefetched it (Fetch Metadata), or opens a WebSocket to it, with which Chromium sends none of that:
 * anybody's page could have the browsers of its visitors begin sign-ins and bring codes that are made up, each from an address of its own.
 * Proxies take `Upgrade` away, and leave `Sec-WebSocket-Key`. An old browser does not say what it asks for. `Sec-Fetch-Mode` is not read,
 * because Node's `fetch` sends that one alone.
 */
export function isEmbedded({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  const destination = headers['sec-fetch-dest']
  const isPrefetch = String(headers['sec-purpose'] ?? '').includes('prefetch')
  const isWebSocket = headers['sec-websocket-key'] !== undefined
  return isPrefetch || isWebSocket || (destination !== undefined && destination !== 'document')
}

/**
 * Refuses what `isEmbedded`.
 *
 * @returns whether it is refused, and answered
 */
export function refuseEmbedded(req: IncomingMessage, res: ServerResponse): boolean {
  if (!isEmbedded(req)) return false
  res.statusCode = 403
  res.setHeader('Content-Type', 'text/plain')
  res.setHeader('Cache-Control', 'no-store')
  res.end('This address opens in a window of its own only')
  return true
}

/** Refuses HEAD, because link previews send it and a GET of this path changes something. */
export function withoutHead(handler: RouteHandler): RouteHandler {
  return (req, res) => {
    if (req.method !== 'HEAD') return handler(req, res)
    res.statusCode = 405
    res.setHeader('Allow', 'GET')
    res.setHeader('Cache-Control', 'no-store')
    res.end()
  }
}

export function queryOf(req: IncomingMessage): URLSearchParams {
  const url = urlOf(req)
  const at = url.indexOf('?')
  return new URLSearchParams(at < 0 ? '' : url.slice(at + 1))
}

/** Returns a parameter that is there once; otherwise an empty string, because this server must not choose one of two. */
export function singleParameter(query: URLSearchParams, name: string): string {
  const [value, ...rest] = query.getAll(name)
  return rest.length === 0 ? (value ?? '') : ''
}
