import { getEventListeners } from 'node:events'
import { createReadStream } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { NextcloudRequest, NextcloudRequestBody } from '../../src/index.js'
import { listen } from '../support/hosts.js'
import { failureOf, turn, until } from '../support/promises.js'
import { holdTokenRequests, tokenAnswer } from '../support/token-endpoint.js'
import { world } from '../support/world.js'

const FILE = '/remote.php/dav/files/alice/a.txt'
const BIG = Buffer.alloc(300_000, 'two notes ')
const bytes = (text: string) => new TextEncoder().encode(text)

interface Stored {
  readonly body: Buffer
  readonly headers: IncomingMessage['headers']
}

/** A Nextcloud that stores what has come in whole, and alice's way to send it, by node-fetch or by Node's own fetch. */
async function setUpStore(http: 'node-fetch' | 'fetch' = 'node-fetch', answer = 201) {
  const stored: Stored[] = []
  let brokenOff = 0
  const take = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    try {
      stored.push({ body: await buffer(req), headers: req.headers })
      res.writeHead(answer).end()
    } catch {
      brokenOff += 1
    }
  }
  const app = await listen((req, res) => void take(req, res))
  onTestFinished(app.close)
  const { auth, as, open, signIn } = await world({
    options: { nextcloud: { url: app.url }, http: http === 'fetch' ? { fetch: globalThis.fetch } : {} },
  })
  const alice = await signIn()
  const put = (body: unknown, init: NextcloudRequest = {}) =>
    auth.nextcloudFetch(alice, FILE, { method: 'PUT', ...init, body: body as NextcloudRequestBody })
  return { alice, as, auth, open, put, stored, url: app.url, brokenOff: () => brokenOff }
}

async function* generated<T>(...chunks: T[]): AsyncGenerator<T> {
  for (const chunk of chunks) {
    await turn()
    yield chunk
  }
}

const form = (): FormData => {
  const data = new FormData()
  data.append('note "1"', 'two\nnotes')
  data.append('file', new File(['hello'], 'a "b"\n.txt', { type: 'text/plain' }))
  return data
}

