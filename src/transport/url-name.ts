/** Characters of a URL in a message. */
const LONGEST_NAME = 300

/**
 * Returns a URL as messages to the operator name it: cut, and without its query, which may hold what is not for a log.
 */
export function nameOf(url: string): string {
  const { origin, pathname } = new URL(url)
  return `${origin}${pathname}`.slice(0, LONGEST_NAME)
}
