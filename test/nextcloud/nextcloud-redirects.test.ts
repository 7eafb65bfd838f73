import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import type { NextcloudRequest } from '../../src/index.js'
import { startNextcloud } from '../support/nextcloud-server.js'
import { world } from '../support/world.js'

/** A Nextcloud under /cloud that redirects every request for /cloud/from, HOST being its own, and a user who is signed in. */
async function setUpRedirect(status: number, location?: string) {
  const nextcloud = await startNextcloud()
  const { auth, exchanges, signIn } = await world({ options: { nextcloud: { url: `${nextcloud.url}/cloud` } } })
  const alice = await signIn()
  const headers = location === undefined ? {} : { location: location.replace('HOST', new URL(nextcloud.url).host) }
  nextcloud.handle(({ path }, res) => {
    if (path !== '/cloud/from') res.end('arrived')
    else res.writeHead(status, headers).end('look elsewhere')
  })
  const fetch = (init?: NextcloudRequest) => auth.nextcloudFetch(alice, '/from', init)
  return { exchanges, fetch, nextcloud }
}

describe('a redirect within Nextcloud', () => {
  it.each([
    [301, 'GET', 'GET'],
    [302, 'GET', 'GET'],
    [303, 'GET', 'GET'],
    [307, 'GET', 'GET'],
    [308, 'GET', 'GET'],
    [301, 'POST', 'GET'],
    [302, 'POST', 'GET'],
    [303, 'POST', 'GET'],
    [307, 'POST', 'POST'],
    [308, 'POST', 'POST'],
    [301, 'PUT', 'PUT'],
    [302, 'DELETE', 'DELETE'],
    [303, 'PUT', 'GET'],
    [307, 'PUT', 'PUT'],
    [308, 'PROPFIND', 'PROPFIND'],
    [301, 'HEAD', 'HEAD'],
    [302, 'HEAD', 'HEAD'],
    [303, 'HEAD', 'HEAD'],
  ])(
    'with %i is followed: %s becomes %s, which keeps its body unless it has become another',
    async (status, first, second) => {
      const { exchanges, fetch, nextcloud } = await setUpRedirect(status, '/cloud/to')
      const body = first === 'GET' || first === 'HEAD' ? null : 'two notes'
      const response = await fetch({ method: first, body, headers: { 'x-own': 'kept' } })

      expect(response).toMatchObject({ status: 200, url: `${nextcloud.url}/cloud/to` })
      const kept = first === second ? (body ?? '') : ''
      expect(nextcloud.received).toMatchObject([
        { method: first, path: '/cloud/from', body: body ?? '' },
        { method: second, path: '/cloud/to', body: kept },
      ])
      for (const { headers } of nextcloud.received) {
        expect(headers).toMatchObject({
          authorization: 'Bearer nextcloud-token-1',
          'ocs-apirequest': 'true',
          'x-own': 'kept',
        })
      }
      expect(exchanges()).toBe(1)
    },
  )

  it.each(['to', './to', '/cloud/to', '//HOST/cloud/to', 'http://HOST/cloud/to', '/cloud/a/../to', '?again'])(
    'is followed to %s',
    async (location) => {
      const { fetch, nextcloud } = await setUpRedirect(302, location)
      expect(await (await fetch()).text()).toBe('arrived')
      expect(nextcloud.received[1]!.path).toMatch(/^\/cloud\/(?:to|from\?again)$/)
    },
  )

  it('is followed five times, and the sixth is the answer', async () => {
    const { fetch, nextcloud } = await setUpRedirect(302, '/cloud/from')
    const response = await fetch()
    expect([response.status, await response.text()]).toEqual([302, 'look elsewhere'])
    expect(nextcloud.received).toHaveLength(6)
  })

  it.each([
    ['a Node stream', () => Readable.from(['two notes'])],
    ['a web stream', () => new Blob(['two notes']).stream()],
  ])('with %s as the body is the answer: what has been sent cannot be sent again', async (_name, stream) => {
    const { fetch, nextcloud } = await setUpRedirect(307, '/cloud/to')
    const response = await fetch({ method: 'PUT', body: stream() })
    expect([response.status, await response.text()]).toEqual([307, 'look elsewhere'])
    expect(nextcloud.received).toHaveLength(1)
  })

  it('that drops the body is followed even if that was a stream', async () => {
    const { fetch, nextcloud } = await setUpRedirect(303, '/cloud/to')
    const response = await fetch({ method: 'POST', body: Readable.from(['two notes']) })
    expect(await response.text()).toBe('arrived')
    expect(nextcloud.received.map(({ method, body }) => [method, body])).toEqual([
      ['POST', 'two notes'],
      ['GET', ''],
    ])
  })

  it.each([301, 302, 303])('with %i that drops a body drops what the headers say of it', async (status) => {
    const { fetch, nextcloud } = await setUpRedirect(status, '/cloud/to')
    const headers = { 'content-type': 'text/plain', 'content-language': 'en' }
    await fetch({ method: 'POST', body: 'two notes', headers })
    expect(nextcloud.received[0]!.headers).toMatchObject(headers)
    expect(nextcloud.received[1]!.headers).not.toHaveProperty('content-type')
    expect(nextcloud.received[1]!.headers).not.toHaveProperty('content-language')
  })

  it.each([
    [302, 'post', 'GET'],
    [303, 'head', 'HEAD'],
  ])('with %i knows a method in small letters: %s becomes %s', async (status, method, expected) => {
    const { fetch, nextcloud } = await setUpRedirect(status, '/cloud/to')
    await fetch({ method })
    expect(nextcloud.received[1]!.method).toBe(expected)
  })
})

