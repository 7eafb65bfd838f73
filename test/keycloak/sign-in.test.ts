import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'
import { UnauthorizedError as UnauthorizedErrorV1 } from '@modelcontextprotocol/sdk/client/auth.js'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as StreamableHTTPClientTransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { decodeJwt } from 'jose'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createOAuthClient, type OAuthClient } from '../../examples/demo/oauth-client.js'
import { startDocumentedServer, type DocumentedServer } from './support/documented-server.js'
import { createPerson, type Person } from './support/person.js'

const info = { name: 'client', version: '1.0.0' }

/** A client that knows its id at Keycloak, or registers. */
async function oauthClientOf(person: Person, issuer: string, clientId?: string): Promise<OAuthClient> {
  const oauth = createOAuthClient(person)
  if (clientId !== undefined) await oauth.provider.saveClientInformation?.({ client_id: clientId, issuer })
  return oauth
}

async function connectV2(url: string, oauth: OAuthClient) {
  const client = new Client(info, { versionNegotiation: { mode: 'auto' } })
  onTestFinished(() => client.close())
  const open = () => new StreamableHTTPClientTransport(new URL(url), { authProvider: oauth.provider })
  const transport = open()
  await expect(client.connect(transport)).rejects.toThrow(UnauthorizedError)
  await transport.finishAuth(oauth.callback())
  await client.connect(open())
  return client
}

async function connectV1(url: string, oauth: OAuthClient) {
  const client = new ClientV1(info)
  onTestFinished(() => client.close())
  const open = () => new StreamableHTTPClientTransportV1(new URL(url), { authProvider: oauth.provider })
  const transport = open()
  await expect(client.connect(transport)).rejects.toThrow(UnauthorizedErrorV1)
  await transport.finishAuth(oauth.callback().get('code') ?? '')
  await client.connect(open())
  return client
}

/** What the tool `whoami` says, and what Nextcloud saw. */
async function callWhoami(client: Client | ClientV1, { nextcloud }: DocumentedServer) {
  const { content } = (await client.callTool({ name: 'whoami', arguments: {} })) as { content: { text: string }[] }
  const { id } = JSON.parse(content[0]!.text) as { id: string }
  return { id, claims: nextcloud.received.at(-1)?.claims }
}

describe('an MCP client of the SDK signs its user in at Keycloak, as it finds out from the server of the page,', () => {
  it.each([
    ['v2', connectV2],
    ['v1', connectV1],
  ] as const)('and its tool call reaches Nextcloud as that user: SDK %s', async (_version, connect) => {
    const server = await startDocumentedServer()
    const { realm, resource } = server
    const person = createPerson({ username: 'alice', password: realm.password })
    const oauth = await oauthClientOf(person, realm.issuer, 'mcp-client')
    const client = await connect(resource, oauth)

    const mcpToken = decodeJwt(oauth.accessToken())
    expect(person.opened[0]).toBe(`${realm.issuer}/protocol/openid-connect/auth`)
    expect(mcpToken).toMatchObject({ iss: realm.issuer, azp: 'mcp-client' })
    expect([mcpToken.aud].flat().sort()).toEqual([resource, 'mcp-server'])
    expect(String(mcpToken['scope']).split(' ')).toContain('notes:read')
    const { id, claims } = await callWhoami(client, server)
    expect(id).toBe((await realm.user('alice')).id)
    expect(claims).toMatchObject({ aud: 'nextcloud', azp: 'mcp-server', sub: mcpToken.sub })
  })

  it('which it first registers at, where the realm lets it', async () => {
    const server = await startDocumentedServer()
    const { realm, resource } = server
    await trustLoopback(server)
    await addAudienceToScope(server)
    const person = createPerson({ username: 'bob', password: realm.password })
    const oauth = await oauthClientOf(person, realm.issuer)
    const client = await connectV2(resource, oauth)

    const { azp, aud } = decodeJwt<{ azp: string }>(oauth.accessToken())
    expect(azp).toMatch(/^[\da-f-]{36}$/)
    expect([aud].flat().sort()).toEqual([resource, 'mcp-server'])
    expect(await realm.client(azp)).toMatchObject({ consentRequired: true, publicClient: true })
    const { id } = await callWhoami(client, server)
    expect(id).toBe((await realm.user('bob')).id)
  })

  it('and is not let in with a token for somebody else', async () => {
    const server = await startDocumentedServer()
    const { realm, resource } = server
    await realm.removeDefaultScope('mcp-client', 'mcp-audience')
    await realm.addDefaultScope('mcp-client', 'nextcloud-audience')
    const person = createPerson({ username: 'alice', password: realm.password })
    const oauth = await oauthClientOf(person, realm.issuer, 'mcp-client')
    await expect(connectV2(resource, oauth)).rejects.toThrow()
    const answer = await fetch(resource, {
      method: 'POST',
      headers: { authorization: `Bearer ${oauth.accessToken()}` },
    })
    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toContain('error="invalid_token"')
  })
})

/** The policy "Trusted Hosts", as the page has it. */
async function trustLoopback({ realm }: DocumentedServer): Promise<void> {
  const type = 'org.keycloak.services.clientregistration.policy.ClientRegistrationPolicy'
  const policies = (await realm.admin('GET', `/components?type=${type}`)) as Record<string, unknown>[]
  const policy = policies.find(({ providerId }) => providerId === 'trusted-hosts')
  await realm.admin('PUT', `/components/${String(policy?.['id'])}`, {
    ...policy,
    config: {
      'trusted-hosts': ['127.0.0.1', 'localhost'],
      'host-sending-registration-request-must-match': ['false'],
      'client-uris-must-match': ['true'],
    },
  })
}

/** A client that registers with scopes gets these and `basic`, and no other default one: so the audience comes with the scope. */
async function addAudienceToScope({ realm }: DocumentedServer): Promise<void> {
  const scopes = (await realm.admin('GET', '/client-scopes')) as {
    readonly id: string
    readonly name: string
    readonly protocolMappers?: readonly Record<string, unknown>[]
  }[]
  const mappers = scopes.find(({ name }) => name === 'mcp-audience')?.protocolMappers ?? []
  const scope = scopes.find(({ name }) => name === 'notes:read')?.id ?? ''
  for (const mapper of mappers) {
    await realm.admin('POST', `/client-scopes/${scope}/protocol-mappers/models`, { ...mapper, id: undefined })
  }
}
