import { decodeJwt } from 'jose'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { startNextcloud } from '../../examples/demo/nextcloud.js'
import type { McpAuthError } from '../../src/errors/errors.js'
import type { McpAuthOptions } from '../../src/options.js'
import { openGrants, realmForGrants } from './support/grants.js'
import { adjustableClock } from './support/middleware.js'
import { wordsOf } from '../support/html.js'
import type { Realm } from './support/realm.js'

let realm: Realm
beforeEach(async () => {
  realm = await realmForGrants()
})

describe('a user connects Nextcloud at Keycloak', () => {
  it('with two pages of this server and a sign-in in between, and Nextcloud takes the token', async () => {
    const nextcloud = await startNextcloud({ issuer: realm.issuer, clientId: 'nextcloud' })
    onTestFinished(() => nextcloud.close())
    const { auth, events, connect, who } = await openGrants(realm, { auth: { nextcloud: { url: nextcloud.url } } })
    const { status, html } = await connect('alice')
    expect([status, wordsOf(html)]).toEqual([200, expect.stringContaining('Connected, you can go back')])

    const alice = await who('alice')
    expect(decodeJwt(await auth.getNextcloudToken(alice))).toMatchObject({
      sub: alice.subject,
      aud: 'nextcloud',
      azp: 'mcp-server',
    })
    const answer = await auth.nextcloudFetch(alice, '/ocs/v2.php/cloud/user?format=json')
    expect(await answer.json()).toMatchObject({ ocs: { data: { id: alice.subject } } })
    expect(events.map(({ type }) => type)).toContain('grant.stored')
    expect(await realm.offlineSessions('alice', 'mcp-server')).toHaveLength(1)
  })

  it('and an offline session, whose end Keycloak says to be 0, goes on through many refreshes', async () => {
    const { clock, advance } = adjustableClock()
    const { auth, events, connect, who } = await openGrants(realm, { clock })
    await connect('alice')
    const alice = await who('alice')
    for (let day = 0; day < 5; day += 1) {
      advance(24 * 3_600_000)
      expect(decodeJwt(await auth.getNextcloudToken(alice)).sub).toBe(alice.subject)
    }
    expect(events.filter(({ type }) => type === 'grant.rotated')).toHaveLength(5)
  })

  it('but not as somebody else than the MCP user', async () => {
    const { auth, events, connect, who, person } = await openGrants(realm)
    const { status } = await connect('alice', person('bob'))
    expect(status).toBe(403)
    expect(events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'person' }))
    expect(await auth.isProvisioned(await who('alice'))).toBe(false)
    expect(await auth.isProvisioned(await who('bob'))).toBe(false)
  })

  it.each<[defect: string, make: () => Promise<unknown>, told: object, hint: string, options?: McpAuthOptions]>([
    [
      'its client has no offline_access',
      async () => {
        const scopes = (await realm.admin('GET', '/client-scopes')) as { id: string; name: string }[]
        const { id } = scopes.find(({ name }) => name === 'offline_access')!
        const client = await realm.client('mcp-server')
        return realm.admin('DELETE', `/clients/${client.id}/optional-client-scopes/${id}`)
      },
      { reason: 'refused', error: 'invalid_scope' },
      'connect.scopes',
    ],
    [
      'its client has no "Standard flow"',
      () => realm.setClient('mcp-server', { standardFlowEnabled: false }),
      { reason: 'refused', error: 'unauthorized_client' },
      'authorization code flow',
    ],
    [
      'the user lacks the role offline_access',
      async () => {
        const path = `/users/${(await realm.user('alice')).id}/role-mappings/realm`
        return realm.admin('DELETE', path, await realm.admin('GET', path))
      },
      { reason: 'refused', errorDescription: expect.stringMatching(/^Offline tokens not allowed/) as string },
      'realm role offline_access',
    ],
    [
      'the secret is wrong',
      () => Promise.resolve(),
      { error: 'unauthorized_client' },
      'Credentials, "Client Secret"',
      { clientSecret: 'the-secret-of-another-client' },
    ],
  ])('but not where %s, and the operator is told what to change', async (_defect, make, told, hint, options = {}) => {
    await make()
    const { events, connect } = await openGrants(realm, { auth: options })
    expect((await connect('alice')).status).toBe(502)
    const failure = { type: 'connect.failed', ...told, hint: expect.stringContaining(hint) as string }
    expect(events).toContainEqual(expect.objectContaining(failure))
  })
})

