import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { wordsOf } from '../support/html.js'
import type { Visitor } from '../support/nextcloud/visitor.js'
import { MemoryStorage } from '../../src/index.js'
import { systemClock } from '../../src/clock.js'
import { manualClock } from '../support/clock.js'
import { faultyStorage } from '../support/storages.js'
import { clientOf, REDIRECT_URI, registeredClient, type RegisteredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const questionOf = (server: SignInServer, client: RegisteredClient, browser: Visitor): Promise<URL> =>
  browser.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)

const resumeOf = (question: URL): string => question.href.replace('/sign-in/', '/authorize/')

/** Has a page on a sibling host set the cookies of oidc-provider in another browser. */
function plant(from: Visitor, into: Visitor, at: string | URL): void {
  const planted = from
    .cookies(at)
    .split('; ')
    .filter((pair) => pair.startsWith('_interaction'))
  expect(planted).not.toEqual([])
  for (const pair of planted) into.setCookie('127.0.0.1', pair)
}

describe('the cookies of oidc-provider, planted in another browser', () => {
  it('do not show it a question', async () => {
    const server = await startSignInServer()
    const mallory = server.person('mallory')
    const question = await questionOf(server, await registeredClient(server), mallory)
    const alice = server.person('alice')
    plant(mallory, alice, question)

    const seen = await alice.open(question)
    const resumed = await fetch(resumeOf(question), {
      headers: { cookie: mallory.cookies(resumeOf(question)) },
      redirect: 'manual',
    })

    expect(seen.status).toBe(410)
    expect(resumed.headers.get('location')).toContain('/oauth/sign-in/')
    expect(await server.auth.isProvisioned({ subject: 'alice' })).toBe(false)
  })

  it('do not show it a question beside its own cookie behind a no-break space, which is another name to a browser', async () => {
    const server = await startSignInServer()
    const mallory = server.person('mallory')
    const question = await questionOf(server, await registeredClient(server), mallory)
    const own = mallory.cookies(question)
    const planted = own.replaceAll('mcp-nextcloud-', '\xA0$&')
    const statusWith = async (cookie: string): Promise<number> =>
      (await fetch(question, { headers: { cookie } })).status

    expect([planted === own, await statusWith(planted), await statusWith(own)]).toEqual([false, 410, 200])
  })

  it.each([false, true])('do not sign it in as somebody else (it was signed in: %s)', async (wasSignedIn) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const mallory = server.person('mallory')
    const resume = await mallory.until(await questionOf(server, client, mallory), `${server.origin}/oauth/authorize/`)
    const alice = server.person('alice')
    if (wasSignedIn) await client.signIn(alice)
    plant(mallory, alice, resume)

    expect((await alice.open(resume)).status).toBe(410)
    const next = await questionOf(server, client, alice)
    expect(wordsOf(await (await fetch(next, { headers: { cookie: alice.cookies(next) } })).text())).not.toContain(
      'mallory',
    )
    // It is still there for the browser that it belongs to.
    expect((await mallory.until(resume, REDIRECT_URI)).searchParams.get('code')).not.toBeNull()
  })

  it('do not lead another question of that browser to the end of theirs', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const mallory = server.person('mallory')
    const theirs = await mallory.until(await questionOf(server, client, mallory), `${server.origin}/oauth/authorize/`)
    const alice = server.person('alice')
    const hers = await alice.until(await questionOf(server, client, alice), `${server.origin}/oauth/authorize/`)
    plant(mallory, alice, theirs)

    const code = (await alice.until(hers, REDIRECT_URI)).searchParams.get('code') ?? ''
    const { access_token: token } = (await client.redeem(code)).body
    expect(JSON.parse(Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString())).toMatchObject({
      sub: 'alice',
    })
  })
})

