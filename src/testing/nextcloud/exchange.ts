import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'

/** One request that came in. */
export interface Asked {
  readonly method: string
  /** Without the folder that Nextcloud is in, and without the query; not decoded. */
  readonly path: string
  readonly query: URLSearchParams
  /** Path and query as they were sent. */
  readonly target: string
  readonly headers: IncomingHttpHeaders
  readonly bytes: Buffer
  /** The same as text. */
  readonly body: string
  /** Scheme, host and folder, as this request says them: Nextcloud names itself so. */
  readonly base: string
  /** Where it came from, for the brute force protection. */
  readonly address: string
}

/** The answer to one. */
export interface Told {
  readonly status: number
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Buffer
}

/** A request to a server always has both. */
type Received = IncomingMessage & { readonly method: string; readonly url: string }

/** @param folder the one that Nextcloud is in, with a slash before and none behind */
export async function readRequest(req: IncomingMessage, folder = ''): Promise<Asked> {
  const bytes = await buffer(req)
  const { method, url: target } = req as Received
  const at = target.indexOf('?')
  const path = at === -1 ? target : target.slice(0, at)
  return {
    method,
    path: path.startsWith(`${folder}/`) ? path.slice(folder.length) : path,
    query: new URLSearchParams(at === -1 ? '' : target.slice(at + 1)),
    target,
    headers: req.headers,
    bytes,
    body: bytes.toString(),
    base: `${req.headers['x-forwarded-proto'] === 'https' ? 'https' : 'http'}://${req.headers.host ?? ''}${folder}`,
    address: req.socket.remoteAddress ?? '',
  }
}

const NOT_CACHED = { 'cache-control': 'no-cache, no-store, must-revalidate' }
const HTML = 'text/html; charset=UTF-8'
const JSON_TYPE = 'application/json; charset=utf-8'

/** Returns JSON of a controller. */
export function json(status: number, value: unknown, headers: Told['headers'] = {}): Told {
  return { ...bareJson(status, value), headers: { 'content-type': JSON_TYPE, ...NOT_CACHED, ...headers } }
}

/** Returns JSON of what stands before the controllers: it says nothing of caches. */
export function bareJson(status: number, value: unknown): Told {
  return { status, headers: { 'content-type': JSON_TYPE }, body: JSON.stringify(value) }
}

/** Returns a page. What is between its tags comes escaped from the caller. */
export function page(status: number, content: string, headers: Told['headers'] = {}, title = 'Nextcloud'): Told {
  const body = `<!DOCTYPE html>\n<html><head><title>${title}</title></head><body><h1>Nextcloud</h1>${content}</body></html>`
  return { status, headers: { 'content-type': HTML, ...NOT_CACHED, ...headers }, body }
}

/** Returns a page of what stands before the controllers. */
export function barePage(status: number, content: string, headers: Told['headers'] = {}): Told {
  return { ...page(status, content), headers: { 'content-type': HTML, ...headers } }
}

/** Returns an answer without a body. */
export function empty(status: number, headers: Told['headers'] = {}): Told {
  return { status, headers: { 'content-type': HTML, ...headers }, body: '' }
}

export const forbidden = (words: string, headers: Told['headers'] = {}): Told =>
  page(403, `<h2>Access forbidden</h2><p>${words}</p>`, headers)

export const notFound = (headers: Told['headers'] = {}): Told =>
  page(
    404,
    '<h2>Page not found</h2><p>The page could not be found on the server or you may not be allowed to view it.</p>',
    headers,
  )

/** Returns the page of an exception that nobody caught. */
export const broken = (): Told =>
  barePage(
    500,
    '<h2>Internal Server Error</h2><p>The server was unable to complete your request.</p><p>If this happens again, please send the technical details below to the server administrator.</p><p>More details can be found in the server log.</p><h3>Technical details</h3><ul><li>Remote Address: 192.0.2.1</li><li>Request ID: none</li></ul>',
  )

export const seeOther = (location: string, headers: Told['headers'] = {}): Told =>
  empty(303, { ...NOT_CACHED, location, ...headers })

export const signedIn = (uid: string): { readonly 'x-user-id': string } => ({ 'x-user-id': uid })

export const isApiRequest = ({ headers }: Asked): boolean => headers['ocs-apirequest'] === 'true'

/** Returns the fields of a form or of a JSON object. */
export function fieldsOf({ headers, body }: Pick<Asked, 'headers' | 'body'>): URLSearchParams {
  if (!(headers['content-type'] ?? '').startsWith('application/json')) return new URLSearchParams(body)
  try {
    const given = JSON.parse(body) as Record<string, unknown>
    const fields = new URLSearchParams()
    for (const [name, value] of Object.entries(given)) if (typeof value === 'string') fields.append(name, value)
    return fields
  } catch {
    return new URLSearchParams()
  }
}

/** Returns the two parts of Basic credentials. */
export function basicOf({
  headers,
}: Pick<Asked, 'headers'>): { readonly name: string; readonly password: string } | undefined {
  const [, encoded] = /^Basic (.*)$/i.exec(headers.authorization ?? '') ?? []
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString()
  const at = text.indexOf(':')
  return { name: text.slice(0, Math.max(at, 0)), password: text.slice(at + 1) }
}

export const bearerOf = ({ headers }: Pick<Asked, 'headers'>): string | undefined =>
  /^Bearer\b(.*)$/i.exec(headers.authorization ?? '')?.[1]?.trimStart()

/** Returns a random text, as long as Nextcloud's own. */
export const fresh = (length: number): string => randomBytes(length).toString('hex').slice(0, length)

export const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

/** Whether every escape of a path is one. */
export function isDecodable(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

/** Returns an answer of the web server, which PHP never sees. */
export function nginx(status: number, title: string, headers: Told['headers'] = {}): Told {
  const { body = '' } = page(status, '', {}, title)
  const words = body.toString().replace('<h1>Nextcloud</h1>', `<h1>${title}</h1>nginx/1.22.1`)
  return { status, headers: { 'content-type': 'text/html', ...headers }, body: words }
}
