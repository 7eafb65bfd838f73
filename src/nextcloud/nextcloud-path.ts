import type { NextcloudRefusal } from '../errors/errors.js'

/**
 * A dot segment with one of its characters encoded, or behind an encoded slash, because some proxies decode it, or with a parameter, which
 * some drop. `..%3B` is the beginning of a name.
 */
const HIDDEN_DOT_SEGMENT = /(?:\/|%2f|%5c)(?:\.|%2e){1,2}(?=\/|;|%2f|%5c|$)/i
/** The URL parser takes a backslash for a slash and `#` for the end of the path, and drops control characters. */
const NOT_IN_A_PATH = /[#\\\p{Cc}]/u
const NOT_AN_ESCAPE = /%(?![\da-f]{2})/gi
/** Tried at the first blank of a row alone: from each of them it would take the square of their number. */
const BLANKS_AT_THE_END = /(?<! ) +$/
/** Pages of Nextcloud where a person signs in. Login Flow v2 is under `login/` too and is none. */
const SIGN_IN = /^(?:index\.php\/)?login(\/(?:select|setup)?challenge(?:\/.*)?)?\/?$/

/**
 * Returns the address of a path, without its fragment.
 *
 * @param base ends with a slash
 * @throws {TypeError} the path leads out of this Nextcloud, where the token must not go, or would be read as another one
 */
export function resolvePath(base: URL, path: string | URL): URL {
  if (typeof path !== 'string' && !(path instanceof URL)) {
    throw new TypeError('The path must be a string, a URL or a Request')
  }
  if (typeof path === 'string' && NOT_IN_A_PATH.test(path)) {
    throw new TypeError(
      'A path must not hold #, a backslash or a control character: build it with nextcloudPath, or encode each name in it with ' +
        'encodeURIComponent',
    )
  }
  const text = encoded(path)
  const absolute = path instanceof URL || URL.canParse(text)
  // With "./" before it, nothing in the path can be taken for a scheme or a host.
  const url = absolute ? new URL(text) : new URL(`./${text.replace(/^\/+/, '')}`, base)
  // The URL parser drops leading blanks, behind which another parser may see a host.
  if (!isWithin(base, url) || /^\s/.test(text)) throw new TypeError('The path leads out of nextcloud.url')
  url.hash = ''
  return url
}

/** Returns the path with `%` encoded where it begins no escape, and with the blanks at its end, which the URL parser drops. */
function encoded(path: string | URL): string {
  return String(path).replace(NOT_AN_ESCAPE, '%25').replace(BLANKS_AT_THE_END, encodeURIComponent)
}

/** Whether the token may go to the address. */
export function isWithin(base: URL, url: URL): boolean {
  return (
    url.origin === base.origin &&
    url.pathname.startsWith(base.pathname) &&
    !HIDDEN_DOT_SEGMENT.test(url.pathname) &&
    url.username === '' &&
    url.password === ''
  )
}

/** Returns what Nextcloud refuses a request for by sending it to an address; undefined if that is none of its pages to sign in. */
export function refusalAt(base: URL, url: URL): NextcloudRefusal | undefined {
  if (!isWithin(base, url)) return undefined
  const page = SIGN_IN.exec(url.pathname.slice(base.pathname.length))
  if (page === null) return undefined
  return page[1] === undefined ? 'login' : 'two-factor'
}
