import { describe, expect, it } from 'vitest'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import type { McpAuthOptions } from '../../src/options.js'
import { askWith, misconfigured, unavailable } from '../support/answers.js'
import { hosts } from '../support/hosts.js'
import { protectedApp } from '../support/protected-app.js'
import { CLIENT_ID, CLIENT_SECRET, type ScriptedAnswer } from '../support/scripted-authorization-server.js'
import { world } from '../support/world.js'

// Which answers are an outage, and for how long, is proved in test/verify, test/transport and test/authorization-server.
describe.each(hosts)('on $name', (host) => {
  const start = (options: McpAuthOptions = {}) =>
    world({
      mode: 'none',
      host,
      options: { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, requiredScopes: ['notes:read'], ...options },
      handlers: protectedApp,
    })

  it.each<[what: string, path: string, answer: ScriptedAnswer, retryAfter: string]>([
    ['fails', '/.well-known/openid-configuration', { status: 500 }, '1'],
    ['says when to come again', '/introspect', { status: 429, headers: { 'retry-after': '12' } }, '12'],
  ])('a provider that %s is an outage: 503 with Retry-After', async (_what, path, answer, retryAfter) => {
    const { url, as } = await start()
    as.script(path, answer)

    expect(await askWith(url, 'an-opaque-token')).toEqual(unavailable(retryAfter))
  })

  it('a provider that refuses this client is for the operator to mend: 500', async () => {
    const { url, as } = await start()
    as.script('/introspect', { status: 401, json: { error: 'invalid_client' } })

    expect(await askWith(url, 'an-opaque-token')).toEqual(misconfigured())
  })

  it('an outage that validateClaims meets with is no fault of the token', async () => {
    const validateClaims = () => {
      throw new UpstreamUnavailableError('The directory is down', { retryAfter: 3 })
    }
    const { askWith: askAs } = await start({ validateClaims })

    expect(await askAs('/', 'GET')).toEqual(unavailable('3'))
  })
})
