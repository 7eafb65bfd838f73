import { createLocalJWKSet, SignJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config/read-config.js'
import { UpstreamUnavailableError } from '../../src/errors/errors.js'
import { createIdTokenVerifier } from '../../src/verify/id-token.js'
import { manualClock } from '../support/clock.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE, signingKey } from '../support/scripted-authorization-server.js'

const ISSUER = 'https://idp.example.com'
const OWN = await signingKey('first')
const clock = manualClock()
const seconds = clock.now() / 1_000

const config = readConfig({ issuer: ISSUER, resource: RESOURCE, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }, {})
const key = createLocalJWKSet({ keys: [OWN.publicJwk] })
const verify = createIdTokenVerifier(
  config,
  { key: (header, token) => key(header, token), lookAgain: () => Promise.resolve(false) },
  clock,
)
const personOf = (idToken: string) => verify(idToken, { issuer: ISSUER, nonce: 'nonce' })

function mint(claims: Record<string, unknown>, { alg, kid, privateKey } = OWN): Promise<string> {
  const payload = { iss: ISSUER, sub: 'alice', aud: CLIENT_ID, nonce: 'nonce', iat: seconds, exp: seconds + 300 }
  return new SignJWT({ ...payload, ...claims }).setProtectedHeader({ alg, kid, typ: 'JWT' }).sign(privateKey)
}

describe('an ID token (OIDC Core §3.1.3.7)', () => {
  it.each([
    ['all that it needs', {}],
    ['several audiences and this client as its azp', { aud: [CLIENT_ID, 'another-client'], azp: CLIENT_ID }],
    ['an end that has passed within the tolerance for clocks', { exp: seconds - 4 }],
  ])('with %s names the person', async (_what, claims) => {
    expect(await personOf(await mint(claims))).toEqual({
      issuer: ISSUER,
      subject: 'alice',
      claims: expect.objectContaining({ sub: 'alice', iss: ISSUER }) as unknown,
    })
  })

  it.each([
    ['another nonce', { nonce: 'another' }],
    ['no nonce', { nonce: undefined }],
    ['another issuer', { iss: 'https://evil.example' }],
    ['no issuer', { iss: undefined }],
    ['another audience', { aud: 'another-client' }],
    ['the audience of an access token', { aud: RESOURCE }],
    ['no audience', { aud: undefined }],
    ['another client as its azp', { azp: 'another-client' }],
    ['several audiences and no azp', { aud: [CLIENT_ID, 'another-client'] }],
    ['no subject', { sub: undefined }],
    ['an empty subject', { sub: '' }],
    ['a subject that is not text', { sub: 1 }],
    ['an end that has passed', { exp: 1 }],
    ['no end', { exp: undefined }],
    ['no time of issue', { iat: undefined }],
    ['a start that is to come', { nbf: 4_000_000_000 }],
  ])('with %s names nobody', async (_what, claims) => {
    expect(await personOf(await mint(claims))).toBeUndefined()
  })

  it.each(['first', 'unknown'])('that another key has signed under the name %s names nobody', async (kid) => {
    expect(await personOf(await mint({}, await signingKey(kid)))).toBeUndefined()
  })

  it.each([
    ['is not a JWT', 'nonsense'],
    ['is empty', ''],
    ['is not signed', `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`],
  ])('that %s names nobody', async (_what, idToken) => {
    expect(await personOf(idToken)).toBeUndefined()
  })

  it('of an algorithm that this platform does not have names nobody', async () => {
    const unsupported = new DOMException('Unrecognized algorithm name', 'NotSupportedError')
    const keys = { key: () => Promise.reject(unsupported), lookAgain: () => Promise.resolve(false) }
    const idToken = await mint({})
    expect(
      await createIdTokenVerifier(config, keys, clock)(idToken, { issuer: ISSUER, nonce: 'nonce' }),
    ).toBeUndefined()
  })

  it('cannot be judged while there are no keys: that is an outage', async () => {
    const outage = new UpstreamUnavailableError('no keys')
    const keys = { key: () => Promise.reject(outage), lookAgain: () => Promise.resolve(false) }
    const idToken = await mint({})

    await expect(createIdTokenVerifier(config, keys, clock)(idToken, { issuer: ISSUER, nonce: 'nonce' })).rejects.toBe(
      outage,
    )
  })
})
