import { once } from 'node:events'
import { Agent, request, type IncomingMessage } from 'node:http'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify, type JWK } from 'jose'
import { describe, expect, it } from 'vitest'
import { ConfigurationError } from '../../src/index.js'
import { manualClock } from '../support/clock.js'
import { attributesOf, wordsOf } from '../support/html.js'
import { clientOf, REDIRECT_URI, register, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

/** Addresses that a browser would open, or another app than the client's. */
const NOT_FOR_CODES = [
  'javascript:alert(1)',
  'data:text/html,hello',
  'vbscript:x',
  'view-source:https://client.example.com/',
  'mailto:somebody@example.com',
  'intent://scan/',
  'file:///etc/passwd',
  'blob:https://client.example.com/1',
  'about:blank',
  'tel:112',
  'sms:112',
  'ws://client.example.com/',
  'ftp://client.example.com/',
  'ms-settings:privacy',
  'x:callback',
]

const callbackOf = ({ origin }: SignInServer): string => `${origin}/nextcloud/callback`
/** Tokens that Nextcloud has given to this server. */
const alive = ({ nextcloud }: SignInServer): number => nextcloud.state.tokens.length

describe('a code of Nextcloud', () => {
  it('that comes to another browser is spent and dropped, so that it signs nobody in', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const mallory = server.person('mallory')
    const callback = await mallory.until(client.authorizationUrl(), callbackOf(server))

    const seen = await server.person('alice').open(callback)
    const late = await mallory.open(callback)

    expect([seen.status, late.status]).toEqual([403, 400])
    expect(alive(server)).toBe(0)
    expect(await server.auth.isProvisioned({ subject: 'mallory' })).toBe(false)
    expect(server.events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'browser' }))
  })

  it('signs in nobody where Nextcloud names another account than its answer did', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const mallory = server.person('mallory')
    const callback = await mallory.until(client.authorizationUrl(), callbackOf(server))
    server.nextcloud.disturb(({ path }) =>
      path.includes('/cloud/user')
        ? { status: 200, headers: { 'content-type': 'application/json' }, body: '{"ocs":{"data":{"id":"alice"}}}' }
        : undefined,
    )

    const seen = await mallory.open(callback)

    expect(seen.status).toBe(403)
    for (const subject of ['alice', 'mallory']) expect(await server.auth.isProvisioned({ subject })).toBe(false)
  })

  it('is not sent while Nextcloud is unavailable and leaves nothing behind', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const callback = await alice.until(client.authorizationUrl(), callbackOf(server))
    server.nextcloud.disturb(({ path }) => (path.includes('/cloud/user') ? 503 : undefined))

    const seen = await alice.open(callback)
    server.nextcloud.disturb(undefined)

    expect([seen.status, alive(server)]).toEqual([503, 0])
    expect((await client.signIn(alice)).status).toBe(200)
  })
})

describe('a sign-in that somebody else began', () => {
  it('cannot be answered or finished in another browser', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const mallory = server.person('mallory')
    const question = await mallory.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    const alice = server.person('alice')
    await (await registeredClient(server)).signIn(alice)

    expect((await alice.open(question)).status).toBe(410)
    expect((await alice.open(`${question.href}/done`)).status).toBe(410)
    expect((await alice.open(question.href.replace('/sign-in/', '/authorize/'))).status).toBe(410)
  })

  it('takes no answer from another site, and none without the value of its own form', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const question = await server.person('alice').until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    const cookie = await interactionCookie(client.authorizationUrl())
    const post = (headers: Record<string, string>, body: string) =>
      fetch(cookie.question, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', cookie: cookie.header, ...headers },
        body,
        redirect: 'manual',
      })
    const html = await (await fetch(cookie.question, { headers: { cookie: cookie.header } })).text()
    const token = /name="token" value="([^"]+)"/.exec(html)?.[1] ?? ''

    expect(token).not.toBe('')
    expect(question.href).not.toBe(cookie.question)
    expect((await post({ 'sec-fetch-site': 'cross-site' }, `token=${token}&answer=yes`)).status).toBe(403)
    expect((await post({ origin: 'https://evil.example.com' }, `token=${token}&answer=yes`)).status).toBe(403)
    expect((await post({}, 'token=guessed&answer=yes')).status).toBe(403)
    expect((await post({}, `token=${token}&answer=maybe`)).status).toBe(403)
    const answer = await post({}, `token=${token}&answer=yes`)
    expect([answer.status, answer.headers.get('refresh')]).toEqual([200, expect.stringContaining('/apps/oauth2/')])
  })
})