describe('one browser', () => {
  it('has two questions at once, and answers both', async () => {
    const server = await startSignInServer()
    const [one, other] = [await registeredClient(server), await registeredClient(server)]
    const alice = server.person('alice')
    const questions = [await questionOf(server, one, alice), await questionOf(server, other, alice)] as const
    const callbacks = [
      await alice.until(questions[0], `${server.origin}/nextcloud/callback`),
      await alice.until(questions[1], `${server.origin}/nextcloud/callback`),
    ] as const

    const second = (await alice.until(callbacks[1], REDIRECT_URI)).searchParams.get('code') ?? ''
    const first = (await alice.until(callbacks[0], REDIRECT_URI)).searchParams.get('code') ?? ''
    expect([(await other.redeem(second)).status, (await one.redeem(first)).status]).toEqual([200, 200])
  })

  it('may load a question again, go back to it from Nextcloud, and say yes twice', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const question = await questionOf(server, client, alice)
    const asked = await Promise.all([1, 2].map(() => fetch(question, { headers: { cookie: alice.cookies(question) } })))
    expect(asked.map(({ status }) => status)).toEqual([200, 200])

    const callback = `${server.origin}/nextcloud/callback`
    const [first, second] = [await alice.until(question, callback), await alice.until(question, callback)]
    const code = (await alice.until(first, REDIRECT_URI)).searchParams.get('code') ?? ''
    expect((await client.redeem(code)).status).toBe(200)
    expect((await alice.open(second)).status).toBe(400)
  })

  it('may be asked while it has seven other questions', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const first = await questionOf(server, client, alice)
    for (let more = 0; more < 7; more += 1) await questionOf(server, client, alice)

    expect((await alice.until(first, REDIRECT_URI)).searchParams.get('code')).not.toBeNull()
  })

  it('has no cookie of a question any more once it is back at the client', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const question = await questionOf(server, client, alice)
    expect(alice.cookies(question)).toContain('mcp-nextcloud-')
    await alice.until(question, REDIRECT_URI)
    expect(alice.cookies(question)).not.toContain('mcp-nextcloud-')
  })

  it('may come again where the store was unavailable on the way back to the client', async () => {
    const storage = faultyStorage()
    const server = await startSignInServer({ storage })
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const resume = await alice.until(await questionOf(server, client, alice), `${server.origin}/oauth/authorize/`)
    storage.failFrom(1)
    expect((await alice.open(resume)).status).toBeGreaterThanOrEqual(500)
    storage.heal()
    expect((await alice.until(resume, REDIRECT_URI)).searchParams.get('code')).not.toBeNull()
  })
})

describe('the way back to the client', () => {
  const goOn = (question: URL, headers: Record<string, string>) =>
    fetch(resumeOf(question), { headers, redirect: 'manual' })
  const recordsIn = async (storage: MemoryStorage): Promise<number> => (await storage.list({ limit: 10_000 })).length

  async function setUp(clock = systemClock) {
    const storage = new MemoryStorage({}, clock)
    const server = await startSignInServer({ storage, clock })
    const mallory = server.person('mallory')
    const question = await questionOf(server, await registeredClient(server), mallory)
    return { storage, server, mallory, question }
  }

  it('leads to the question as long as that has no answer, and leaves nothing', async () => {
    const { storage, server, mallory, question } = await setUp()
    const headers = { cookie: mallory.cookies(question) }
    const html = await (await fetch(question, { headers })).text()
    const token = /name="token" value="([^"]+)"/.exec(html)?.[1] ?? ''
    const before = await recordsIn(storage)
    for (let count = 0; count < 5; count += 1) {
      const body = new URLSearchParams({ token, answer: 'yes' })
      expect((await fetch(question, { method: 'POST', headers, body })).status).toBe(200)
      const ways = await Promise.all(Array.from({ length: 5 }, () => goOn(question, headers)))
      expect(new Set(ways.map((way) => way.headers.get('location')))).toEqual(new Set([question.pathname]))
    }

    // The way to Nextcloud is one.
    expect(await recordsIn(storage)).toBe(before + 1)
    expect((await mallory.until(question, REDIRECT_URI)).searchParams.get('code')).not.toBeNull()
    expect(server.events.filter(({ type }) => type === 'connect.failed')).toEqual([])
  })

  it('is one for each answer, however many requests are on it', async () => {
    const { storage, server, mallory, question } = await setUp()
    const resume = await mallory.until(question, `${server.origin}/oauth/authorize/`)
    const headers = { cookie: mallory.cookies(resume) }
    expect((await fetch(resume, { method: 'POST', headers })).status).toBe(404)
    const before = await recordsIn(storage)
    const ways = await Promise.all(Array.from({ length: 8 }, () => goOn(question, headers)))

    expect(ways.map(({ status }) => status).sort()).toEqual([303, ...Array<number>(7).fill(410)])
    expect(ways.find(({ status }) => status === 303)?.headers.get('location')).toContain(`${REDIRECT_URI}?code=`)
    // A code and a session, with a list of each, in place of the question.
    expect(await recordsIn(storage)).toBeLessThanOrEqual(before + 4)
    expect((await goOn(question, headers)).status).toBe(410)
  })

  it('may be gone again at once after an outage, and after ten seconds if that went on', async () => {
    const clock = manualClock(Date.now())
    const { storage, server, mallory, question } = await setUp(clock)
    const resume = await mallory.until(question, `${server.origin}/oauth/authorize/`)
    const headers = { cookie: mallory.cookies(resume) }
    const deleting = vi.spyOn(storage, 'delete').mockRejectedValueOnce(new Error('gone'))
    expect((await goOn(question, headers)).status).toBe(503)

    deleting.mockImplementationOnce(() => {
      vi.spyOn(storage, 'put').mockRejectedValueOnce(new Error('gone'))
      return Promise.reject(new Error('gone'))
    })
    // It is given back behind the answer.
    await expect.poll(async () => (await goOn(question, headers)).status).toBe(503)
    clock.advance(9_999)
    expect((await goOn(question, headers)).status).toBe(410)
    clock.advance(1)
    expect((await mallory.until(resume, REDIRECT_URI)).searchParams.get('code')).not.toBeNull()
  })
})

