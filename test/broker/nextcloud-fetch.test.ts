import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import type { NextcloudOptions, NextcloudRequest } from '../../src/index.js'
import { failureOf, holdTokenRequests, setUp, tokenAnswer, tokenError, turn } from '../support/broker-setup.js'
import { startNextcloud } from '../support/nextcloud-server.js'

/** With a Nextcloud at some base path, and a user who is signed in. */
async function setUpFetch(base = '', more: Omit<NextcloudOptions, 'url'> = {}) {
  const nextcloud = await startNextcloud()
  const setup = await setUp({ nextcloud: { url: nextcloud.url + base, ...more } })
  const alice = await setup.signIn()
  const fetch = (path: string | URL, init?: NextcloudRequest) => setup.auth.nextcloudFetch(alice, path, init)
  return { ...setup, alice, fetch, nextcloud }
}

describe('what is sent', () => {
  it('has the Nextcloud token and OCS-APIRequest', async () => {
    const { fetch, nextcloud } = await setUpFetch()
    await fetch('/ocs/v2.php/cloud/user?format=json')
    expect(nextcloud.received).toHaveLength(1)
    expect(nextcloud.received[0]).toMatchObject({
      method: 'GET',
      path: '/ocs/v2.php/cloud/user?format=json',
      headers: { authorization: 'Bearer nextcloud-token-1', 'ocs-apirequest': 'true' },
      body: '',
    })
  })

  it.each<[string, NonNullable<NextcloudRequest['headers']>]>([
    ['an object', { AUTHORIZATION: 'Basic eDp5', Cookie: 'session=1', 'OCS-APIREQUEST': 'false', 'X-Own': 'kept' }],
    [
      'a list',
      [
        ['authorization', 'Bearer other'],
        ['cookie', 'a=1'],
        ['Cookie', 'b=2'],
        ['x-own', 'kept'],
      ],
    ],
    ['Headers', new Headers({ Authorization: 'Bearer other', cookie: 'a=1', 'x-own': 'kept' })],
  ])("has nothing of the caller's Authorization and Cookie, and the rest of %s", async (_name, headers) => {
    const { fetch, nextcloud } = await setUpFetch()
    await fetch('/index.php', { headers })
    const sent = nextcloud.received[0]!.headers
    expect(sent).toMatchObject({
      authorization: 'Bearer nextcloud-token-1',
      'ocs-apirequest': 'true',
      'x-own': 'kept',
    })
    expect(sent).not.toHaveProperty('cookie')
  })

  it.each<[string, NextcloudRequest['body'], string]>([
    ['a text', 'two notes', 'two notes'],
    ['bytes', new TextEncoder().encode('two notes'), 'two notes'],
    ['a buffer', new TextEncoder().encode('two notes').buffer, 'two notes'],
    ['a form', new URLSearchParams({ note: '2' }), 'note=2'],
    ['a blob', new Blob(['two notes']), 'two notes'],
    ['a stream', Readable.from(['two ', 'notes']), 'two notes'],
    ['nothing', null, ''],
  ])('has the method and the body of the caller: %s', async (_name, body, sent) => {
    const { fetch, nextcloud } = await setUpFetch()
    await fetch('/remote.php/dav/files/alice/a.txt', { method: 'PUT', body: body ?? null })
    expect(nextcloud.received).toMatchObject([{ method: 'PUT', body: sent }])
  })

  it('may have a web stream as its body', async () => {
    const { fetch, nextcloud } = await setUpFetch()
    await fetch('/', { method: 'PUT', body: new Blob(['two notes']).stream() })
    expect(nextcloud.received).toMatchObject([{ method: 'PUT', body: 'two notes' }])
  })

  it.each(['CONNECT', 'trace', 'TRACK'])('is never the method %s', async (method) => {
    const { exchanges, fetch } = await setUpFetch()
    expect(await failureOf(fetch('/', { method }))).toBeInstanceOf(TypeError)
    expect(exchanges()).toBe(0)
  })

  it('has no header of the caller that is about the connection or the host', async () => {
    const { fetch, nextcloud } = await setUpFetch()
    const host = new URL(nextcloud.url).host
    await fetch('/', {
      method: 'PUT',
      body: 'text',
      headers: { host: 'evil.example', 'transfer-encoding': 'chunked', te: 'trailers', expect: '100-continue' },
    })
    const { headers } = nextcloud.received[0]!
    expect(headers).toMatchObject({ host, 'content-length': '4' })
    for (const name of ['transfer-encoding', 'te', 'expect']) expect(headers).not.toHaveProperty(name)
  })

  it('is the MCP token in pass-through mode', async () => {
    const { auth, nextcloud, signIn } = await setUpFetch('', { mode: 'pass-through' })
    const both = await signIn({ aud: ['https://mcp.example.com/mcp', 'nextcloud'] })
    await auth.nextcloudFetch(both, '/status.php')
    expect(nextcloud.tokens()).toEqual([both.token])
  })
})

