import type { IncomingMessage, ServerResponse } from 'node:http'
import { PassThrough, Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { HttpOptions, NextcloudRequest, NextcloudRequestBody } from '../../src/index.js'
import { listen } from '../support/hosts.js'
import { failureOf } from '../support/promises.js'
import { world } from '../support/world.js'

/** Milliseconds. */
const TIMEOUT = 300
/** Milliseconds. A kernel takes and gives by megabytes, so that an upload that is taken slowly moves by fits and starts. */
const LONGEST_START = 800
const MEGABYTE = 1_048_576

/** A Nextcloud that takes requests so, and alice's PUT under `nextcloud.timeout`. */
async function setUp(
  take: (req: IncomingMessage, res: ServerResponse) => unknown,
  { timeout = TIMEOUT, http = {} }: { readonly timeout?: number; readonly http?: HttpOptions | undefined } = {},
) {
  const closed: Promise<void>[] = []
  const app = await listen((req, res) => {
    closed.push(new Promise((resolve) => req.socket.once('close', resolve)))
    // A request that is broken off is no failure of the server.
    void Promise.resolve(take(req, res)).catch(() => undefined)
  })
  onTestFinished(app.close)
  const { auth, signIn } = await world({ options: { nextcloud: { url: app.url, timeout }, http } })
  const alice = await signIn()
  const put = (body?: NextcloudRequestBody, init: NextcloudRequest = {}) =>
    auth.nextcloudFetch(alice, '/remote.php/dav/files/alice/a.txt', { method: 'PUT', ...init, body })
  return { closed, put }
}

/** Reads a megabyte at a time, and answers with the bytes in all. */
async function readSlowly(req: IncomingMessage, res: ServerResponse): Promise<void> {
  let taken = 0
  let pause = MEGABYTE
  for await (const chunk of req as AsyncIterable<Buffer>) {
    taken += chunk.byteLength
    pause -= chunk.byteLength
    if (pause > 0) continue
    pause = MEGABYTE
    await sleep(30)
  }
  res.writeHead(201).end(String(taken))
}

const readAll = (req: IncomingMessage, res: ServerResponse): unknown =>
  req.resume().on('end', () => res.writeHead(201).end())

async function* paced(): AsyncGenerator<string> {
  for (let count = 0; count < 12; count += 1) {
    await sleep(80)
    yield 'a note'
  }
}

const unavailable = (why: string) => ({
  name: 'UpstreamUnavailableError',
  status: 503,
  detail: `Nextcloud cannot be reached (${why} within ${TIMEOUT} ms)`,
})

describe('a body that flows for longer than nextcloud.timeout', () => {
  it.each<[kind: string, body: () => NextcloudRequestBody, http?: HttpOptions]>([
    ['a Buffer', () => Buffer.alloc(40 * MEGABYTE)],
    ['a string', () => '0123456789abcdef'.repeat((40 * MEGABYTE) / 16)],
    ['a stream of one chunk', () => Readable.from([Buffer.alloc(40 * MEGABYTE)])],
    ["a Buffer, by Node's own fetch", () => Buffer.alloc(40 * MEGABYTE), { fetch: globalThis.fetch }],
  ])('is sent to its end to a Nextcloud that takes it slowly: %s', async (_kind, body, http) => {
    const { put } = await setUp(readSlowly, { timeout: LONGEST_START, http })
    const startedAt = performance.now()
    expect(await (await put(body())).text()).toBe(String(40 * MEGABYTE))
    expect(performance.now() - startedAt).toBeGreaterThan(1.5 * LONGEST_START)
  })

  it.each<[way: string, http?: HttpOptions]>([['node-fetch'], ["Node's own fetch", { fetch: globalThis.fetch }]])(
    'is sent to its end as its source gives it, by %s',
    // The time is real: a process that stands still for longer than the timeout is one that gives nothing.
    { retry: 3 },
    async (_way, http) => {
      const { put } = await setUp(readAll, { http })
      expect((await put(paced())).status).toBe(201)
    },
  )
})

describe('a request that stands still', () => {
  it.each<[kind: string, body: () => NextcloudRequestBody]>([
    ['a Buffer', () => Buffer.alloc(60 * MEGABYTE)],
    ['a stream', () => Readable.from([Buffer.alloc(60 * MEGABYTE)])],
  ])('ends when the connection takes no more of the body, and is broken off: %s', async (_kind, body) => {
    let resume = (): unknown => undefined
    const { closed, put } = await setUp((req, res) => {
      resume = () =>
        readAll(
          req.on('error', () => undefined),
          res,
        )
    })
    expect(await failureOf(put(body()))).toMatchObject(unavailable('the connection took nothing of the body'))
    resume()
    await Promise.all(closed)
  })

  it('ends when the body gives no more', async () => {
    const { closed, put } = await setUp(readAll)
    const body = new PassThrough()
    body.write('two')
    expect(await failureOf(put(body))).toMatchObject(unavailable('the body to be sent gave nothing'))
    expect(body.destroyed).toBe(true)
    await Promise.all(closed)
  })

  it.each<[kind: string, body: NextcloudRequestBody | undefined]>([
    ['none', undefined],
    ['a short one', 'two notes'],
    ['a long one', Buffer.alloc(MEGABYTE)],
  ])('ends when no answer comes to a body that was sent: %s', async (_kind, body) => {
    const { put } = await setUp((req) => req.resume())
    expect(await failureOf(put(body))).toMatchObject(unavailable('no answer'))
  })

  it('does not end once its answer has begun', async () => {
    const { put } = await setUp(async (_req, res) => {
      res.writeHead(200).write('two ')
      await sleep(2 * TIMEOUT)
      res.end('notes')
    })
    expect(await (await put()).text()).toBe('two notes')
  })
})

describe('init.timeout', () => {
  it('takes the place of nextcloud.timeout, shorter or longer', async () => {
    const { put } = await setUp(async (_req, res) => {
      await sleep(2 * TIMEOUT)
      res.end()
    })
    expect(await failureOf(put(undefined, { timeout: 20 }))).toMatchObject({
      detail: 'Nextcloud cannot be reached (no answer within 20 ms)',
    })
    expect((await put(undefined, { timeout: 20_000 })).status).toBe(200)
  })

  it.each([0, -1, NaN, Infinity, 2 ** 31, '50', null])(
    'is a number of milliseconds, else a TypeError: %j',
    async (timeout) => {
      const { closed, put } = await setUp(readAll)
      expect(await failureOf(put('two notes', { timeout: timeout as never }))).toStrictEqual(
        new TypeError('The timeout must be a number of milliseconds, more than 0 and at most 2147483647'),
      )
      expect(closed).toEqual([])
    },
  )
})
