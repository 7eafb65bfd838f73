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
  const outages: [what: string, path: string, answer: ScriptedAnswer, retryAfter: string, given?: McpAuthOptions][] = [
    ['answers discovery with 500', DISCOVERY, { status: 500 }, '1'],
    ['answers discovery with 429', DISCOVERY, { status: 429 }, '1'],
    ['does not know the discovery document', DISCOVERY, { status: 404 }, '1'],
    ['answers discovery with HTML', DISCOVERY, { text: '<html>', headers: { 'content-type': 'text/html' } }, '1'],
    ['answers discovery with half a document', DISCOVERY, { text: '{"issuer":' }, '1'],
    ['answers discovery with a list', DISCOVERY, { json: [] }, '1'],
    ['redirects discovery', DISCOVERY, { status: 302, headers: { location: '/elsewhere' } }, '1'],
    ['never answers discovery', DISCOVERY, neverAnswers, '1', { http: { timeout: 50 } }],
    ['answers the JWKS with 500', '/jwks', { status: 500 }, '1'],
    ['answers the JWKS with 503 and says when', '/jwks', { status: 503, headers: { 'retry-after': '17' } }, '17'],
    ['answers the JWKS with 429 and says when', '/jwks', { status: 429, headers: { 'retry-after': '30' } }, '30'],
    ['answers the JWKS with 404', '/jwks', { status: 404 }, '1'],
    ['answers the JWKS with HTML', '/jwks', { text: '<html>' }, '1'],
    ['answers the JWKS with an object without keys', '/jwks', { json: {} }, '1'],
    ['answers the JWKS with keys that are no list', '/jwks', { json: { keys: {} } }, '1'],
    ['answers the JWKS with keys that are no objects', '/jwks', { json: { keys: ['key'] } }, '1'],
    ['answers the JWKS with no key at all', '/jwks', { json: { keys: [] } }, '1'],
    ['publishes the key with half its coordinates', '/jwks', keySet({ y: undefined }), '5'],
    ['publishes the key with a coordinate that is none', '/jwks', keySet({ x: 'AA' }), '5'],
    ['publishes the key with a coordinate that is a number', '/jwks', keySet({ x: 5 }), '5'],
    ['publishes its private key', '/jwks', keySet({ d: 'AA' }), '5'],
    ['redirects the JWKS', '/jwks', { status: 307, headers: { location: '/elsewhere' } }, '1'],
    ['never answers the JWKS', '/jwks', neverAnswers, '1', { http: { timeout: 50 } }],
    ['answers the JWKS at too great a length', '/jwks', { text: ' '.repeat(2_000) }, '1', limited(1_000)],
    ['hangs up on the JWKS', '/jwks', (_request, res) => res.destroy(), '1'],
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

  const introspectionOutages: [what: string, answer: ScriptedAnswer, retryAfter: string][] = [
    ['500', { status: 500 }, '1'],
    ['429', { status: 429, headers: { 'retry-after': '12' } }, '12'],
    ['404', { status: 404 }, '1'],
    ['HTML', { text: '<html>', headers: { 'content-type': 'text/html' } }, '1'],
    ['an object without active', { json: { sub: 'alice' } }, '1'],
    ['an active that is text', { json: { active: 'true' } }, '1'],
    ['a list', { json: [{ active: true }] }, '1'],
  ]
  it.each(introspectionOutages)('introspection answered with %s is an outage', async (_what, answer, retryAfter) => {
    const url = await start(host)
    as.script('/introspect', answer)

    expect(await askWith(url, 'an-opaque-token')).toEqual(unavailable(retryAfter))
  })

  const mistakes: [what: string, arrange: () => void, given?: McpAuthOptions][] = [
    ['a discovery document of another issuer', () => (as.metadata['issuer'] = 'https://other.example')],
    ['a discovery document of an issuer with a slash more', () => (as.metadata['issuer'] = `${as.issuer}/`)],
    ['a discovery document without jwks_uri', () => delete as.metadata['jwks_uri']],
    ['a jwks_uri on plain http', () => (as.metadata['jwks_uri'] = 'http://keys.example/jwks')],
  ]
  it.each(mistakes)('%s is for the operator to mend', async (_what, arrange) => {
    const url = await start(host)
    arrange()

    expect(await askWith(url, await as.mint())).toEqual(misconfigured())
  })

  it.each([400, 401, 403])('introspection refused with %s is for the operator to mend', async (status) => {
    const url = await start(host)
    as.script('/introspect', { status, json: { error: 'invalid_client' } })

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

  const introspected: [what: string, answer: () => Record<string, unknown>, description: string][] = [
    ['is not active', () => ({ active: false, sub: 'alice' }), 'The access token is not active'],
    ['is a refresh token', () => ({ token_type: 'refresh_token' }), 'The token is not an access token'],
    ['is of another issuer', () => ({ iss: 'https://other.example' }), 'The access token is from another issuer'],
    ['has expired', () => ({ exp: seconds() - 5 }), 'The access token has expired'],
    ['has no end', () => ({ exp: undefined }), 'The access token lacks a required claim'],
    ['is not valid yet', () => ({ nbf: seconds() + 6 }), 'The access token is not valid yet'],
    ['has an nbf that is text', () => ({ nbf: String(seconds()) }), 'The access token is not valid yet'],
    ['is from the future', () => ({ iat: seconds() + 6 }), 'The access token is not valid yet'],
    ['has an iat that is text', () => ({ iat: 'now' }), 'The access token is not valid yet'],
    ['has no subject', () => ({ sub: undefined }), 'The access token lacks a required claim'],
    ['has no audience', () => ({ aud: undefined }), 'The access token lacks a required claim'],
    ['is for another audience', () => ({ aud: 'nextcloud' }), 'The access token is for another audience'],
    ['is bound to a key', () => ({ cnf: { jkt: 'x' } }), 'The access token is bound to a key and came without proof'],
  ]
  it.each(introspected)('an opaque token that %s is refused', async (_what, answer, description) => {
    const url = await start(host)
    as.script('/introspect', { json: introspection(answer()) })

    expect(await askWith(url, 'an-opaque-token')).toEqual(invalidToken(description))
  })

  it('an opaque token that is active gets through, or is told which scope it needs', async () => {
    const url = await start(host)
    as.script('/introspect', { json: introspection() }, { json: introspection({ scope: 'other' }) })

    expect(await askWith(url, 'an-opaque-token')).toMatchObject({ status: 200, body: { subject: 'alice' } })
    expect(await askWith(url, 'another-token')).toEqual(insufficientScope('notes:read'))
  })

  it.each([
    ['by a server that has no endpoint for it', () => delete as.metadata['introspection_endpoint'], {}],
    ['with introspection switched off', () => true, { introspection: false as const }],
  ])('an opaque token cannot be used %s', async (_why, arrange, given) => {
    const url = await start(host, given)
    arrange()

    expect(await askWith(url, 'an-opaque-token')).toEqual(
      invalidToken('The access token is not a JWT and cannot be introspected here'),
    )
  })
})

describe('during an outage', () => {
  it('every request is told anew how long to wait, and the provider is left in peace', async () => {
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
