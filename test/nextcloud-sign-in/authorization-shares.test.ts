import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { MemoryStorage, type StorageAdapter } from '../../src/index.js'
import { manualClock } from '../support/clock.js'
import { turn } from '../support/promises.js'
import { clientOf, REDIRECT_URI, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'

const TEN_MINUTES = 600_000
const MOST_OF_ALL = 2_600

/** Asks as Express would hand a request on. PUT is what the authorization endpoint has done with soonest. */
async function startAsking() {
  const clock = manualClock()
  const server = await startSignInServer({ clock })
  const handle = server.signIn.routes()
  /** Returns the answer when it is decided whether the request goes on, and the end of it. */
  const ask = (ip: string, { headers = {}, method = 'PUT', url = '/oauth/authorize' } = {}) => {
    const req = Object.assign(new IncomingMessage(new Socket()), { method, url, ip, headers })
    const res = new ServerResponse(req)
    const ended = new Promise<void>((resolve, reject) => {
      res.end = () => (resolve(), res)
      handle(req, res, reject)
    })
    return { res, ended }
  }
  const statusOf = (...given: Parameters<typeof ask>): number => ask(...given).res.statusCode
  /** How many of some requests at one time go on. */
  const begun = (count: number, ipOf: (at: number) => string): number => {
    let good = 0
    for (let at = 0; at < count; at += 1) if (statusOf(ipOf(at)) !== 429) good += 1
    return good
  }
  return { clock, server, ask, statusOf, begun }
}

describe('the sign-ins that begin in ten minutes', () => {
  it('are 1,000 of one address, and no other address has fewer for it', async () => {
    const { clock, ask, statusOf, begun } = await startAsking()

    expect(begun(1_010, () => '192.0.2.1')).toBe(1_000)
    const { res: refused } = ask('192.0.2.1')
    expect([refused.statusCode, refused.getHeader('retry-after')]).toEqual([429, '600'])
    expect(statusOf('192.0.2.2')).not.toBe(429)
    clock.advance(TEN_MINUTES)
    expect(statusOf('192.0.2.1')).not.toBe(429)
  })

  it('are not those that pages of others embed', async () => {
    const { statusOf } = await startAsking()
    for (let at = 0; at < 1_010; at += 1)
      expect(statusOf('192.0.2.1', { headers: { 'sec-fetch-dest': 'image' } })).toBe(403)

    expect(statusOf('192.0.2.1')).not.toBe(429)
  })

  it('are those about which somebody is asked, and no others, once that is known', async () => {
    const { server, ask, begun } = await startAsking()
    const { pathname, search } = (await registeredClient(server)).authorizationUrl()
    const none = ['', '?client_id=x', `${search}&prompt=none`, `${search}&response_type=token`]
    const ended = [search, ...none].map((query) => ask('192.0.2.1', { method: 'GET', url: pathname + query }).ended)
    ended.push(ask('192.0.2.1').ended)
    await Promise.all(ended)
    // `end` is called before the last step of a request.
    await turn()

    expect(begun(1_010, () => '192.0.2.1')).toBe(999)
  })

  it.each([
    ['1,500 of a /48 of IPv6', (at: number) => `2001:db8:aa:${(at % 30).toString(16)}::${at.toString(16)}`, 1_500],
    ['2,000 of a /32', (at: number) => `2001:db8:${(at % 30).toString(16)}::1`, 2_000],
    ['1,500 of a /24 of IPv4', (at: number) => `192.0.2.${at % 30}`, 1_500],
    ['2,000 of a /16', (at: number) => `192.0.${at % 30}.1`, 2_000],
  ])('are %s', async (_, ipOf, most) => {
    const { statusOf, begun } = await startAsking()

    expect(begun(most + 100, ipOf)).toBe(most)
    expect(statusOf('198.51.100.1')).not.toBe(429)
  })

  it('are 2,600 of all, so that they do not fill the default storage', async () => {
    const { clock, statusOf, begun } = await startAsking()

    expect(begun(2_700, (at) => `${at % 30}.0.2.1`)).toBe(MOST_OF_ALL)
    clock.advance(TEN_MINUTES)
    expect(statusOf('198.51.100.1')).not.toBe(429)
  })
})

/** A storage that tells what was put into it, in records and in characters. */
function watched() {
  const inner = new MemoryStorage()
  const put = { records: 0, characters: 0 }
  const storage: StorageAdapter = {
    shared: false,
    get: (key) => inner.get(key),
    delete: (key, expected) => inner.delete(key, expected),
    list: (page) => inner.list(page),
    put: async (key, value, expected, ttlMs) => {
      const version = await inner.put(key, value, expected, ttlMs)
      if (version !== null && expected === null) {
        put.records += 1
        put.characters += value.length
      }
      return version
    },
  }
  return { storage, put }
}

describe('an authorization request', () => {
  it.each([
    ['state', { state: 's'.repeat(5_000) }],
    ['a parameter that nobody knows', { other: 'o'.repeat(5_000) }],
    ['many parameters', Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`p${at}`, 'xxxx']))],
    ['escapes', { state: '\u0000'.repeat(2_000) }],
  ])('with more than 4,096 characters of %s is refused, and leaves nothing', async (_, more) => {
    const { storage, put } = watched()
    const server = await startSignInServer({ storage })
    const client = await registeredClient(server)
    const { records } = put
    const refused = await fetch(client.authorizationUrl(more), { redirect: 'manual' })

    expect([refused.status, await refused.json()]).toEqual([
      400,
      { error: 'invalid_request', error_description: 'A request has at most 4096 characters' },
    ])
    expect(put.records).toBe(records)
  })

  it.each([
    ['characters', 'x', 1],
    ['letters of two bytes', 'é', 2],
    ['quotes, which JSON escapes', '"', 2],
  ])('for a client whose id has more than 512 bytes, of %s, is refused, and leaves nothing', async (_, one, bytes) => {
    const { storage, put } = watched()
    const documents = (url: string) => Promise.resolve({ client_id: url, redirect_uris: [REDIRECT_URI] })
    const server = await startSignInServer({ storage, documents })
    const ask = (idBytes: number) => {
      const start = 'https://client.example.com/'
      const [count, rest] = [Math.floor((idBytes - start.length) / bytes), (idBytes - start.length) % bytes]
      const client = clientOf(server, start + 'x'.repeat(rest) + one.repeat(count))
      return fetch(client.authorizationUrl(), { redirect: 'manual' })
    }
    const { records } = put
    const refused = await ask(513)

    expect([refused.status, await refused.json()]).toEqual([
      400,
      { error: 'invalid_request', error_description: 'A client_id has at most 512 bytes' },
    ])
    expect(put.records).toBe(records)
    if (bytes === 1) expect((await ask(512)).status).toBe(303)
  })

  it('about which nobody is asked leaves nothing, of a stranger and of a person who is signed in', async () => {
    const { storage, put } = watched()
    const server = await startSignInServer({ storage })
    const client = await registeredClient(server)
    const alice = server.person('alice')
    await client.signIn(alice)
    const { records } = put
    for (const cookie of ['', alice.cookies(server.origin)]) {
      for (const more of [{ prompt: 'none' }, { response_type: 'token' }, { client_id: 'x' }]) {
        const { status } = await fetch(client.authorizationUrl(more), { redirect: 'manual', headers: { cookie } })
        expect([303, 400]).toContain(status)
      }
    }
    expect(put.records).toBe(records)
  })

  it('with fewer is asked about, and leaves one record of less than 16 KiB, and one more with a yes', async () => {
    const { storage, put } = watched()
    const server = await startSignInServer({ storage })
    const client = await registeredClient(server)
    const before = { ...put }
    const mallory = server.person('mallory')
    const url = client.authorizationUrl({ state: '\u0000'.repeat(1_200) })
    expect(url.href.length - url.origin.length).toBeLessThanOrEqual(4_096)
    const question = await mallory.until(url, `${server.origin}/oauth/sign-in/`)

    expect(put.records - before.records).toBe(1)
    expect(put.characters - before.characters).toBeLessThan(16_384)
    await mallory.until(question, `${server.origin}/nextcloud/callback`)
    expect(put.records - before.records).toBe(2)
  })

  it('leaves three at most, so that all that may begin leave a fifth of the default storage free', async () => {
    const storage = new MemoryStorage()
    const server = await startSignInServer({ storage })
    const client = await registeredClient(server)
    const mallory = server.person('mallory')
    const size = async () => (await storage.list({ limit: 1_000 })).length
    const before = await size()
    const question = await mallory.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    for (let time = 0; time < 3; time += 1) {
      const callback = await mallory.until(question, `${server.origin}/nextcloud/callback`)
      callback.searchParams.delete('code')
      callback.searchParams.set('error', 'access_denied')
      await fetch(callback, { headers: { cookie: mallory.cookies(callback) } })
    }
    await mallory.until(question, `${server.origin}/nextcloud/callback`)

    const left = (await size()) - before
    expect(left).toBe(3)
    expect(left * MOST_OF_ALL).toBeLessThanOrEqual(8_000)
  })
})
