import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { NO_ANSWER } from '../../src/transport/public-document.js'
import { manualClock } from '../support/clock.js'
import { wordsOf } from '../support/html.js'
import { until } from '../support/promises.js'
import { clientOf, REDIRECT_URI, registeredClient, type RegisteredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const CLIENT_ID = 'https://client.example.com/oauth/client.json'
const DAY = 86_400_000

const documentOf = (more: Record<string, unknown> = {}) => ({
  client_id: CLIENT_ID,
  client_name: 'Example client',
  redirect_uris: [REDIRECT_URI],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'none',
  ...more,
})

async function wordsOfQuestion(server: SignInServer, client: RegisteredClient): Promise<string> {
  const alice = server.person('alice')
  const question = await alice.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
  const response = await fetch(question, { headers: { cookie: alice.cookies(question) } })
  return wordsOf(await response.text()).replace(/(?<=[“(]) | (?=[”)])/g, '')
}

describe('the name of a client on the page that asks', () => {
  it('is its own claim where it has registered itself, beside an id that tells it from others', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server, { client_name: 'Claude\u202E by Nextcloud' })

    const words = await wordsOfQuestion(server, client)

    const { clientId } = client
    const ends = `${clientId.slice(0, 6)}…${clientId.slice(-6)}`
    expect(words).toContain(
      `An app that registered itself (${ends}), which calls itself “Claude by Nextcloud”, would like to work in your Nextcloud`,
    )
  })

  it('is left out where it has none', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server, { client_name: '' })

    expect(await wordsOfQuestion(server, client)).not.toContain('calls itself')
  })

  it('is that of the operator where the operator has registered it', async () => {
    const clients = [
      { clientId: 'mine', clientName: 'Our app', redirectUris: [REDIRECT_URI] },
      { clientId: 'nameless', redirectUris: [REDIRECT_URI] },
    ]
    const server = await startSignInServer({ clients })

    expect(await wordsOfQuestion(server, clientOf(server, 'mine'))).toMatch(/(?<!“)Our app would like to work/)
    expect(await wordsOfQuestion(server, clientOf(server, 'nameless'))).toContain('nameless would like to work')
  })
})

