import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { NextcloudRefusedError, type NextcloudRequest } from '../../src/index.js'
import { startNextcloud } from '../support/nextcloud-server.js'
import { failureOf } from '../support/promises.js'
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
  const any = ['GET', 'HEAD', 'get'].flatMap((method) =>
    [301, 302, 303, 307, 308].map((status) => [status, method] as const),
  )
  const preserving = ['POST', 'PUT', 'DELETE', 'PROPFIND', 'OPTIONS'].flatMap((method) =>
    [307, 308].map((status) => [status, method] as const),
  )

  it.each([...any, ...preserving])('with %i is followed: %s stays what it is, body and all', async (status, method) => {
    const { exchanges, fetch, nextcloud } = await setUpRedirect(status, '/cloud/to')
    const body = any.some(([, bare]) => bare === method) ? null : 'two notes'
    const response = await fetch({ method, body, headers: { 'x-own': 'kept', 'content-language': 'en' } })

    expect(response).toMatchObject({ status: 200, url: `${nextcloud.url}/cloud/to` })
    const sent = { method: method.toUpperCase(), body: body ?? '' }
    expect(nextcloud.received).toMatchObject([
      { ...sent, path: '/cloud/from' },
      { ...sent, path: '/cloud/to' },
    ])
    for (const { headers } of nextcloud.received) {
      expect(headers).toMatchObject({
        authorization: 'Bearer nextcloud-token-1',
        'ocs-apirequest': 'true',
        'x-own': 'kept',
        'content-language': 'en',
      })
    }
    expect(exchanges()).toBe(1)
  })

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

  it.each(
    [301, 302, 303].flatMap((status) =>
      ['POST', 'PUT', 'DELETE', 'PROPFIND', 'REPORT', 'MKCOL'].map((method) => [status, method] as const),
    ),
  )('with %i is the answer to %s, which never becomes a GET', async (status, method) => {
    const { fetch, nextcloud } = await setUpRedirect(status, '/cloud/to')
    const response = await fetch({ method, body: 'two notes' })
    expect([response.status, await response.text()]).toEqual([status, 'look elsewhere'])
    expect(nextcloud.received).toMatchObject([{ method, path: '/cloud/from' }])
  })
})

describe('a redirect to where a person signs in', () => {
  const pages = [
    ['/cloud/login', 'login'],
    ['/cloud/login/', 'login'],
    ['/cloud/login?redirect_url=/ocs/v2.php/cloud/user', 'login'],
    ['http://HOST/cloud/index.php/login#top', 'login'],
    ['/cloud/login/selectchallenge?redirect_url=/ocs/v2.php/cloud/user?format%3Djson', 'two-factor'],
    ['login/selectchallenge', 'two-factor'],
    ['//HOST/cloud/index.php/login/selectchallenge', 'two-factor'],
    ['/cloud/login/challenge/totp?redirect_url=/', 'two-factor'],
    ['/cloud/index.php/login/setupchallenge', 'two-factor'],
    ['/cloud/login/setupchallenge/totp', 'two-factor'],
  ] as const

  it.each(pages)('%s is a NextcloudRefusedError', async (location, reason) => {
    const { fetch, nextcloud } = await setUpRedirect(303, location)
    const failure = await failureOf(fetch({ method: 'POST', body: '{"title":"Recorded"}' }))
    const message = {
      'two-factor': 'Nextcloud asks this user for a second factor, which only a person at a browser can give',
      login: 'Nextcloud sends this request to its login page, so it needs a person at a browser',
    }[reason]
    expect(failure).toBeInstanceOf(NextcloudRefusedError)
    expect(failure).toMatchObject({
      name: 'NextcloudRefusedError',
      code: 'ERR_NEXTCLOUD_REFUSED',
      status: 403,
      reason,
      message,
      body: { error: 'nextcloud_refused', error_description: message },
      headers: { 'Cache-Control': 'no-store' },
    })
    expect(nextcloud.received.map(({ path }) => path)).toEqual(['/cloud/from'])
  })

  it.each(
    ['GET', 'HEAD', 'PUT', 'PROPFIND', 'DELETE'].flatMap((method) =>
      [301, 302, 303, 307, 308].map((status) => [status, method] as const),
    ),
  )('with %i is one for %s', async (status, method) => {
    const { fetch, nextcloud } = await setUpRedirect(status, '/cloud/login/selectchallenge')
    expect(await failureOf(fetch({ method }))).toMatchObject({ reason: 'two-factor' })
    expect(nextcloud.received).toHaveLength(1)
  })

  it('is one for a stream too, and behind another redirect', async () => {
    const { fetch, nextcloud } = await setUpRedirect(303, '/cloud/login')
    expect(await failureOf(fetch({ method: 'PUT', body: Readable.from(['two']) }))).toMatchObject({ reason: 'login' })
    nextcloud.handle(({ path }, res) => {
      res.writeHead(302, { location: path === '/cloud/from' ? '/cloud/apps' : '/cloud/login' }).end()
    })
    expect(await failureOf(fetch())).toMatchObject({ reason: 'login' })
  })

  it('is one as well at the address that browsers know Nextcloud by', async () => {
    const nextcloud = await startNextcloud()
    const publicUrl = 'https://cloud.example.com/nc'
    const { auth, signIn } = await world({ options: { nextcloud: { url: nextcloud.url, publicUrl } } })
    const alice = await signIn()
    const post = (location: string) => {
      nextcloud.handle((_request, res) => res.writeHead(303, { location }).end())
      return auth.nextcloudFetch(alice, '/from', { method: 'POST' })
    }
    expect(await failureOf(post(`${publicUrl}/login/selectchallenge`))).toMatchObject({ reason: 'two-factor' })
    expect((await post('https://cloud.example.com/login/selectchallenge')).status).toBe(303)
    expect((await post(`${publicUrl}/apps`)).status).toBe(303)
  })

  it.each(['/cloud/login/v2/flow', '/cloud/login/flow', '/cloud/logins', '/cloud/apps/login', '/cloud/loginchallenge'])(
    'is not %s',
    async (location) => {
      const { fetch } = await setUpRedirect(303, location)
      expect(await (await fetch()).text()).toBe('arrived')
    },
  )

  it.each(['/login', 'http://127.0.0.1:9/cloud/login', '/cloud/../login'])(
    'is the answer out of it: %s',
    async (location) => {
      const { fetch } = await setUpRedirect(303, location)
      expect((await fetch({ method: 'POST' })).status).toBe(303)
    },
  )
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
