import { readFileSync } from 'node:fs'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { PAGE } from './support/documented-server.js'
import { openMiddleware } from './support/middleware.js'
import { createRealm, type Realm } from './support/realm.js'
import { signIn } from './support/tokens.js'

const page = readFileSync(PAGE, 'utf8')
let untouched: Realm
let realm: Realm
beforeAll(async () => {
  untouched = await createRealm()
})

/** What an exchange fails with, and what the operator hears of it. */
async function failureOf(options: McpAuthOptions = {}, token?: string) {
  const mcpToken = token ?? (await signIn(realm)).token
  const { auth, events } = openMiddleware(realm, options)
  // What has no audience here is let in by its client, as an operator may have set it up.
  const who = await auth.verify(mcpToken)
  const error: unknown = await auth.getNextcloudToken(who).then(
    () => expect.fail('It was granted'),
    (failure: unknown) => failure,
  )
  const heard = events.find(({ type }) => type === 'nextcloud.failed')
  return { error, heard, text: JSON.stringify([error, heard, String(error)]), mcpToken }
}

describe('the operator has to mend, 502, and the hint names what in the words of the console:', () => {
  interface Defect {
    readonly name: string
    readonly make?: () => Promise<unknown>
    readonly options?: () => McpAuthOptions
    /** What Keycloak answers. */
    readonly refusal: readonly [httpStatus: number, error: string, errorDescription: string]
    readonly hint: string
  }
  const BAD_CLIENT = 'Invalid client or Invalid client credentials'
  const NO_AUDIENCE = [400, 'invalid_request', 'Requested audience not available: nextcloud'] as const
  const SECRET = 'compare clientSecret with Credentials, "Client Secret"'
  const defects: readonly Defect[] = [
    {
      name: 'the switch for token exchange is off',
      make: () => realm.setClient('mcp-server', { attributes: { 'standard.token.exchange.enabled': 'false' } }),
      refusal: [400, 'invalid_request', 'Standard token exchange is not enabled for the requested client'],
      hint: 'Capability config: switch "Standard Token Exchange" on',
    },
    {
      name: 'the client scope with the audience mapper for Nextcloud is missing',
      make: () => realm.removeDefaultScope('mcp-server', 'nextcloud-audience'),
      refusal: NO_AUDIENCE,
      hint: '"Included Client Audience" is nextcloud.audience',
    },
    {
      name: 'the mapper itself is missing',
      async make() {
        const scopes = (await realm.admin('GET', '/client-scopes')) as {
          id: string
          name: string
          protocolMappers?: { id: string }[]
        }[]
        const { id, protocolMappers } = scopes.find(({ name }) => name === 'nextcloud-audience')!
        await realm.admin('DELETE', `/client-scopes/${id}/protocol-mappers/models/${protocolMappers![0]!.id}`)
      },
      refusal: NO_AUDIENCE,
      hint: 'a mapper of type Audience',
    },
    {
      name: 'the MCP server gets lightweight access tokens, which leave audiences out',
      make: () =>
        realm.setClient('mcp-server', { attributes: { 'client.use.lightweight.access.token.enabled': 'true' } }),
      refusal: NO_AUDIENCE,
      hint: 'Advanced: switch "Always use lightweight access token" off',
    },
    {
      name: 'the MCP server is not in the audience of the MCP token',
      async make() {
        await realm.removeDefaultScope('mcp-client', 'mcp-audience')
        await realm.addDefaultScope('mcp-client', 'nextcloud-audience')
      },
      options: () => ({ audience: 'nextcloud' }),
      refusal: [403, 'access_denied', 'Client is not within the token audience'],
      hint: '"Included Client Audience" is clientId',
    },
    {
      name: 'no client has the id that nextcloud.audience says',
      options: () => ({ nextcloud: { audience: 'owncloud' } }),
      refusal: [400, 'invalid_client', 'Audience not found'],
      hint: 'no client whose Client ID is nextcloud.audience',
    },
    {
      name: 'the client of Nextcloud is disabled',
      make: () => realm.setClient('nextcloud', { enabled: false }),
      refusal: [400, 'invalid_client', 'Client disabled'],
      hint: 'the client whose Client ID is nextcloud.audience: switch it to "Enabled"',
    },
    {
      name: 'the secret is wrong',
      options: () => ({ clientSecret: 'the-secret-of-another-client' }),
      refusal: [401, 'unauthorized_client', BAD_CLIENT],
      hint: SECRET,
    },
    {
      name: 'the secret was regenerated',
      make: async () => realm.admin('POST', `/clients/${(await realm.client('mcp-server')).id}/client-secret`),
      refusal: [401, 'unauthorized_client', BAD_CLIENT],
      hint: SECRET,
    },
    {
      name: 'there is no client of that id',
      options: () => ({ clientId: 'mcp-sever', audience: 'mcp-server' }),
      refusal: [401, 'invalid_client', BAD_CLIENT],
      hint: 'the client of clientId',
    },
    {
      name: 'the client of the MCP server is disabled',
      make: () => realm.setClient('mcp-server', { enabled: false }),
      refusal: [401, 'invalid_client', BAD_CLIENT],
      hint: 'see that the client is "Enabled"',
    },
    {
      name: 'the client of the MCP server is public',
      make: () => realm.setClient('mcp-server', { publicClient: true }),
      refusal: [400, 'invalid_client', 'Public client is not allowed to exchange token'],
      hint: 'switch "Client authentication" on',
    },
    {
      name: 'nextcloud.scopes has a scope that the client has not',
      options: () => ({ nextcloud: { scopes: ['notes:write'] } }),
      refusal: [400, 'invalid_scope', 'Invalid scopes: notes:write'],
      hint: 'nextcloud.scopes',
    },
  ]

  it.each(defects)('$name', async ({ make, options, refusal, hint }) => {
    realm = make === undefined ? untouched : await createRealm()
    await make?.()
    const { error, heard, text, mcpToken } = await failureOf(options?.())
    const [httpStatus, said, errorDescription] = refusal
    const told = { error: said, errorDescription, hint: expect.stringContaining(hint) as string }
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_REQUEST',
      status: 502,
      httpStatus,
      ...told,
      body: { error: 'nextcloud_token_refused' },
    })
    // What operators will look for, who have it from their logs.
    expect(page).toContain(errorDescription.replace(/: notes:write$/, ': …'))
    expect(heard).toMatchObject(told)
    for (const secret of [mcpToken, realm.clientSecret, 'the-secret-of-another-client'])
      expect(text).not.toContain(secret)
  })

  it('every one of them is over when it is mended', async () => {
    realm = await createRealm()
    const { token } = await signIn(realm)
    await realm.setClient('mcp-server', { attributes: { 'standard.token.exchange.enabled': 'false' } })
    const { auth } = openMiddleware(realm)
    const who = await auth.verify(token)
    await expect(auth.getNextcloudToken(who)).rejects.toMatchObject({ status: 502 })
    await realm.setClient('mcp-server', { attributes: { 'standard.token.exchange.enabled': 'true' } })
    // A refusal is not asked for again for a second.
    await expect
      .poll(() => auth.getNextcloudToken(who).catch(() => undefined), { timeout: 10_000 })
      .toBeTypeOf('string')
  })
})

