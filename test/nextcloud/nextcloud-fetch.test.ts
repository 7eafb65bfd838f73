import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import type { NextcloudRequest } from '../../src/index.js'
import { startNextcloud } from '../support/nextcloud-server.js'
import { failureOf, turn } from '../support/promises.js'
import { holdTokenRequests, tokenAnswer, tokenError } from '../support/token-endpoint.js'
import { world } from '../support/world.js'

describe('what is sent', () => {
  it('has the Nextcloud token and OCS-APIRequest', async () => {
    const { fetch, nextcloud } = await world({ nextcloud: true })
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
    ['a list', ['authorization', 'cookie', 'Cookie', 'x-own'].map((name): [string, string] => [name, 'kept'])],
    ['Headers', new Headers({ Authorization: 'Bearer other', cookie: 'a=1', 'x-own': 'kept' })],
  ])("has nothing of the caller's Authorization and Cookie, and the rest of %s", async (_name, headers) => {
    const { fetch, nextcloud } = await world({ nextcloud: true })
    await fetch('/index.php', { headers })
    const sent = nextcloud.received[0]!.headers
    const own = { authorization: 'Bearer nextcloud-token-1', 'ocs-apirequest': 'true', 'x-own': 'kept' }
    expect(sent).toMatchObject(own)
    expect(sent).not.toHaveProperty('cookie')
  })

  it.each<[string, NextcloudRequest['body'], string]>([
    ['a text', 'two notes', 'two notes'],
    ['bytes', new TextEncoder().encode('two notes'), 'two notes'],
    ['a buffer', new TextEncoder().encode('two notes').buffer, 'two notes'],
    ['a form', new URLSearchParams({ note: '2' }), 'note=2'],
    ['a blob', new Blob(['two notes']), 'two notes'],
    ['a stream', Readable.from(['two ', 'notes']), 'two notes'],
    ['a web stream', new Blob(['two notes']).stream(), 'two notes'],
    ['nothing', null, ''],
  ])('has the method and the body of the caller: %s', async (_name, body, sent) => {
    const { fetch, nextcloud } = await world({ nextcloud: true })
    await fetch('/remote.php/dav/files/alice/a.txt', { method: 'PUT', body: body ?? null })
    expect(nextcloud.received).toMatchObject([{ method: 'PUT', body: sent }])
  })

  it.each(['CONNECT', 'trace', 'TRACK'])('is never the method %s', async (method) => {
    const { exchanges, fetch } = await world({ nextcloud: true })
    expect(await failureOf(fetch('/', { method }))).toBeInstanceOf(TypeError)
    expect(exchanges()).toBe(0)
  })

  it('has no header of the caller that is about the connection or the host', async () => {
    const { fetch, nextcloud } = await world({ nextcloud: true })
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
})

describe('what comes back', () => {
  it("is the Fetch standard's Response, with status, headers, url and JSON", async () => {
    const { fetch, nextcloud } = await world({ nextcloud: true })
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
    const { fetch, nextcloud } = await world({ nextcloud: true })
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
    const { fetch } = await world({ nextcloud: true })
    for (let count = 0; count < 5; count += 1) {
      const response = await fetch('/')
      await response.body!.cancel()
      await turn()
      expect(response.status).toBe(200)
    }
  })

  it.each([204, 205, 304])('has no body with status %i', async (status) => {
    const { fetch, nextcloud } = await world({ nextcloud: true })
    nextcloud.handle((_request, res) => res.writeHead(status).end())
    const response = await fetch('/', { method: 'DELETE' })
    expect(response).toMatchObject({ status, body: null })
    expect(await response.text()).toBe('')
  })

  it.each([400, 403, 404, 423, 500, 503])('is a status %i as it is, sent once', async (status) => {
    const { fetch, nextcloud } = await world({ nextcloud: true })
    nextcloud.handle((_request, res) => res.writeHead(status).end('why'))
    const response = await fetch('/')
    expect([response.status, await response.text()]).toEqual([status, 'why'])
    expect(nextcloud.received).toHaveLength(1)
  })

  it('with a status that no answer can have is an outage, and its connection is closed', async () => {
    const { fetch, nextcloud } = await world({ nextcloud: true })
    const closed = new Promise((resolve) => {
      nextcloud.handle((_request, res) => res.writeHead(700).on('close', resolve).write('endless'))
    })
    expect(await failureOf(fetch('/'))).toMatchObject({ code: 'ERR_UPSTREAM_UNAVAILABLE', status: 503 })
    await closed
  })

  it('of http.fetch is handed on as it is', async () => {
    const nextcloud = await startNextcloud()
    const responses: Response[] = []
    const { auth, signIn } = await world({
      options: {
        nextcloud: { url: nextcloud.url },
        http: {
          async fetch(url, init) {
            const response = await globalThis.fetch(url, init)
            responses.push(response)
            return response
          },
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
    const { exchanges, fetch, nextcloud } = await world({ nextcloud: true })
    const { url } = nextcloud
    await nextcloud.stop()
    for (let count = 0; count < 2; count += 1) {
      const failure = await failureOf(fetch('/'))
      expect(failure).toMatchObject({
        name: 'UpstreamUnavailableError',
        code: 'ERR_UPSTREAM_UNAVAILABLE',
        status: 503,
        detail: 'Nextcloud cannot be reached (ECONNREFUSED)',
        unprocessed: true,
        headers: { 'Retry-After': '5', 'Cache-Control': 'no-store' },
        body: { error: 'temporarily_unavailable', error_description: 'Nextcloud is not available' },
      })
      expect(JSON.stringify([failure, (failure as Error).stack])).not.toContain(new URL(url).host)
    }
    expect(exchanges()).toBe(1)
  })

  it('to answer within nextcloud.timeout is 503', async () => {
    const { fetch, nextcloud } = await world({ nextcloud: true, options: { nextcloud: { timeout: 50 } } })
    nextcloud.handle(() => undefined)
    expect(await failureOf(fetch('/'))).toMatchObject({
      status: 503,
      detail: 'Nextcloud cannot be reached (no answer within 50 ms)',
    })
  })

  it('to get a token is the answer, and Nextcloud is not asked', async () => {
    const { as, fetch, nextcloud } = await world({ nextcloud: true })
    as.script('/token', tokenError('invalid_grant'))
    expect(await failureOf(fetch('/'))).toMatchObject({ code: 'ERR_SUBJECT_TOKEN_REJECTED' })
    expect(nextcloud.received).toEqual([])
  })
})

describe('an abort', () => {
  const reason = new Error('the caller has hung up')

  it('may be left out as null', async () => {
    const { fetch } = await world({ nextcloud: true })
    expect((await fetch('/', { signal: null })).status).toBe(200)
  })

  it('that came before sends nothing', async () => {
    const { exchanges, fetch, nextcloud } = await world({ nextcloud: true })
    expect(await failureOf(fetch('/', { signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect(exchanges()).toBe(0)
    expect(nextcloud.received).toEqual([])
  })

  it('ends the wait for the token', async () => {
    const { as, fetch, nextcloud } = await world({ nextcloud: true })
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
    const { fetch, nextcloud } = await world({ nextcloud: true })
    const controller = new AbortController()
    nextcloud.handle(() => controller.abort(reason))
    expect(await failureOf(fetch('/', { signal: controller.signal }))).toBe(reason)
    expect(nextcloud.received).toHaveLength(1)
  })

  it.each(['two notes', new TextEncoder().encode('two notes'), null])(
    'at any moment ends the call and nothing else, whatever is being sent: %j',
    async (body) => {
      const { fetch } = await world({ nextcloud: true })
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
    const { fetch, nextcloud } = await world({ nextcloud: true })
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
    const { fetch, nextcloud } = await world({ nextcloud: true })
    const controller = new AbortController()
    nextcloud.handle((_request, res) => res.write('first'))
    const reader = (await fetch('/', { signal: controller.signal })).body!.getReader()
    await reader.read()
    controller.abort(reason)
    expect(await failureOf(reader.read())).toMatchObject({ name: 'AbortError' })
  })
})
