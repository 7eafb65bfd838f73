import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { MCP_CLIENT_IDS } from '../../src/cli/doctor/clients/mcp-clients.js'
import { WALK_IDS } from '../../src/cli/doctor/clients/walk.js'
import type { ConnectHandler } from '../../src/http/router.js'
import type { McpAuthOptions } from '../../src/options.js'
import { expectNoSecret, runIn } from '../support/doctor-setup.js'
import {
  setUpWalk,
  startOidcProvider,
  startRealm,
  type Realm,
  type Walked,
  type WalkedProvider,
  type WalkSetup,
} from '../support/walk-setup.js'

/** The authorization request that a walk came to. */
const requestIn = (walked: Walked) =>
  new URL(/: (http\S+)$/.exec(walked.finding('as.authorization').found)?.[1] ?? 'none:').searchParams

/** A proxy that answers for one path by itself. */
const at =
  (path: string, answer: (req: IncomingMessage, res: ServerResponse) => unknown): ConnectHandler =>
  (req, res, next) => {
    if (req.url?.split('?')[0] === path) answer(req, res)
    else next()
  }

const says =
  (status: number, headers: Record<string, string> = {}, body = '') =>
  (_req: IncomingMessage, res: ServerResponse): unknown =>
    res.writeHead(status, headers).end(body)

const METADATA = '/.well-known/oauth-protected-resource/mcp'
const json = (value: unknown) => says(200, { 'content-type': 'application/json' }, JSON.stringify(value))