describe('the MCP client needs another token, 401 invalid_token, after', () => {
  beforeEach(async () => {
    realm = await createRealm()
  })

  it.each<[name: string, make: () => Promise<unknown>]>([
    ['its user has signed out', () => realm.signOut('alice')],
    ['all sessions of its user were logged out', () => realm.logOutEverywhere('alice')],
    ['its user was disabled', () => realm.setUser('alice', { enabled: false })],
    ['its user was deleted', async () => realm.admin('DELETE', `/users/${(await realm.user('alice')).id}`)],
    ['its client was disabled', () => realm.setClient('mcp-client', { enabled: false })],
    ['every session of the realm was ended', () => realm.admin('POST', '/logout-all')],
  ])('%s', async (_name, make) => {
    const { token } = await signIn(realm)
    await make()
    const { error, heard } = await failureOf({}, token)
    expect(error).toMatchObject({
      code: 'ERR_SUBJECT_TOKEN_REJECTED',
      status: 401,
      body: { error: 'invalid_token', error_description: 'The access token is no longer accepted' },
    })
    expect(heard).toMatchObject({ code: 'ERR_SUBJECT_TOKEN_REJECTED' })
  })

  it('it has expired by the clock of Keycloak, which here is ahead', async () => {
    await realm.setRealm({ accessTokenLifespan: 1 })
    const { token, claims } = await signIn(realm)
    const { auth } = openMiddleware(realm, { clockTolerance: 30 })
    const who = await auth.verify(token)
    await expect.poll(() => Date.now() / 1_000, { timeout: 10_000 }).toBeGreaterThan(claims.exp! + 1)
    await expect(auth.getNextcloudToken(who)).rejects.toMatchObject({ code: 'ERR_SUBJECT_TOKEN_REJECTED', status: 401 })
  })
})
