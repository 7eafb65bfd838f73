import { describe, expect, it } from 'vitest'
import { createTransport } from '../../src/transport/transport.js'
import { readConfig } from '../../src/config/read-config.js'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import { createEvents } from '../../src/events.js'
import { createAppPasswords, isAppPassword, type Removal } from '../../src/nextcloud/app-passwords.js'
import { authorizationOf } from '../../src/nextcloud/credential.js'
import { manualClock } from '../support/clock.js'
import { startNextcloudAccounts } from '../support/nextcloud-accounts.js'
import { LEAST } from '../support/refusal.js'
import { failureOf } from '../support/promises.js'

const WRONG = { loginName: 'alice', password: 'wrong' }

const nextcloudAt = (url: string, publicUrl?: string) =>
  readConfig({ ...LEAST, nextcloud: { url, publicUrl, mode: 'pass-through' } }, {}).nextcloud!

async function setUp(path = '') {
  const clock = manualClock()
  const nextcloud = await startNextcloudAccounts(clock.now)
  const transport = createTransport(readConfig(LEAST, {}).http, clock, createEvents(undefined, clock))
  return { nextcloud, clock, ways: createAppPasswords(nextcloudAt(nextcloud.url + path), transport) }
}

/** The ways to a Nextcloud that gives one answer. */
const waysTo = (askNextcloud: () => Promise<Response>) =>
  createAppPasswords(nextcloudAt('https://cloud.example.com'), { askNextcloud })