describe.each(['node-fetch', 'fetch'] as const)('a body that %s sends', (http) => {
  it.each<[kind: string, body: () => unknown, sent: string, type?: string]>([
    ['a string', () => 'zwölf notes', 'zwölf notes', 'text/plain;charset=UTF-8'],
    ['an empty string', () => '', '', 'text/plain;charset=UTF-8'],
    ['a Buffer', () => Buffer.from('two notes'), 'two notes'],
    ['a typed array', () => bytes('-two notes-').subarray(1, 10), 'two notes'],
    ['a DataView', () => new DataView(bytes('-two notes').buffer, 1), 'two notes'],
    ['an ArrayBuffer', () => bytes('two notes').buffer, 'two notes'],
    [
      'URLSearchParams',
      () => new URLSearchParams({ a: 'b c' }),
      'a=b+c',
      'application/x-www-form-urlencoded;charset=UTF-8',
    ],
    ['a Blob', () => new Blob(['two', ' notes'], { type: 'text/x-own' }), 'two notes', 'text/x-own'],
    ['a File', () => new File(['two notes'], 'a.txt'), 'two notes'],
    ['a long string', () => BIG.toString(), BIG.toString(), 'text/plain;charset=UTF-8'],
    ['a long Buffer', () => BIG, BIG.toString()],
    ['a long Blob', () => new Blob([BIG]), BIG.toString()],
  ])('in its length is %s', async (_kind, body, sent, type) => {
    const { put, stored } = await setUpStore(http)
    expect((await put(body())).status).toBe(201)
    expect(stored.map((each) => each.body.toString())).toEqual([sent])
    expect(stored[0]!.headers['content-type']).toBe(type)
    expect(stored[0]!.headers['content-length']).toBe(String(Buffer.byteLength(sent)))
    expect(stored[0]!.headers).not.toHaveProperty('transfer-encoding')
  })

  it.each<[kind: string, body: () => unknown]>([
    ['a Node stream', () => Readable.from(['two ', 'notes'])],
    ['a web stream', () => new Blob(['two notes']).stream()],
    ['an async generator of strings', () => generated('two ', '', 'notes')],
    ['an async generator of bytes', () => generated<unknown>(bytes('two '), new Uint8Array(), bytes('notes').buffer)],
    ['any async iterable', () => ({ [Symbol.asyncIterator]: () => generated('two notes') })],
  ])('in its length, stated or counted, is %s', async (_kind, body) => {
    const { put, stored } = await setUpStore(http)
    expect((await put(body())).status).toBe(201)
    expect((await put(body(), { headers: { 'Content-Length': '9', 'Content-Type': 'text/x-own' } })).status).toBe(201)
    expect(stored.map((each) => each.body.toString())).toEqual(['two notes', 'two notes'])
    for (const { headers } of stored) {
      expect(headers['content-length']).toBe('9')
      expect(headers).not.toHaveProperty('transfer-encoding')
    }
    expect(stored.map(({ headers }) => headers['content-type'])).toEqual([undefined, 'text/x-own'])
  })

  it.each([0, 65_536, 65_537, 1_048_576])(
    'in its length is a stream of %i bytes, which nobody stated',
    async (length) => {
      const { put, stored } = await setUpStore(http)
      await put(Readable.from(length === 0 ? [] : [Buffer.alloc(length - 1, 97), 'b']))
      expect(stored[0]!.body.equals(Buffer.concat([Buffer.alloc(length, 97)]).fill('b', Math.max(length - 1, 0)))).toBe(
        true,
      )
      expect(stored[0]!.headers['content-length']).toBe(String(length))
    },
  )

  it('in chunks is a longer one, of which Nextcloud is told, where it is a file, that it is not empty', async () => {
    const { put, stored } = await setUpStore(http)
    const chunk = Buffer.alloc(700_000, 'two notes ')
    await put(Readable.from([chunk, chunk]))
    await put(Readable.from([chunk, chunk]), { method: 'POST' })
    await put(Readable.from([chunk, chunk]), { headers: { 'content-length': '1400000' } })
    const [chunked, posted, stated] = stored.map(({ headers }) => headers)
    for (const { body } of stored) expect(body.equals(Buffer.concat([chunk, chunk]))).toBe(true)
    expect(chunked).toMatchObject({ 'transfer-encoding': 'chunked', 'x-expected-entity-length': '1' })
    expect(posted).toHaveProperty('transfer-encoding', 'chunked')
    expect(stated).toHaveProperty('content-length', '1400000')
    for (const headers of [posted, stated]) expect(headers).not.toHaveProperty('x-expected-entity-length')
  })

  it('is a form, in its length', async () => {
    const { put, stored } = await setUpStore(http)
    await put(form())
    const { body, headers } = stored[0]!
    expect(headers['content-length']).toBe(String(body.byteLength))
    const boundary = /^multipart\/form-data; boundary=(form-[\w-]{36})$/.exec(headers['content-type']!)![1]!
    expect(body.toString().split('\r\n')).toEqual([
      `--${boundary}`,
      'Content-Disposition: form-data; name="note %221%22"',
      '',
      'two',
      'notes',
      `--${boundary}`,
      'Content-Disposition: form-data; name="file"; filename="a %22b%22%0A.txt"',
      'Content-Type: text/plain',
      '',
      'hello',
      `--${boundary}--`,
      '',
    ])
  })

  const MEGABYTE = 1_048_576
  it.each<[problem: string, length: number, chunks: (string | Buffer)[], message: string]>([
    ['fewer', 20, ['two ', 'notes'], 'The body has 9 bytes, and its content-length is 20'],
    ['more', 8, ['two ', 'notes'], 'The body has more bytes than its content-length, which is 8'],
    ['more, after it was full', 4, ['two ', 'notes'], 'The body has more bytes than its content-length, which is 4'],
    ['some', 0, ['two'], 'The body has more bytes than its content-length, which is 0'],
    [
      'fewer, and is long',
      3 * MEGABYTE,
      [Buffer.alloc(2 * MEGABYTE)],
      'The body has 2097152 bytes, and its content-length is 3145728',
    ],
    [
      'more, and is long',
      2 * MEGABYTE,
      [Buffer.alloc(2 * MEGABYTE), 'more'],
      'The body has more bytes than its content-length, which is 2097152',
    ],
  ])(
    'is broken off when it has %s bytes than stated, and nothing is stored',
    async (_problem, length, chunks, message) => {
      const { put, stored, brokenOff } = await setUpStore(http)
      const headers = { 'content-length': String(length) }
      for (const body of [Readable.from(chunks), generated(...chunks)])
        expect(await failureOf(put(body, { headers }))).toStrictEqual(new RangeError(message))
      // Of a short one, nothing was sent.
      await until(() => brokenOff() === (length > MEGABYTE ? 2 : 0))
      expect((await put('after')).status).toBe(201)
      expect(stored.map((each) => each.body.toString())).toEqual(['after'])
    },
  )

  it.each<[kind: string, source: (error: Error) => unknown]>([
    ['a generator', failing],
    [
      'a web stream',
      (error) => {
        let count = 0
        return new ReadableStream({
          pull: (controller) => ((count += 1) === 1 ? controller.enqueue(bytes('cut')) : controller.error(error)),
        })
      },
    ],
    ['a Node stream', (error) => Readable.from(failing(error))],
  ])('that fails rejects with its own error, and nothing is stored: %s', async (_kind, source) => {
    const { put, stored } = await setUpStore(http)
    const error = new Error('the disk is on fire')
    expect(await failureOf(put(source(error)))).toBe(error)
    expect(stored).toEqual([])
  })

  it('that cannot be opened rejects with the error of the file system', async () => {
    const { put, stored } = await setUpStore(http)
    expect(await failureOf(put(createReadStream('/nowhere/a.txt')))).toMatchObject({ code: 'ENOENT' })
    expect(stored).toEqual([])
  })

  it.each([[7], [{ title: 'a note' }], [null], [[1, 2]]])(
    'with a chunk that is neither bytes nor a string is a TypeError',
    async (chunk) => {
      const { put, stored } = await setUpStore(http)
      expect(await failureOf(put(generated<unknown>('cut', chunk)))).toBeInstanceOf(TypeError)
      expect(stored).toEqual([])
    },
  )
})

