import { decodeJwt } from 'jose'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startIdentityProvider } from '../../examples/demo/identity-provider.js'
import { createMcpAuth } from '../../src/mcp-auth.js'
import { mcpAuth, SubjectTokenRejectedError } from '../../src/index.js'
import type { IssuerOptions, McpAuth, McpAuthOptions } from '../../src/index.js'
import { manualClock, type ManualClock } from '../support/clock.js'
import { NO_SCOPES } from '../support/refusal.js'
import { startEntra } from '../support/providers/entra.js'
import { runSnippet } from '../support/providers/page.js'
import { STAND_IN_SECRET } from '../support/providers/stand-in.js'

const RESOURCE = 'https://mcp.example.com/mcp'

const MCP_APP = '22222222-2222-2222-2222-222222222222'
const NEXTCLOUD_APP = '33333333-3333-3333-3333-333333333333'
const TENANT = '11111111-1111-1111-1111-111111111111'
const TENANTS = [TENANT, '55555555-5555-5555-5555-555555555555']

const APPS = {
  mcp: { id: MCP_APP, applicationIdUri: RESOURCE, scopes: ['tools'] },
  nextcloud: { id: NEXTCLOUD_APP, applicationIdUri: `api://${NEXTCLOUD_APP}`, scopes: ['access'] },
}
function open(issuers: readonly IssuerOptions[], clock: ManualClock, more: McpAuthOptions = {}): McpAuth {
  const nextcloud = {
    url: 'https://cloud.example.com',
    mode: 'jwt-bearer',
    preset: 'entra',
    scopes: [`api://${NEXTCLOUD_APP}/.default`],
  } as const
  const client = { clientId: MCP_APP, clientSecret: STAND_IN_SECRET }
  const options = { resource: RESOURCE, ...NO_SCOPES, ...client, onEvent: () => undefined, nextcloud, issuers, ...more }
  const auth = createMcpAuth(options, clock)
  onTestFinished(() => auth.close())
  return auth
}

describe('two oidc-providers', () => {
  it('each exchange the tokens of their own people, and of nobody else', async () => {
    const providers = [await startIdentityProvider(), await startIdentityProvider()]
    for (const provider of providers) {
      provider.registerResource(RESOURCE, ['notes:read'])
      onTestFinished(() => provider.close())
    }
    const auth = mcpAuth({
      resource: RESOURCE,
      ...NO_SCOPES,
      onEvent: () => undefined,
      nextcloud: { url: 'https://cloud.example.com', mode: 'token-exchange' },
      issuers: providers.map(({ issuer, client }) => ({ issuer, ...client })),
    })
    onTestFinished(() => auth.close())
    for (const provider of [...providers].reverse()) {
      const token = await provider.issueAccessToken({ subject: 'alice', resource: RESOURCE, scope: 'notes:read' })
      const exchanged = decodeJwt(await auth.getNextcloudToken({ token }))
      expect(exchanged).toMatchObject({ iss: provider.issuer, sub: 'alice', aud: 'nextcloud' })
    }
    expect(providers.map((provider) => provider.exchanges())).toEqual([1, 1])
  })

  it('go on, each with its own keys, while they rotate them', async () => {
    const [one, other] = [await startIdentityProvider(), await startIdentityProvider()]
    const clock = manualClock(Date.now())
    for (const provider of [one, other]) {
      provider.registerResource(RESOURCE, ['notes:read'])
      onTestFinished(() => provider.close())
    }
    const auth = createMcpAuth(
      {
        resource: RESOURCE,
        ...NO_SCOPES,
        onEvent: () => undefined,
        issuers: [{ issuer: one.issuer }, { issuer: other.issuer }],
      },
      clock,
    )
    onTestFinished(() => auth.close())
    const enter = async (provider: typeof one) =>
      auth.verify(await provider.issueAccessToken({ subject: 'alice', resource: RESOURCE, scope: 'notes:read' }))
    for (const provider of [one, other]) expect(await enter(provider)).toMatchObject({ issuer: provider.issuer })
    await one.rotateSigningKey()
    clock.advance(11_000)
    for (const provider of [one, other]) expect(await enter(provider)).toMatchObject({ issuer: provider.issuer })
  })
})