describe('a login flow', () => {
  it.each([201, 404, 500])('has neither begin nor end by an answer with status %i', async (status) => {
    const login = 'https://cloud.example.com/login/v2/flow/token'
    const answer = { login, poll: { token: 'token' }, loginName: 'alice', appPassword: 'password' }
    const ways = waysTo(() => Promise.resolve(Response.json(answer, { status })))
    const failure = { code: 'ERR_UPSTREAM_UNAVAILABLE', httpStatus: status }

    expect(await failureOf(ways.start('notes'))).toMatchObject(failure)
    if (status === 404) expect(await ways.poll('token')).toBeUndefined()
    else expect(await failureOf(ways.poll('token'))).toMatchObject(failure)
  })

  it('is none on plain http, at a Nextcloud on https', async () => {
    const { clock, nextcloud } = await setUp()
    const answer = { login: 'http://cloud.example.com/login/v2/flow/token', poll: { token: 'token' } }
    const http = { ...readConfig(LEAST, {}).http, fetch: () => Promise.resolve(Response.json(answer)) }
    const transport = createTransport(http, clock, createEvents(undefined, clock))
    const start = (url: string) => createAppPasswords(nextcloudAt(url), transport).start('notes')

    expect(await failureOf(start('https://cloud.example.com'))).toMatchObject({
      detail: expect.stringContaining('overwriteprotocol') as string,
    })
    expect((await start(nextcloud.url)).login).toBe(answer.login)
  })

  describe('of a Nextcloud with a public address', () => {
    async function startAt(publicUrl: string, login?: string) {
      const { clock, nextcloud } = await setUp()
      const transport = createTransport(readConfig(LEAST, {}).http, clock, createEvents(undefined, clock))
      const ways = createAppPasswords(nextcloudAt(nextcloud.url, publicUrl), transport)
      if (login !== undefined) nextcloud.change({ start: { login } })
      return { nextcloud, ways, flow: ways.start('notes') }
    }

    it.each([
      ['https://cloud.example.com', 'http://app/login/v2/flow/t', 'https://cloud.example.com/login/v2/flow/t'],
      [
        'https://example.com/cloud',
        'http://app/index.php/login/v2/flow/t',
        'https://example.com/cloud/index.php/login/v2/flow/t',
      ],
      [
        'https://example.com/cloud/',
        'http://app/login/v2/flow/t?user=a',
        'https://example.com/cloud/login/v2/flow/t?user=a',
      ],
      ['https://example.com', 'https://example.com/inside/login/v2/flow/t', 'https://example.com/login/v2/flow/t'],
    ])('begins there: %s, for %s', async (publicUrl, login, expected) => {
      const { flow } = await startAt(publicUrl, login)
      expect((await flow).login).toBe(expected)
    })

    it('is polled at the internal one', async () => {
      const { flow, nextcloud, ways } = await startAt('https://cloud.example.com')
      const { login, pollToken } = await flow
      await nextcloud.grant(login.replace('https://cloud.example.com', nextcloud.url), 'alice')
      expect(await ways.poll(pollToken)).toMatchObject({ loginName: 'alice' })
    })

    it.each(['http://app/elsewhere', 'http://app/login/v2/flow/', 'http://app/login/v2/flow/t/more'])(
      'does not begin at an address that is no page of a flow: %s',
      async (login) => {
        const { flow } = await startAt('https://cloud.example.com', login)
        expect(await failureOf(flow)).toMatchObject({ code: 'ERR_UPSTREAM_UNAVAILABLE' })
      },
    )
  })

  it('goes on after a page that is not the answer of Nextcloud', async () => {
    const { ways, nextcloud } = await setUp()
    const { pollToken } = await ways.start('notes')
    nextcloud.disturb(() => 200)

    expect(await failureOf(ways.poll(pollToken))).toMatchObject({ code: 'ERR_UPSTREAM_UNAVAILABLE' })
  })

  it('is anonymous to begin, and has its end once', async () => {
    const { ways, nextcloud } = await setUp()
    const { login, pollToken } = await ways.start('notes')
    expect(nextcloud.requests[0]?.headers.authorization).toBeUndefined()
    expect(await ways.poll(pollToken)).toBeUndefined()

    await nextcloud.grant(login, 'alice', 'alice@example.com')

    const { password } = nextcloud.appPasswords[0]!
    expect(await ways.poll(pollToken)).toEqual({ loginName: 'alice@example.com', password, server: nextcloud.url })
    expect(await ways.poll(pollToken)).toBeUndefined()
  })

  it('is asked for at this Nextcloud, wherever the answer says that its end is', async () => {
    const { ways, nextcloud } = await setUp()
    nextcloud.change({ start: { poll: { token: 'the-poll-token', endpoint: 'http://127.0.0.1:1/elsewhere' } } })

    const { pollToken } = await ways.start('notes')
    await ways.poll(pollToken)

    expect(nextcloud.received('/index.php/login/v2/poll').map(({ body }) => body)).toEqual(['token=the-poll-token'])
  })

  it.each([
    { login: 'javascript:alert(1)' },
    { login: 'https://alice:secret@cloud.example.com/login' },
    { login: '/login/v2/flow/token' },
    { login: undefined },
    { poll: { token: '' } },
    { poll: { token: 1 } },
    { poll: null },
  ])('is none with %j', async (start) => {
    const { ways, nextcloud } = await setUp()
    nextcloud.change({ start })

    expect(await failureOf(ways.start('notes'))).toMatchObject({
      code: 'ERR_UPSTREAM_UNAVAILABLE',
      body: { error_description: 'Nextcloud is not available' },
    })
  })

  it.each([302, 403, 500, 0])('cannot be begun where Nextcloud answers %i', async (status) => {
    const { ways, nextcloud } = await setUp()
    nextcloud.disturb(() => status)

    expect(await failureOf(ways.start('notes'))).toMatchObject({ code: 'ERR_UPSTREAM_UNAVAILABLE' })
  })

  it.each([
    ['Notizen für Müller', 'Notizen fur Muller'],
    ['ノート', '???'],
    ['  ', 'MCP server'],
    ['a\r\nCookie: b', 'a??Cookie: b'],
    ['n'.repeat(500), 'n'.repeat(100)],
  ])('is for who is called %j, as far as a header can say that', async (name, shown) => {
    const { ways, nextcloud } = await setUp()

    await ways.start(name)

    expect(nextcloud.requests[0]?.headers['user-agent']).toBe(shown)
  })

  it('is below the path that Nextcloud has', async () => {
    const { nextcloud, ways } = await setUp('/cloud')
    await ways.remove(WRONG)
    await ways.poll('token').catch(() => undefined)

    expect(nextcloud.requests.map(({ path }) => path)).toEqual([
      '/cloud/ocs/v2.php/core/apppassword',
      '/cloud/index.php/login/v2/poll',
    ])
  })
})

