import { once } from 'node:events'
import { Agent, type OutgoingHttpHeaders, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createTransport, type IdpFetch, type Repeatable, type Transport } from '../../src/transport/transport.js'
import { readConfig } from '../../src/config/read-config.js'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import { createEvents, type Events, type McpAuthEvent } from '../../src/events.js'
import type { FetchFunction, HttpOptions } from '../../src/options.js'
import { RESOURCE, type ScriptedAnswer } from '../support/scripted-authorization-server.js'
import { world, type World } from '../support/world.js'

let as: World['as']
let clock: World['clock']
let events: Events
let reported: McpAuthEvent[]

beforeEach(async () => {
  const bed = await world({ mode: 'none' })
  ;({ as, clock } = bed)
  reported = []
  events = createEvents((event) => reported.push(event), clock)
  return bed.close
})

function open(http: HttpOptions = {}, random = clock.random): Transport {
  const config = readConfig({ issuer: as.issuer, resource: RESOURCE, http }, {})
  const transport = createTransport(config.http, { ...clock, random }, events)
  onTestFinished(transport.close)
  return transport
}

const GET = { method: 'GET', headers: { accept: 'application/json' } }
const get = (transport: Transport, repeatable: Repeatable = 'never'): Promise<Response> =>
  transport.call('jwks', repeatable, (fetch) => fetch(`${as.issuer}/path`, GET))
const asked = () => as.received('/path')

/** A fetch that answers with these, in turn. */
function answering(...answers: (() => Response | Promise<Response>)[]) {
  return vi.fn<FetchFunction>(() => Promise.resolve((answers.length > 1 ? answers.shift() : answers[0])!()))
}

/** Starts every answer like this, and ends none. Resolves when the connection is closed by the other side. */
function scriptUntilHungUp(start: (res: ServerResponse) => unknown): Promise<void> {
  return new Promise((resolve) => {
    as.script('/path', (_request, res) => start(res.on('close', resolve)))
  })
}

async function failureOf(call: Promise<unknown>): Promise<UpstreamUnavailableError> {
  const error = await call.then(
    () => expect.unreachable('it should have failed'),
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(UpstreamUnavailableError)
  return error as UpstreamUnavailableError
}

describe('an answer', () => {
  it('is handed on with status, headers and body', async () => {
    as.script('/path', { status: 404, headers: { 'x-request-id': '7' }, json: { a: 1 } })

    const response = await get(open())

    expect(response).toBeInstanceOf(Response)
    expect([response.status, response.headers.get('x-request-id')]).toEqual([404, '7'])
    expect(await response.json()).toEqual({ a: 1 })
    expect(asked()[0]!.headers.accept).toBe('application/json')
    expect(events.counters.idpRequests).toBe(1)
    expect(reported).toEqual([])
  })

  it('that redirects is not followed', async () => {
    as.script('/path', { status: 302, headers: { location: '/elsewhere' } })

    expect(await failureOf(get(open()))).toMatchObject({ httpStatus: 302 })
    expect(as.received().map(({ path }) => path)).toEqual(['/path'])
  })

  it('may be as long as http.maxResponseBytes when it is unpacked, and no longer', async () => {
    const zipped = (bytes: number): ScriptedAnswer => {
      return (_request, res) => res.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(bytes)))
    }
    as.script('/path', zipped(10_000), zipped(10_001))
    const transport = open({ maxResponseBytes: 10_000 })

    expect(await (await get(transport)).text()).toHaveLength(10_000)
    expect(await failureOf(get(transport))).toMatchObject({ httpStatus: 200 })
  })
})

describe('a server that does not answer', () => {
  const timeout = 80

  it.each<[name: string, respond: (res: ServerResponse) => unknown]>([
    ['at all', () => undefined],
    ['in full: headers only', (res) => res.flushHeaders()],
    ['in full: a body without an end', (res) => res.write('{')],
  ])('%s, within http.timeout, is unavailable, and the connection is closed', async (_name, respond) => {
    const hungUp = scriptUntilHungUp(respond)

    const failure = await failureOf(get(open({ timeout }), 'always'))

    expect(failure.detail).toContain('80 ms')
    expect(failure).toMatchObject({ retryAfter: 5, httpStatus: undefined })
    expect(asked()).toHaveLength(1)
    await hungUp
  })

  it('is unavailable when it hangs up, and when it cannot be reached', async () => {
    as.script('/path', (_request, res) => res.destroy())
    expect((await failureOf(get(open()))).detail).toContain('(ECONNRESET)')
    await as.stop()
    expect((await failureOf(get(open()))).detail).toContain('(ECONNREFUSED)')
  })

  it('is reported, with nothing of the request', async () => {
    as.script('/path', { status: 500 })
    await failureOf(open().call('token', 'never', (fetch) => fetch(`${as.issuer}/path?secret`, GET)))

    expect(reported).toEqual([
      {
        type: 'idp.unavailable',
        operation: 'token',
        message: `${as.issuer}/path answers with status 500`,
        httpStatus: 500,
        at: clock.now(),
      },
    ])
  })
})