it('a question that is answered 400 times leaves one record', async () => {
  const server = await startSignInServer({ storage: new MemoryStorage({ maxEntries: 300 }) })
  const mallory = server.person('mallory')
  const question = await questionOf(server, await registeredClient(server), mallory)
  const headers = { cookie: mallory.cookies(question) }
  const html = await (await fetch(question, { headers })).text()
  const token = /name="token" value="([^"]+)"/.exec(html)?.[1] ?? ''
  const states = new Set<string>()
  for (let count = 0; count < 400; count += 1) {
    const body = new URLSearchParams({ token, answer: 'yes' })
    const { status, headers: answered } = await fetch(question, { method: 'POST', headers, body })
    states.add(`${status} ${/state=([\w-]+)/.exec(answered.get('refresh') ?? '')?.[1] ?? ''}`)
  }
  expect([...states]).toEqual([expect.stringMatching(/^200 [\w-]{43}$/)])
  expect((await (await registeredClient(server)).signIn(server.person('alice'))).status).toBe(200)
})

/** Sends a request target as it stands. */
function statusOf(
  server: SignInServer,
  path: string,
  headers: Record<string, string> = {},
  body?: string,
): Promise<number> {
  const { port } = new URL(server.origin)
  return new Promise((resolve, reject) => {
    const form = body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }
    const options = { host: '127.0.0.1', port, path, method: body === undefined ? 'GET' : 'POST' }
    request({ ...options, headers: { ...headers, ...form } }, (answer) => {
      answer.resume()
      resolve(answer.statusCode ?? 0)
    })
      .on('error', reject)
      .end(body)
  })
}

describe('another spelling of a path of the sign-in is not served', () => {
  it.each([
    (path: string) => `/x/..${path}`,
    (path: string) => `/.${path}`,
    (path: string) => path.replace('/oauth/', '/oauth\\'),
    (path: string) => path.replace('/oauth/', '/oauth//'),
    (path: string) => path.replace('/oauth/', '/%6Fauth/'),
    (path: string) => path.replace('/oauth/', '/OAUTH/'),
    (path: string) => path.replace('/oauth/', '/x/%2e%2e/oauth/'),
    (path: string) => `${path}/`,
  ])('%s', async (respelled) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const mallory = server.person('mallory')
    const question = await questionOf(server, client, mallory)
    const cookie = mallory.cookies(question)
    const { search } = client.authorizationUrl()

    expect(await statusOf(server, question.pathname, { cookie })).toBe(200)
    const path = respelled(question.pathname)
    expect([await statusOf(server, path, { cookie }), await statusOf(server, path, { cookie }, 'answer=yes')]).toEqual([
      404, 404,
    ])
    expect(await statusOf(server, respelled('/oauth/authorize') + search)).toBe(404)
    expect(await statusOf(server, respelled('/oauth/authorize/abc'), { cookie })).toBe(404)
    expect(await statusOf(server, respelled('/oauth/jwks'))).toBe(404)
  })

  it('but in absolute form', async () => {
    const server = await startSignInServer()
    expect(await statusOf(server, `http://elsewhere.example/oauth/jwks`)).toBe(200)
  })
})

