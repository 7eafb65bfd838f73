import { once } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { McpAuthInfo } from '../../src/auth-info.js'
import { UnauthorizedError } from '../../src/errors/errors.js'
import { createErrorHandler, type ErrorHandler } from '../../src/http/authentication.js'
import type { ConnectHandler } from '../../src/http/router.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import {
  ask,
  askWith,
  insufficientScope,
  invalidToken,
  METADATA_URL,
  rejection,
  unauthorized,
} from '../support/answers.js'
import { manualClock } from '../support/clock.js'
import { bareHost, hosts } from '../support/hosts.js'
import { callerOf, startProtectedApp, type PassedRequest, type ProtectedApp } from '../support/protected-app.js'
import {
  CLIENT_ID,
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.js'

const clock = manualClock()
const now = clock.now() / 1_000

let as: ScriptedAuthorizationServer
let good: string
const apps: ProtectedApp[] = []

beforeAll(async () => {
  as = await startAuthorizationServer(clock.now)
  good = await as.mint()
})
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})
afterAll(() => as.close())

const options = (): McpAuthOptions => ({
  issuer: as.issuer,
  resource: RESOURCE,
  clientId: CLIENT_ID,
  requiredScopes: ['notes:read'],
})

async function start(
  ...[host, given, around]: [
    host: Parameters<typeof startProtectedApp>[0],
    given?: McpAuthOptions,
    around?: Parameters<typeof startProtectedApp>[3],
  ]
): Promise<ProtectedApp> {
  const app = await startProtectedApp(host, { ...options(), ...given }, clock, around)
  apps.push(app)
  return app
}

/** The last handler of an app, which shows that an error has come that far. */
const appErrors: ErrorHandler = (error, _req, res, next) => {
  if (!(error instanceof Error)) return next(error)
  res.statusCode = 418
  res.end(error.message)
}

const exposing =
  (value: string | string[]): ConnectHandler =>
  (_req, res, next) => {
    res.setHeader('Access-Control-Expose-Headers', value)
    next()
  }