async function* failing(error: Error): AsyncGenerator<string> {
  await turn()
  yield 'cut'
  throw error
}

describe('a stream', () => {
  it('that fails while a token is waited for rejects with its own error', async () => {
    const { as, put } = await setUpStore()
    const requests = holdTokenRequests(as)
    const body = createReadStream('/nowhere/a.txt')
    const failure = failureOf(put(body))
    await requests.arrival()
    await until(() => body.destroyed)
    requests.answer(tokenAnswer('late'))
    expect(await failure).toMatchObject({ code: 'ENOENT' })
  })

  it('that fails while the keys are waited for, by which its user is known, does so too', async () => {
    const { alice, as, open, url } = await setUpStore()
    const keys: ServerResponse[] = []
    as.script('/jwks', (_request, res) => keys.push(res))
    const body = createReadStream('/nowhere/a.txt')
    const other = open({ nextcloud: { url } })
    const failure = failureOf(other.nextcloudFetch({ token: alice.token }, FILE, { method: 'PUT', body }))
    await until(() => body.destroyed && keys.length > 0)
    as.script('/jwks')
    keys[0]!.destroy()
    expect(await failure).toMatchObject({ code: 'ENOENT' })
  })

  it.each<[kind: string, read: () => unknown]>([
    [
      'a Node stream',
      async () => {
        const body = Readable.from(['two notes'])
        await body.toArray()
        return body
      },
    ],
    ['a Node stream that was destroyed', () => new PassThrough().destroy()],
    [
      'a web stream',
      async () => {
        const body = new Blob(['two notes']).stream()
        await body.cancel()
        return body
      },
    ],
    [
      'a web stream with another reader',
      () => {
        const body = new Blob(['two notes']).stream()
        body.getReader()
        return body
      },
    ],
  ])('that has been read is a TypeError: %s', async (_kind, read) => {
    const { put, stored } = await setUpStore()
    expect(await failureOf(put(await read()))).toStrictEqual(
      new TypeError('The body has been read already: a stream can be sent once'),
    )
    expect(stored).toEqual([])
  })

  it.each([1_000, 3_000_000])('of %i bytes that is broken off and gives no error is not stored', async (length) => {
    const { put, stored } = await setUpStore()
    // As a stream of the package readable-stream is when it is destroyed.
    const foreign = {
      pipe: () => undefined,
      once: () => foreign,
      [Symbol.asyncIterator]: () => generated('x'.repeat(length)),
    }
    expect(await failureOf(put(foreign))).toStrictEqual(new Error('The body was broken off'))
    expect(stored).toEqual([])
  })

  it('of a package is stored when it has ended', async () => {
    const { put, stored } = await setUpStore()
    let end = (): void => undefined
    const foreign = {
      pipe: () => undefined,
      once: (_event: 'end', listener: () => void) => (end = listener),
      async *[Symbol.asyncIterator]() {
        yield* generated('two notes')
        end()
      },
    }
    expect((await put(foreign)).status).toBe(201)
    expect(stored.map(({ body }) => body.toString())).toEqual(['two notes'])
  })

  it('is not begun when its signal aborts just before', async () => {
    const controller = new AbortController()
    const app = await listen((_req, res) => void res.end())
    onTestFinished(app.close)
    const { auth, signIn } = await world({
      options: {
        nextcloud: { url: app.url },
        onEvent: (event) => {
          if (event.type === 'nextcloud.token' && event.source === 'cache') controller.abort()
        },
      },
    })
    const alice = await signIn()
    await alice.extra.getNextcloudToken()
    const body = new PassThrough()
    body.write('two')
    const init = { method: 'PUT', body, signal: controller.signal }
    expect(await failureOf(auth.nextcloudFetch(alice, FILE, init))).toBe(controller.signal.reason)
    await turn()
    expect(body.readableDidRead).toBe(false)
  })

  it('is ended with the request that sends it', async () => {
    const { put } = await setUpStore()
    const controller = new AbortController()
    const body = new PassThrough()
    const reason = new Error('the caller has hung up')
    const failure = failureOf(put(body, { signal: controller.signal }))
    body.write('two')
    await until(() => body.readableFlowing !== null || body.readableDidRead)
    controller.abort(reason)
    expect(await failure).toBe(reason)
    await until(() => body.destroyed)
  })

  it.each(['', ' ', '-1', '1.5', '9 bytes', '5, 5', '0x5', '9'.repeat(30)])(
    'with a content-length that is no number is a TypeError: %j',
    async (length) => {
      const { put, stored } = await setUpStore()
      const headers = { 'content-length': length }
      expect(await failureOf(put(generated('two'), { headers }))).toBeInstanceOf(TypeError)
      expect(stored).toEqual([])
    },
  )
})

