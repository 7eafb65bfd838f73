import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/options.js'
import { askWith, invalidToken } from '../support/answers.js'
import { manualClock } from '../support/clock.js'
import { bareHost } from '../support/hosts.js'
import { startProtectedApp, type ProtectedApp } from '../support/protected-app.js'
import {
  CLIENT_ID,
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from '../support/scripted-authorization-server.js'

const clock = manualClock()
const now = clock.now() / 1_000

let as: ScriptedAuthorizationServer
let app: ProtectedApp | undefined

beforeAll(async () => {
  as = await startAuthorizationServer(clock.now)
})
afterEach(async () => {
  await app?.close()
  app = undefined
})
afterAll(() => as.close())

async function start(given: McpAuthOptions = {}): Promise<string> {
  const options = { issuer: as.issuer, resource: RESOURCE, clientId: CLIENT_ID, requiredScopes: ['notes:read'] }
  app = await startProtectedApp(bareHost, { ...options, ...given }, clock)
  return app.url
}

it.each([
  ['audiences as a list', { aud: ['nextcloud', RESOURCE] }, { audience: ['nextcloud', RESOURCE] }],
  ['an audience with one slash more', { aud: `${RESOURCE}/` }, { audience: [`${RESOURCE}/`] }],
  ['the client id as audience', { aud: CLIENT_ID }, { audience: [CLIENT_ID] }],
  ['scopes with spaces round them', { scope: ' a  notes:read ' }, { scopes: ['a', 'notes:read'] }],
  ['scp as a list', { scope: undefined, scp: ['a', 'notes:read'] }, { scopes: ['a', 'notes:read'] }],
  ['scp as text', { scope: undefined, scp: 'a notes:read' }, { scopes: ['a', 'notes:read'] }],
  ['scope before scp', { scope: 'notes:read', scp: ['b'] }, { scopes: ['notes:read'] }],
  ['azp', { client_id: undefined, azp: 'by-azp', cid: 'c' }, { clientId: 'by-azp' }],
  ['cid', { client_id: undefined, cid: 'by-cid' }, { clientId: 'by-cid' }],
  ['client_id before azp', { azp: 'a', cid: 'c' }, { clientId: 'mcp-client' }],
  ['an empty client_id', { client_id: '', azp: 'by-azp' }, { clientId: 'by-azp' }],
  ['no client', { client_id: undefined }, { clientId: 'unknown' }],
  ['an exp within the tolerance', { exp: now - 4 }, { expiresAt: now - 4 }],
  ['an nbf within the tolerance', { nbf: now + 5 }, {}],
  ['an iat within the tolerance', { iat: now + 5 }, {}],
  ['a cnf that is null', { cnf: null }, {}],
])('a token with %s gets through', async (_what, claims, expected) => {
  const url = await start()

  const { status, body } = await askWith(url, await as.mint(claims))

  expect({ status, body }).toMatchObject({ status: 200, body: { subject: 'alice', ...expected } })
})

/** Nothing that tells it from an ID token for this server's client. */
const unmarked = { aud: CLIENT_ID, azp: CLIENT_ID, scope: undefined, client_id: undefined }

it.each([
  ['that is marked in full', { scope: undefined, scp: ['notes:read'] }, 'application/at+jwt'],
  ['that is marked in capitals', {}, 'AT+JWT'],
  ['that is marked and has at_hash', { at_hash: 'x' }, 'at+jwt'],
  ['of Keycloak', { ...unmarked, typ: 'Bearer', nonce: 'n' }, 'JWT'],
  ['of Cognito', { ...unmarked, token_use: 'access' }, 'JWT'],
  ['of Hydra', { ...unmarked, token_use: 'access_token' }, 'JWT'],
  ['with a client_id', { ...unmarked, client_id: 'c' }, 'JWT'],
  ['with a cid', { ...unmarked, cid: 'c' }, 'JWT'],
  ['with a scp', { ...unmarked, scp: 'notes:read' }, 'JWT'],
  ['with a scope', { ...unmarked, scope: 'notes:read' }, 'jwt'],
  ['for this resource with nothing of an ID token', { ...unmarked, aud: RESOURCE }, 'JWT'],
  ['for this resource with one slash more', { ...unmarked, aud: `${RESOURCE}/` }, 'JWT'],
  ['for this resource with a nonce and a scope', { aud: RESOURCE, nonce: 'n' }, 'JWT'],
])('an access token %s gets through', async (_what, claims, typ) => {
  const url = await start({ requiredScopes: [] })

  const { status, body } = await askWith(url, await as.mint(claims, { header: { typ } }))

  expect({ status, body }).toMatchObject({ status: 200, body: { subject: 'alice' } })
})

it('an accepted audience may be given with a slash that the token does not have', async () => {
  const url = await start({ audience: 'https://api.example/' })

  expect(await askWith(url, await as.mint({ aud: 'https://api.example' }))).toMatchObject({ status: 200 })
  expect(await askWith(url, await as.mint())).toEqual(invalidToken('The access token is for another audience'))
})

it('a signature algorithm that is not on the list is refused', async () => {
  const url = await start({ algorithms: ['RS256'] })

  expect(await askWith(url, await as.mint())).toEqual(
    invalidToken('The access token is signed with an algorithm that is not accepted'),
  )
})

it.each([
  ['undefined', () => undefined],
  ['true', () => true],
  ['a promise of nothing', () => Promise.resolve()],
  ['null', () => null],
])('a token gets through when validateClaims returns %s', async (_what, validateClaims) => {
  const url = await start({ validateClaims })

  expect(await askWith(url, await as.mint())).toMatchObject({ status: 200, body: { subject: 'alice' } })
})

it('a token does not get through when validateClaims returns a promise of false', async () => {
  const url = await start({ validateClaims: () => Promise.resolve(false) })

  expect(await askWith(url, await as.mint())).toEqual(
    invalidToken('The claims of the access token are not accepted here'),
  )
})