describe('a grant at Keycloak', () => {
  /** A user who is connected, and for whom each token is a fresh one. */
  async function connected() {
    const setup = await openGrants(realm)
    expect((await setup.connect('alice')).status).toBe(200)
    const alice = await setup.who('alice')
    return {
      ...setup,
      alice,
      refresh: () => setup.auth.getNextcloudToken(alice, { forceRefresh: true }),
    }
  }

  it('is revoked there when the user disconnects, and can be made anew', async () => {
    const { auth, alice, connect, refresh } = await connected()
    expect(await auth.revoke(alice)).toEqual({ revoked: true })
    expect(await realm.offlineSessions('alice', 'mcp-server')).toEqual([])
    await expect(refresh()).rejects.toMatchObject({ code: 'ERR_NOT_PROVISIONED', reason: 'revoked' })
    expect((await connect('alice')).status).toBe(200)
    expect(decodeJwt(await refresh()).aud).toBe('nextcloud')
  })

  it.each<[name: string, end: () => Promise<unknown>]>([
    ['the consent to it is revoked', () => realm.revokeConsent('alice', 'mcp-server')],
    [
      'its session is ended',
      async () => {
        const [id = ''] = await realm.offlineSessions('alice', 'mcp-server')
        return realm.admin('DELETE', `/sessions/${id}?isOffline=true`)
      },
    ],
    ['all sessions of its user are logged out', () => realm.logOutEverywhere('alice')],
    ['its user is disabled', () => realm.setUser('alice', { enabled: false })],
  ])('is found lost when %s, and can be made anew', async (_name, end) => {
    const { auth, events, alice, connect, refresh } = await connected()
    await end()
    await expect(refresh()).rejects.toMatchObject({
      code: 'ERR_NOT_PROVISIONED',
      reason: 'revoked',
      connectUrl: expect.stringContaining('/nextcloud/connect?ticket=') as string,
    })
    expect(events).toContainEqual(expect.objectContaining({ type: 'grant.lost', reason: 'revoked' }))
    expect(await auth.isProvisioned(alice)).toBe(false)
    await realm.setUser('alice', { enabled: true })
    expect((await connect('alice')).status).toBe(200)
    expect(decodeJwt(await refresh()).sub).toBe(alice.subject)
  })

  it('outlives the sign-in of its user, as offline sessions do', async () => {
    const { alice, refresh } = await connected()
    await realm.signOut('alice')
    expect(decodeJwt(await refresh()).sub).toBe(alice.subject)
  })

  it.each<[name: string, changes: Record<string, unknown>, back: Record<string, unknown>]>([
    ['its client is disabled', { enabled: false }, { enabled: true }],
    ['the secret of its client is another', { secret: 'another-one' }, {}],
  ])('is not lost while %s', async (_name, changes, back) => {
    const { auth, events, alice, refresh } = await connected()
    const { secret } = await realm.client('mcp-server')
    await realm.setClient('mcp-server', changes)
    await expect(refresh()).rejects.toMatchObject({
      code: 'ERR_TOKEN_REQUEST',
      hint: expect.stringContaining('Credentials, "Client Secret", and see that the client is "Enabled"') as string,
    })
    expect(await auth.isProvisioned(alice)).toBe(true)
    await realm.setClient('mcp-server', { secret, ...back })
    // A refusal is not asked for again for a second.
    await expect.poll(() => refresh().catch(String), { timeout: 20_000 }).toMatch(/^ey/)
    expect(events.map(({ type }) => type)).not.toContain('grant.lost')
  })

  it.each<[name: string, reuse: number, outcome: string]>([
    ['costs the connection where "Refresh Token Max Reuse" is 0', 0, 'ERR_NOT_PROVISIONED'],
    ['costs nothing where "Refresh Token Max Reuse" is 1', 1, 'a token'],
  ])('whose refreshed token got lost on the way %s', async (_name, reuse, outcome) => {
    await realm.setRealm({ refreshTokenMaxReuse: reuse })
    const network = { breaks: false }
    const { auth, connect, who } = await openGrants(realm, {
      auth: {
        http: {
          async fetch(url, init) {
            const response = await fetch(url, init)
            if (network.breaks && init.method === 'POST') throw new TypeError('The connection broke')
            return response
          },
        },
      },
    })
    await connect('alice')
    const alice = await who('alice')
    network.breaks = true
    await expect(auth.getNextcloudToken(alice, { forceRefresh: true })).rejects.toMatchObject({ status: 503 })
    network.breaks = false
    await expect
      .poll(
        () =>
          auth.getNextcloudToken(alice, { forceRefresh: true }).then(
            () => 'a token',
            (error: unknown) => (error as McpAuthError).code,
          ),
        { timeout: 20_000 },
      )
      .toBe(outcome)
    expect(await auth.isProvisioned(alice)).toBe(reuse === 1)
  })
})
