import type { IntrospectionResponse } from 'oauth4webapi'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import { createIntrospection } from '../../src/verify/introspection.js'
import { manualClock } from '../support/clock.js'
import { express5Host } from '../support/hosts.js'
import { protectedApp } from '../support/protected-app.js'
import { failureOf, turn, until } from '../support/promises.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE, type ScriptedAnswer } from '../support/scripted-authorization-server.js'
import { world, type World } from '../support/world.js'

// One stranger's token never closes the door for others, and places are shared fairly.

let clock: World['clock']
let as: World['as']
let open: World['open']
let close: World['close']

beforeEach(async () => {
  ;({ clock, as, open, close } = await world({ mode: 'none' }))
})
afterEach(() => close())

const asked = (): number => as.received('/introspect').length
const good = (): ScriptedAnswer => ({
  json: { active: true, sub: 'alice', aud: RESOURCE, client_id: 'c', exp: Math.floor(clock.now() / 1_000) + 3_600 },
})
const asClient = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }
/** The tokens for which the server fails, and how. Every other one is good. */
const failFor = (isBad: (token: string) => boolean, bad: ScriptedAnswer): void => {
  as.script('/introspect', (request, res) => {
    const answer = isBad(request.form.get('token') ?? '') ? bad : good()
    if (typeof answer === 'function') return void answer(request, res)
    res.writeHead(answer.status ?? 200, { 'content-type': 'application/json', ...answer.headers })
    res.end(answer.text ?? JSON.stringify(answer.json ?? {}))
  })
}

describe('a stranger’s token for which the server', () => {
  it.each<[what: string, answer: ScriptedAnswer]>([
    ['answers 400', { status: 400, json: { error: 'invalid_request' } }],
    ['answers 401 without a word', { status: 401, text: '' }],
    ['answers 403, as a firewall does', { status: 403, text: '<html>blocked</html>' }],
    ['answers 404', { status: 404 }],
    ['answers 405', { status: 405 }],
    ['answers 414', { status: 414 }],
    ['answers 429 and asks for an hour', { status: 429, headers: { 'retry-after': '3600' } }],
    ['answers 500', { status: 500 }],
    ['answers 503', { status: 503 }],
    ['answers with a page', { text: '<html>' }],
    ['answers with more than can be read', { text: 'x'.repeat(2_000_000) }],
    ['hangs up', (_request, res) => res.destroy()],
  ])('%s closes the door for nobody else', async (_what, answer) => {
    failFor((token) => token.startsWith('bad'), answer)
    const auth = open(asClient)

    for (let round = 0; round < 3; round += 1) {
      await failureOf(auth.verify(`bad-${round}`))
      expect((await auth.verify(`good-${round}`)).subject).toBe('alice')
    }
    await failureOf(auth.verify('bad-0'))
    expect(asked()).toBe(6)
  })

  it('never answers closes it neither, when it is one', async () => {
    failFor(
      (token) => token === 'bad',
      () => undefined,
    )
    const auth = open({ ...asClient, http: { timeout: 100 } })

    const late = failureOf(auth.verify('bad'))
    expect((await auth.verify('good')).subject).toBe('alice')
    expect(await late).toBeInstanceOf(UpstreamUnavailableError)
  })

  it.each(['../../../../etc/passwd', '%00', 'a'.repeat(8_000), '-'])(
    'has something to say, %#, closes it for nobody else',
    async (token) => {
      failFor((given) => given === token, { status: 403, text: 'blocked' })
      const auth = open(asClient)
      await failureOf(auth.verify(token))
      expect((await auth.verify('good')).subject).toBe('alice')
    },
  )
})

