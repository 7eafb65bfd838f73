import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, it, onTestFinished } from 'vitest'
import type { HttpOptions, NextcloudRequest } from '../../src/index.js'
import { listen } from '../support/hosts.js'
import { failureOf } from '../support/promises.js'
import { world } from '../support/world.js'

/** A Nextcloud that breaks a connection at its second request, and alice, who has just used one. */
async function setUp(http: HttpOptions = {}) {
  const seen = new WeakSet<Socket>()
  const received: string[] = []
  const app = await listen((req, res) => {
    if (seen.has(req.socket)) {
      received.push(`${req.method ?? ''} broken`)
      req.socket.destroy()
      return
    }
    seen.add(req.socket)
    void text(req).then((body) => {
      received.push(`${req.method ?? ''} ${body.length}`)
      res.end('arrived')
    })
  })
  onTestFinished(app.close)
  const { auth, signIn } = await world({ options: { nextcloud: { url: app.url }, http } })
  const alice = await signIn()
  const fetch = (init?: NextcloudRequest) => auth.nextcloudFetch(alice, '/index.php', init)
  await (await fetch()).text()
  received.length = 0
  return { fetch, received }
}

it.each([
  ['GET', undefined],
  ['HEAD', undefined],
  ['OPTIONS', undefined],
  ['PROPFIND', 'two notes'],
  ['REPORT', 'two notes'],
  ['PUT', 'two notes'],
  ['put', Buffer.alloc(200_000)],
  ['PUT', new Blob([Buffer.alloc(200_000)])],
  ['DELETE', undefined],
])('%s is sent again, once, when the connection was closed while it was idle', async (method, body) => {
  const { fetch, received } = await setUp()
  expect((await fetch({ method, body })).status).toBe(200)
  const length = body instanceof Blob ? body.size : (body?.length ?? 0)
  expect(received).toEqual([`${method.toUpperCase()} broken`, `${method.toUpperCase()} ${length}`])
})

it.each([
  ['POST', 'two notes'],
  ['PATCH', 'two notes'],
  ['MKCOL', undefined],
  ['MOVE', undefined],
  ['PUT', Readable.from(['two notes'])],
])('%s is not: it may have been carried out, or cannot be sent again', async (method, body) => {
  const { fetch, received } = await setUp()
  expect(await failureOf(fetch({ method, body }))).toMatchObject({
    status: 503,
    detail: expect.stringMatching(/^Nextcloud cannot be reached \((?:ECONNRESET|EPIPE)\)$/) as string,
  })
  expect(received).toEqual([`${method} broken`])
})

it('a request that fails in a new connection is not sent again', async () => {
  let requests = 0
  const app = await listen((req) => {
    requests += 1
    req.socket.destroy()
  })
  onTestFinished(app.close)
  const { auth, signIn } = await world({ options: { nextcloud: { url: app.url } } })
  expect(await failureOf(auth.nextcloudFetch(await signIn(), '/'))).toMatchObject({ status: 503 })
  expect(requests).toBe(1)
})
