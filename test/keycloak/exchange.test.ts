import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { startNextcloud } from '../../examples/demo/nextcloud.js'
import type { McpAuthOptions } from '../../src/index.js'
import { IMPORTED } from './support/keycloak-server.js'
import { adjustableClock, openMiddleware } from './support/middleware.js'
import { createRealm, importedRealm, type Realm } from './support/realm.js'
import { signIn } from './support/tokens.js'

let realm: Realm
beforeAll(async () => {
  realm = await createRealm()
})

describe('an MCP token of Keycloak', () => {
  it('is for the MCP server, under its URL and its client id, and is verified', async () => {
    const { token, claims } = await signIn(realm)
    expect([claims.aud].flat().sort()).toEqual([IMPORTED.MCP_RESOURCE, 'mcp-server'])
    const { auth } = openMiddleware(realm, { requiredScopes: ['notes:read'] })
    expect(await auth.verify(token)).toMatchObject({
      issuer: realm.issuer,
      subject: claims.sub,
      clientId: 'mcp-client',
      scopes: expect.arrayContaining(['openid', 'notes:read']) as string[],
    })
  })

  it.each(['notes:read', ''])('has the scope that was asked for and no other: %j', async (scope) => {
    const { token } = await signIn(realm, { scope })
    const { auth } = openMiddleware(realm)
    const { scopes } = await auth.verify(token)
    expect(scopes.includes('notes:read')).toBe(scope === 'notes:read')
  })

  it('of the realm that Keycloak imported from the file has what the environment put in its place', async () => {
    const imported = importedRealm()
    const { token } = await signIn(imported)
    const { auth } = openMiddleware(imported)
    expect((await auth.verify(token)).audience).toContain(IMPORTED.MCP_RESOURCE)
    expect(decodeJwt(await auth.getNextcloudToken(await auth.verify(token))).aud).toBe('nextcloud')
  })

  it('has its audience as a string where there is one, and is verified', async () => {
    const own = await createRealm()
    await own.removeDefaultScope('mcp-client', 'mcp-audience')
    await own.addDefaultScope('mcp-client', 'nextcloud-audience')
    const { token, claims } = await signIn(own)
    expect(claims.aud).toBe('nextcloud')
    const { auth } = openMiddleware(own, { audience: 'nextcloud' })
    expect((await auth.verify(token)).audience).toEqual(['nextcloud'])
  })

  it.each(['always', 'opaque-only'] as const)('is active when Keycloak is asked: introspection %s', async (mode) => {
    const { token, claims } = await signIn(realm)
    const { auth } = openMiddleware(realm, { introspection: mode })
    expect(await auth.verify(token)).toMatchObject({ subject: claims.sub, clientId: 'mcp-client' })
  })

  it('that has been signed out is inactive to introspection, and passes without it until it ends', async () => {
    const { token } = await signIn(realm, { username: 'bob' })
    await realm.signOut('bob')
    const asking = openMiddleware(realm, { introspection: 'always' })
    await expect(asking.auth.verify(token)).rejects.toMatchObject({ status: 401, reason: 'inactive' })
    await expect(openMiddleware(realm).auth.verify(token)).resolves.toMatchObject({ clientId: 'mcp-client' })
  })
})

describe('an exchange at Keycloak', () => {
  /** The claims of what a middleware with these options gets. */
  async function exchanged(nextcloud: McpAuthOptions['nextcloud']) {
    const { token } = await signIn(realm)
    const { auth } = openMiddleware(realm, { nextcloud })
    return decodeJwt(await auth.getNextcloudToken(await auth.verify(token)))
  }

  it('gives a token for Nextcloud alone, for the same user, in the name of the MCP server', async () => {
    const { token, claims } = await signIn(realm)
    const { auth, events } = openMiddleware(realm)
    const exchanged = decodeJwt(await auth.getNextcloudToken(await auth.verify(token)))
    expect(exchanged).toMatchObject({ iss: realm.issuer, sub: claims.sub, aud: 'nextcloud', azp: 'mcp-server' })
    expect(String(exchanged['scope']).split(' ').sort()).toEqual(['email', 'profile'])
    expect(events).toContainEqual(expect.objectContaining({ type: 'nextcloud.token', source: 'idp' }))
  })

  it('gives the scopes of nextcloud.scopes', async () => {
    const { scope } = await exchanged({ scopes: ['notes:read'] })
    expect(String(scope).split(' ').sort()).toEqual(['email', 'notes:read', 'profile'])
  })

  it('takes no notice of resource, and works under the preset generic as well', async () => {
    expect((await exchanged({ resource: 'https://elsewhere.example.com' })).aud).toBe('nextcloud')
    expect((await exchanged({ preset: 'generic' })).aud).toBe('nextcloud')
  })

  it('gives a token that outlives the MCP token, and is not handed out after its end', async () => {
    const own = await createRealm()
    const { token, claims } = await signIn(own)
    await own.setRealm({ accessTokenLifespan: 3_000 })
    const { clock, advance } = adjustableClock()
    const { auth } = openMiddleware(own, {}, clock)
    const who = await auth.verify(token)
    expect(decodeJwt(await auth.getNextcloudToken(who)).exp).toBeGreaterThan(claims.exp!)
    advance(310_000)
    await expect(auth.getNextcloudToken(who)).rejects.toMatchObject({ code: 'ERR_SUBJECT_TOKEN_REJECTED' })
  })

  it('gives one token to callers at once, with one request', async () => {
    const { token } = await signIn(realm)
    const { auth } = openMiddleware(realm)
    const who = await auth.verify(token)
    const tokens = await Promise.all(Array.from({ length: 50 }, () => auth.getNextcloudToken(who)))
    expect(new Set(tokens).size).toBe(1)
    expect(auth.stats()).toMatchObject({ exchanges: 1 })
  })

  it('still works with what an MCP client that has offline_access refreshes after its user has signed out', async () => {
    const own = await createRealm()
    const { refresh } = await signIn(own, { scope: 'notes:read offline_access' })
    await own.signOut('alice')
    const { auth } = openMiddleware(own)
    const exchanged = await auth.getNextcloudToken(await auth.verify(await refresh()))
    expect(decodeJwt(exchanged).aud).toBe('nextcloud')
  })
})

describe('Nextcloud, which validates as its user_oidc app does,', () => {
  async function startUserOidc() {
    const nextcloud = await startNextcloud({ issuer: realm.issuer, clientId: 'nextcloud' })
    onTestFinished(() => nextcloud.close())
    return nextcloud
  }

  it('takes the exchanged token', async () => {
    const { url, received } = await startUserOidc()
    const { token, claims } = await signIn(realm)
    const { auth } = openMiddleware(realm, { nextcloud: { url } })
    const answer = await auth.nextcloudFetch(await auth.verify(token), '/ocs/v2.php/cloud/user?format=json')
    expect(await answer.json()).toMatchObject({ ocs: { data: { id: claims.sub } } })
    expect(received.map(({ claims: seen }) => seen?.aud)).toEqual(['nextcloud'])
  })

  it('refuses the MCP token, which is not for it', async () => {
    const { url } = await startUserOidc()
    const { token } = await signIn(realm)
    const answer = await fetch(`${url}/ocs/v2.php/cloud/user`, { headers: { authorization: `Bearer ${token}` } })
    expect(answer.status).toBe(401)
  })
})