describe('where it is sent', () => {
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

describe('what comes back', () => {
  it("is the Fetch standard's Response, with status, headers, url and JSON", async () => {
    const { fetch, nextcloud } = await setUpFetch()
    nextcloud.handle((_request, res) => {
      res.writeHead(207, 'Multi-Status', { 'content-type': 'application/json', 'x-own': 'yes' }).end('{"notes":2}')
    })
    const response = await fetch('/remote.php/dav')
    expect(response).toBeInstanceOf(Response)
    expect(response).toMatchObject({
      status: 207,
      statusText: 'Multi-Status',
      ok: true,
      url: `${nextcloud.url}/remote.php/dav`,
    })
    expect(response.headers.get('x-own')).toBe('yes')
    expect(response.body).toBeInstanceOf(ReadableStream)
    expect(await response.clone().json()).toEqual({ notes: 2 })
    expect(await response.text()).toBe('{"notes":2}')
  })

  it('is there before its body is, which streams', async () => {
    const { fetch, nextcloud } = await setUpFetch()
    let end = (): void => undefined
    nextcloud.handle((_request, res) => {
      res.write('first')
      end = () => void res.end('second')
    })
    const reader = (await fetch('/')).body!.pipeThrough(new TextDecoderStream()).getReader()
    expect(await reader.read()).toEqual({ done: false, value: 'first' })
    end()
    expect(await reader.read()).toEqual({ done: false, value: 'second' })
    expect(await reader.read()).toEqual({ done: true, value: undefined })
  })

  it('may be left unread', async () => {
    const { fetch } = await setUpFetch()
    for (let count = 0; count < 5; count += 1) {
      const response = await fetch('/')
      await response.body!.cancel()
      await turn()
      expect(response.status).toBe(200)
    }
  })

  it.each([204, 205, 304])('has no body with status %i', async (status) => {
    const { fetch, nextcloud } = await setUpFetch()
    nextcloud.handle((_request, res) => res.writeHead(status).end())
    const response = await fetch('/', { method: 'DELETE' })
    expect(response).toMatchObject({ status, body: null })
    expect(await response.text()).toBe('')
  })

  it.each([400, 403, 404, 423, 500, 503])('is a status %i as it is, sent once', async (status) => {
    const { fetch, nextcloud } = await setUpFetch()
    nextcloud.handle((_request, res) => res.writeHead(status).end('why'))
    const response = await fetch('/')
    expect([response.status, await response.text()]).toEqual([status, 'why'])
    expect(nextcloud.received).toHaveLength(1)
  })

  it('of http.fetch is handed on as it is', async () => {
    const nextcloud = await startNextcloud()
    const responses: Response[] = []
    const { auth, signIn } = await setUp({
      nextcloud: { url: nextcloud.url },
      http: {
        async fetch(url, init) {
          const response = await globalThis.fetch(url, init)
          responses.push(response)
          return response
        },
      },
    })
    const response = await auth.nextcloudFetch(await signIn(), '/status.php')
    expect(response).toBe(responses.at(-1))
    expect(await response.json()).toMatchObject({ path: '/status.php' })
  })
})

describe('a failure', () => {
  it('to reach Nextcloud is 503, says that it is Nextcloud, and holds nobody off', async () => {
    const { exchanges, fetch, nextcloud } = await setUpFetch()
    const { url } = nextcloud
    await nextcloud.stop()
    for (let count = 0; count < 2; count += 1) {
      const failure = await failureOf(fetch('/'))
      expect(failure).toMatchObject({
        name: 'UpstreamUnavailableError',
        code: 'ERR_UPSTREAM_UNAVAILABLE',
        status: 503,
        message: 'Nextcloud cannot be reached (ECONNREFUSED)',
        headers: { 'Retry-After': '5', 'Cache-Control': 'no-store' },
        body: { error: 'temporarily_unavailable', error_description: 'Nextcloud is not available' },
      })
      expect(JSON.stringify([failure, (failure as Error).stack])).not.toContain(new URL(url).host)
    }
    expect(exchanges()).toBe(1)
  })

  it('to answer within nextcloud.timeout is 503', async () => {
    const { fetch, nextcloud } = await setUpFetch('', { timeout: 50 })
    nextcloud.handle(() => undefined)
    expect(await failureOf(fetch('/'))).toMatchObject({
      status: 503,
      message: 'Nextcloud cannot be reached (no answer within 50 ms)',
    })
  })

  it('to get a token is the answer, and Nextcloud is not asked', async () => {
    const { as, fetch, nextcloud } = await setUpFetch()
    as.script('/token', tokenError('invalid_grant'))
    expect(await failureOf(fetch('/'))).toMatchObject({ code: 'ERR_SUBJECT_TOKEN_REJECTED' })
    expect(nextcloud.received).toEqual([])
  })
})

describe('an abort', () => {
  const reason = new Error('the caller has hung up')

  it('may be left out as null', async () => {
    const { fetch, nextcloud } = await setUpFetch()
    expect((await fetch('/', { signal: null })).status).toBe(200)
    expect(nextcloud.received).toHaveLength(1)
  })

  it('that came before sends nothing', async () => {
    const { exchanges, fetch, nextcloud } = await setUpFetch()
    expect(await failureOf(fetch('/', { signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect(exchanges()).toBe(0)
    expect(nextcloud.received).toEqual([])
  })

  it('ends the wait for the token', async () => {
    const { as, fetch, nextcloud } = await setUpFetch()
    const requests = holdTokenRequests(as)
    const controller = new AbortController()
    const failure = failureOf(fetch('/', { signal: controller.signal }))
    await requests.arrival()
    controller.abort(reason)
    expect(await failure).toBe(reason)
    requests.answer(tokenAnswer('late'))
    await turn()
    expect(nextcloud.received).toEqual([])
  })

  it('ends the wait for Nextcloud', async () => {
    const { fetch, nextcloud } = await setUpFetch()
    const controller = new AbortController()
    nextcloud.handle(() => controller.abort(reason))
    expect(await failureOf(fetch('/', { signal: controller.signal }))).toBe(reason)
    expect(nextcloud.received).toHaveLength(1)
  })

  it.each(['two notes', new TextEncoder().encode('two notes'), null])(
    'at any moment ends the call and nothing else, whatever is being sent: %j',
    async (body) => {
      const { fetch } = await setUpFetch()
      await fetch('/')
      const outcomes: unknown[] = []
      for (let moment = 0; moment < 20; moment += 1) {
        const controller = new AbortController()
        const outcome = failureOf(fetch('/', { method: 'PUT', body, signal: controller.signal }))
        for (let passed = 0; passed < moment; passed += 1) await Promise.resolve()
        controller.abort(reason)
        outcomes.push(await outcome)
        await turn()
      }
      expect(new Set(outcomes)).toEqual(new Set([reason]))
    },
  )

  it.each([200, 204])('that comes after the answer, with status %i, changes nothing', async (status) => {
    const { fetch, nextcloud } = await setUpFetch()
    nextcloud.handle((_request, res) => res.writeHead(status).end())
    for (let moment = 0; moment < 10; moment += 1) {
      const controller = new AbortController()
      const response = await fetch('/', { signal: controller.signal })
      for (let passed = 0; passed < moment; passed += 1) await Promise.resolve()
      controller.abort(reason)
      await turn()
      expect(response.status).toBe(status)
    }
  })

  it('ends a body that streams', async () => {
    const { fetch, nextcloud } = await setUpFetch()
    const controller = new AbortController()
    nextcloud.handle((_request, res) => res.write('first'))
    const reader = (await fetch('/', { signal: controller.signal })).body!.getReader()
    await reader.read()
    controller.abort(reason)
    expect(await failureOf(reader.read())).toMatchObject({ name: 'AbortError' })
  })
})
