import express from 'express'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  ConfigurationError,
  InsufficientScopeError,
  InvalidTokenError,
  TokenRequestError,
  UpstreamUnavailableError,
  type McpAuthError,
} from '../../src/errors/errors.js'
import type { ConnectHandler } from '../../src/http/router.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { ask, askWith, invalidToken, METADATA_URL } from '../support/answers.js'
import { manualClock } from '../support/clock.js'
import { connectHost, express4Host, express5Host, listen, type RunningApp } from '../support/hosts.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.js'

const clock = manualClock()
const nextcloud = { url: 'https://cloud.example.com' }

let as: ScriptedAuthorizationServer
let app: RunningApp | undefined

beforeAll(async () => {
  as = await startAuthorizationServer(clock.now)
})
afterEach(async () => {
  await app?.close()
  app = undefined
})
afterAll(() => as.close())

const options = (): McpAuthOptions => ({
  issuer: as.issuer,
  resource: RESOURCE,
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  nextcloud,
  onEvent: () => undefined,
})

describe.each([express5Host, express4Host, connectHost])('the error handler that $name has of its own', (host) => {
  it('sends the status and the challenge of an error of this package', async () => {
    const auth = createMcpAuth(options(), clock)
    const token = await as.mint({ aud: 'https://other.example' })
    const failing: ConnectHandler = (_req, _res, next) => {
      auth.verify(token).catch(next)
    }
    app = await host.start([failing])

    const expected = invalidToken('The access token is for another audience', '')
    const { status, challenge, cacheControl, exposed, body } = await ask(app.url)
    expect({ status, challenge, cacheControl, exposed }).toEqual({
      status: 401,
      challenge: expected.challenge,
      cacheControl: 'no-store',
      exposed: 'WWW-Authenticate',
    })
    expect(body).toContain('Error')
    expect(body).not.toContain(token)
    await auth.close()
  })

  it('sends what the middleware hands on through onError', async () => {
    const auth = createMcpAuth({ ...options(), onError: (error, _req, _res, next) => next(error) }, clock)
    app = await host.start([auth])

    expect(await ask(app.url)).toMatchObject({
      status: 401,
      challenge: `Bearer realm="mcp", resource_metadata="${METADATA_URL}"`,
      cacheControl: 'no-store',
      exposed: 'WWW-Authenticate',
    })
    await auth.close()
  })
})

describe('a handler that awaits getNextcloudToken() in Express 5', () => {
  it.each([
    ['is refused the exchange', { status: 400, json: { error: 'invalid_target' } }, 502, undefined, undefined],
    [
      'has its token refused',
      { status: 400, json: { error: 'invalid_grant' } },
      401,
      invalidToken('The access token is no longer accepted', '').challenge,
      undefined,
    ],
    ['meets an outage', { status: 503, json: {}, headers: { 'retry-after': '9' } }, 503, undefined, '9'],
  ])('and %s answers with what the error says', async (_what, answer, status, challenge, retryAfter) => {
    as.script('/token', answer)
    const auth = createMcpAuth(options(), clock)
    const server = express()
    server.use(auth, async (req, res) => {
      res.end(await req.getNextcloudToken())
    })
    app = await listen(server)

    expect(await askWith(app.url, await as.mint())).toMatchObject({
      status,
      challenge,
      retryAfter,
      cacheControl: 'no-store',
    })
    await auth.close()
  })
})

it.each([
  [new InvalidTokenError('expired'), true],
  [new InsufficientScopeError(['notes:read']), true],
  [new ConfigurationError('jwksUri is wrong', 'authorizationServer.jwksUri'), false],
  [new TokenRequestError('invalid_client'), false],
  [new UpstreamUnavailableError('ECONNREFUSED'), false],
])('a handler that heeds `expose` shows no message that is for the operator: %s', (error: McpAuthError, expose) => {
  expect([error.expose, error.statusCode]).toEqual([expose, error.status])
})
