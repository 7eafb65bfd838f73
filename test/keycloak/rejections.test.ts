import { beforeAll, describe, expect, it } from 'vitest'
import type { InvalidTokenReason } from '../../src/errors/errors.js'
import type { McpAuthOptions } from '../../src/index.js'
import { openMiddleware } from './support/middleware.js'
import { createRealm, type Realm } from './support/realm.js'
import { signIn } from './support/tokens.js'

async function expectRejection(
  realm: Realm,
  token: string,
  reason: InvalidTokenReason,
  options?: McpAuthOptions,
  claim?: string,
): Promise<void> {
  const { auth } = openMiddleware(realm, options)
  await expect(auth.verify(token)).rejects.toMatchObject({
    status: 401,
    body: { error: 'invalid_token' },
    reason,
    ...(claim !== undefined && { details: { claim } }),
  })
}

describe('of what Keycloak signs, this server takes nothing but access tokens for it:', () => {
  let realm: Realm
  beforeAll(async () => {
    realm = await createRealm()
  })

  it('no ID token, even where the MCP client is an audience here', async () => {
    const { idToken } = await signIn(realm)
    await expectRejection(realm, idToken, 'token_type', { audience: 'mcp-client' })
  })

  it('no refresh token', async () => {
    const { refreshToken } = await signIn(realm)
    await expectRejection(realm, refreshToken, 'algorithm')
  })

  it('no token of a client that is not among the allowed ones', async () => {
    const { token } = await signIn(realm)
    await expectRejection(realm, token, 'client', { allowedClients: ['another-client'] })
  })

  it('no token of another realm', async () => {
    const { token } = await signIn(await createRealm())
    await expectRejection(realm, token, 'key')
  })

  it('no token at another name of the same Keycloak', async () => {
    const { token } = await signIn(realm)
    const issuer = realm.issuer.replace('127.0.0.1', 'localhost')
    await expectRejection(realm, token, 'issuer', { issuer })
  })
})

describe('a realm in which something is missing is found out by', () => {
  const LIGHTWEIGHT = { attributes: { 'client.use.lightweight.access.token.enabled': 'true' } }
  const forSomebodyElse = async (realm: Realm): Promise<void> => {
    await realm.removeDefaultScope('mcp-client', 'mcp-audience')
    await realm.addDefaultScope('mcp-client', 'nextcloud-audience')
  }
  const without = (scope: string) => (realm: Realm) => realm.removeDefaultScope('mcp-client', scope)
  const lightweight = (realm: Realm) => realm.setClient('mcp-client', LIGHTWEIGHT)

  it.each<[reason: InvalidTokenReason, claim: string, what: string, change: (realm: Realm) => Promise<unknown>]>([
    ['missing_claim', 'aud', 'the MCP client has no scope with an audience mapper', without('mcp-audience')],
    ['audience', 'aud', 'its audience mapper is for somebody else', forSomebodyElse],
    ['missing_claim', 'sub', 'the MCP client has no scope basic', without('basic')],
    ['missing_claim', 'sub', 'the MCP client gets lightweight access tokens', lightweight],
  ])('the reason %s of the claim %s: %s', async (reason, claim, _what, change) => {
    const realm = await createRealm()
    await change(realm)
    const { token } = await signIn(realm)
    await expectRejection(realm, token, reason, {}, claim)
  })

  it('the exchange, where tokens are introspected: lightweight ones do not say for whom they are', async () => {
    const realm = await createRealm()
    await lightweight(realm)
    const { token } = await signIn(realm)
    const { auth } = openMiddleware(realm, { introspection: 'always' })
    const who = await auth.verify(token)
    expect(who.audience).toContain('mcp-server')
    await expect(auth.getNextcloudToken(who)).rejects.toMatchObject({
      status: 502,
      error: 'access_denied',
      hint: expect.stringContaining('"Add to access token"') as string,
    })
  })
})
