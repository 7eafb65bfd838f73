import type { IncomingMessage } from 'node:http'
import type { FlowCookies } from './cookies.js'
import { withoutWhitespace } from '../http/whitespace.js'

/** The fields of a form that are there once. */
export type Form = ReadonlyMap<string, string>

/** The fields of all forms of this package, which are short. Nothing else in a body is looked at. */
const FIELDS = ['token', 'answer', 'do']
/** Bytes. */
const LONGEST_FORM = 16_384
const FORM_TYPE = 'application/x-www-form-urlencoded'

/** Whether the body of a request is a form, in the encoding that browsers send by themselves. */
export function hasForm({ headers }: IncomingMessage): boolean {
  return withoutWhitespace(headers['content-type']?.split(';')[0] ?? '').toLowerCase() === FORM_TYPE
}

/**
 * Returns the form in a request's body, also if a parser of the app's has read the body before; undefined if there is none, or it
 * is too long. A field that is there twice is left out, because this server must not choose one of the two.
 */
export async function readForm(req: IncomingMessage): Promise<Form | undefined> {
  if (!hasForm(req)) return undefined
  // A parser that does not know the type leaves an empty object, and the body unread.
  if (req.readableDidRead) return fieldsOf((req as { readonly body?: unknown }).body)
  const text = await readText(req)
  return text === undefined ? undefined : singleFields(text)
}

/** The fields in what an app's parser made of the body. */
function fieldsOf(body: unknown): Form | undefined {
  if (typeof body === 'string' || Buffer.isBuffer(body)) {
    return body.length > LONGEST_FORM ? undefined : singleFields(body.toString())
  }
  if (typeof body !== 'object' || body === null) return undefined
  const given = body as Readonly<Record<string, unknown>>
  return formOf((name) => (Object.hasOwn(given, name) ? [given[name]] : []))
}

function singleFields(text: string): Form {
  const given = new URLSearchParams(text)
  return formOf((name) => given.getAll(name))
}

/** @param valuesOf the values that a body has under a name */
function formOf(valuesOf: (name: string) => readonly unknown[]): Form {
  const form = new Map<string, string>()
  for (const name of FIELDS) {
    const [value, ...more] = valuesOf(name)
    if (typeof value === 'string' && more.length === 0 && value.length <= LONGEST_FORM) form.set(name, value)
  }
  return form
}

async function readText(req: IncomingMessage): Promise<string | undefined> {
  if (Number(req.headers['content-length'] ?? 0) > LONGEST_FORM) return undefined
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      length += chunk.byteLength
      if (length > LONGEST_FORM) return undefined
      chunks.push(chunk)
    }
  } catch {
    // The browser is gone.
    return undefined
  }
  return Buffer.concat(chunks).toString()
}

/**
 * Reads the form that a browser with one of the cookies has sent from a page of this origin. A body of anybody else is not looked at, because
 * nothing can come of it.
 */
export async function readOwnForm(
  { cookies, origin }: { readonly cookies: Pick<FlowCookies, 'any'>; readonly origin: string },
  req: IncomingMessage,
): Promise<Form | undefined> {
  return cookies.any(req) && isFromOwnPage(req, origin) ? readForm(req) : undefined
}

/**
 * Whether a form was sent by a page of this origin, as far as the browser says so (Fetch Metadata, RFC 6454). An old browser may
 * leave these headers out, and a page without a referrer sends `Origin: null`.
 */
export function isFromOwnPage({ headers }: IncomingMessage, origin: string): boolean {
  const site = headers['sec-fetch-site']
  if (site === 'cross-site' || site === 'same-site') return false
  return headers.origin === undefined || headers.origin === 'null' || headers.origin === origin
}