describe('the door is closed for all', () => {
  it('when this server is not the client that it says', async () => {
    as.script('/introspect', { status: 401, json: { error: 'invalid_client' } })
    const auth = open(asClient)
    for (const token of ['a', 'b', 'c']) {
      expect(await failureOf(auth.verify(token))).toMatchObject({ code: 'ERR_CONFIGURATION' })
    }
    expect(asked()).toBe(1)
  })

  it('when there is nobody at the endpoint', async () => {
    const auth = open(asClient)
    as.script('/introspect', good())
    await auth.verify('good')
    await as.stop()
    // The first finds the connection of before broken off, the second finds nobody.
    await failureOf(auth.verify('first'))
    await failureOf(auth.verify('second'))
    await as.restart()

    expect(await failureOf(auth.verify('b'))).toBeInstanceOf(UpstreamUnavailableError)
    clock.advance(1_000)
    expect((await auth.verify('b')).subject).toBe('alice')
  })

  it('when ten tokens have failed without an answer between them, but for one probe in a second, and for 30 s at the most', async () => {
    failFor(() => true, { status: 500 })
    const auth = open(asClient)
    for (let index = 0; index < 10; index += 1) await failureOf(auth.verify(`bad-${index}`))
    expect(asked()).toBe(10)

    for (let index = 0; index < 5; index += 1)
      expect(await failureOf(auth.verify(`late-${index}`))).toMatchObject({ retryAfter: 1 })
    expect(asked()).toBe(10)
    clock.advance(1_000)
    for (let index = 0; index < 5; index += 1) await failureOf(auth.verify(`probe-${index}`))
    expect(asked()).toBe(11)
    clock.advance(1_000)
    failFor(() => false, { status: 500 })
    expect((await auth.verify('good')).subject).toBe('alice')
    expect((await auth.verify('another')).subject).toBe('alice')
  })

  it('for no longer than 30 s, whatever a probe finds', async () => {
    failFor((token) => token.startsWith('bad'), { status: 500 })
    const auth = open(asClient)
    for (let index = 0; index < 10; index += 1) await failureOf(auth.verify(`bad-${index}`))
    for (let second = 0; second < 29; second += 1) {
      clock.advance(1_000)
      await failureOf(auth.verify(`bad-probe-${second}`))
      await failureOf(auth.verify(`good-${second}`))
    }
    clock.advance(1_000)
    // It takes the probe, if there is one.
    await failureOf(auth.verify('bad-last'))

    expect((await auth.verify('good')).subject).toBe('alice')
  })

  it('for no longer than 30 s, though the same ten tokens come again and again', async () => {
    failFor((token) => token.startsWith('bad'), { status: 500 })
    const auth = open(asClient)
    for (let index = 0; index < 10; index += 1) await failureOf(auth.verify(`bad-${index}`))
    for (let second = 0; second < 29; second += 1) {
      clock.advance(1_000)
      await failureOf(auth.verify(`bad-${second % 10}`))
    }
    clock.advance(1_000)
    // It takes the probe, if there is one.
    await failureOf(auth.verify('bad-last'))

    expect((await auth.verify('good')).subject).toBe('alice')
  })

  it('again by ten others, when 30 s are over and the server still does not answer', async () => {
    failFor(() => true, { status: 500 })
    const auth = open(asClient)
    for (let index = 0; index < 10; index += 1) await failureOf(auth.verify(`bad-${index}`))
    clock.advance(30_000)
    for (let index = 10; index < 20; index += 1) await failureOf(auth.verify(`bad-${index}`))
    const before = asked()

    await failureOf(auth.verify('bad-20'))

    expect([before, asked()]).toEqual([20, 20])
  })

  it('not by one token that fails ten times', async () => {
    failFor((token) => token === 'bad', { status: 500 })
    const auth = open(asClient)
    for (let index = 0; index < 12; index += 1) {
      await failureOf(auth.verify('bad'))
      clock.advance(30_000)
    }
    expect((await auth.verify('good')).subject).toBe('alice')
  })
})

describe('the door is closed by a run of failures', () => {
  const [stranger, home, office] = ['203.0.113.7', '198.51.100.1', '198.51.100.2']

  /** Introspection by a server that is well, blocks what begins with `bad`, or is at fault, as the test says. */
  function setUp() {
    const time = manualClock()
    const server = { isWell: true, asked: 0 }
    const introspect = (token: string): Promise<IntrospectionResponse> => {
      server.asked += 1
      const fails = !server.isWell || token.startsWith('bad')
      return fails
        ? Promise.reject(new UpstreamUnavailableError('failed', { httpStatus: 403 }))
        : Promise.resolve({ active: true })
    }
    const ask = createIntrospection({ introspect }, time, 10_000)
    const failures = async (count: number, of: string, from?: string): Promise<void> => {
      for (let index = 0; index < count; index += 1) await failureOf(ask(`${of}-${index}`, from))
    }
    return { time, server, ask, failures }
  }

  it('of one network for that network alone, however many new tokens it sends and for however long', async () => {
    const { time, ask } = setUp()
    for (let tick = 0; tick < 120 * 20; tick += 1) {
      time.advance(50)
      for (const half of [0, 1]) await failureOf(ask(`bad-${tick}-${half}`, stranger))
      if (tick % 10 === 0) expect(await ask(`good-${tick}`, home)).toEqual({ active: true })
    }
  })

  it('of one network, which has one probe in a second then, and the others are asked for', async () => {
    const { time, server, ask, failures } = setUp()
    await failures(10, 'bad', stranger)
    await failures(10, 'bad-more', stranger)
    expect(server.asked).toBe(10)
    time.advance(1_000)
    await failures(10, 'bad-probe', stranger)
    expect(server.asked).toBe(11)
    expect(await failureOf(ask('new', stranger))).toMatchObject({ retryAfter: 1 })
    await failures(9, 'bad-too', home)
    expect(server.asked).toBe(20)

    expect(await ask('new', home)).toEqual({ active: true })
    // An answer shows that the server is well.
    expect(await ask('new', stranger)).toEqual({ active: true })
  })

  it('for no token that was good before, from whichever network', async () => {
    const { ask, failures } = setUp()
    await ask('good', home)
    await failures(10, 'bad', home)
    await failures(10, 'bad', stranger)

    expect(await ask('good', home)).toEqual({ active: true })
  })

  it('where the network is not known, for all of whom it is not known', async () => {
    const { server, ask, failures } = setUp()
    await failures(12, 'bad')
    expect(server.asked).toBe(10)
    await failureOf(ask('new'))
    expect(server.asked).toBe(10)
    expect(await ask('new', home)).toEqual({ active: true })
  })

  it('for all tokens that were good before, if ten of them fail, wherever they come from', async () => {
    const { time, server, ask } = setUp()
    const users = Array.from({ length: 15 }, (_, index) => `good-${index}`)
    const fromOf = (index: number): string => `192.0.2.${index}`
    for (const [index, user] of users.entries()) await ask(user, fromOf(index))
    Object.assign(server, { isWell: false, asked: 0 })
    for (const [index, user] of users.entries()) await failureOf(ask(user, fromOf(index)))
    expect(server.asked).toBe(10)
    // New tokens have the door of their own network.
    await failureOf(ask('new', office))
    expect(server.asked).toBe(11)

    time.advance(1_000)
    server.isWell = true
    expect(await ask('good-14', fromOf(14))).toEqual({ active: true })
    expect(await ask('good-13', fromOf(13))).toEqual({ active: true })
  })
})

