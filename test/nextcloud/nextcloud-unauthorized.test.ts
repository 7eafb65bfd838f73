import { Readable } from 'node:stream'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { NextcloudOptions, NextcloudRequest } from '../../src/index.js'
import { listen } from '../support/hosts.js'
import { startNextcloud } from '../support/nextcloud-server.js'
import { failureOf, until } from '../support/promises.js'
import { holdTokenRequests, tokenAnswer, tokenError } from '../support/token-endpoint.js'
import { world } from '../support/world.js'

async function setUpFetch(
  more: Omit<NextcloudOptions, 'url'> = {},
  cache = {},
  { url, ...http }: { url?: string; fetch?: typeof fetch } = {},
) {
  const nextcloud = await startNextcloud()
  const options = { nextcloud: { url: url ?? nextcloud.url, ...more }, cache, http: { retries: 0, ...http } }
  const setup = await world({ options })
  const alice = await setup.signIn()
  const fetch = (init?: NextcloudRequest) => setup.auth.nextcloudFetch(alice, '/notes', init)
  return { ...setup, alice, fetch, nextcloud }
}

const token = (count: number) => `nextcloud-token-${count}`

describe('after a 401', () => {
  it('the token is renewed, once, and the request sent again with its body', async () => {
    const { alice, exchanges, fetch, nextcloud } = await setUpFetch()
    nextcloud.accept((given) => given === token(2))
    const response = await fetch({ method: 'POST', body: 'two notes', headers: { 'x-own': 'kept' } })
    expect([response.status, await response.json()]).toEqual([
      200,
      { method: 'POST', path: '/notes', body: 'two notes' },
    ])
    expect(nextcloud.tokens()).toEqual([token(1), token(2)])
    expect(nextcloud.received.map(({ headers }) => headers['x-own'])).toEqual(['kept', 'kept'])
    expect(exchanges()).toBe(2)
    expect(await alice.extra.getNextcloudToken()).toBe(token(2))
  })

  it('the connection of the answer that nobody reads is closed', async () => {
    const { fetch, nextcloud } = await setUpFetch()
    const closed = new Promise((resolve) => {
      nextcloud.handle(({ headers }, res) => {
        if (headers.authorization === `Bearer ${token(1)}`) res.writeHead(401).on('close', resolve).write('endless')
        else res.end('arrived')
      })
    })

    expect(await (await fetch()).text()).toBe('arrived')
    await closed
  })

  it.each<[string, Uint8Array | URLSearchParams | Blob]>([
    ['bytes', new TextEncoder().encode('note=2')],
    ['a form', new URLSearchParams({ note: '2' })],
    ['a blob', new Blob(['note=2'])],
  ])('%s can be sent again', async (_name, body) => {
    const { fetch, nextcloud } = await setUpFetch()
    nextcloud.accept((given) => given === token(2))
    expect((await fetch({ method: 'PUT', body })).status).toBe(200)
    expect(nextcloud.received.map((request) => request.body)).toEqual(['note=2', 'note=2'])
  })

  it.each([
    ['a Node stream', () => Readable.from(['two notes'])],
    ['a web stream', () => new Blob(['two notes']).stream()],
  ])('%s is not sent again: the 401 is the answer, and the next request has another token', async (_name, stream) => {
    const { exchanges, fetch, nextcloud } = await setUpFetch()
    nextcloud.accept((given) => given === token(2))
    const response = await fetch({ method: 'PUT', body: stream() })
    expect([response.status, await response.json()]).toEqual([401, { message: 'Current user is not logged in' }])
    expect(nextcloud.received).toHaveLength(1)
    for (let count = 0; count < 4; count += 1) expect((await fetch({ method: 'PUT', body: stream() })).status).toBe(200)
    expect(nextcloud.tokens()).toEqual([token(1), ...Array<string>(4).fill(token(2))])
    expect(exchanges()).toBe(2)
  })

  it('a stream whose second token is refused as well costs no third', async () => {
    const { exchanges, fetch, nextcloud } = await setUpFetch()
    nextcloud.accept(() => false)
    for (let count = 0; count < 5; count += 1)
      expect((await fetch({ method: 'PUT', body: Readable.from(['two notes']) })).status).toBe(401)
    expect(exchanges()).toBe(2)
  })

  it('a stream rejects with the failure to get another token, as every other body does', async () => {
    const { as, fetch, nextcloud } = await setUpFetch()
    await fetch()
    nextcloud.accept(() => false)
    as.script('/token', tokenError('invalid_grant'))
    const failure = await failureOf(fetch({ method: 'PUT', body: Readable.from(['two notes']) }))
    expect(failure).toMatchObject({ code: 'ERR_SUBJECT_TOKEN_REJECTED' })
  })

  it('an answer that breaks off meanwhile does not keep the request from being sent again', async () => {
    let count = 0
    let closed = false
    const app = await listen((_req, res) => {
      count += 1
      if (count > 1) res.end('two notes')
      else {
        res.writeHead(401, { 'content-length': '100' }).write('cut')
        res.once('close', () => (closed = true))
        setTimeout(() => res.destroy(), 20)
      }
    })
    onTestFinished(app.close)
    const { alice, auth, as } = await setUpFetch({}, {}, { url: app.url, fetch: globalThis.fetch })
    await alice.extra.getNextcloudToken()
    const requests = holdTokenRequests(as)
    const response = auth.nextcloudFetch(alice, '/notes')
    await requests.arrival()
    await until(() => closed)
    await new Promise((resolve) => setTimeout(resolve, 50))
    requests.answer(tokenAnswer('other'))
    expect(await (await response).text()).toBe('two notes')
  })

  it('pass-through has no other token: the 401 is the answer', async () => {
    const { auth, nextcloud, signIn } = await setUpFetch({ mode: 'pass-through' })
    nextcloud.accept(() => false)
    const both = await signIn({ aud: ['https://mcp.example.com/mcp', 'nextcloud'] })
    expect((await auth.nextcloudFetch(both, '/notes')).status).toBe(401)
    expect(nextcloud.tokens()).toEqual([both.token])
  })

  it('twenty requests at the same time share one renewal', async () => {
    const { exchanges, fetch, nextcloud } = await setUpFetch()
    await fetch()
    nextcloud.accept((given) => given === token(2))
    const responses = await Promise.all(Array.from({ length: 20 }, () => fetch()))
    expect(responses.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(nextcloud.tokens().filter((given) => given === token(2))).toHaveLength(20)
    expect(exchanges()).toBe(2)
  })

  it.each([
    ['that lives is taken instead of asking for another', 0, 2],
    ['that has died meanwhile is not taken', 300_000, 3],
  ])('a newer token %s', async (_name, ms, good) => {
    const { alice, clock, exchanges, fetch, nextcloud } = await setUpFetch()
    nextcloud.handle(async (_request, res) => {
      await alice.extra.getNextcloudToken({ forceRefresh: true })
      clock.advance(ms)
      nextcloud.accept((given) => given === token(good))
      res.writeHead(401).end()
    })
    expect((await fetch()).status).toBe(200)
    expect(nextcloud.tokens()).toEqual([token(1), token(good)])
    expect(exchanges()).toBe(good)
  })

  it('a renewal under way is waited for instead of asking for another', async () => {
    const { as, clock, exchanges, fetch, nextcloud } = await setUpFetch()
    await fetch()
    clock.advance(240_000)
    const requests = holdTokenRequests(as)
    nextcloud.accept((given) => given === 'renewed')
    const response = fetch()
    await requests.arrival()
    requests.answer(tokenAnswer('renewed'))
    expect((await response).status).toBe(200)
    expect(exchanges()).toBe(2)
  })

  it('a renewal that fails is what the call rejects with', async () => {
    const { as, clock, fetch, nextcloud } = await setUpFetch()
    await fetch()
    nextcloud.accept(() => false)
    as.script('/token', tokenError('invalid_grant'), { status: 503 })
    expect(await failureOf(fetch())).toMatchObject({ code: 'ERR_SUBJECT_TOKEN_REJECTED', status: 401 })
    clock.advance(1_000)
    for (let count = 0; count < 2; count += 1)
      expect(await failureOf(fetch())).toMatchObject({ code: 'ERR_UPSTREAM_UNAVAILABLE', status: 503 })
    expect(as.received('/token')).toHaveLength(3)
  })

  it('a replacement that cannot be kept stands for itself alone', async () => {
    const { as, fetch, nextcloud } = await setUpFetch()
    await fetch()
    nextcloud.accept((given) => given?.startsWith('other') === true)
    as.script('/token', tokenAnswer('other', { expires_in: 'soon' }), tokenAnswer('other too'))
    expect([(await fetch()).status, (await fetch()).status]).toEqual([200, 200])
  })

  it('an abort ends the wait for the renewal, which goes on', async () => {
    const { alice, as, fetch, fetched, nextcloud } = await setUpFetch()
    await fetch()
    nextcloud.accept(() => false)
    const requests = holdTokenRequests(as)
    const controller = new AbortController()
    const failure = failureOf(fetch({ signal: controller.signal }))
    await requests.arrival()
    const reason = new Error('the caller has hung up')
    controller.abort(reason)
    expect(await failure).toBe(reason)
    requests.answer(tokenAnswer('renewed'))
    await fetched(2)
    expect(await alice.extra.getNextcloudToken()).toBe('renewed')
    expect(nextcloud.tokens()).toEqual([token(1), token(1)])
  })

  it('only the user concerned gets another token', async () => {
    const { alice, auth, exchanges, nextcloud, signIn } = await setUpFetch()
    const bob = await signIn({ sub: 'bob' })
    await auth.nextcloudFetch(alice, '/')
    await auth.nextcloudFetch(bob, '/')
    nextcloud.accept((given) => given !== token(1))
    for (const user of [alice, bob]) expect((await auth.nextcloudFetch(user, '/')).status).toBe(200)
    expect(nextcloud.tokens().slice(2)).toEqual([token(1), token(3), token(2)])
    expect(exchanges()).toBe(3)
  })
})

describe('a Nextcloud that always says 401', () => {
  it('costs one more exchange in the life of a token, however many requests there are', async () => {
    const { clock, exchanges, fetch, nextcloud } = await setUpFetch()
    nextcloud.accept(() => false)
    for (let count = 0; count < 10; count += 1) {
      const response = await fetch()
      expect([response.status, await response.json()]).toEqual([401, { message: 'Current user is not logged in' }])
    }
    expect(exchanges()).toBe(2)
    expect(nextcloud.tokens()).toEqual([token(1), ...Array<string>(10).fill(token(2))])

    clock.advance(300_000)
    for (let count = 0; count < 10; count += 1) expect((await fetch()).status).toBe(401)
    expect(exchanges()).toBe(4)
  })

  it('costs as much, and no second request, if the authorization server gives the same token again', async () => {
    const { as, exchanges, fetch, nextcloud } = await setUpFetch()
    as.script('/token', tokenAnswer('the same'))
    nextcloud.accept(() => false)
    for (let count = 1; count <= 10; count += 1) {
      expect((await fetch()).status).toBe(401)
      expect(nextcloud.received).toHaveLength(count)
    }
    expect(exchanges()).toBe(2)
  })
})

describe('a renewed token', () => {
  it('is renewed in its turn, once Nextcloud has taken it and refuses it later', async () => {
    const { exchanges, fetch, nextcloud } = await setUpFetch()
    for (let good = 1; good <= 4; good += 1) {
      nextcloud.accept((given) => given === token(good))
      expect((await fetch()).status).toBe(200)
      expect((await fetch()).status).toBe(200)
      expect(exchanges()).toBe(good)
    }
  })

  it('is not taken when it is the one before that Nextcloud takes, late', async () => {
    const { exchanges, fetch, nextcloud } = await setUpFetch()
    let answerFirst = (): void => undefined
    const arrived = new Promise<void>((resolve) => {
      nextcloud.handle((_request, res) => {
        answerFirst = () => void res.end()
        resolve()
      })
    })
    const first = fetch()
    await arrived
    nextcloud.accept(() => false)
    expect((await fetch()).status).toBe(401)
    answerFirst()
    expect((await first).status).toBe(200)
    expect((await fetch()).status).toBe(401)
    expect(exchanges()).toBe(2)
  })

  it.each([404, 500])('counts as taken by any answer but 401: %i', async (status) => {
    const { exchanges, fetch, nextcloud } = await setUpFetch()
    for (const expected of [2, 3]) {
      nextcloud.accept(() => false)
      await fetch()
      nextcloud.handle((_request, res) => res.writeHead(status).end())
      expect((await fetch()).status).toBe(status)
      expect(exchanges()).toBe(expected)
    }
  })

  it('has been handed out, and leaves alone what was asked for with other scopes or audience', async () => {
    const { alice, exchanges, fetch, nextcloud } = await setUpFetch()
    const { getNextcloudToken } = alice.extra
    const files = await getNextcloudToken({ audience: 'files' })
    nextcloud.accept((given) => given === token(3))
    expect((await fetch()).status).toBe(200)
    expect(await getNextcloudToken({ audience: 'files' })).toBe(files)
    expect(exchanges()).toBe(3)
    // With forceRefresh it counts as bad too.
    expect(await getNextcloudToken({ forceRefresh: true })).toBe(token(4))
  })

  it('works with the cache off: every request costs its own exchange, and a refused one another', async () => {
    const { exchanges, fetch, nextcloud } = await setUpFetch({}, { nextcloudTokens: 0 })
    nextcloud.accept((given) => given === token(2))
    expect((await fetch()).status).toBe(200)
    expect(exchanges()).toBe(2)
    nextcloud.accept(() => false)
    expect((await fetch()).status).toBe(401)
    expect(nextcloud.tokens()).toEqual([token(1), token(2), token(3), token(4)])
  })
})

describe('a fresh token that Nextcloud refuses', () => {
  const JWT = (count: number) => tokenAnswer(`a.b.${count}`)
  const refused = async (more: Omit<NextcloudOptions, 'url'>, path = '/notes') => {
    const setup = await setUpFetch(more)
    setup.as.script('/token', JWT(1), JWT(2), JWT(3), JWT(4))
    setup.nextcloud.accept(() => false)
    for (let count = 0; count < 2; count += 1) {
      expect((await setup.auth.nextcloudFetch(setup.alice, path)).status).toBe(401)
    }
    return { warnings: setup.events.filter(({ type }) => type === 'config.warning'), exchanges: setup.exchanges() }
  }

  it('is told once, with the setting that is likely off', async () => {
    const message =
      /^Nextcloud refuses a fresh token with 401: at Nextcloud, .*--check-bearer=1.*; or the account .* disabled/

    expect(await refused({})).toMatchObject({
      warnings: [{ option: 'nextcloud', message: expect.stringMatching(message) as string }],
    })
  })

  it('is told as the token that it is not, where it is no JWT', async () => {
    const { auth, alice, nextcloud, events } = await setUpFetch()
    nextcloud.accept(() => false)
    await auth.nextcloudFetch(alice, '/notes')

    expect(events.filter(({ type }) => type === 'config.warning')).toMatchObject([{ option: 'nextcloud.parameters' }])
  })

  it('is no fault at a public share, which wants the password of the share, and is not replaced', async () => {
    expect(await refused({}, '//public.php/webdav/')).toEqual({ warnings: [], exchanges: 1 })
  })
})