describe('a client whose id is the address of its metadata', () => {
  it('signs its user in, and stands on the page with its name and its host', async () => {
    const server = await startSignInServer({ documents: () => Promise.resolve(documentOf()) })
    const client = clientOf(server, CLIENT_ID)

    const words = await wordsOfQuestion(server, client)
    const answer = await client.signIn(server.person('alice'))

    expect(words).toContain('“Example client” from client.example.com would like to work in your Nextcloud')
    expect(answer.status).toBe(200)
    expect((await client.refresh(String(answer.body['refresh_token']))).status).toBe(200)
    expect(await server.auth.verify(String(answer.body['access_token']))).toMatchObject({ clientId: CLIENT_ID })
  })

  it('stands on the page of connections by its host, and not by a claim', async () => {
    const server = await startSignInServer({ documents: () => Promise.resolve(documentOf()) })
    const alice = server.person('alice')
    await clientOf(server, CLIENT_ID).signIn(alice)

    const words = wordsOf((await alice.open(`${server.origin}/nextcloud`)).html)

    expect(words).toContain('Apps that may use it client.example.com')
    expect(words).not.toContain('Calls itself')
  })

  it.each(['http://127.0.0.1/callback', 'http://localhost:3118/callback'])(
    'gets its code at any port of %s, whatever kind of application it names',
    async (uri) => {
      for (const more of [{}, { application_type: 'web' }]) {
        const document = documentOf({ redirect_uris: [uri], ...more })
        const server = await startSignInServer({ documents: () => Promise.resolve(document) })
        const at = uri.replace(/:\d+(?=\/)|(?<=[a-z1])(?=\/callback)/, ':4999')
        const answer = await clientOf(server, CLIENT_ID).authorize(server.person('alice'), { redirect_uri: at })
        expect(answer.get('code')).not.toBeNull()
      }
    },
  )

  it('is asked of so many hosts for one address in a minute, and no other address waits for that', async () => {
    const clock = manualClock()
    let fetched = 0
    const documents = (url: string) => {
      fetched += 1
      return Promise.resolve(documentOf({ client_id: url }))
    }
    const server = await startSignInServer({ clock, documents, trustProxy: true })
    const ask = (at: number, from: string) =>
      fetch(clientOf(server, `https://client-${at}.example.com/client.json`).authorizationUrl(), {
        redirect: 'manual',
        headers: { accept: 'text/html', 'x-forwarded-for': from },
      })
    for (let at = 0; at < 70; at += 1) await (await ask(at, '198.51.100.1')).text()

    expect(fetched).toBe(60)
    // What is known is not fetched, and costs nothing.
    expect((await ask(0, '198.51.100.1')).status).toBe(303)
    expect((await ask(70, '198.51.100.1')).status).toBe(503)
    expect((await ask(70, '198.51.100.2')).status).toBe(303)
    clock.advance(60_000)
    expect((await ask(71, '198.51.100.1')).status).toBe(303)
  })

  it.each([
    ['names another id', documentOf({ client_id: 'https://client.example.com/other.json' })],
    ['has a secret', documentOf({ client_secret: 'x', token_endpoint_auth_method: 'client_secret_post' })],
    ['has no redirect URI', documentOf({ redirect_uris: [] })],
    ['has other redirect URIs', documentOf({ redirect_uris: ['https://evil.example.com/callback'] })],
    ['is no object', 'client'],
  ])('is refused where its document %s', async (_what, document) => {
    const server = await startSignInServer({ documents: () => Promise.resolve(document) })
    const url = clientOf(server, CLIENT_ID).authorizationUrl()

    const response = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } })

    expect([response.status, response.headers.get('location')]).toEqual([400, null])
  })

  it('is not fetched from an address that is not public, nor without https', async () => {
    let asked = 0
    const inside = createServer((_req, res) => {
      asked += 1
      res.setHeader('content-type', 'application/json')
      res.end(JSON.stringify(documentOf()))
    })
    inside.on('connection', () => (asked += 1))
    inside.listen(0, '127.0.0.1')
    await once(inside, 'listening')
    onTestFinished(() => void inside.close())
    const { port } = inside.address() as AddressInfo
    const server = await startSignInServer()

    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`, `[::ffff:127.0.0.1]:${port}`]) {
      for (const scheme of ['https', 'http']) {
        const client = clientOf(server, `${scheme}://${host}/client.json`)
        const response = await fetch(client.authorizationUrl(), {
          redirect: 'manual',
          headers: { accept: 'text/html' },
        })
        expect([response.status, response.headers.get('location')]).toEqual([400, null])
      }
    }
    expect(asked).toBe(0)
  })

  it('keeps to what its document says at the token endpoint too', async () => {
    let document = documentOf()
    const server = await startSignInServer({ documents: () => Promise.resolve(document) })
    const client = clientOf(server, CLIENT_ID)
    const code = (await client.authorize(server.person('alice'))).get('code') ?? ''
    document = documentOf({ redirect_uris: ['https://evil.example.com/callback'] })

    const stolen = await client.redeem(code, { redirect_uri: 'https://evil.example.com/callback' })

    expect([stolen.status, stolen.body['error']]).toEqual([400, 'invalid_grant'])
  })
})