describe('places', () => {
  /** Introspection whose answers come when the test says so. */
  function slow() {
    const time = manualClock()
    const pending: (() => void)[] = []
    const introspect = (): Promise<IntrospectionResponse> =>
      new Promise((resolve) => pending.push(() => resolve({ active: true })))
    return { time, pending, ask: createIntrospection({ introspect }, time, 10_000) }
  }

  it('are a quarter for one network, and the others find theirs at once', async () => {
    const { pending, ask } = slow()
    const strangers = Array.from({ length: 30 }, (_, index) => ask(`stranger-${index}`, '203.0.113.7'))
    await turn()
    expect(pending).toHaveLength(12)
    const honest = ask('honest', '198.51.100.1')
    await turn()
    expect(pending).toHaveLength(13)

    while (pending.length > 0) {
      pending.shift()?.()
      await turn()
    }
    await Promise.all([...strangers, honest])
  })

  it('go to the network that has the fewest, when all are taken', async () => {
    const { pending, ask } = slow()
    const begun: string[] = []
    const asking = Array.from({ length: 80 }, async (_, index) => {
      await ask(`stranger-${index}`, `203.0.113.${index % 5}`)
      begun.push('stranger')
    })
    await turn()
    const honest = ask('honest', '198.51.100.1').then(() => begun.push('honest'))
    await turn()
    expect(pending).toHaveLength(50)

    pending.shift()?.()
    await turn()
    const newest = pending.at(-1)
    newest?.()
    await honest
    expect(begun).toEqual(['stranger', 'honest'])
    while (pending.length > 0) {
      pending.shift()?.()
      await turn()
    }
    await Promise.all(asking)
  })

  it('are waited for as long as http.timeout, and what left is not served', async () => {
    const { time, pending, ask } = slow()
    const strangers = Array.from({ length: 13 }, (_, index) => ask(`stranger-${index}`, '203.0.113.7'))
    const late = failureOf(strangers[12] ?? expect.unreachable())
    await turn()
    time.advance(10_000)

    expect(await late).toBeInstanceOf(UpstreamUnavailableError)
    while (pending.length > 0) {
      pending.shift()?.()
      await turn()
    }
    await Promise.all(strangers.slice(0, 12))
  })

  it('are waited for by a quarter from one network, and the others wait on', async () => {
    const { pending, ask } = slow()
    const crowd = Array.from({ length: 12 + 240 }, (_, index) => ask(`crowd-${index}`, '203.0.113.7'))
    const last = ask('one-more', '203.0.113.7')
    expect(await failureOf(last)).toBeInstanceOf(UpstreamUnavailableError)
    const others = Array.from({ length: 39 }, (_, index) => ask(`other-${index}`, `198.51.100.${index % 4}`))

    while (pending.length > 0) {
      pending.shift()?.()
      await turn()
    }
    await Promise.all([...crowd, ...others])
  })

  it('have so many who wait, and no more', async () => {
    const { ask } = slow()
    const many = Array.from({ length: 1_051 }, (_, index) => ask(`stranger-${index}`, `203.0.113.${index % 200}`))
    const last = await failureOf(many[1_050] ?? expect.unreachable())
    expect(last).toBeInstanceOf(UpstreamUnavailableError)
    for (const one of many) one.catch(() => undefined)
  })
})

it('a network has its quarter of the places over HTTP, too', async () => {
  const served = await world({
    mode: 'none',
    host: express5Host,
    handlers: protectedApp,
    options: asClient,
  })
  served.as.script('/introspect', () => undefined)
  const controllers = Array.from({ length: 20 }, () => new AbortController())
  const waiting = controllers.map(({ signal }, index) =>
    fetch(`${served.url}/mcp`, { headers: { authorization: `Bearer opaque-${index}` }, signal }).catch(() => undefined),
  )
  await until(() => served.as.received('/introspect').length === 12)
  for (let turns = 0; turns < 20; turns += 1) await turn()

  expect(served.as.received('/introspect')).toHaveLength(12)
  for (const controller of controllers) controller.abort()
  await Promise.all(waiting)
})
