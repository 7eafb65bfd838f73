import fc from 'fast-check'
import { expect, it } from 'vitest'
import { nextcloudPath } from '../../src/index.js'
import { readRequest } from '../../src/nextcloud/nextcloud-request.js'
import { anyText, fuzz } from './support/fuzz.js'

const BASE = new URL('https://cloud.example.com/sub/')
const pieces = fc.constantFrom(
  ...[
    '/',
    '//',
    '\\',
    '.',
    '..',
    '%2e',
    '%2E%2e',
    '%2f',
    '%5c',
    '%',
    '%zz',
    '#',
    '?',
    ' ',
    '\t',
    '\n',
    '@',
    ':',
    'https:',
    'http://',
  ],
  ...[
    'cloud.example.com',
    'evil.example',
    'sub',
    'remote.php',
    'dav',
    'ä',
    '\u{1F600}',
    '\uD800',
    ';',
    '&',
    '=',
    '%00',
    '\u3002',
  ],
)
const path = fc.oneof(
  { arbitrary: fc.array(pieces, { maxLength: 10 }).map((parts) => parts.join('')), weight: 4 },
  fc.array(pieces, { maxLength: 6 }).map((parts) => `https://cloud.example.com/sub/${parts.join('')}`),
  anyText(40),
)

/** What a lax proxy or server may read in a path: escapes decoded again and again, backslashes as slashes, and dot segments resolved. */
function laxSegments(pathname: string): readonly string[] {
  let text = pathname
  for (let times = 0; times < 3; times += 1) {
    text = text.replace(/%(2e|2f|5c)/gi, (escape) => decodeURIComponent(escape)).replace(/\\/g, '/')
  }
  return text.split('/')
}

it('a path that is taken leads into this Nextcloud alone, however lax its reader, and any other is a TypeError', async () => {
  await fuzz(
    fc.property(path, (given) => {
      let url: URL
      try {
        ;({ url } = readRequest(BASE, given))
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError)
        return
      }
      expect(`${url.protocol}//${url.host}`).toBe('https://cloud.example.com')
      expect(url.username + url.password + url.hash).toBe('')
      const segments = laxSegments(url.pathname)
      expect(segments.slice(0, 2)).toEqual(['', 'sub'])
      expect(segments.filter((segment) => segment === '.' || segment === '..')).toEqual([])
      // Sent once more, it is the same.
      expect(readRequest(BASE, url).url.href).toBe(url.href)
    }),
  )
})

it('each value in nextcloudPath is one segment, and comes back as it was', async () => {
  const segment = fc.oneof(anyText(20), pieces, fc.integer().map(String))
  await fuzz(
    fc.property(segment, fc.array(segment, { maxLength: 4 }), (one, several) => {
      let url: URL
      try {
        ;({ url } = readRequest(BASE, nextcloudPath`/remote.php/dav/files/${one}/${several}?a=b`))
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError)
        const isBad = (text: string): boolean =>
          text === '' || /\p{Surrogate}/u.test(text) || laxSegments(text).some((part) => /^\.{1,2}(?:;|$)/.test(part))
        expect(several.length === 0 || [one, ...several].some(isBad)).toBe(true)
        return
      }
      expect(url.search).toBe('?a=b')
      expect(url.pathname.split('/').slice(5).map(decodeURIComponent)).toEqual([one, ...several])
    }),
  )
})
