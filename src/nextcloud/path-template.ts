type Segment = string | number

/**
 * Returns a path for `nextcloudFetch` in which each value is one segment, encoded (RFC 3986 §3.3), and each array several.
 *
 * @throws {TypeError} a value is `.`, `..`, empty, or no string and no number
 *
 * @example
 * nextcloudPath`/remote.php/dav/files/${'alice'}/${['Docs', '#old.txt']}` // /remote.php/dav/files/alice/Docs/%23old.txt
 */
export function nextcloudPath(
  template: TemplateStringsArray,
  ...values: readonly (Segment | readonly Segment[])[]
): string {
  return String.raw({ raw: template }, ...values.map(encoded))
}

function encoded(value: unknown): string {
  if (!Array.isArray(value)) return encodedSegment(value)
  if (value.length === 0) throw new TypeError('A list of path segments is empty')
  return value.map(encodedSegment).join('/')
}

function encodedSegment(value: unknown): string {
  if (typeof value !== 'string' && typeof value !== 'number') {
    throw new TypeError(
      `A path segment must be a string or a number, and not ${value === null ? 'null' : typeof value}`,
    )
  }
  const segment = String(value)
  if (segment === '') throw new TypeError('A path segment is empty')
  if (segment === '.' || segment === '..') throw new TypeError(`A path segment is ${segment}, which leads elsewhere`)
  try {
    return encodeURIComponent(segment)
  } catch {
    throw new TypeError('A path segment holds half of a surrogate pair, which is no text')
  }
}