describe('a call that may be repeated', () => {
  it.each<[rule: string, random: number, http: HttpOptions, pauses: number[]]>([
    ['twice, with pauses that double', 0.5, {}, [100, 200]],
    ['after pauses by chance: at the least', 0, {}, [50, 100]],
    ['after pauses by chance: at the most', 0.999, {}, [149.9, 299.8]],
    ['as often as http.retries says: never', 0.5, { retries: 0 }, []],
    ['as often as http.retries says', 0.5, { retries: 4 }, [100, 200, 400, 800]],
  ])('is repeated %s', async (_rule, random, http, pauses) => {
    as.script('/path', ...pauses.map(() => ({ status: 500 })), { status: 502 })
    const transport = open(http, () => random)

    expect(await failureOf(get(transport, 'always'))).toMatchObject({ httpStatus: 502 })
    expect(clock.pauses.map((pause) => Math.round(pause * 10) / 10)).toEqual(pauses)
    expect([asked().length, events.counters.idpRequests, reported.length]).toEqual([
      pauses.length + 1,
      pauses.length + 1,
      1,
    ])
  })

  it('is repeated when the connection fails, and when what comes is of no use', async () => {
    as.script('/path', (_request, res) => res.destroy(), { text: 'nonsense' }, { json: {} })
    const response = await open().call('jwks', 'always', async (fetch) => {
      const answer = await fetch(`${as.issuer}/path`, GET)
      const text = await answer.text()
      if (text === 'nonsense') throw new UpstreamUnavailableError('nonsense')
      return text
    })

    expect(response).toBe('{}')
    expect([asked().length, reported]).toEqual([3, []])
  })

  it('pauses as long as the server asks for', async () => {
    as.script('/path', { status: 503, headers: { 'retry-after': '2' } }, { json: {} })
    await get(open(), 'always')

    expect(clock.pauses).toEqual([2_000])
  })

  it('is not repeated when the pause would be beyond http.timeout', async () => {
    const overloaded = { status: 503, headers: { 'retry-after': '3' } }
    as.script('/path', overloaded)
    await failureOf(get(open({ timeout: 3_000 }), 'always'))
    expect(clock.pauses).toEqual([])

    expect(await failureOf(get(open({ timeout: 5_000 }), 'always'))).toMatchObject({ retryAfter: 3 })
    expect(clock.pauses).toEqual([3_000])
    expect(asked()).toHaveLength(3)
  })

  it('is not repeated for what is not an outage', async () => {
    const attempt = vi.fn<(fetch: IdpFetch) => Promise<never>>(() => Promise.reject(new TypeError('a bug')))

    await expect(open().call('token', 'always', attempt)).rejects.toThrow(new TypeError('a bug'))
    expect(attempt).toHaveBeenCalledTimes(1)
    expect(reported).toEqual([])
  })
})

it.each<[repeatable: Repeatable, answers: string, status: number, requests: number]>([
  ['never', 'any failure', 503, 1],
  ['unprocessed', 'one after which the request may have been processed', 500, 1],
  ['unprocessed', 'one after which it surely was not', 503, 3],
])('a call that is repeatable %s: %s, %i', async (repeatable, _answers, status, requests) => {
  as.script('/path', { status })
  await failureOf(get(open(), repeatable))

  expect(asked()).toHaveLength(requests)
})

it('a request to Nextcloud is made once, without an event, and its failure names Nextcloud', async () => {
  as.script('/path', { json: { a: 1 } }, { status: 503, headers: { 'retry-after': '17' } })
  const transport = open()
  expect(await (await transport.askNextcloud(`${as.issuer}/path`, GET)).json()).toEqual({ a: 1 })

  const failure = await failureOf(transport.askNextcloud(`${as.issuer}/path`, GET))
  expect(failure).toMatchObject({ httpStatus: 503, statedRetryAfter: 17, unprocessed: true })
  expect(failure.body.error_description).toBe('Nextcloud is not available')
  expect([asked().length, reported, events.counters.idpRequests]).toEqual([2, [], 0])
})