describe('the walk of a client', () => {
  it('comes to the sign-in page of oidc-provider by registration, and leaves no client behind', async () => {
    const provider = await startOidcProvider()
    const { walk, resource } = await setUpWalk(provider)
    const walked = await walk('claude-code')
    const { client_id: id, ...asked } = Object.fromEntries(requestIn(walked))

    expect({ status: walked.status, failed: walked.failed }).toEqual({ status: 0, failed: [] })
    expect(asked).toEqual({
      response_type: 'code',
      redirect_uri: 'http://localhost:33419/callback',
      code_challenge_method: 'S256',
      scope: 'notes:read offline_access',
      resource,
      prompt: 'consent',
    })
    expect(id).toBeTruthy()
    expect(walked.finding('as.removal').found).toBe(`the client ${id ?? ''} was deleted again (RFC 7592)`)
    expect(provider.clients()).toEqual([])
  })

  it('goes by the metadata document where oidc-provider takes it, and registers nothing', async () => {
    const provider = await startOidcProvider({
      features: { clientIdMetadataDocument: { enabled: true, ack: 'draft-02' } } as never,
      more: {
        fetch: (url) => {
          const { href } = new URL(url instanceof Request ? url.url : url)
          const document = { client_id: href, redirect_uris: ['https://claude.ai/api/mcp/auth_callback'] }
          return Promise.resolve(Response.json({ ...document, token_endpoint_auth_method: 'none' }))
        },
      },
    })
    const { walk } = await setUpWalk(provider)
    const walked = await walk('claude')

    expect(walked.failed).toEqual([])
    expect(requestIn(walked).get('client_id')).toBe('https://claude.ai/oauth/mcp-oauth-client-metadata')
    expect(walked.finding('as.removal').found).toBe('nothing was registered')
    expect(provider.clients()).toEqual([])
  })

  it.each(MCP_CLIENT_IDS)('comes to the sign-in page of a Keycloak realm as %s', async (id) => {
    const realm = await startRealm()
    const { walk } = await setUpWalk(realm, { legacyMetadata: true })
    const walked = await walk(id)

    expect({ status: walked.status, failed: walked.failed }).toEqual({ status: 0, failed: [] })
    expect(walked.finding('as.authorization').status).toBe('passed')
    expect(realm.clients()).toEqual([])
  })

  it('shows neither secret nor token of the client that it registers', async () => {
    const realm = await startRealm()
    realm.authorize.answer = (query, res) => {
      const words = realm.secrets.join('+')
      res.writeHead(302, {
        location: `${query.get('redirect_uri') ?? ''}?error=server_error&error_description=${words}`,
      })
      res.end()
    }
    const { walk } = await setUpWalk(realm)
    const { output, failed } = await walk('mistral')

    expect(failed).toEqual(['as.authorization'])
    expectNoSecret(output, realm.secrets)
  })

  it('sends the token for a deletion to the provider alone', async () => {
    const realm = await startRealm()
    const elsewhere = await startRealm()
    realm.policy.deletesAt = new URL(elsewhere.issuer).origin
    const { walk } = await setUpWalk(realm)
    const { failed, finding } = await walk('codex')

    expect(failed).toEqual(['as.removal'])
    expect(finding('as.removal').found).toMatch(/stays: the provider has named no place to delete it/)
    expect(elsewhere.deletions()).toBe(0)
  })

  it('says where a provider shows its sign-in whatever the redirect URI is', async () => {
    const realm = await startRealm()
    realm.authorize.answer = (_query, res) => res.writeHead(302, { location: '/login' }).end()
    const { walk } = await setUpWalk(realm)
    const { finding } = await walk('vscode')

    expect(finding('as.authorization').fix).toMatch(
      /only after the sign-in, if at all: see that http:\/\/127\.0\.0\.1:33418\//,
    )
  })

  it('keeps the query of the authorization endpoint', async () => {
    const realm = await startRealm()
    realm.metadata['authorization_endpoint'] = `${realm.issuer}/protocol/openid-connect/auth?policy=b2c_1`
    const { walk } = await setUpWalk(realm)
    const walked = await walk('codex')

    expect(walked.failed).toEqual([])
    expect(realm.asked[0]?.get('policy')).toBe('b2c_1')
    expect(realm.asked[0]?.get('client_id')).toBeTruthy()
  })

  it('registers nothing where it could not be deleted, and says whether registration is open', async () => {
    const realm = await startRealm()
    realm.policy.offersDeletion = false
    const { walk } = await setUpWalk(realm)
    const walked = await walk('cursor')

    expect(walked.failed).toEqual([])
    expect(walked.finding('as.registration')).toMatchObject({
      status: 'passed',
      found: expect.stringContaining('A redirect URI is not a valid URI') as string,
      fix: expect.stringContaining('nothing was registered') as string,
    })
    expect(walked.finding('as.authorization')).toMatchObject({ status: 'left-out' })
    expect([realm.clients(), realm.asked]).toEqual([[], []])
  })

  it('goes on with an id that was made by hand', async () => {
    const realm = await startRealm()
    delete realm.metadata['registration_endpoint']
    realm.byHand.set('mistral', ['https://callback.mistral.ai/v1/integrations_auth/oauth2_callback'])
    const { walk } = await setUpWalk(realm)
    const walked = await walk('mistral', ['--as-client-id', 'mistral'])

    expect(walked.failed).toEqual([])
    expect(requestIn(walked).get('client_id')).toBe('mistral')
  })

  it('follows metadata behind a redirect of the same server, as that of a Nextcloud', async () => {
    const realm = await startRealm()
    realm.front.handler = at('/.well-known/oauth-authorization-server/realms/acme', (_req, res) =>
      res.writeHead(301, { location: '/realms/acme/.well-known/openid-configuration' }).end(),
    )
    const { walk } = await setUpWalk(realm)

    expect((await walk('vscode')).finding('as.provider')).toMatchObject({ status: 'passed' })
  })

  it('asks for what this server names in its metadata as VS Code, and for the address as Claude Code', async () => {
    const realm = await startRealm()
    const { walk, resource } = await setUpWalk(realm)

    for (const client of ['vscode', 'claude-code']) {
      expect(requestIn(await walk(client)).get('resource')).toBe(resource)
    }
  })

  it('has neither resource nor scope for a client of MCP 2025-03-26', async () => {
    const realm = await startRealm()
    const { walk } = await setUpWalk(realm, { legacyMetadata: true })
    const walked = await walk('mcp-2025-03-26')

    expect([...requestIn(walked).keys()].filter((name) => ['resource', 'scope'].includes(name))).toEqual([])
    expect(walked.finding('as.scopes').fix).toMatch(/grant notes:read to clients that ask for nothing/)
  })
})

/** A set-up that is broken, the client that walks, the step that fails first, and what it says and advises. */
interface Broken {
  readonly client?: string
  readonly more?: (setup: WalkSetup, provider: WalkedProvider) => readonly string[]
  readonly step: string
  readonly plant: (setup: WalkSetup, realm: Realm) => unknown
  readonly says: RegExp
}