describe('an app password', () => {
  it('that Nextcloud does not know is refused, until it is asked no more', async () => {
    const { ways, nextcloud, clock } = await setUp()

    for (let count = 0; count < 11; count += 1) expect(await ways.isRefused(WRONG)).toBe(true)
    // Brute force protection: it says nothing of any.
    expect(await ways.isRefused(WRONG)).toBeUndefined()
    clock.advance(30 * 60_000)
    expect(await ways.isRefused(WRONG)).toBe(true)
    expect(await ways.remove(WRONG)).toBe('refused')
    expect(nextcloud.requests.every(({ headers }) => headers['ocs-apirequest'] === 'true')).toBe(true)
  })

  it('is refused by Nextcloud alone, and not by what stands in front of it', async () => {
    const { ways, nextcloud } = await setUp()
    nextcloud.disturb(() => 401)

    expect(await ways.isRefused(WRONG)).toBeUndefined()
  })

  it('of another Nextcloud is not shown to this one', async () => {
    const { ways, nextcloud } = await setUp()
    const other = { ...WRONG, nextcloud: 'https://cloud.example.org/' }

    expect([await ways.isRefused(other), await ways.remove(other)]).toEqual([undefined, 'unavailable'])
    expect(nextcloud.requests).toEqual([])
  })

  const DONE = { ocs: { meta: { statuscode: 200 } } }
  const REFUSED = { ocs: { meta: { statuscode: 997, message: 'Current user is not logged in' } } }

  it.each<[status: number, body: unknown, removal: Removal, refused: boolean | undefined]>([
    [200, DONE, true, false],
    [200, 'the page of a proxy', 'failed', false],
    [201, DONE, 'failed', undefined],
    [401, REFUSED, 'refused', true],
    [401, DONE, 'failed', undefined],
    [403, REFUSED, 'failed', undefined],
    [429, REFUSED, 'unavailable', undefined],
    [499, DONE, 'failed', undefined],
    [500, DONE, 'unavailable', undefined],
    [503, REFUSED, 'unavailable', undefined],
  ])('answered with %i and %j is deleted: %j, refused: %j', async (status, body, removal, refused) => {
    const ways = waysTo(() => Promise.resolve(Response.json(body, { status })))
    expect([await ways.remove(WRONG), await ways.isRefused(WRONG)]).toEqual([removal, refused])
  })

  it('is neither deleted nor refused by a Nextcloud that is unavailable, and a fault of our own is told', async () => {
    const unavailable = new UpstreamUnavailableError('unavailable', { service: 'Nextcloud' })
    const ways = waysTo(() => Promise.reject(unavailable))
    expect([await ways.remove(WRONG), await ways.isRefused(WRONG)]).toEqual(['unavailable', undefined])
    const fault = new TypeError('a bug')
    const faulty = waysTo(() => Promise.reject(fault))
    expect(await Promise.all([failureOf(faulty.remove(WRONG)), failureOf(faulty.isRefused(WRONG))])).toEqual([
      fault,
      fault,
    ])
  })

  it.each<[loginName: unknown, password: unknown, isOne: boolean]>([
    ['alice', 'password', true],
    ['müller 名前', '!~', true],
    ['x'.repeat(512), 'x'.repeat(512), true],
    ['x'.repeat(513), 'password', false],
    ['alice', 'x'.repeat(513), false],
    ['', 'password', false],
    ['alice', '', false],
    ['a:b', 'password', false],
    ['alice\n', 'password', false],
    ['\ud800', 'password', false],
    ['alice', 'two words', false],
    ['alice', 'passwörd', false],
    [7, 'password', false],
    ['alice', 7, false],
  ])('is one that Basic authentication can carry: %j, %j', async (loginName, password, isOne) => {
    expect(isAppPassword({ loginName, password })).toBe(isOne)
    // Nextcloud gives it once, so that asking again is of no use.
    const answer = { loginName, appPassword: password, server: 7 }
    const ways = waysTo(() => Promise.resolve(Response.json(answer)))
    expect(await ways.poll('token')).toEqual(isOne ? { loginName, password, server: '' } : 'unusable')
  })

  it('goes into a header whatever its letters', () => {
    const encoded = authorizationOf({ scheme: 'Basic', loginName: 'müller 名前', password: 'a:b' }).slice(6)
    expect(Buffer.from(encoded, 'base64').toString()).toBe('müller 名前:a:b')
  })
})