describe("a fetch of the user's", () => {
  it('is called with everything it needs, and with nothing else', async () => {
    const fetch = answering(() => Response.json({ ok: true }))
    const init = { method: 'POST', headers: { authorization: 'Basic abc' }, body: new URLSearchParams({ token: 'x' }) }
    const response = await open({ fetch }).call('token', 'never', (call) => call(`${as.issuer}/path`, init))

    expect(await response.json()).toEqual({ ok: true })
    expect(fetch).toHaveBeenCalledExactlyOnceWith(`${as.issuer}/path`, {
      ...init,
      redirect: 'manual',
      signal: expect.any(AbortSignal) as AbortSignal,
    })
    expect(as.received()).toEqual([])
  })

  it('may be that of the platform', async () => {
    as.script('/path', { json: { ok: true } }, { status: 302, headers: { location: '/elsewhere' } })
    const transport = open({ fetch: globalThis.fetch })

    expect(await (await get(transport)).json()).toEqual({ ok: true })
    expect(await failureOf(get(transport))).toMatchObject({ httpStatus: 302 })
  })

  it('may answer with what is not a response, and so not an answer', async () => {
    await failureOf(get(open({ fetch: answering(() => undefined!) })))
    await failureOf(get(open({ fetch: answering(() => JSON.parse('{"status":200}') as Response) })))
  })
})

describe('connections', () => {
  /** The sockets of the requests that come in. */
  function sockets(): Socket[] {
    const seen: Socket[] = []
    as.script('/path', (_request, res) => {
      seen.push(res.socket!)
      res.end('{}')
    })
    return seen
  }

  it('are kept for the next call, and closed by close()', async () => {
    const seen = sockets()
    const transport = open()
    await get(transport)
    await get(transport)
    // The server itself would close it after five seconds.
    const closed = once(seen[0]!, 'close', { signal: AbortSignal.timeout(2_000) })
    expect(seen.map((socket) => socket === seen[0] && !socket.destroyed)).toEqual([true, true])

    transport.close()
    await closed
    expect(seen[0]!.destroyed).toBe(true)
  })

  it.each<[what: string, status: number, headers: OutgoingHttpHeaders, http: HttpOptions]>([
    ['a redirect', 302, { location: '/elsewhere' }, {}],
    ['429', 429, {}, {}],
    ['503', 503, {}, {}],
    ['an answer that is too long', 200, {}, {}],
    ['an error of the fetch of the platform', 503, {}, { fetch: globalThis.fetch }],
  ])('is closed after %s whose body does not end', async (_what, status, headers, http) => {
    const hungUp = scriptUntilHungUp((res) => res.writeHead(status, headers).write('x'.repeat(2_000)))
    await failureOf(get(open({ maxResponseBytes: 1_000, ...http })))
    await hungUp
  })

  it('is closed once, also when a later attempt of the same call is given up', async () => {
    const hungUp = scriptUntilHungUp((res) => {
      // The next one gets no answer at all.
      as.script('/path', () => undefined)
      res.writeHead(503).write('x'.repeat(2_000))
    })
    const failure = await failureOf(get(open({ timeout: 400 }), 'always'))
    await hungUp

    expect(failure.detail).toBe(`${as.issuer}/path did not answer within 400 ms`)
    expect(asked()).toHaveLength(2)
  })

  it("are those of the user's agent, which close() leaves as it is", async () => {
    const seen = sockets()
    const agent = new Agent({ keepAlive: true })
    const destroy = vi.spyOn(agent, 'destroy')
    const transport = open({ agent })
    await get(transport)
    transport.close()
    await get(transport)

    expect(Object.values(agent.freeSockets).flat()).toHaveLength(1)
    expect(new Set(seen).size).toBe(1)
    expect(destroy).not.toHaveBeenCalled()
    agent.destroy()
  })

  it("are those of the agent that the user's function picks for a URL", async () => {
    const agent = new Agent()
    const pick = vi.fn<(url: URL) => Agent>(() => agent)
    await get(open({ agent: pick }))

    expect(pick.mock.calls.map(([url]) => url.href)).toEqual([`${as.issuer}/path`])
  })
})
