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
  ['/', '/a?b=c#d', '/a?b=c'],
  ['/', '/files/a%20b/ü', '/files/a%20b/%C3%BC'],
  ['/', '//evil.example.com/a', '/evil.example.com/a'],
  ['/', '\\\\evil.example.com/a', '/evil.example.com/a'],
  ['/', '/\\/evil.example.com', '/evil.example.com'],
  ['/', '/a/../b', '/b'],
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

describe('a path that leads out of the base', () => {
  // In the second half, some proxy would decode the path to one out of the base.
  it.each([
    '/../status.php',
    '..',
    'a/../../b',
    '/%2e%2e/b',
    '/.%2E/b',
    'a/%2e%2e/%2e%2e/b',
    '/..\\b',
    'a\\..\\..\\b',
    '/a/..%2fb',
    '/..%2F..%2Fb',
    '/%2e%2e%2fb',
    '/.%2e%5cb',
    '/a%2f..',
    '/a%2F%2e%2e/b',
    '/a%5C..%5Cb',
    '/.%2fb',
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