const BROKEN: Readonly<Record<string, Broken>> = {
  'a proxy that takes WWW-Authenticate off': {
    step: 'as.challenge',
    plant: ({ front }) => (front.handler = at('/mcp', says(401))),
    says: /the 401 has no WWW-Authenticate → let the proxy pass/,
  },
  'a proxy with a sign-in of its own': {
    step: 'as.challenge',
    plant: ({ front }) => (front.handler = at('/mcp', says(302, { location: 'https://login.example.com/?a=b' }))),
    says: /302, a redirect to https:\/\/login\.example\.com\/ .*not 401 → .*address behind the redirect/,
  },
  'a filter that answers 403 for Claude': {
    client: 'claude',
    step: 'as.challenge',
    plant: ({ front }) => (front.handler = at('/mcp', says(403, {}, 'Forbidden'))),
    says: /answers 403 .* → Claude .* signs in after a 401 only/,
  },
  'a handler without auth': {
    step: 'as.challenge',
    plant: ({ front }) => (front.handler = at('/mcp', json({ jsonrpc: '2.0' }))),
    says: /answers 200 without a token.* → everyone gets in/,
  },
  'an address at which there is nothing': {
    step: 'as.challenge',
    more: ({ resource }) => ['--address', resource.replace('/mcp', '/sse')],
    plant: ({ front }) => (front.handler = at('/sse', says(404))),
    says: /404 without a token.* → the address that people give must be the path of the handler/,
  },
  'a challenge of DPoP alone': {
    step: 'as.challenge',
    plant: ({ front }) => (front.handler = at('/mcp', says(401, { 'www-authenticate': 'DPoP algs="ES256"' }))),
    says: /not one of Bearer.* → .*dpop/,
  },
  'a challenge without resource_metadata': {
    step: 'as.challenge',
    plant: ({ front }) => (front.handler = at('/mcp', says(401, { 'www-authenticate': 'Bearer realm="mcp"' }))),
    says: /no resource_metadata/,
  },
  'a challenge that names an internal address': {
    step: 'as.challenge',
    plant: ({ front }) =>
      (front.handler = at('/mcp', says(401, { 'www-authenticate': 'Bearer resource_metadata="http://app:3000/x"' }))),
    says: /http:\/\/app:3000\/x, which is not an https URL → .*--resource/,
  },
  'metadata behind the sign-in of the proxy': {
    step: 'as.metadata',
    plant: ({ front }) => (front.handler = at(METADATA, says(401))),
    says: /no metadata of this server: .*\(401\)/,
  },
  'an address with a slash too many': {
    step: 'as.metadata',
    more: ({ resource }) => ['--address', `${resource}/`],
    plant: () => undefined,
    says: /they differ by a slash at the end → .*RFC 9728/,
  },
  'an address of another path': {
    step: 'as.metadata',
    more: ({ resource }) => ['--address', `${resource}/v2`],
    plant: () => undefined,
    says: /another path → /,
  },
  'metadata of another app on the same host': {
    step: 'as.metadata',
    plant: ({ front }) =>
      (front.handler = at(METADATA, json({ resource: 'https://other.example.com/mcp', authorization_servers: [] }))),
    says: /another host → /,
  },
  'metadata without a provider': {
    step: 'as.metadata',
    plant: ({ front, resource }) => (front.handler = at(METADATA, json({ resource }))),
    says: /authorization_servers .*begins with nothing.* → .*--issuer/,
  },
  'a provider without metadata where clients look': {
    step: 'as.provider',
    plant: (_setup, { front, issuer }) =>
      (front.handler = at(`${new URL(issuer).pathname}/.well-known/openid-configuration`, says(404))),
    says: /no metadata of the provider: .*oauth-authorization-server\/realms\/acme \(404\), .*\(404\), .*\(404\) → /,
  },
  'a start page in place of metadata': {
    step: 'as.provider',
    plant: (_setup, { front }) =>
      (front.handler = at(
        '/.well-known/oauth-authorization-server/realms/acme',
        says(200, { 'content-type': 'text/html' }, '<html>'),
      )),
    says: /no metadata of the provider: \S+ \(200, an HTML page\) → .*ends the search/,
  },
  'a provider that names itself otherwise': {
    step: 'as.provider',
    plant: (_setup, { metadata }) => (metadata['issuer'] = 'https://internal.example.com/realms/acme'),
    says: /names the issuer https:\/\/internal\.example\.com.* → .*RFC 8414 section 3\.3/,
  },
  'a provider without an authorization endpoint': {
    step: 'as.provider',
    plant: (_setup, { metadata }) => delete metadata['authorization_endpoint'],
    says: /there is no authorization_endpoint/,
  },
  'endpoints on plain http': {
    step: 'as.provider',
    plant: (_setup, { metadata }) => (metadata['token_endpoint'] = 'http://idp.example.com/token'),
    says: /token_endpoint is plain http/,
  },
  'a provider without the code flow': {
    step: 'as.provider',
    plant: (_setup, { metadata }) => (metadata['response_types_supported'] = ['id_token']),
    says: /response_types_supported lacks code/,
  },
  'a provider without PKCE': {
    step: 'as.pkce',
    plant: (_setup, { metadata }) => (metadata['code_challenge_methods_supported'] = ['plain']),
    says: /lacks S256 → /,
  },
  'a provider where Cursor cannot register': {
    client: 'cursor',
    step: 'as.registration',
    plant: (_setup, { metadata }) => delete metadata['registration_endpoint'],
    says: /no registration_endpoint → make a .* client by hand \(Keycloak: .*http:\/\/localhost:8787\/callback.*--as-client-id/,
  },
  'a realm that trusts no hosts': {
    step: 'as.registration',
    plant: (_setup, { policy }) => (policy.trustsHosts = false),
    says: /403, insufficient_scope: Policy 'Trusted Hosts' rejected.* → switch it on \(Keycloak: .*Trusted Hosts/,
  },
  'a realm that trusts no hosts, where nothing could be deleted': {
    step: 'as.registration',
    plant: (_setup, { policy }) => Object.assign(policy, { trustsHosts: false, offersDeletion: false }),
    says: /403, .*registration is not open/,
  },
  'a registration endpoint that is not there': {
    step: 'as.registration',
    plant: (_setup, { metadata, issuer }) => (metadata['registration_endpoint'] = `${issuer}/register`),
    says: /answers 404.* → registration_endpoint of the metadata does not work/,
  },
  'a client that was made by hand with another redirect URI': {
    step: 'as.authorization',
    more: () => ['--as-client-id', 'by-hand'],
    plant: (_setup, { byHand }) => byHand.set('by-hand', ['http://localhost:8080/callback']),
    says: /400, an HTML page, redirect_uri\) → register http:\/\/localhost:33419\/callback .*must not compare ports/,
  },
  'a client that may not have the scope': {
    step: 'as.authorization',
    plant: (_setup, { authorize }) =>
      (authorize.answer = (query, res) =>
        res
          .writeHead(302, {
            location: `${query.get('redirect_uri') ?? ''}?error=invalid_scope&error_description=Invalid+scopes`,
          })
          .end()),
    says: /invalid_scope: Invalid scopes\) → the client may not have all of notes:read/,
  },
  'a resource that the provider does not know': {
    step: 'as.authorization',
    plant: (_setup, { authorize }) =>
      (authorize.answer = (query, res) =>
        res.writeHead(302, { location: `${query.get('redirect_uri') ?? ''}?error=invalid_target` }).end()),
    says: /invalid_target\) → the provider has to know http:\/\/\S+\/mcp as a resource/,
  },
  'resource and scope of two resources at Entra': {
    step: 'as.authorization',
    plant: (_setup, { authorize }) =>
      (authorize.answer = (_query, res) => res.writeHead(200).end('<html>Sorry, AADSTS9010010: The resource …</html>')),
    says: /AADSTS9010010\) → .*Application ID URI/,
  },
  'a provider that cannot fetch the document of Claude Code': {
    step: 'as.authorization',
    plant: (_setup, { metadata }) => {
      metadata['client_id_metadata_document_supported'] = true
      metadata['token_endpoint_auth_methods_supported'] = ['none']
      // As Keycloak says it of every client that it does not know.
    },
    says: /the provider refuses .*client-metadata/,
  },
  'no scope, neither in the 401 nor in the metadata': {
    step: 'as.scopes',
    plant: ({ front, resource }, { issuer }) =>
      (front.handler = (req, res, next) => {
        at(METADATA, json({ resource, authorization_servers: [issuer] }))(req, res, () =>
          at(
            '/mcp',
            says(401, { 'www-authenticate': `Bearer resource_metadata="${new URL(METADATA, resource).href}"` }),
          )(req, res, next),
        )
      }),
    says: /names a scope → the token will lack notes:read/,
  },
  'a client of MCP 2025-03-26 that finds no provider': {
    client: 'mcp-2025-03-26',
    step: 'as.provider',
    plant: () => undefined,
    says: /looks nowhere else: .*legacyMetadata/,
  },
  'a provider that keeps what it should delete': {
    step: 'as.removal',
    plant: (_setup, { front, clients }) =>
      (front.handler = (req, res, next) => {
        const isThere = clients().some((id) => req.url?.endsWith(id))
        if (req.method === 'DELETE' && isThere) says(500)(req, res)
        else next()
      }),
    says: /stays \(500\) → delete the client \S+ at the provider/,
  },
}