describe('tenants of Entra', () => {
  it('have tokens of version 1.0 and of 2.0, which both come in and go to the token endpoint of version 2.0', async () => {
    const clock = manualClock()
    const tenant = await startEntra(clock, TENANT, APPS)
    const jwksUri = String(tenant.as.metadata['jwks_uri'])
    const tokenEndpoint = `${tenant.origin}/${TENANT}/oauth2/v2.0/token`
    const v1 = { issuer: `https://sts.windows.net/${TENANT}/`, authorizationServer: { jwksUri, tokenEndpoint } }
    const auth = open([{ issuer: tenant.issuer }, v1], clock)
    for (const [version, issuer, asked] of [
      [1, v1.issuer, 1],
      [2, tenant.issuer, 2],
    ] as const) {
      tenant.version = version
      const info = await auth.verify(await tenant.signIn('alice', 'mcp-client'))
      expect(info).toMatchObject({ issuer, clientId: 'mcp-client' })
      // The stand-in knows its own issuer alone: what it says to version 1.0 is not Entra's word.
      await auth.getNextcloudToken(info).catch(() => undefined)
      expect(tenant.as.received(`/${TENANT}/oauth2/v2.0/token`)).toHaveLength(asked)
    }
  })

  it('share one client, and each exchanges the tokens of its own people', async () => {
    const clock = manualClock()
    const tenants = await Promise.all(TENANTS.map((tenant) => startEntra(clock, tenant, APPS)))
    const auth = open(
      tenants.map(({ issuer }) => ({ issuer })),
      clock,
    )
    for (const [index, tenant] of tenants.entries()) {
      const token = await tenant.signIn('alice', 'mcp-client')
      const exchanged = decodeJwt(await auth.getNextcloudToken({ token }))
      expect(exchanged).toMatchObject({ iss: tenant.issuer, tid: TENANTS[index], aud: NEXTCLOUD_APP })
    }
    // Withdrawn in one tenant, it goes on in the other.
    const [first, second] = tenants
    if (first === undefined || second === undefined) throw new Error('There are two')
    first.consented = false
    clock.advance(1_000)
    const refusal = auth.getNextcloudToken({ token: await first.signIn('bob', 'mcp-client') })
    await expect(refusal).rejects.not.toBeInstanceOf(SubjectTokenRejectedError)
    expect(await auth.getNextcloudToken({ token: await second.signIn('bob', 'mcp-client') })).toMatch(/^eyJ/)
  })
})

describe('docs/several-issuers.md', () => {
  /** Returns the options that a snippet gives to `mcpAuth()`. */
  function optionsOf(index: number): McpAuthOptions {
    const env = { OIDC_CLIENT_SECRET: 's', GUESTS_CLIENT_SECRET: 'g' }
    let given: McpAuthOptions = {}
    const take = (options: McpAuthOptions) => void (given = options)
    const modules = { 'mcp-nextcloud-auth': { mcpAuth: take } }
    runSnippet('several-issuers.md', index, { modules, globals: { process: { env } } })
    return given
  }

  it.each([0, 1, 2])('has options that are taken: snippet %i', (index) => {
    const given = optionsOf(index)
    expect(() => mcpAuth({ onEvent: () => undefined, ...given })).not.toThrow()
    expect(given.issuers).toHaveLength(2)
  })

  it.each([1, 2])('lets users of Entra in, and no application without a user: snippet %i', async (index) => {
    const clock = manualClock()
    const tenant = await startEntra(clock, TENANT, APPS)
    const { requiredScopes, scopeSatisfies } = optionsOf(index)
    const auth = open([{ issuer: tenant.issuer }], clock, { requiredScopes, scopeSatisfies })
    expect(await auth.verify(await tenant.signIn('alice', 'mcp-client'))).toMatchObject({ clientId: 'mcp-client' })
    const ofApplication = await tenant.signInAsApplication('mcp-client')
    await expect(auth.verify(ofApplication)).rejects.toMatchObject({ code: 'ERR_INSUFFICIENT_SCOPE' })
  })
})