describe('a question that was asked before somebody else signed in in the same browser', () => {
  /** Alice has a question in her browser, and then the browser is Bob's, or nobody's. */
  async function atAnothers(next: 'bob' | 'nobody') {
    const server = await startSignInServer()
    const [one, other] = [await registeredClient(server), await registeredClient(server)]
    const [alice, bob] = [server.person('alice'), server.person('bob')]
    await one.signIn(alice)
    await one.signIn(bob)
    const question = await alice.until(other.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    const html = await (await fetch(question, { headers: { cookie: alice.cookies(question) } })).text()
    for (const pair of bob.cookies(server.origin).split('; ')) {
      if (/^_session(?:\.sig)?=/.test(pair)) alice.setCookie('127.0.0.1', next === 'bob' ? pair : '_session=')
    }
    return { server, other, browser: alice, question, html }
  }

  it.each(['bob', 'nobody'] as const)(
    'is not answered as the first, and asked once more: now it is of %s',
    async (next) => {
      const { server, other, browser, question, html } = await atAnothers(next)
      expect(wordsOf(html)).toContain('You are signed in as alice')

      const seen = await fetch(question, { headers: { cookie: browser.cookies(question) } })
      const answered = await fetch(question, {
        method: 'POST',
        headers: { cookie: browser.cookies(question), origin: server.origin },
        body: new URLSearchParams({ token: /name="token" value="([^"]+)"/.exec(html)?.[1] ?? '', answer: 'yes' }),
        redirect: 'manual',
      })

      expect([seen.status, answered.status, answered.headers.get('refresh')]).toEqual([403, 403, null])
      const { connections } = await server.auth.connections()
      expect(connections.flatMap(({ clients }) => clients.map(({ clientId }) => clientId))).not.toContain(
        other.clientId,
      )
      const again = attributesOf(/<a class="go" ([^>]*)>/.exec(await answered.text())?.[1] ?? '')['href'] ?? ''
      const asked = await browser.until(again, `${server.origin}/oauth/sign-in/`)
      const words = wordsOf(await (await fetch(asked, { headers: { cookie: browser.cookies(asked) } })).text())
      expect(words).toContain(next === 'bob' ? 'You are signed in as bob' : 'If you say yes, you sign in at')
    },
  )
})

/** The first step of a browser that keeps its cookies by hand. */
async function interactionCookie(url: URL): Promise<{ readonly header: string; readonly question: string }> {
  const response = await fetch(url, { redirect: 'manual' })
  const header = response.headers
    .getSetCookie()
    .map((cookie) => cookie.split(';')[0])
    .join('; ')
  return { header, question: new URL(response.headers.get('location') ?? '', url).href }
}

describe('a consent', () => {
  it('that was given to one client is of no use to another', async () => {
    const server = await startSignInServer()
    const [good, bad] = [await registeredClient(server), await registeredClient(server)]
    const alice = server.person('alice')
    const code = (await good.authorize(alice)).get('code') ?? ''

    const stolen = await bad.redeem(code)
    const tokens = await good.redeem(code)

    expect([stolen.status, stolen.body['error'], tokens.status]).toEqual([400, 'invalid_grant', 200])
    expect((await bad.refresh(String(tokens.body['refresh_token']))).body['error']).toBe('invalid_grant')
    // The session does not stand for consent: the other client's request ends at the question.
    const question = await alice.until(bad.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    expect(question.pathname).toMatch(/^\/oauth\/sign-in\/[\w-]+$/)
  })

  it('names this server in the answer, so that no other server can be mixed up with it (RFC 9207)', async () => {
    const server = await startSignInServer()
    const answer = await (await registeredClient(server)).authorize(server.person('alice'))

    expect([answer.get('iss'), answer.get('state')]).toEqual([server.origin, 'state-of-the-client'])
  })
})

describe('a redirect URI', () => {
  it.each([
    ['a slash more', `${REDIRECT_URI}/`],
    ['another port', 'https://client.example.com:8443/callback'],
    ['a fragment', `${REDIRECT_URI}#here`],
    ['a user', 'https://user@client.example.com/callback'],
    ['another host', 'https://client.example.com.evil.example/callback'],
    ['plain http', 'http://client.example.com/callback'],
    ['a query more', `${REDIRECT_URI}?to=evil`],
    ['an encoded path', 'https://client.example.com/%63allback'],
  ])('with %s is not the one that was registered', async (_what, redirectUri) => {
    const server = await startSignInServer()
    const client = await registeredClient(server)

    const response = await fetch(client.authorizationUrl({ redirect_uri: redirectUri }), {
      redirect: 'manual',
      headers: { accept: 'text/html' },
    })

    expect([response.status, response.headers.get('location')]).toEqual([400, null])
  })

  it.each([
    'https://user:secret@client.example.com/callback',
    'https://client.example.com/callback#here',
    'http://client.example.com/callback',
    'http://127.0.0.1.evil.example/callback',
    'no-url',
    7,
    ...NOT_FOR_CODES,
  ])('%s cannot be registered', async (uri) => {
    const server = await startSignInServer()
    const { status, body } = await register(server.origin, { redirect_uris: [REDIRECT_URI, uri] })

    expect([status, body['error']]).toEqual([400, 'invalid_redirect_uri'])
  })

  it.each(NOT_FOR_CODES)('%s cannot be in a metadata document, or among the clients of the operator', async (uri) => {
    const clientId = 'https://client.example.com/client.json'
    const document = { client_id: clientId, redirect_uris: [REDIRECT_URI, uri], token_endpoint_auth_method: 'none' }
    const server = await startSignInServer({ documents: () => Promise.resolve(document) })

    const response = await fetch(clientOf(server, clientId).authorizationUrl(), {
      redirect: 'manual',
      headers: { accept: 'text/html' },
    })

    expect([response.status, response.headers.get('location')]).toEqual([400, null])
    await expect(startSignInServer({ clients: [{ clientId: 'mine', redirectUris: [uri] }] })).rejects.toThrow(
      ConfigurationError,
    )
  })

  it('a client of the operator cannot have an id that is refused', async () => {
    const clients = [{ clientId: 'x'.repeat(513), redirectUris: [REDIRECT_URI] }]
    await expect(startSignInServer({ clients })).rejects.toThrow(ConfigurationError)
  })

  it.each([
    'cursor://anysphere.cursor-mcp/oauth/callback',
    'vscode://publisher.extension/callback',
    'vscode-insiders://publisher.extension/callback',
    'warp://mcp/oauth2callback',
    'com.raycast:/oauth',
    'com.example.app://callback',
    'http://[::1]:5000/callback',
    'http://localhost/callback',
  ])('%s of an app gets its code', async (uri) => {
    const server = await startSignInServer()
    const client = await registeredClient(server, { redirect_uris: [uri] })

    expect((await client.signIn(server.person('alice'))).status).toBe(200)
  })

  it('on loopback has any port, and the host and path that it was registered with', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server, { redirect_uris: ['http://127.0.0.1:5000/callback'] })
    const alice = server.person('alice')

    const answer = await client.authorize(alice, { redirect_uri: 'http://127.0.0.1:6111/callback' })
    const other = await fetch(client.authorizationUrl({ redirect_uri: 'http://127.0.0.1:6111/other' }), {
      redirect: 'manual',
    })

    expect(answer.get('code')).not.toBeNull()
    expect([other.status, other.headers.get('location')]).toEqual([400, null])
  })
})