const REGISTER = '/realms/acme/clients-registrations/openid-connect'

/** A registration endpoint that answers by itself, and asks for a token to delete a client where it deletes any. */
const registering =
  (answer: (req: IncomingMessage, res: ServerResponse) => unknown, deletes = true) =>
  (_setup: WalkSetup, realm: Realm): void => {
    realm.policy.offersDeletion = deletes
    realm.front.handler = (req, res, next) => {
      if (req.method === 'POST' && req.url === REGISTER) answer(req, res)
      else next()
    }
  }
const refusing = (status: number, body: object = {}) => says(status, {}, JSON.stringify(body))
const breaksOff = (req: IncomingMessage) => req.socket.destroy()

/** An authorization endpoint that sends the client back with this error. */
const sendingBack =
  (error: string) =>
  (_setup: WalkSetup, { authorize }: Realm): void => {
    authorize.answer = (query, res) =>
      res.writeHead(302, { location: `${query.get('redirect_uri') ?? ''}?error=${error}` }).end()
  }

/** Metadata of this server that names its resource otherwise. */
const naming =
  (resourceOf: (resource: string) => string | undefined) =>
  ({ front, resource }: WalkSetup, { issuer }: Realm): void => {
    front.handler = at(METADATA, json({ resource: resourceOf(resource), authorization_servers: [issuer] }))
  }

