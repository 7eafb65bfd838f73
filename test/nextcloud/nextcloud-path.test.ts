import { describe, expect, it } from 'vitest'
import { resolvePath } from '../../src/nextcloud/nextcloud-path.js'
import { world } from '../support/world.js'
import { failureOf } from '../support/promises.js'

const HOST = 'http://127.0.0.1:8080'
const resolve = (path: string | URL, base = '/cloud/') => resolvePath(new URL(HOST + base), path).href

it.each([
  ['/', '/status.php', '/status.php'],
  ['/', 'status.php', '/status.php'],
  ['/', '', '/'],
  ['/', '?a=b', '/?a=b'],
  ['/', '/files/a%20b/ü', '/files/a%20b/%C3%BC'],
  ['/', '//evil.example.com/a', '/evil.example.com/a'],
  ['/', '/a/../b', '/b'],
  ['/', '/..a;/a..;/..%3Ba/100%252e.txt', '/..a;/a..;/..%3Ba/100%252e.txt'],
  ['/', '/100%/50% off?x=%&y=%2', '/100%25/50%25%20off?x=%25&y=%252'],
  ['/', '/%zz%2f%C3%BC%', '/%25zz%2f%C3%BC%25'],
  ['/', '/Docs/blank  ', '/Docs/blank%20%20'],
  ['/', new URL(`${HOST}/100%?x=%`), '/100%25?x=%25'],
  ['/', `${HOST}/100%`, '/100%25'],
  ['/cloud/', '/status.php', '/cloud/status.php'],
  ['/cloud/', 'status.php', '/cloud/status.php'],
  ['/cloud/', '/', '/cloud/'],
  ['/cloud/', '/a/../b', '/cloud/b'],
  ['/cloud/', '/a:b/c:d', '/cloud/a:b/c:d'],
  ['/cloud/', '/.well-known/a..b/...', '/cloud/.well-known/a..b/...'],
  ['/cloud/', '/https://evil.example.com', '/cloud/https://evil.example.com'],
  ['/cloud/', '//evil.example.com/a', '/cloud/evil.example.com/a'],
  ['/cloud/', `${HOST}/cloud/status.php`, '/cloud/status.php'],
  ['/cloud/', new URL(`${HOST}/cloud/a/../b?c#d`), '/cloud/b?c'],
])('of base %j, path %j is %j', (base, path, expected) => {
  expect(resolve(path, base)).toBe(HOST + expected)
})

it.each([
  '\t//evil.example.com',
  ' //evil.example.com',
  '\n\\\\evil.example.com',
  'https:evil.example.com/cloud/',
  'http:evil.example.com/cloud/',
  'https:\\\\evil.example.com/cloud/',
  ' https://evil.example.com/cloud/',
  'file:///cloud/',
  'data:,cloud',
  'a:b',
])('a path that could be taken for a URL is in the base or nowhere: %j', (path) => {
  let resolved: string | undefined
  try {
    resolved = resolve(path)
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError)
  }
  expect(resolved ?? `${HOST}/cloud/`).toMatch(/^http:\/\/127\.0\.0\.1:8080\/cloud\//)
})

it.each([
  '/Docs/#old.txt',
  '/a?b=c#d',
  `${HOST}/cloud/#old.txt`,
  '\\\\evil.example.com/a',
  '/\\/evil.example.com',
  '/Docs\\old.txt',
  '/..\\b',
  '/old.txt\n',
  '/o\tld.txt',
  '/old\0.txt',
  '/old\x7f.txt',
  '/old\x85.txt',
])('a path with a character that would make it another one is refused: %j', (path) => {
  expect(() => resolve(path)).toThrow(
    new TypeError(
      'A path must not hold #, a backslash or a control character: build it with nextcloudPath, or encode each name in it with encodeURIComponent',
    ),
  )
})

it('a row of blanks costs what its length is', () => {
  const before = performance.now()
  expect(resolve(`/a${' '.repeat(50_000)}b`)).toBe(`${HOST}/cloud/a${'%20'.repeat(50_000)}b`)
  expect(performance.now() - before).toBeLessThan(1_000)
})

it.each([undefined, null, 7, {}, ['/a']])('a path that is none is refused: %j', async (path) => {
  expect(() => resolve(path as never)).toThrow(TypeError)
  const { exchanges, fetch } = await world({ nextcloud: true })
  expect(await failureOf(fetch(path as never))).toBeInstanceOf(TypeError)
  expect(exchanges()).toBe(0)
})

describe('a path that leads out of the base', () => {
  // In the second half, some proxy would decode the path to one out of the base.
  it.each([
    '/../status.php',
    '..',
    'a/../../b',
    '/%2e%2e/b',
    '/.%2E/b',
    'a/%2e%2e/%2e%2e/b',
    '/a/..%2fb',
    '/..%2F..%2Fb',
    '/%2e%2e%2fb',
    '/.%2e%5cb',
    '/a%2f..',
    '/a%2F%2e%2e/b',
    '/a%5C..%5Cb',
    '/.%2fb',
    '/a/..;/..;/b',
    '/..;x=y/b',
    '/a%2f.%2e;/b',
  ])('is refused: %j', (path) => {
    expect(() => resolve(path)).toThrow(new TypeError('The path leads out of nextcloud.url'))
  })

  it.each([
    `${HOST}/`,
    `${HOST}/cloudier/`,
    `${HOST}/cloud/../other`,
    `${HOST}/cloud/%2e%2e/other`,
    `${HOST}/cloud/a/..%2fb`,
    'https://evil.example.com/cloud/',
    'HTTP://evil.example.com/cloud/',
    'http://127.0.0.1:8081/cloud/status.php',
    'https://127.0.0.1:8080/cloud/status.php',
    'http://127.0.0.1.evil.example.com:8080/cloud/status.php',
    'http://127.0.0.1:8080@evil.example.com/cloud/status.php',
    'http://alice@127.0.0.1:8080/cloud/status.php',
    'http://:secret@127.0.0.1:8080/cloud/status.php',
  ])('is refused as text and as URL: %s', (url) => {
    for (const path of [url, new URL(url)]) expect(() => resolve(path)).toThrow(TypeError)
  })
})

it('a path that leads out is a TypeError before anything is asked, and another is below the base', async () => {
  const { exchanges, fetch, nextcloud } = await world({
    nextcloud: true,
    options: (_as, url) => ({ nextcloud: { url: `${url}/cloud` } }),
  })
  expect(await failureOf(fetch('/../status.php'))).toBeInstanceOf(TypeError)
  expect(nextcloud.received).toEqual([])
  expect(exchanges()).toBe(0)

  expect((await fetch('/status.php')).url).toBe(`${nextcloud.url}/cloud/status.php`)
  expect(nextcloud.received.map(({ path }) => path)).toEqual(['/cloud/status.php'])
})