interface Way {
  readonly localAddress?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Registers from one address, some at a time. */
async function flood(origin: string, times: number, way: Way | ((count: number) => Way)) {
  const answers: { readonly status: number | undefined; readonly retryAfter: number }[] = []
  const body = JSON.stringify({ redirect_uris: [REDIRECT_URI] })
  const agent = new Agent({ keepAlive: true, maxSockets: 20 })
  const send = async (count: number): Promise<void> => {
    const { localAddress, headers } = typeof way === 'function' ? way(count) : way
    const sent = request(`${origin}/oauth/register`, {
      method: 'POST',
      agent,
      localAddress,
      headers: { 'content-type': 'application/json', 'content-length': body.length, ...headers },
    })
    sent.end(body)
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    response.resume()
    answers.push({ status: response.statusCode, retryAfter: Number(response.headers['retry-after'] ?? 0) })
  }
  await Promise.all(Array.from({ length: times }, (_, count) => send(count)))
  agent.destroy()
  return answers
}

describe('registration', () => {
  it('keeps nothing of what it does not need, and makes a public client of each', async () => {
    const server = await startSignInServer()

    const { status, body } = await register(server.origin, {
      token_endpoint_auth_method: 'client_secret_post',
      grant_types: ['client_credentials', 'implicit'],
      scope: 'everything',
      jwks_uri: 'http://127.0.0.1/keys',
      sector_identifier_uri: 'http://127.0.0.1/sector',
      backchannel_logout_uri: 'http://127.0.0.1/logout',
      software_id: 'x'.repeat(10_000),
    })

    expect(status).toBe(201)
    expect(body).toMatchObject({
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [REDIRECT_URI],
    })
    expect(Object.keys(body)).not.toEqual(expect.arrayContaining(['client_secret']))
    expect(JSON.stringify(body)).not.toMatch(/127\.0\.0\.1|everything|xxx/)
  })

  it('has room for so many an hour from one address, which shuts no other address out', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ clock })
    const early = await registeredClient(server)

    const answers = await flood(server.origin, 620, { localAddress: '127.0.0.7' })
    const refused = answers.filter(({ status }) => status === 429)

    expect(answers.filter(({ status }) => status === 201)).toHaveLength(500)
    expect(refused).toHaveLength(120)
    for (const { retryAfter } of refused) expect(retryAfter).toBe(3_600)
    // Neither who came before nor who comes now is shut out.
    expect((await early.signIn(server.person('alice'))).status).toBe(200)
    expect((await (await registeredClient(server)).signIn(server.person('bob'))).status).toBe(200)
    clock.advance(1_800_000)
    const [later] = await flood(server.origin, 1, { localAddress: '127.0.0.7' })
    expect(later).toEqual({ status: 429, retryAfter: 1_800 })
    clock.advance(1_800_000)
    expect(await flood(server.origin, 1, { localAddress: '127.0.0.7' })).toMatchObject([{ status: 201 }])
  })

  it('is not fooled by a header that names another address, unless the app trusts the proxy that sends it', async () => {
    const server = await startSignInServer()
    const named = (count: number) => ({ headers: { 'x-forwarded-for': `198.51.100.${count % 250}` } })

    const answers = await flood(server.origin, 510, named)

    expect(answers.filter(({ status }) => status === 429)).toHaveLength(10)
    const behindProxy = await startSignInServer({ trustProxy: true })
    const others = await flood(behindProxy.origin, 510, named)
    expect(others.filter(({ status }) => status === 429)).toEqual([])
  })

  it('refuses a body that is long, no JSON, or no object', async () => {
    const server = await startSignInServer()
    const send = (body: string) =>
      fetch(`${server.origin}/oauth/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      })

    for (const body of ['', 'null', '[]', '{', `{"client_name":"${'x'.repeat(20_000)}"}`]) {
      expect((await send(body)).status).toBe(400)
    }
  })
})

describe('the keys', () => {
  it('are rotated while tokens are out, which stay good, and the next ones are signed with the new key', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ clock })
    const client = await registeredClient(server)
    const keys = async () =>
      ((await (await fetch(`${server.origin}/oauth/jwks`)).json()) as { keys: (JWK & { kid: string })[] }).keys
    const tokenOf = async (uid: string) => String((await client.signIn(server.person(uid))).body['access_token'])
    const [first] = await keys()
    clock.advance(91 * 86_400_000)
    await keys()
    const published = await keys()
    // The new key is published, and does not sign yet.
    const out = await tokenOf('alice')
    clock.advance(700_000)
    await keys()
    const signing = await keys()
    const next = await tokenOf('bob')

    const [old, fresh] = published.map(({ kid }) => kid)
    expect([old, published.length]).toEqual([first?.kid, 2])
    expect(signing[0]?.kid).toBe(fresh)
    expect([decodeProtectedHeader(out).kid, decodeProtectedHeader(next).kid]).toEqual([old, fresh])
    for (const token of [out, next]) {
      await jwtVerify(token, createLocalJWKSet({ keys: signing }), { issuer: server.origin, audience: server.url })
    }
    expect(signing.every((key) => key.d === undefined)).toBe(true)
  })
})

it('another client id is unknown, and says so without a redirect', async () => {
  const server = await startSignInServer()
  const client = clientOf(server, 'made-up')

  const response = await fetch(client.authorizationUrl(), { redirect: 'manual', headers: { accept: 'text/html' } })

  expect([response.status, response.headers.get('location')]).toEqual([400, null])
  expect(await response.text()).toContain('invalid_client')
})