/** A first answer of this server with this challenge. */
const challenging =
  (challenge: (setup: WalkSetup) => string) =>
  (setup: WalkSetup): void => {
    setup.front.handler = at('/mcp', says(401, { 'www-authenticate': challenge(setup) }))
  }

const FURTHER: Readonly<Record<string, Broken>> = {
  'a start page in place of the handler': {
    step: 'as.challenge',
    plant: ({ front }) => (front.handler = at('/mcp', says(200, { 'content-type': 'text/html' }, '<html>'))),
    says: /200, an HTML page without a token.* → take the path out of the sign-in/,
  },
  'a server that breaks the connection off': {
    step: 'as.challenge',
    plant: ({ front }) => (front.handler = at('/mcp', breaksOff)),
    says: /no answer from \S+\/mcp \(ECONNRESET\) → let the server run/,
  },
  'a challenge whose resource_metadata is not a URL': {
    step: 'as.challenge',
    plant: challenging(() => 'Bearer resource_metadata=metadata'),
    says: /resource_metadata is metadata, which is not an https URL/,
  },
  'metadata without a resource': {
    step: 'as.metadata',
    plant: naming(() => undefined),
    says: /resource is not there, .*: that is not a URL → /,
  },
  'metadata of the same host by https': {
    step: 'as.metadata',
    plant: naming((resource) => resource.replace('http:', 'https:')),
    says: /they differ by http and https → /,
  },
  'metadata of a resource with a query': {
    step: 'as.metadata',
    plant: naming((resource) => `${resource}?a=b`),
    says: /another query → /,
  },
  'metadata whose provider is on plain http': {
    step: 'as.metadata',
    plant: ({ front, resource }) =>
      (front.handler = at(METADATA, json({ resource, authorization_servers: ['http://idp.internal'] }))),
    says: /begins with http:\/\/idp\.internal, which is not an https URL/,
  },
  'a provider whose metadata names no issuer': {
    step: 'as.provider',
    plant: (_setup, { metadata }) => delete metadata['issuer'],
    says: /names the issuer not there, and the metadata of this server/,
  },
  'a provider whose metadata is broken off': {
    step: 'as.provider',
    plant: (_setup, { front }) =>
      (front.handler = at('/.well-known/oauth-authorization-server/realms/acme', breaksOff)),
    says: /no metadata of the provider: \S+ \(ECONNRESET\) → /,
  },
  'a registration endpoint on plain http': {
    step: 'as.registration',
    plant: (_setup, { metadata }) => (metadata['registration_endpoint'] = 'http://idp.internal/register'),
    says: /registration_endpoint is http:\/\/idp\.internal\/register → .*must be https/,
  },
  'a registration endpoint that is not a URL': {
    step: 'as.registration',
    plant: (_setup, { metadata }) => (metadata['registration_endpoint'] = '/register'),
    says: /registration_endpoint is \/register → /,
  },
  'a registration that breaks off': {
    step: 'as.registration',
    plant: registering(breaksOff),
    says: /no answer from the registration endpoint \(ECONNRESET\) → let it be reached; or make a/,
  },
  'a registration that takes a redirect URI that is not a URL': {
    step: 'as.registration',
    plant: registering(refusing(201, { client_id: 'made' }), false),
    says: /whose redirect URI is not a URL → .*codes would go anywhere/,
  },
  'a registration that refuses the redirect URIs': {
    step: 'as.registration',
    plant: registering(refusing(400, { error: 'invalid_redirect_uri' })),
    says: /answers 400, invalid_redirect_uri → let the provider accept all of http:\/\/localhost:33419\/callback http:\/\/127\.0\.0\.1:33419\/callback, which Claude Code registers together/,
  },
  'a registration that refuses the rest': {
    step: 'as.registration',
    plant: registering(refusing(400, { error: 'invalid_client_metadata', error_description: 'grant_types' })),
    says: /invalid_client_metadata: grant_types → let the provider accept what Claude Code registers: .*, the scopes notes:read offline_access; or /,
  },
  'a registration that answers without a client': {
    step: 'as.registration',
    plant: registering(refusing(201)),
    says: /answers 201 → registration_endpoint of the metadata does not work/,
  },
  'a registration that answers with a page': {
    step: 'as.registration',
    plant: registering(says(200, { 'content-type': 'text/html' }, '<html>')),
    says: /answers 200, an HTML page → registration_endpoint of the metadata does not work/,
  },
  'a client whose redirect URI is another at its maker': {
    client: 'mistral',
    step: 'as.authorization',
    plant: sendingBack('invalid_redirect_uri'),
    says: /invalid_redirect_uri\) → register https:\/\/callback\.mistral\.ai\/\S+ for the client \(Keycloak: .*Valid redirect URIs\)$/,
  },
  'a client without the code flow': {
    step: 'as.authorization',
    plant: sendingBack('unauthorized_client'),
    says: /unauthorized_client\) → compare the client id; .*the authorization code flow with PKCE \(Keycloak/,
  },
  'an error that no rule knows': {
    step: 'as.authorization',
    plant: sendingBack('server_error'),
    says: /server_error\) → look into the log of the provider; .*and the scopes notes:read offline_access/,
  },
  'an error without a word': {
    step: 'as.authorization',
    plant: (_setup, { authorize }) => (authorize.answer = (_query, res) => res.writeHead(500).end()),
    says: /the provider refuses \S+ \(500\) → look into the log of the provider/,
  },
  'a document that the provider cannot fetch': {
    step: 'as.authorization',
    plant: (setup, realm) => {
      realm.metadata['client_id_metadata_document_supported'] = true
      realm.metadata['token_endpoint_auth_methods_supported'] = ['none']
      sendingBack('invalid_client')(setup, realm)
    },
    says: /invalid_client\) → the provider must be able to fetch https:\/\/claude\.ai\/oauth\/claude-code-client-metadata/,
  },
}

