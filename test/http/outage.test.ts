import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import type { McpAuthOptions } from '../../src/options.js'
import { askWith, insufficientScope, invalidToken, misconfigured, rejection, unavailable } from '../support/answers.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { bareHost, hosts, type Host } from '../support/hosts.js'
import { startProtectedApp, type ProtectedApp } from '../support/protected-app.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  signingKey,
  startAuthorizationServer,
  type ScriptedAnswer,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.js'

const DISCOVERY = '/.well-known/openid-configuration'

let clock: ManualClock
let as: ScriptedAuthorizationServer
let app: ProtectedApp | undefined

beforeEach(async () => {
  clock = manualClock()
  as = await startAuthorizationServer(clock.now)
})
afterEach(async () => {
  await app?.close()
  app = undefined
  await as.close()
})

async function start(host: Host, given: McpAuthOptions = {}): Promise<string> {
  const options = { issuer: as.issuer, resource: RESOURCE, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }
  app = await startProtectedApp(host, { ...options, requiredScopes: ['notes:read'], ...given }, clock)
  return app.url
}

const neverAnswers: ScriptedAnswer = () => undefined

describe.each(hosts)('on $name', (host) => {
  // Which answers are an outage is proved in test/verify, test/transport and test/authorization-server.
  const outages: [what: string, path: string, answer: ScriptedAnswer, retryAfter: string, given?: McpAuthOptions][] = [
    ['answers discovery with 500', DISCOVERY, { status: 500 }, '1'],
    ['redirects discovery', DISCOVERY, { status: 302, headers: { location: '/elsewhere' } }, '1'],
    ['never answers discovery', DISCOVERY, neverAnswers, '1', { http: { timeout: 50 } }],
    ['answers the JWKS with 503 and says when', '/jwks', { status: 503, headers: { 'retry-after': '17' } }, '17'],
    ['answers the JWKS with no key at all', '/jwks', { json: { keys: [] } }, '1'],
    ['publishes the key with half its coordinates', '/jwks', keySet({ y: undefined }), '5'],
    ['publishes the key with a coordinate that is a number', '/jwks', keySet({ x: 5 }), '5'],
    ['answers the JWKS at too great a length', '/jwks', { text: ' '.repeat(2_000) }, '1', limited(1_000)],
  ]
  it.each(outages)('a provider that %s is an outage', async (_what, path, answer, retryAfter, given) => {
    const url = await start(host, given)
    as.script(path, answer)

    expect(await askWith(url, await as.mint())).toEqual(unavailable(retryAfter))
  })

  it('a provider that refuses connections is an outage', async () => {
    const url = await start(host)
    const token = await as.mint()
    await as.stop()

    expect(await askWith(url, token)).toEqual(unavailable('1'))
  })

  it('introspection answered with 429 is an outage, as long as the answer says', async () => {
    const url = await start(host)
    as.script('/introspect', { status: 429, headers: { 'retry-after': '12' } })

    expect(await askWith(url, 'an-opaque-token')).toEqual(unavailable('12'))
  })

  it('a discovery document of another issuer is for the operator to mend', async () => {
    const url = await start(host)
    as.metadata['issuer'] = `${as.issuer}/`

    expect(await askWith(url, await as.mint())).toEqual(misconfigured())
  })

  it('introspection that refuses this client is for the operator to mend', async () => {
    const url = await start(host)
    as.script('/introspect', { status: 401, json: { error: 'invalid_client' } })

    expect(await askWith(url, 'an-opaque-token')).toEqual(misconfigured())
  })

  it('an outage that validateClaims meets with is no fault of the token', async () => {
    const validateClaims = () => {
      throw new UpstreamUnavailableError('The directory is down', { retryAfter: 3 })
    }
    const url = await start(host, { validateClaims })

    expect(await askWith(url, await as.mint())).toEqual(unavailable('3'))
  })

  it('a function of the operator that throws where it must not is a failure of the server', async () => {
    const scopeSatisfies = () => {
      throw new TypeError('granted is not what was expected')
    }
    const url = await start(host, { scopeSatisfies })

    const failure = rejection(500, 'server_error', 'The server failed to handle the request')
    expect(await askWith(url, await as.mint())).toEqual(failure)
  })

  it('an opaque token that is active gets through, or is told which scope it needs', async () => {
    const url = await start(host)
    as.script('/introspect', { json: introspection() }, { json: introspection({ scope: 'other' }) })

    expect(await askWith(url, 'an-opaque-token')).toMatchObject({ status: 200, body: { subject: 'alice' } })
    expect(await askWith(url, 'another-token')).toEqual(insufficientScope('notes:read'))
  })

  it('an opaque token cannot be used with introspection switched off', async () => {
    const url = await start(host, { introspection: false })

    expect(await askWith(url, 'an-opaque-token')).toEqual(
      invalidToken('The access token is not a JWT and cannot be introspected here'),
    )
  })
})

describe('during an outage', () => {
  it('every request is told again how long to wait, and the provider is left in peace', async () => {
    const url = await start(bareHost)
    as.script('/jwks', { status: 503, headers: { 'retry-after': '30' } })
    const [first, second] = await Promise.all([as.mint(), as.mint({ sub: 'bob' })])
    await askWith(url, first)
    const asked = as.received('/jwks').length
    clock.advance(20_000)

    expect(await askWith(url, second)).toEqual(unavailable('10'))
    expect(as.received('/jwks')).toHaveLength(asked)
  })

  it('a token signed with an unknown key may be good for all one knows', async () => {
    const url = await start(bareHost)
    await askWith(url, await as.mint())
    const token = await as.mint({}, { key: await signingKey('fresh') })
    await as.stop()

    expect(await askWith(url, token)).toEqual(unavailable('1'))
  })

  it('a request gets through again once it is over', async () => {
    const url = await start(bareHost)
    const token = await as.mint()
    await as.stop()
    const during = await askWith(url, token)
    await as.restart()
    clock.advance(1_000)

    expect([during, await askWith(url, token)]).toMatchObject([{ status: 503 }, { status: 200 }])
  })
})

const seconds = () => clock.now() / 1_000

/** What a healthy server says about an opaque token. */
function introspection(claims: Record<string, unknown> = {}): Record<string, unknown> {
  const usual = { active: true, iss: as.issuer, sub: 'alice', aud: RESOURCE, client_id: 'c', scope: 'notes:read' }
  return { ...usual, exp: seconds() + 600, ...claims }
}

/** The key set, with other members in its one key. */
function keySet(members: Record<string, unknown>): ScriptedAnswer {
  return (_request, res) => {
    res.setHeader('content-type', 'application/json')
    res.end(JSON.stringify({ keys: [{ ...as.key.publicJwk, ...members }] }))
  }
}

function limited(maxResponseBytes: number): McpAuthOptions {
  return { http: { maxResponseBytes } }
}
