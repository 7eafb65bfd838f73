import { describe, expect, it } from 'vitest'
import { setUpFetch } from '../support/broker-fetch-setup.js'
import { failureOf } from '../support/broker-setup.js'
import { startNextcloud } from '../support/nextcloud-server.js'

describe('where nextcloudFetch sends', () => {
  it.each([
    ['', '/status.php', '/status.php'],
    ['', 'status.php', '/status.php'],
    ['', '', '/'],
    ['', '?a=b', '/?a=b'],
    ['', '/a?b=c#d', '/a?b=c'],
    ['', '/files/a%20b/ü', '/files/a%20b/%C3%BC'],
    ['', '//evil.example.com/a', '/evil.example.com/a'],
    ['', '\\\\evil.example.com/a', '/evil.example.com/a'],
    ['', '/\\/evil.example.com', '/evil.example.com'],
    ['', '/a/../b', '/b'],
    ['/cloud', '/status.php', '/cloud/status.php'],
    ['/cloud', 'status.php', '/cloud/status.php'],
    ['/cloud/', '/status.php', '/cloud/status.php'],
    ['/cloud', '/', '/cloud/'],
    ['/cloud', '/a/../b', '/cloud/b'],
    ['/cloud', '/a:b/c:d', '/cloud/a:b/c:d'],
    ['/cloud', '/.well-known/a..b/...', '/cloud/.well-known/a..b/...'],
    ['/cloud', '/https://evil.example.com', '/cloud/https://evil.example.com'],
    ['/cloud', '//evil.example.com/a', '/cloud/evil.example.com/a'],
  ])('of base %j, path %j is %j', async (base, path, sent) => {
    const { fetch, nextcloud } = await setUpFetch(base)
    const response = await fetch(path)
    expect(nextcloud.received.map((request) => request.path)).toEqual([sent])
    expect(response.url).toBe(nextcloud.url + sent)
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
  ])('is in the base or nowhere, for a path that could be taken for a URL: %j', async (path) => {
    const { fetch, nextcloud } = await setUpFetch('/cloud')
    const failure: unknown = await fetch(path).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (failure !== undefined) expect(failure).toBeInstanceOf(TypeError)
    expect(nextcloud.received).toHaveLength(failure === undefined ? 1 : 0)
    for (const request of nextcloud.received) expect(request.path).toMatch(/^\/cloud\//)
  })

  it.each([
    '/a/..%2fb',
    '/..%2F..%2Fb',
    '/%2e%2e%2fb',
    '/.%2e%5cb',
    '/a%2f..',
    '/a%2F%2e%2e/b',
    '/a%5C..%5Cb',
    '/.%2fb',
  ])('is never a path that some proxy would decode to one out of the base: %j', async (path) => {
    const { exchanges, fetch, nextcloud } = await setUpFetch('/cloud')
    for (const form of [path, `${nextcloud.url}/cloud${path}`, new URL(`${nextcloud.url}/cloud${path}`)]) {
      expect(await failureOf(fetch(form))).toBeInstanceOf(TypeError)
    }
    expect(nextcloud.received).toEqual([])
    expect(exchanges()).toBe(0)
  })

  it('is an absolute URL within the base, as text and as URL', async () => {
    const { fetch, nextcloud } = await setUpFetch('/cloud')
    await fetch(`${nextcloud.url}/cloud/status.php`)
    await fetch(new URL(`${nextcloud.url}/cloud/a/../b?c#d`))
    expect(nextcloud.received.map(({ path }) => path)).toEqual(['/cloud/status.php', '/cloud/b?c'])
  })

  it.each([
    '/../status.php',
    '..',
    'a/../../b',
    '/%2e%2e/b',
    '/.%2E/b',
    'a/%2e%2e/%2e%2e/b',
    '/..\\b',
    'a\\..\\..\\b',
    'https://evil.example.com/cloud/',
    'HTTP://evil.example.com/cloud/',
  ])('is never out of the base: %j is a TypeError, before anything is asked', async (path) => {
    const { exchanges, fetch, nextcloud } = await setUpFetch('/cloud')
    const failure = await failureOf(fetch(path))
    expect(failure).toBeInstanceOf(TypeError)
    expect(failure).toHaveProperty('message', 'The path leads out of nextcloud.url')
    expect(nextcloud.received).toEqual([])
    expect(exchanges()).toBe(0)
  })

  it('is never a neighbour of the base, another port, another scheme, or with a user name', async () => {
    const { exchanges, fetch, nextcloud } = await setUpFetch('/cloud')
    const evil = await startNextcloud()
    const { host, hostname } = new URL(nextcloud.url)
    const outside = [
      `${nextcloud.url}/`,
      `${nextcloud.url}/cloudier/`,
      `${nextcloud.url}/cloud/../other`,
      `${nextcloud.url}/cloud/%2e%2e/other`,
      `${evil.url}/cloud/status.php`,
      `https://${host}/cloud/status.php`,
      `http://${hostname}.evil.example.com/cloud/status.php`,
      `http://${host}@${new URL(evil.url).host}/cloud/status.php`,
      `http://alice@${host}/cloud/status.php`,
      `http://:secret@${host}/cloud/status.php`,
    ]
    for (const url of outside) {
      for (const path of [url, new URL(url)]) expect(await failureOf(fetch(path))).toBeInstanceOf(TypeError)
    }
    expect([...nextcloud.received, ...evil.received]).toEqual([])
    expect(exchanges()).toBe(0)
  })
})