describe.each(hosts)('on $name', (host) => {
  it.each<[string, [string, string][]]>([
    ['without a word about a body', []],
    ['with the length of no body', [['Content-Length', '0']]],
  ])('a CORS preflight %s passes on without credentials, to be answered by the app', async (_what, length) => {
    const app = await start(host)
    const preflight = [
      ...length,
      ['Origin', 'https://inspector.example'],
      ['Access-Control-Request-Method', 'POST'],
      ['Access-Control-Request-Headers', 'authorization'],
    ] as const

    const { status, challenge, body } = await ask(app.url, { method: 'OPTIONS', headers: preflight })

    expect({ status, challenge, body }).toEqual({ status: 200, challenge: undefined, body: null })
    expect(app.passed.map(callerOf)).toEqual([undefined])
  })

  it.each([
    ['nothing', [], 'WWW-Authenticate'],
    ['a list', [exposing('Mcp-Session-Id, X-Request-Id')], 'Mcp-Session-Id, X-Request-Id, WWW-Authenticate'],
    [
      'several values',
      [exposing(['Mcp-Session-Id', 'X-Request-Id'])],
      'Mcp-Session-Id, X-Request-Id, WWW-Authenticate',
    ],
    ['everything', [exposing('*')], '*, WWW-Authenticate'],
    ['the challenge already', [exposing('X-Request-Id,WWW-Authenticate')], 'X-Request-Id,WWW-Authenticate'],
    ['it in small letters', [exposing(['www-authenticate', 'X-Request-Id'])], 'www-authenticate, X-Request-Id'],
    ['a longer name', [exposing('X-WWW-Authenticate')], 'X-WWW-Authenticate, WWW-Authenticate'],
  ])('the challenge is exposed to browsers when the app has exposed %s', async (_what, before, exposed) => {
    const app = await start(host, {}, { before })

    expect(await ask(app.url)).toEqual({ ...unauthorized(), exposed })
  })

  it('an answer without a challenge leaves alone what the app has exposed', async () => {
    const scopeSatisfies = () => {
      throw new Error('a bug of the operator')
    }
    const app = await start(host, { scopeSatisfies }, { before: [exposing('Mcp-Session-Id')] })

    expect(await askWith(app.url, good)).toEqual(
      rejection(500, 'server_error', 'The server failed to handle the request', { exposed: 'Mcp-Session-Id' }),
    )
  })

  it('offline_access is not asked for in a challenge, even where it is required', async () => {
    const app = await start(host, { requiredScopes: ['offline_access', 'notes:read'] })

    expect(await ask(app.url)).toEqual(unauthorized('notes:read'))
    expect(await askWith(app.url, good)).toEqual(insufficientScope('notes:read'))
  })

  it('a header of the same name that the app has set gives way to the challenge', async () => {
    const before: ConnectHandler[] = [
      (_req, res, next) => {
        res.setHeader('WWW-Authenticate', 'Basic realm="app"')
        next()
      },
    ]
    const app = await start(host, {}, { before })

    expect(await ask(app.url)).toEqual(unauthorized())
  })

  it('onError takes over with a status, headers and body that are ready to use', async () => {
    const given: McpAuthOptions = {
      onError(error, _req, res) {
        res.writeHead(error.status, { ...error.headers, 'Content-Type': 'application/json' })
        res.end(JSON.stringify({ ...error.body, by: 'the app', statusCode: error.statusCode }))
      },
    }
    const app = await start(host, given)

    const expected = unauthorized()
    expect(await ask(app.url)).toEqual({
      ...expected,
      body: { ...(expected.body as object), by: 'the app', statusCode: 401 },
    })
    expect(app.passed).toEqual([])
  })

  it('onError may hand the error to the error handler of the app', async () => {
    const app = await start(host, { onError: (error, _req, _res, next) => next(error) }, { last: () => [appErrors] })

    expect(await askWith(app.url, `${good};`)).toMatchObject({ status: 418, body: 'The access token is malformed' })
  })

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('a bug of onError')
      },
    ],
    ['rejects', () => Promise.reject(new Error('a bug of onError'))],
  ])('what onError %s goes to the error handler of the app', async (_how, failing) => {
    const onError = failing as NonNullable<McpAuthOptions['onError']>
    const app = await start(host, { onError }, { last: () => [appErrors] })

    expect(await ask(app.url)).toMatchObject({ status: 418, challenge: undefined, body: 'a bug of onError' })
    expect(app.passed).toEqual([])
  })

  it('what a handler of the app throws goes to the error handler of the app, also with a token seen before', async () => {
    const failing: ConnectHandler = (_req, _res, next) => next(new Error('a bug of the app'))
    const app = await start(host, {}, { after: () => [failing], last: () => [appErrors] })

    const expected = { status: 418, challenge: undefined, body: 'a bug of the app' }
    expect(await askWith(app.url, good)).toMatchObject(expected)
    expect(await askWith(app.url, good)).toMatchObject(expected)
  })

  it('errorHandler answers what a handler rejects with, challenge included', async () => {
    const failing: ConnectHandler = (_req, _res, next) => {
      app.auth.verify('eyJ.eyJ.AA').catch(next)
    }
    const app = await start(host, {}, { after: () => [failing], last: (auth) => [auth.errorHandler(), appErrors] })

    expect(await askWith(app.url, good)).toEqual(invalidToken('The access token is malformed'))
  })

  it('errorHandler passes on what is not from this package', async () => {
    const failing: ConnectHandler = (_req, _res, next) => next(Object.assign(new Error('of the app'), { status: 401 }))
    const app = await start(host, {}, { after: () => [failing], last: (auth) => [auth.errorHandler(), appErrors] })

    expect(await askWith(app.url, good)).toMatchObject({ status: 418, challenge: undefined, body: 'of the app' })
  })

  it('req.mcpAuth says what the token says', async () => {
    const app = await start(host)

    await askWith(app.url, good)

    const [req] = app.passed as [PassedRequest]
    const { claims, extra, ...info } = req.mcpAuth as McpAuthInfo
    expect(info).toEqual({
      token: good,
      subject: 'alice',
      issuer: as.issuer,
      clientId: 'mcp-client',
      scopes: ['notes:read'],
      expiresAt: now + 3_600,
      audience: [RESOURCE],
      resource: new URL(RESOURCE),
      resourceMetadataUrl: METADATA_URL,
    })
    expect(claims).toEqual({
      iss: as.issuer,
      sub: 'alice',
      aud: RESOURCE,
      client_id: 'mcp-client',
      scope: 'notes:read',
      iat: now,
      exp: now + 3_600,
    })
    expect(extra).toEqual({ subject: 'alice', issuer: as.issuer, getNextcloudToken: expect.any(Function) as unknown })
  })

  it('req.auth is the very object of req.mcpAuth, and its getNextcloudToken is that of the request', async () => {
    const app = await start(host)

    await askWith(app.url, good)

    const [req] = app.passed as [PassedRequest]
    expect(req.auth).toBe(req.mcpAuth)
    expect(req.getNextcloudToken).toBe(req.mcpAuth?.extra.getNextcloudToken)
  })
})

