import { once } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { UnauthorizedError } from '../../src/errors/errors.js'
import { createErrorHandler, type ErrorHandler } from '../../src/http/authentication.js'
import type { ConnectHandler } from '../../src/http/router.js'
import type { McpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import {
  ask,
  askWith,
  insufficientScope,
  invalidRequest,
  invalidToken,
  rejection,
  unauthorized,
  type SendOptions,
} from '../support/answers.js'
import { hosts, type Handler, type Host } from '../support/hosts.js'
import { failureOf } from '../support/promises.js'
import { showCaller, type PassedRequest } from '../support/protected-app.js'
import { twoIssuers } from '../support/two-issuers.js'
import { world } from '../support/world.js'

interface Around {
  readonly before?: readonly Handler[]
  readonly after?: (auth: McpAuth) => readonly Handler[]
}

/** Starts an app behind the middleware, with handlers before it and after it. */
const start = (host: Host, options: McpAuthOptions = {}, { before = [], after = () => [showCaller] }: Around = {}) =>
  world({
    mode: 'none',
    host,
    options: { requiredScopes: ['notes:read'], ...options },
    handlers: (auth) => [...before, auth, ...after(auth)],
  })

/** The last handler of an app, which shows that an error has come that far. */
const appErrors: ErrorHandler = (error, _req, res, next) => {
  if (!(error instanceof Error)) return next(error)
  res.statusCode = 418
  res.end(error.message)
}

const setting =
  (name: string, value: string | string[]): ConnectHandler =>
  (_req, res, next) => {
    res.setHeader(name, value)
    next()
  }
const exposing = (value: string | string[]) => setting('Access-Control-Expose-Headers', value)

const PREFLIGHT = ['Access-Control-Request-Method', 'POST'] as const
const BODY = JSON.stringify({ access_token: 'token' })

describe.each(hosts)('on $name', (host) => {
  it('a request with a good token gets through, and one that lacks a scope does not, however often it comes', async () => {
    const { url, as } = await start(host)
    const [good, scopeless] = [await as.mint(), await as.mint({ scope: 'other' })]

    for (let count = 0; count < 2; count += 1) {
      expect(await askWith(url, good)).toMatchObject({ status: 200, body: { subject: 'alice' } })
      expect(await askWith(url, scopeless)).toEqual(insufficientScope('notes:read'))
    }
  })

  it('a request with credentials elsewhere than in the Authorization header, or of a preflight in part, has none', async () => {
    const { url } = await start(host)
    const requests: SendOptions[] = [
      {},
      { headers: [['Authorization', 'Basic YWxpY2U6c2VjcmV0']] },
      { path: '/?access_token=token' },
      { method: 'POST', headers: [['Content-Type', 'application/x-www-form-urlencoded']], body: 'access_token=token' },
      { method: 'POST', headers: [['Content-Type', 'application/json']], body: BODY },
      { headers: [['X-Authorization', 'Bearer token']] },
      { headers: [['Proxy-Authorization', 'Bearer token']] },
      { headers: [['Cookie', 'access_token=token']] },
      { method: 'DELETE' },
      { method: 'OPTIONS' },
      { method: 'OPTIONS', headers: [['Origin', 'https://app.example']] },
      { method: 'OPTIONS', headers: [PREFLIGHT], body: '{}' },
      { method: 'OPTIONS', headers: [PREFLIGHT, ['Transfer-Encoding', 'chunked']] },
      { method: 'POST', headers: [PREFLIGHT] },
    ]

    expect(await Promise.all(requests.map((request) => ask(url, request)))).toEqual(requests.map(() => unauthorized()))
  })

  it('two Authorization headers are malformed, even the same one twice, and so is a word behind the token', async () => {
    const { url, as } = await start(host)
    const credentials = `Bearer ${await as.mint()}`
    const malformed = [[credentials, credentials], [credentials, ''], [`${credentials} junk`]]

    for (const values of malformed)
      expect(await ask(url, { headers: values.map((value) => ['Authorization', value] as const) })).toEqual(
        invalidRequest(),
      )
  })

  it('a token for another audience is refused, whatever else it lacks', async () => {
    const { url, as } = await start(host)

    expect(await askWith(url, await as.mint({ aud: 'x', scope: '' }))).toEqual(
      invalidToken('The access token is for another audience'),
    )
  })

  it.each<[string, Record<string, unknown>, McpAuthOptions, string]>([
    [
      'without aud',
      { aud: undefined },
      { missingAudience: 'client', allowedClients: ['mcp-client'] },
      'The access token lacks a required claim',
    ],
    [
      'that looks like an ID token',
      { at_hash: 'h', client_id: undefined, scope: undefined },
      { idTokenLookalikes: 'accept' },
      'The token is not an access token',
    ],
  ])('a token %s gets in by the option for it alone', async (_what, claims, options, refused) => {
    const unscoped = { requiredScopes: [], challengeScopes: ['notes:read'] }
    const strict = await start(host, unscoped)
    const lenient = await start(host, { ...unscoped, ...options })

    const ofTyp = { header: { typ: 'JWT' } }
    expect(await askWith(strict.url, await strict.as.mint(claims, ofTyp))).toEqual(invalidToken(refused))
    expect((await askWith(lenient.url, await lenient.as.mint(claims, ofTyp))).status).toBe(200)
  })

  it('an introspection answer without aud gets in by missingAudience alone', async () => {
    const client = { clientId: 'mcp-server', clientSecret: 'secret', requiredScopes: [] }
    const statuses = []
    for (const options of [{}, { missingAudience: 'client', allowedClients: ['claude'] }] as const) {
      const { as, clock, url } = await start(host, { ...client, ...options })
      const exp = clock.now() / 1_000 + 300
      as.script('/introspect', { json: { active: true, sub: 'alice', client_id: 'claude', exp } })
      statuses.push((await askWith(url, 'opaque')).status)
    }

    expect(statuses).toEqual([401, 200])
  })

  it.each<[McpAuthOptions, string]>([
    [{ challengeScopes: ['a'], requiredScopes: ['b'], scopesSupported: ['c'] }, 'a'],
    [{ requiredScopes: ['b'], scopesSupported: ['b', 'c'] }, 'b'],
    [{ requiredScopes: [], scopesSupported: ['b', 'c'] }, 'b c'],
    [{ requiredScopes: [], scopesSupported: ['b'], challengeScopes: [] }, ''],
  ])('the first 401 names the scopes to ask for: %j', async (options, scope) => {
    const { url } = await start(host, options)

    expect((await ask(url)).challenge).toBe(unauthorized(scope).challenge)
  })

  it('a token of each issuer gets in, and of no other', async () => {
    const { a, b, open } = await twoIssuers()
    const auth = open()
    const { url, close } = await host.start([auth, showCaller])
    onTestFinished(close)

    expect((await askWith(url, await a.mint({ sub: 'alice' }))).body).toMatchObject({ issuer: a.issuer })
    expect((await askWith(url, await b.mint({ sub: 'bob' }))).body).toMatchObject({ issuer: b.issuer })
    for (const token of [await a.mint({ iss: b.issuer }), await a.mint({ iss: `${a.issuer}/realms/other` })]) {
      expect((await askWith(url, token)).status).toBe(401)
    }
  })

  it('a request without rawHeaders, as test doubles are, is like any other', async () => {
    const without: ConnectHandler = (req, _res, next) => {
      Object.defineProperty(req, 'rawHeaders', { value: undefined })
      next()
    }
    const { url, askWith: askAs } = await start(host, {}, { before: [without] })

    expect((await askAs('/', 'GET')).status).toBe(200)
    expect(await ask(url)).toEqual(unauthorized())
  })

  it('a HEAD request without credentials gets the same challenge and no body', async () => {
    const { url } = await start(host)

    expect(await ask(url, { method: 'HEAD' })).toEqual({ ...unauthorized(), body: '' })
  })

  it.each<[string, [string, string][]]>([
    ['without a word about a body', []],
    ['with the length of no body', [['Content-Length', '0']]],
  ])('a CORS preflight %s passes on without credentials, to be answered by the app', async (_what, length) => {
    const { url } = await start(host)
    const headers = [...length, ['Origin', 'https://inspector.example'], PREFLIGHT] as const

    expect(await ask(url, { method: 'OPTIONS', headers })).toMatchObject({
      status: 200,
      challenge: undefined,
      body: null,
    })
  })

  it.each([
    ['nothing', [], 'WWW-Authenticate'],
    ['a list', [exposing('Mcp-Session-Id, X-Id')], 'Mcp-Session-Id, X-Id, WWW-Authenticate'],
    ['several values', [exposing(['Mcp-Session-Id', 'X-Id'])], 'Mcp-Session-Id, X-Id, WWW-Authenticate'],
    ['everything', [exposing('*')], '*, WWW-Authenticate'],
    ['the challenge already', [exposing('X-Id,WWW-Authenticate')], 'X-Id,WWW-Authenticate'],
    ['it in small letters', [exposing(['www-authenticate', 'X-Id'])], 'www-authenticate, X-Id'],
    ['a longer name', [exposing('X-WWW-Authenticate')], 'X-WWW-Authenticate, WWW-Authenticate'],
  ])('the challenge is exposed to browsers when the app has exposed %s', async (_what, before, exposed) => {
    const { url } = await start(host, {}, { before })

    expect(await ask(url)).toEqual({ ...unauthorized(), exposed })
  })

  it('a function of the operator that throws is a failure of the server, and what the app has exposed stays', async () => {
    const scopeSatisfies = () => {
      throw new Error('a bug of the operator')
    }
    const { askWith: askAs } = await start(host, { scopeSatisfies }, { before: [exposing('Mcp-Session-Id')] })

    expect(await askAs('/', 'GET')).toEqual(
      rejection(500, 'server_error', 'The server failed to handle the request', { exposed: 'Mcp-Session-Id' }),
    )
  })

  it('offline_access is not asked for in a challenge, even where it is required', async () => {
    const { url, askWith: askAs } = await start(host, { requiredScopes: ['offline_access', 'notes:read'] })

    expect(await ask(url)).toEqual(unauthorized('notes:read'))
    expect(await askAs('/', 'GET')).toEqual(insufficientScope('notes:read'))
  })

  it('a header of the same name that the app has set gives way to the challenge', async () => {
    const { url } = await start(host, {}, { before: [setting('WWW-Authenticate', 'Basic realm="app"')] })

    expect(await ask(url)).toEqual(unauthorized())
  })

  it('onError takes over with a status, headers and body that are ready to use, and nothing is attached', async () => {
    const { url, askWith: askAs } = await start(host, {
      onError(error, req, res) {
        const attached = ['mcpAuth', 'auth', 'getNextcloudToken'].filter((name) => name in req)
        res.writeHead(error.status, { ...error.headers, 'Content-Type': 'application/json' })
        res.end(JSON.stringify({ ...error.body, attached, statusCode: error.statusCode }))
      },
    })
    const expected = unauthorized()

    expect(await ask(url)).toEqual({
      ...expected,
      body: { ...(expected.body as object), attached: [], statusCode: 401 },
    })
    expect(await askAs('/', 'GET', { scope: 'other' })).toMatchObject({ status: 403, body: { attached: [] } })
  })

  it.each<[string, () => unknown]>([
    ['throws', () => { throw new Error('a bug of onError') }], // prettier-ignore
    ['rejects', () => Promise.reject(new Error('a bug of onError'))],
  ])('what onError %s goes to the error handler of the app', async (_how, failing) => {
    const onError = failing as NonNullable<McpAuthOptions['onError']>
    const { url } = await start(host, { onError }, { after: () => [showCaller, appErrors] })

    expect(await ask(url)).toMatchObject({ status: 418, challenge: undefined, body: 'a bug of onError' })
  })

  it('what a handler of the app throws goes to the error handler of the app, also with a token seen before', async () => {
    const failing: ConnectHandler = (_req, _res, next) => next(new Error('a bug of the app'))
    const { url, as } = await start(host, {}, { after: () => [failing, appErrors] })
    const token = await as.mint()
    const expected = { status: 418, challenge: undefined, body: 'a bug of the app' }

    expect([await askWith(url, token), await askWith(url, token)]).toMatchObject([expected, expected])
  })

  it('errorHandler answers errors of this package, challenge included, and passes on all others', async () => {
    const failing: ConnectHandler = ({ url }, _res, next) =>
      next(url === '/own' ? invalid : Object.assign(new Error('of the app'), { status: 401 }))
    const { askWith: askAs, auth } = await start(
      host,
      {},
      { after: (served) => [failing, served.errorHandler(), appErrors] },
    )
    const invalid = await failureOf(auth.verify('eyJ.eyJ.AA'))

    expect(await askAs('/own', 'GET')).toEqual(invalidToken('The access token is malformed'))
    expect(await askAs('/', 'GET')).toMatchObject({ status: 418, challenge: undefined, body: 'of the app' })
  })

  it('a request gets what verify() gives, under the two names, and its getNextcloudToken', async () => {
    let passed: PassedRequest | undefined
    const keep: ConnectHandler = (req, _res, next) => {
      passed = req
      next()
    }
    const { url, as, auth } = await start(host, {}, { after: () => [keep, showCaller] })
    const token = await as.mint()
    await askWith(url, token)

    const info = await auth.verify(token)
    expect([passed?.mcpAuth, passed?.auth].map((attached) => attached === info)).toEqual([true, true])
    expect(passed?.getNextcloudToken).toBe(info.extra.getNextcloudToken)
  })
})

describe('an error that next() throws', () => {
  const failing = () => {
    throw new Error('a bug of the app')
  }

  it('comes out of the middleware for a token seen before', async () => {
    const { auth, as } = await world({ mode: 'none' })
    const token = await as.mint()
    await auth.verify(token)

    expect(() => auth(...requestWith(token), failing)).toThrow('a bug of the app')
  })

  it('is an unhandled rejection for a new token, and never an answer', async () => {
    const { auth, as } = await world({ mode: 'none' })
    const [req, res] = requestWith(await as.mint())
    const usual = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection')
    const unhandled = once(process, 'unhandledRejection')
    const answered = new Promise((resolve) => {
      res.end = () => {
        resolve('an answer')
        return res
      }
    })

    auth(req, res, failing)

    expect(await Promise.race([unhandled, answered])).toMatchObject([
      { message: 'a bug of the app' },
      expect.any(Promise),
    ])
    for (const listener of usual) process.on('unhandledRejection', listener)
  })
})

describe('when the answer has begun already', () => {
  it('the middleware hands its error to the app', async () => {
    const { auth } = await world({ mode: 'none', options: { requiredScopes: ['notes:read'] } })
    const [req, res] = requestWith()
    res.writeHead(200)

    const error: unknown = await new Promise((resolve) => auth(req, res, resolve))

    expect(error).toBeInstanceOf(UnauthorizedError)
    expect(error).toMatchObject({ status: 401, headers: { 'WWW-Authenticate': unauthorized().challenge } })
  })

  it('errorHandler hands the error on', () => {
    const error = new UnauthorizedError()
    const passedOn: unknown[] = []
    const [req, res] = requestWith()
    res.writeHead(200)

    createErrorHandler()(error, req, res, (failure) => passedOn.push(failure))

    expect(passedOn).toEqual([error])
  })
})

/** A request that no server has received, and its response. */
function requestWith(token?: string): [IncomingMessage, ServerResponse] {
  const req = new IncomingMessage(new Socket())
  req.method = 'GET'
  if (token !== undefined) req.headers.authorization = `Bearer ${token}`
  return [req, new ServerResponse(req)]
}