describe('a redirect that leads elsewhere is the answer', () => {
  it.each([301, 302, 303, 307, 308])('with %i to another origin, where the token never goes', async (status) => {
    const evil = await startNextcloud()
    const { fetch, nextcloud } = await setUpRedirect(status, `${evil.url}/cloud/to`)
    const response = await fetch({ method: 'POST', body: 'two notes' })
    expect(response.status).toBe(status)
    expect(response.headers.get('location')).toBe(`${evil.url}/cloud/to`)
    expect(await response.text()).toBe('look elsewhere')
    expect(nextcloud.received).toHaveLength(1)
    expect(evil.received).toEqual([])
  })

  it.each([
    ['a neighbour on the same host', '/other'],
    ['the base without its slash', '/cloud'],
    ['out of the base through encoded dots', '/cloud/%2e%2e/other'],
    ['out of the base for a proxy that decodes', '/cloud/..%2fother'],
    ['a user name', 'http://alice@HOST/cloud/to'],
    ['another scheme', 'https://HOST/cloud/to'],
    ['a scheme without a host', 'data:,arrived'],
    ['no URL', 'http://['],
    ['nowhere', undefined],
  ])('to %s', async (_name, location) => {
    const { fetch, nextcloud } = await setUpRedirect(302, location)
    expect((await fetch()).status).toBe(302)
    expect(nextcloud.received).toHaveLength(1)
  })

  it('after one that did not: the token stays behind', async () => {
    const [nextcloud, evil] = [await startNextcloud(), await startNextcloud()]
    const { auth, signIn } = await world({ options: { nextcloud: { url: nextcloud.url } } })
    nextcloud.handle(({ path }, res) => {
      res.writeHead(302, { location: path === '/from' ? '/between' : `${evil.url}/to` }).end()
    })
    const response = await auth.nextcloudFetch(await signIn(), '/from')
    expect(response.headers.get('location')).toBe(`${evil.url}/to`)
    expect(nextcloud.received.map(({ path }) => path)).toEqual(['/from', '/between'])
    expect(evil.received).toEqual([])
  })

  it.each([300, 304, 305, 306, 201])('with a status that is no redirect to follow: %i', async (status) => {
    const { fetch, nextcloud } = await setUpRedirect(status, '/cloud/to')
    expect((await fetch()).status).toBe(status)
    expect(nextcloud.received).toHaveLength(1)
  })
})
