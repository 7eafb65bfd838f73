import { describe, expect, it } from 'vitest'
import {
  ConfigurationError,
  InsufficientScopeError,
  InvalidTokenError,
  TokenRequestError,
  UpstreamUnavailableError,
  type McpAuthError,
} from '../../src/errors/errors.js'
import type { ConnectHandler } from '../../src/http/router.js'
import { ask, askWith, invalidToken, unauthorized } from '../support/answers.js'
import { connectHost, express4Host, express5Host, type Handler } from '../support/hosts.js'
import type { PassedRequest } from '../support/protected-app.js'
import { world } from '../support/world.js'

describe.each([express5Host, express4Host, connectHost])('the error handler that $name has of its own', (host) => {
  it('sends the status and the challenge of an error of this package', async () => {
    const token = 'a"b'
    const { url } = await world({
      mode: 'none',
      host,
      handlers: (auth) => {
        const failing: ConnectHandler = (_req, _res, next) => void auth.verify(token).catch(next)
        return [failing]
      },
    })

    const { body, ...answer } = await ask(url)
    const { challenge } = invalidToken('The access token is malformed', '')
    expect(answer).toMatchObject({ status: 401, challenge, cacheControl: 'no-store', exposed: 'WWW-Authenticate' })
    expect(body).toContain('Error')
    expect(body).not.toContain(token)
  })

  it('sends what the middleware hands on through onError', async () => {
    const { url } = await world({
      mode: 'none',
      host,
      options: { onError: (error, _req, _res, next) => next(error) },
      handlers: (auth) => [auth],
    })

    expect(await ask(url)).toEqual({
      ...unauthorized(''),
      contentType: expect.stringContaining('text/html') as string,
      body: expect.stringContaining('Error') as string,
    })
  })
})

it.each([
  ['is refused the exchange', { status: 400, json: { error: 'invalid_target' } }, { status: 502 }],
  [
    'has its token refused',
    { status: 400, json: { error: 'invalid_grant' } },
    { status: 401, challenge: invalidToken('The access token is no longer accepted', '').challenge },
  ],
  ['meets an outage', { status: 503, headers: { 'retry-after': '9' } }, { status: 503, retryAfter: '9' }],
])('a handler of Express 5 that awaits getNextcloudToken() and %s answers so', async (_what, answer, expected) => {
  const handler = async (req: PassedRequest): Promise<void> => {
    await req.getNextcloudToken!()
  }
  const { url, as } = await world({ host: express5Host, handlers: (auth) => [auth, handler as unknown as Handler] })
  as.script('/token', answer)

  expect(await askWith(url, await as.mint())).toMatchObject({
    challenge: undefined,
    retryAfter: undefined,
    cacheControl: 'no-store',
    ...expected,
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