/** A point that fails no walk, the client that walks, the step, and what it says and advises. */
const MENTIONED: Readonly<Record<string, Broken & { readonly options?: McpAuthOptions }>> = {
  'metadata on another host than the address': {
    step: 'as.challenge',
    plant: challenging(
      ({ resource }) =>
        `Bearer resource_metadata="${resource.replace('127.0.0.1', 'localhost').replace('/mcp', METADATA)}"`,
    ),
    says: /^left-out: resource_metadata is http:\/\/localhost:\d+\S+, on another host than .* → some clients follow it/,
  },
  'a challenge without a scope': {
    step: 'as.challenge',
    plant: challenging(({ resource }) => `Bearer resource_metadata="${new URL(METADATA, resource).href}"`),
    says: /^passed: 401, resource_metadata \S+ → $/,
  },
  'metadata at this server that names no issuer': {
    client: 'mcp-2025-03-26',
    step: 'as.provider',
    plant: ({ front }, { metadata }) =>
      (front.handler = at('/.well-known/oauth-authorization-server', json({ ...metadata, issuer: undefined }))),
    says: /^passed: http\S+\/\.well-known\/oauth-authorization-server → $/,
  },
  'a provider that does not say whether it has PKCE': {
    step: 'as.pkce',
    plant: (_setup, { metadata }) => delete metadata['code_challenge_methods_supported'],
    says: /^left-out: code_challenge_methods_supported is not there → .*have it list S256/,
  },
  'a challenge of another scope than is required': {
    step: 'as.scopes',
    plant: challenging(
      ({ resource }) => `Bearer scope="other", resource_metadata="${new URL(METADATA, resource).href}"`,
    ),
    says: /^left-out: it asks for other offline_access, without notes:read → unless scopeSatisfies/,
  },
  'no scope at all, for Claude': {
    client: 'claude',
    step: 'as.scopes',
    options: { requiredScopes: [] },
    plant: () => undefined,
    says: /^left-out: neither .*: it asks for every one that the provider lists → name the scopes/,
  },
  'no scope at all, for Codex': {
    client: 'codex',
    step: 'as.scopes',
    options: { requiredScopes: [] },
    plant: () => undefined,
    says: /^left-out: neither .*: it asks for none → name the scopes/,
  },
  'no scope at all, for a client that asks for none': {
    client: 'mcp-2025-03-26',
    step: 'as.scopes',
    options: { requiredScopes: [], legacyMetadata: true },
    plant: () => undefined,
    says: /^left-out: .*reads no scope from a 401.* → have the provider grant what tools need to clients/,
  },
  'a provider that does not name itself to ChatGPT': {
    client: 'chatgpt',
    step: 'as.registration',
    plant: (_setup, { metadata }) => {
      metadata['client_id_metadata_document_supported'] = true
      delete metadata['authorization_response_iss_parameter_supported']
    },
    says: /^left-out: ChatGPT names itself by a document of the connector's own.* → .*RFC 9207.*always https:\/\/chatgpt\.com\/oauth\/client\.json/,
  },
  'too many registrations just now': {
    step: 'as.registration',
    plant: registering(says(429)),
    says: /^left-out: the registration endpoint answers 429 → .*try again later/,
  },
  'a refusal of a made-up redirect URI without a word': {
    step: 'as.registration',
    plant: registering(says(400), false),
    says: /^passed: registration is open: .*the provider says 400 → nothing was registered/,
  },
  'an authorization endpoint that only browsers reach': {
    step: 'as.authorization',
    plant: (_setup, { authorize }) => (authorize.answer = (_query, res) => res.destroy()),
    says: /^left-out: the authorization endpoint cannot be reached from here \(ECONNRESET\), as browsers must.* → open that/,
  },
  'a sign-in that the provider only asks for': {
    step: 'as.authorization',
    plant: sendingBack('login_required'),
    says: /^passed: the provider goes on to the sign-in/,
  },
}