describe('a value that is no body', () => {
  it.each<[kind: string, body: unknown]>([
    ['a plain object', { title: 'a note' }],
    ['a list', ['two notes']],
    ['a list of bytes', [bytes('two notes')]],
    ['a number', 5],
    ['zero', 0],
    ['a boolean', true],
    ['false', false],
    ['a date', new Date(0)],
    ['a map', new Map()],
    ['a promise', Promise.resolve('two notes')],
    ['a function', () => 'two notes'],
    [
      'a generator',
      (function* () {
        yield 'two notes'
      })(),
    ],
  ])('is a TypeError that says what to do: %s', async (_kind, body) => {
    const { auth, put, stored } = await setUpStore()
    expect(await failureOf(put(body))).toStrictEqual(
      new TypeError(
        'A body is a string, bytes (Buffer, typed array, DataView, ArrayBuffer), URLSearchParams, FormData, a Blob or File, a stream, or an ' +
          'async iterable of bytes or strings: send any other value as JSON.stringify(value) with content-type application/json',
      ),
    )
    expect([stored, auth.stats().exchanges]).toEqual([[], 0])
  })

  it.each(['GET', 'head', undefined])('is any with %s', async (method) => {
    const { auth, put, stored } = await setUpStore()
    for (const body of ['two notes', '', generated('two notes')]) {
      expect(await failureOf(put(body, { method }))).toMatchObject({
        name: 'TypeError',
        message: expect.stringMatching(/^(?:GET|HEAD) has no body: /) as string,
      })
    }
    expect([stored, auth.stats().exchanges]).toEqual([[], 0])
  })

  it.each(['B\nAD', '', 'GE T', 'GET/'])('goes with a method that is none: %j', async (method) => {
    const { put, stored } = await setUpStore()
    expect(await failureOf(put(null, { method }))).toBeInstanceOf(TypeError)
    expect(stored).toEqual([])
  })
})