describe('a host of a document that gives no answer', () => {
  const refreshAt = async (server: SignInServer, clientId: string) => {
    const form = { grant_type: 'refresh_token', refresh_token: 'x', client_id: clientId }
    const answer = await fetch(`${server.origin}/oauth/token`, { method: 'POST', body: new URLSearchParams(form) })
    return { status: answer.status, headers: answer.headers, body: await answer.json() }
  }

  it('makes the request one for later, and drops no tokens', async () => {
    const server = await startSignInServer({ documents: () => Promise.resolve(NO_ANSWER) })
    const asked = await fetch(clientOf(server, CLIENT_ID).authorizationUrl(), { redirect: 'manual' })
    const refreshed = await refreshAt(server, CLIENT_ID)

    expect([asked.status, refreshed.status]).toEqual([503, 503])
    expect(refreshed.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(refreshed.body).toMatchObject({ error: 'temporarily_unavailable' })
    const told = server.events.filter(({ type }) => type === 'request.failed')
    // Once a minute for each host.
    expect(told).toMatchObject([{ code: 'ERR_UPSTREAM_UNAVAILABLE', status: 503 }])
    const host = new URL(CLIENT_ID).host
    expect(told[0]).toHaveProperty('message', expect.stringContaining(`cannot be fetched: ${host} gives no answer`))

    // What is not fetched says nothing of its host.
    for (let count = 0; count < 60; count += 1) await refreshAt(server, `https://client.example/${count}`)
    expect((await refreshAt(server, 'https://another.example/client')).status).toBe(503)
    const hosts = server.events.flatMap((event) => (event.type === 'request.failed' ? [event.message] : []))
    expect([hosts.length, hosts.join().includes('another.example')]).toEqual([2, false])
  })

  it('is not asked again for ten minutes, and its last document is good for a day', async () => {
    const clock = manualClock()
    let fetched = 0
    let document: unknown = documentOf()
    const documents = () => ((fetched += 1), Promise.resolve(document))
    const server = await startSignInServer({ clock, documents })
    // Another provider begins with an empty cache of its own.
    const later = (ms: number) => (clock.advance(ms), vi.spyOn(Date, 'now').mockReturnValue(Date.now() + ms))
    onTestFinished(() => void vi.restoreAllMocks())
    expect((await refreshAt(server, CLIENT_ID)).status).toBe(400)
    later(599_000)
    expect((await refreshAt(server, CLIENT_ID)).status).toBe(400)
    expect(fetched).toBe(1)

    document = NO_ANSWER
    later(60_000)
    expect((await refreshAt(server, CLIENT_ID)).body).toMatchObject({ error: 'invalid_grant' })
    expect(fetched).toBe(2)
    later(86_400_000)
    expect((await refreshAt(server, CLIENT_ID)).status).toBe(503)
    document = undefined
    expect((await refreshAt(server, CLIENT_ID)).body).toMatchObject({ error: 'invalid_client' })
  })

  it('does not keep others from being asked', async () => {
    let isHeld = true
    const held: ((document: unknown) => void)[] = []
    const documents = (url: string) =>
      isHeld && url.includes('evil')
        ? new Promise<unknown>((end) => held.push(end))
        : Promise.resolve(url.includes('evil') ? NO_ANSWER : documentOf({ client_id: url }))
    const server = await startSignInServer({ documents, trustProxy: true })
    const ask = (id: string, from: string) =>
      fetch(clientOf(server, id).authorizationUrl(), { redirect: 'manual', headers: { 'x-forwarded-for': from } })
    const evil = Array.from({ length: 40 }, (_, at) => ask(`https://evil.example/${at}`, `2001:db8:1:${at % 16}::1`))
    let answered = 0
    for (const answer of evil) void answer.then(() => (answered += 1))
    await until(() => held.length === 8 && answered === 32)

    expect((await ask(CLIENT_ID, '2001:db8:2::1')).status).toBe(303)
    expect((await ask('https://other.example/client.json', '2001:db8:1::1')).status).toBe(503)
    isHeld = false
    for (const end of held) end(NO_ANSWER)
    expect(new Set((await Promise.all(evil)).map(({ status }) => status))).toEqual(new Set([503]))
    expect(held).toHaveLength(8)
  })
})

it('a page that asks is counted by its address before hosts are asked, and shows what is known without them', async () => {
  const clock = manualClock()
  const held: (() => void)[] = []
  let isHeld = false
  const documents = (url: string) =>
    isHeld ? new Promise((end) => held.push(() => end(NO_ANSWER))) : Promise.resolve(documentOf({ client_id: url }))
  const server = await startSignInServer({ clock, documents, trustProxy: true })
  const ask = (url: string | URL, cookie: string, from: string) =>
    fetch(url, { redirect: 'manual', headers: { cookie, 'x-forwarded-for': from } })
  const questions = await Promise.all(
    Array.from({ length: 6 }, async (_, at) => {
      const url = clientOf(server, `https://client-${at}.example/client.json`).authorizationUrl()
      const { headers } = await ask(url, '', `198.51.100.${at}`)
      const cookies = headers.getSetCookie().map((cookie) => cookie.split(';')[0])
      return { url: server.origin + String(headers.get('location')), cookie: cookies.join('; ') }
    }),
  )
  // Neither this server nor oidc-provider takes them for fresh any more.
  clock.advance(601_000)
  vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 61_000)
  onTestFinished(() => void vi.restoreAllMocks())
  isHeld = true

  let answered = 0
  const pages = questions.map(async ({ url, cookie }) => {
    const page = await ask(url, cookie, '198.51.100.1')
    answered += 1
    return wordsOf(await page.text())
  })
  await until(() => held.length + answered === 6)
  expect([held.length, answered]).toEqual([4, 2])
  for (const end of held) end()
  for (const [at, words] of (await Promise.all(pages)).entries())
    expect(words.replace(/(?<=[“(]) | (?=[”)])/g, '')).toContain(`“Example client” from client-${at}.example`)
})