describe('a client comes through, and the doctor mentions', () => {
  it.each(Object.entries(MENTIONED))(
    '%s',
    async (_name, { client = 'claude-code', step, plant, says: words, options }) => {
      const realm = await startRealm()
      const setup = await setUpWalk(realm, options)
      await plant(setup, realm)
      const { failed, finding } = await setup.walk(client)
      const { status, found, fix = '' } = finding(step)

      expect(failed).not.toContain(step)
      expect(`${status}: ${found} → ${fix}`).toMatch(words)
    },
  )

  it('an address with a fragment, which no client takes', async () => {
    const realm = await startRealm()
    const { walk, resource } = await setUpWalk(realm)

    expect((await walk('codex', ['--address', `${resource}#a`])).finding('as.address')).toMatchObject({
      status: 'failed',
      found: 'the address has a fragment',
    })
  })
})

describe('a client fails, and the doctor says where and what to set:', () => {
  it.each(Object.entries({ ...BROKEN, ...FURTHER }))(
    '%s',
    async (_name, { client = 'claude-code', step, plant, says: words, more }) => {
      const realm = await startRealm()
      const setup = await setUpWalk(realm)
      await plant(setup, realm)
      const { failed, finding, status } = await setup.walk(client, more?.(setup, realm))
      const { found, fix = '' } = finding(step)

      expect({ status, first: failed[0] }).toEqual({ status: 1, first: step })
      expect(`${found} → ${fix}`).toMatch(words)
      if (step !== 'as.removal') expect(realm.clients()).toEqual([])
    },
  )

  it('a resource that a real oidc-provider does not know', async () => {
    const provider = await startOidcProvider({ knows: () => false })
    const { walk } = await setUpWalk(provider)
    const { failed, finding } = await walk('inspector')

    expect(failed).toEqual(['as.authorization'])
    expect(finding('as.authorization').fix).toMatch(/has to know .* as a resource/)
    expect(provider.clients()).toEqual([])
  })

  it('a scheme of Cursor that a real oidc-provider does not take', async () => {
    const provider = await startOidcProvider()
    const { walk } = await setUpWalk(provider)
    const { failed, finding } = await walk('cursor')

    expect(failed).toEqual([])
    expect(finding('as.registration').found).toContain('Cursor')
  })

  it('a real oidc-provider that wants a token of those who register', async () => {
    const provider = await startOidcProvider({
      features: { registration: { enabled: true, initialAccessToken: 'a-token-for-registration' } } as never,
    })
    const { walk } = await setUpWalk(provider)
    const { failed, finding } = await walk('codex')

    expect(failed).toEqual(['as.registration'])
    expect(finding('as.registration').found).toMatch(/registration is not open to Codex/)
  })

  it('a real oidc-provider without deletion: registration is open, and nothing is left there', async () => {
    const provider = await startOidcProvider({ features: { registrationManagement: { enabled: false } } as never })
    const { walk } = await setUpWalk(provider)
    const { failed, finding } = await walk('codex')

    expect(failed).toEqual([])
    expect(finding('as.registration').fix).toMatch(/^nothing was registered/)
    expect(provider.clients()).toEqual([])
  })

  it.each([
    ['https://mcp.example.com/mcp', 'passed'],
    ['http://mcp.example.com/mcp', 'failed'],
    ['https://10.1.2.3/mcp', 'failed'],
    ['https://[fd00::1]/mcp', 'failed'],
    ['https://mcp.corp.internal/mcp', 'failed'],
    ['https://mcp/mcp', 'failed'],
    ['http://localhost:3000/mcp', 'left-out'],
  ])('%s, given to Claude', async (address, status) => {
    const realm = await startRealm()
    const { walk } = await setUpWalk(realm)
    // Nothing is asked of it that counts here.
    const { finding } = await walk('claude', ['--address', address, '--timeout', '1'])

    expect(finding('as.address').status).toBe(status)
  })
})

describe('the command line of a walk', () => {
  it.each([
    [['--as', 'clippy'], /--as must be one of claude, claude-code, chatgpt/],
    [['--address', 'https://h/mcp'], /go with --as/],
    [['--as-client-id', 'x'], /go with --as/],
    [['--as', 'claude', '--address', 'mcp.example.com'], /must be an http or https URL/],
  ])('refuses %j', async (args, complaint) => {
    const outcome = await runIn(args)

    expect(outcome.status).toBe(2)
    expect(outcome.complaint).toMatch(complaint)
  })

  it('names the clients in its help', async () => {
    const { output } = await runIn(['--help'])

    for (const id of MCP_CLIENT_IDS) expect(output).toContain(id)
  })

  it('leaves every step out where the configuration cannot be read', async () => {
    const { status, output } = await runIn(['--as', 'claude', '--json'])
    const { checks } = JSON.parse(output) as { checks: readonly { id: string; status: string }[] }

    expect(status).toBe(1)
    expect(checks.map(({ id }) => id)).toEqual(['config', ...WALK_IDS])
  })
})