it('nothing in req.mcpAuth can be changed, since it serves every request with the token', async () => {
  const app = await start(bareHost)
  await askWith(app.url, await as.mint({ nested: { list: [{ deep: true }] } }))

  const info = callerOf(app.passed[0]!) as McpAuthInfo

  const nested = info.claims['nested'] as { list: [object] }
  const parts = [info, info.extra, info.scopes, info.audience, info.claims, nested, nested.list, nested.list[0]]
  expect(parts.map((part) => Object.isFrozen(part))).toEqual(parts.map(() => true))
})

it('the URL of the resource is a new one each time, since nothing can keep a URL from being changed', async () => {
  const app = await start(bareHost)
  await askWith(app.url, good)

  const info = callerOf(app.passed[0]!) as McpAuthInfo
  info.resource.href = 'https://evil.example'

  expect(info.resource).toEqual(new URL(RESOURCE))
})

it('a request without a good token gets nothing attached', async () => {
  const { onError, seen } = recordRequests()
  const app = await start(bareHost, { onError })

  await ask(app.url)
  await askWith(app.url, await as.mint({ scope: 'other' }))

  expect(seen.map(({ mcpAuth, auth, getNextcloudToken }) => [mcpAuth, auth, getNextcloudToken])).toEqual([
    [undefined, undefined, undefined],
    [undefined, undefined, undefined],
  ])
})

describe('an error that next() throws', () => {
  const failing = () => {
    throw new Error('a bug of the app')
  }

  it('comes out of the middleware for a token seen before', async () => {
    const auth = createMcpAuth(options(), clock)
    await auth.verify(good)

    expect(() => auth(...requestWith(good), failing)).toThrow('a bug of the app')

    await auth.close()
  })

  it('is an unhandled rejection for a new token, and never an answer', async () => {
    const auth = createMcpAuth(options(), clock)
    const usual = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection')
    const unhandled = once(process, 'unhandledRejection')
    const [req, res] = requestWith(good)
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
    await auth.close()
  })
})

describe('when the answer has begun already', () => {
  it('the middleware hands its error to the app', async () => {
    const auth = createMcpAuth(options(), clock)

    const [req, res] = requestWith()
    res.writeHead(200)

    const error: unknown = await new Promise((resolve) => auth(req, res, resolve))

    expect(error).toBeInstanceOf(UnauthorizedError)
    expect(error).toMatchObject({ status: 401, headers: { 'WWW-Authenticate': unauthorized().challenge } })
    await auth.close()
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

function recordRequests() {
  const seen: PassedRequest[] = []
  const onError: NonNullable<McpAuthOptions['onError']> = (error, req, res) => {
    seen.push(req)
    res.statusCode = error.status
    res.end()
  }
  return { onError, seen }
}
