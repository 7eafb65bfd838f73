/** A dot segment with one of its characters encoded, or behind an encoded slash: some proxies decode it. */
const HIDDEN_DOT_SEGMENT = /(?:\/|%2f|%5c)(?:\.|%2e){1,2}(?=\/|%2f|%5c|$)/i

/**
 * Returns the address of a path, without its fragment.
 *
 * @param base ends with a slash
 * @throws {TypeError} the path leads out of this Nextcloud, where the token must not go
 */
export function resolvePath(base: URL, path: string | URL): URL {
  const absolute = path instanceof URL || URL.canParse(path)
  // With "./" before it, nothing in the path can be taken for a scheme or a host.
  const url = absolute ? new URL(path) : new URL(`./${path.replace(/^[/\\]+/, '')}`, base)
  // The URL parser drops leading blanks, behind which another parser may see a host.
  if (!isWithin(base, url) || /^\s/.test(String(path))) throw new TypeError('The path leads out of nextcloud.url')
  url.hash = ''
  return url
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