describe('a Request as the first argument', () => {
  it('has its method, headers, body and signal count, unless init says otherwise', async () => {
    const { alice, auth, stored, url } = await setUpStore()
    const request = () =>
      new Request(url + FILE, {
        method: 'PUT',
        body: 'two notes',
        headers: { 'x-own': 'kept', authorization: 'Basic eDp5' },
      })
    await auth.nextcloudFetch(alice, request())
    await auth.nextcloudFetch(alice, request(), { method: 'POST', body: 'three', headers: { 'x-own': 'other' } })
    expect(stored.map(({ body, headers }) => [body.toString(), headers['x-own'], headers['content-type']])).toEqual([
      ['two notes', 'kept', 'text/plain;charset=UTF-8'],
      ['three', 'other', 'text/plain;charset=UTF-8'],
    ])
    expect(stored[0]!.headers.authorization).toBe('Bearer nextcloud-token-1')
  })

  it('is ended by its own signal', async () => {
    const { alice, auth, url } = await setUpStore()
    const reason = new Error('the caller has hung up')
    const signal = AbortSignal.abort(reason)
    expect(await failureOf(auth.nextcloudFetch(alice, new Request(url + FILE, { signal })))).toBe(reason)
    const response = await auth.nextcloudFetch(alice, new Request(url + FILE, { signal }), { signal: null })
    expect(response.status).toBe(201)
  })

  it('is refused out of nextcloud.url, with a body that was read, and with a body and GET', async () => {
    const { alice, auth, stored, url } = await setUpStore()
    const read = new Request(url + FILE, { method: 'PUT', body: 'two notes' })
    await read.text()
    const whole = new Request(url + FILE, { method: 'PUT', body: 'two notes' })
    expect(await failureOf(auth.nextcloudFetch(alice, new Request('https://evil.example.com/')))).toBeInstanceOf(
      TypeError,
    )
    expect(await failureOf(auth.nextcloudFetch(alice, read))).toBeInstanceOf(TypeError)
    expect(await failureOf(auth.nextcloudFetch(alice, whole, { method: 'GET' }))).toBeInstanceOf(TypeError)
    expect(stored).toEqual([])
  })
})

describe('a long upload', () => {
  it('takes from its source only what the connection takes', async () => {
    let given = 0
    let resume = (): void => undefined
    const app = await listen((req, res) => {
      resume = () => void req.on('data', () => undefined).on('end', () => res.writeHead(201).end())
    })
    onTestFinished(app.close)
    const { auth, signIn } = await world({ options: { nextcloud: { url: app.url } } })
    const chunk = Buffer.alloc(1_048_576)
    async function* chunks() {
      for (; given < 100; given += 1) {
        await turn()
        yield chunk
      }
    }
    const response = auth.nextcloudFetch(await signIn(), FILE, { method: 'PUT', body: chunks() })
    let before = -1
    while (given > before || given === 0) {
      before = given
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    // What the kernel takes for a connection that nobody reads.
    expect(given).toBeLessThan(30)
    resume()
    expect((await response).status).toBe(201)
    expect(given).toBe(100)
  })
})

it("lets go of a body with the answer, though the caller's signal lives on", async () => {
  let given: AbortSignal | null | undefined
  const fetch = (url: string, init: RequestInit): Promise<Response> => {
    if (!url.endsWith(FILE)) return globalThis.fetch(url, init)
    given = init.signal
    return Promise.resolve(new Response(null, { status: 201 }))
  }
  const { auth, signIn } = await world({ options: { http: { fetch } } })
  const { signal } = new AbortController()
  await auth.nextcloudFetch(await signIn(), FILE, { method: 'PUT', body: BIG, signal })
  // Node keeps a signal that somebody listens to as long as the one that it follows.
  expect(getEventListeners(given!, 'abort')).toEqual([])
})
