import { expect, it } from 'vitest'
import { nextcloudPath } from '../../src/index.js'

it('each value of a path is one segment, and each array several', () => {
  expect(nextcloudPath`/remote.php/dav/files/${'ålice'}/${['Docs', '#old.txt']}`).toBe(
    '/remote.php/dav/files/%C3%A5lice/Docs/%23old.txt',
  )
  expect(nextcloudPath`/notes/${7}?folder=${'a&b=c'}`).toBe('/notes/7?folder=a%26b%3Dc')
  expect(nextcloudPath`/status.php`).toBe('/status.php')
})

it.each(['what?.txt', '100%', '%2e%2e', 'a/b', '..\\up', 'tab\there', 'line\nfeed', 'x;v=1', '...', ' '])(
  'a name reaches Nextcloud as it is: %j',
  (name) => {
    const path = nextcloudPath`/files/${name}`
    expect(path).toMatch(/^\/files\/[\w%.~!'()*-]+$/)
    expect(decodeURIComponent(path.slice('/files/'.length))).toBe(name)
    expect(new URL(path, 'https://cloud.example.com').pathname).toBe(path)
  },
)

it.each<[value: unknown, why: string]>([
  ['.', 'A path segment is ., which leads elsewhere'],
  ['..', 'A path segment is .., which leads elsewhere'],
  ['', 'A path segment is empty'],
  [undefined, 'A path segment must be a string or a number, and not undefined'],
  [null, 'A path segment must be a string or a number, and not null'],
  [{}, 'A path segment must be a string or a number, and not object'],
  [['a', ''], 'A path segment is empty'],
  [['a', '..'], 'A path segment is .., which leads elsewhere'],
  [[['a']], 'A path segment must be a string or a number, and not object'],
  [[], 'A list of path segments is empty'],
  ['\uD800', 'A path segment holds half of a surrogate pair, which is no text'],
])('a value that names no segment is refused: %j', (value, why) => {
  expect(() => nextcloudPath`/files/${value as string}/x`).toThrow(new TypeError(why))
})