it('a page that asks at an instance which knows no document shows the host of the client alone', async () => {
  let document: unknown = documentOf()
  const server = await startSignInServer({ documents: () => Promise.resolve(document) })
  const alice = server.person('alice')
  const question = await alice.until(clientOf(server, CLIENT_ID).authorizationUrl(), `${server.origin}/oauth/sign-in/`)
  const { url } = await server.another()
  const seen = async () => {
    const page = await fetch(url + question.pathname, { headers: { cookie: alice.cookies(question) } })
    return wordsOf(await page.text()).replace(/(?<=[“(]) | (?=[”)])/g, '')
  }
  document = NO_ANSWER
  expect(await seen()).toContain('client.example.com would like to work in your Nextcloud')
})

it('a client that people use is known for longer than a day, and strangers keep its document from nobody', async () => {
  const clock = manualClock()
  const asked: (readonly [string, boolean | undefined])[] = []
  const held: (() => void)[] = []
  let isSlow = true
  const documents = (url: string, isKnown?: boolean) => {
    asked.push([url, isKnown])
    if (url === CLIENT_ID) return Promise.resolve(documentOf())
    return isSlow ? new Promise((end) => held.push(() => end(NO_ANSWER))) : Promise.resolve(NO_ANSWER)
  }
  const server = await startSignInServer({ clock, documents, trustProxy: true })
  await clientOf(server, CLIENT_ID).signIn(server.person('alice'))
  const nextDays = () => (clock.advance(2 * DAY), vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 2 * DAY))
  onTestFinished(() => void vi.restoreAllMocks())
  const ask = async (id: string) => {
    const headers = { 'x-forwarded-for': '198.51.100.1' }
    const { status } = await fetch(clientOf(server, id).authorizationUrl(), { redirect: 'manual', headers })
    return status
  }
  const isThereForItself = async () => {
    asked.length = 0
    expect(await ask('https://other.example/client.json')).toBe(503)
    expect(await ask(CLIENT_ID)).toBe(303)
    expect(asked).toEqual([[CLIENT_ID, true]])
  }

  // All places of the network, and once more, because the document has been fetched again meanwhile.
  for (let round = 0; round < 2; round += 1) {
    nextDays()
    isSlow = true
    const evil = Array.from({ length: 4 }, (_, at) => ask(`https://evil.example/${round}/${at}`))
    while (held.length < 4) await new Promise(setImmediate)
    await isThereForItself()
    isSlow = false
    for (const end of held.splice(0)) end()
    await Promise.all(evil)
  }
  // All that it may have fetched in a minute.
  nextDays()
  for (let at = 0; at < 60; at += 1) await ask(`https://evil.example/${at}`)
  await isThereForItself()
})

it.each([
  { sector_identifier_uri: 'https://inside.example/sector', subject_type: 'pairwise' },
  { jwks_uri: 'https://inside.example/jwks' },
  { default_max_age: 0, request_uris: ['https://inside.example/r'], logo_uri: 'https://inside.example/l' },
])('a document leads to no other address, and asks for nothing but a client: %j', async (more) => {
  const fetched: string[] = []
  const documents = (url: string) => (fetched.push(url), Promise.resolve(documentOf(more)))
  const server = await startSignInServer({ documents })

  expect((await clientOf(server, CLIENT_ID).signIn(server.person('alice'))).status).toBe(200)
  expect(fetched).toEqual([CLIENT_ID])
})

it.each([
  { redirect_uris: { 0: 'x' } },
  { redirect_uris: 'https://client.example.com/callback' },
  { redirect_uris: [1] },
  { redirect_uris: null },
])('a document with %j is refused', async (more) => {
  const server = await startSignInServer({ documents: () => Promise.resolve(documentOf(more)) })
  expect((await fetch(clientOf(server, CLIENT_ID).authorizationUrl(), { redirect: 'manual' })).status).toBe(400)
})