describe('a request target that is no URL', () => {
  const targets = [
    '//',
    '///',
    '//[',
    '//a:b',
    '//a:99999',
    '/\\[',
    '/\\',
    'http://[',
    'http:////[',
    'http://',
    '*',
    '?',
  ]
  it.each(['GET', 'POST', 'HEAD', 'OPTIONS'])('passes on from a server without a framework (%s)', async (method) => {
    const server = await startSignInServer()
    const [routes, own] = [server.signIn.routes(), server.auth.routes()]
    const seen: unknown[] = []
    const bare = createServer((req, res) =>
      routes(req, res, (error) => {
        if (error !== undefined) seen.push(error)
        own(req, res, (later) => {
          seen.push(later ?? req.url)
          res.statusCode = 404
          res.end()
        })
      }),
    ).listen(0, '127.0.0.1')
    onTestFinished(() => {
      bare.closeAllConnections()
      bare.close()
    })
    await once(bare, 'listening')
    const { port } = bare.address() as AddressInfo
    for (const target of targets) {
      const socket = connect(port, '127.0.0.1').resume()
      socket.end(`${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
      await once(socket, 'close')
    }
    // Node itself refuses one or the other.
    expect(targets).toEqual(expect.arrayContaining(seen))
    expect(seen).toEqual(expect.arrayContaining(['//', '//[', '//a:b', '/\\']))
  })
})

it('a code is redeemed and a token refreshed for the same resource with or without a slash at its end', async () => {
  const server = await startSignInServer()
  const client = await registeredClient(server)
  const alice = server.person('alice')
  for (const [asked, redeemed] of [
    [server.url, `${server.url}/`],
    [`${server.url}/`, server.url],
  ] as const) {
    const code = (await client.authorize(alice, { resource: asked })).get('code') ?? ''
    const tokens = await client.redeem(code, { resource: redeemed })
    expect(tokens.status).toBe(200)
    const refreshed = await client.refresh(String(tokens.body['refresh_token']), { resource: redeemed })
    expect(refreshed.status).toBe(200)
    expect(await server.auth.verify(String(refreshed.body['access_token']))).toMatchObject({ subject: 'alice' })
  }
  const code = (await client.authorize(alice)).get('code') ?? ''
  const elsewhere = await client.redeem(code, { resource: 'https://elsewhere.example/mcp' })
  expect(elsewhere.body).toMatchObject({ error: 'invalid_target' })
})

it('codes are not sent by a form, which is not advertised', async () => {
  const server = await startSignInServer({ clients: [{ clientId: 'by-hand', redirectUris: [REDIRECT_URI] }] })
  const metadata = (await (await fetch(`${server.origin}/.well-known/oauth-authorization-server`)).json()) as object
  expect(metadata).toMatchObject({ response_modes_supported: ['fragment', 'query'] })
  const url = clientOf(server, 'by-hand').authorizationUrl({ response_mode: 'form_post' })
  const { headers } = await fetch(url, { redirect: 'manual' })
  expect(headers.get('location')).toContain('error=unsupported_response_mode')
})

it('a request that a stranger breaks off is told to nobody', async () => {
  const server = await startSignInServer()
  const printed = vi.spyOn(console, 'error').mockReturnValue()
  const { port } = new URL(server.origin)
  for (const path of ['/oauth/token', '/oauth/revoke', '/oauth/register']) {
    const socket = connect(Number(port), '127.0.0.1')
    const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\na=`
    await new Promise<void>((resolve) => socket.write(head, () => resolve()))
    await fetch(`${server.origin}/oauth/jwks`)
    socket.destroy()
    await once(socket, 'close')
  }
  await fetch(`${server.origin}/oauth/jwks`)
  expect([printed.mock.calls, server.events]).toEqual([[], []])
  printed.mockRestore()
})
