import { randomBytes } from 'node:crypto'
import type { RequestListener } from 'node:http'
import type Provider from 'oidc-provider'
import type { Configuration } from 'oidc-provider'
import { createMemoryAdapter } from 'oidc-provider/lib/adapters/memory_adapter.js'
import { InvalidTarget } from 'oidc-provider/lib/helpers/errors.js'
import { Provider as OidcProvider } from 'oidc-provider/lib/provider.js'
import { generateSigningKey, signAccessToken, verifyAccessToken, type SigningKey } from './access-tokens.js'
import { listenOnLoopback } from './loopback.js'
import { escapeHtml, page } from './page.js'
import { interactions, signInPages } from './sign-in-pages.js'
import { registerTokenExchange, tokenExchangeGrantType } from './token-exchange-grant.js'

const mcpTokenLifetime = 600
const nextcloudTokenLifetime = 300
/** Nextcloud's client id is no URI, and RFC 8707 wants one. */
const nextcloudResource = 'urn:example:nextcloud'

export interface IdentityProvider {
  readonly issuer: string
  /** The MCP server's own client, with which it exchanges tokens. The secret is new with every start. */
  readonly client: { readonly clientId: string; readonly clientSecret: string }
  /** Makes an MCP server known, so that clients may ask for tokens for it (RFC 8707). */
  registerResource(resource: string, scopes: readonly string[]): void
  /** Lets the MCP server's own client send people here and have them back at this URL, to connect Nextcloud. */
  registerConnectCallback(redirectUri: string): void
  /** The resource (RFC 8707) that this client names to get tokens for Nextcloud. */
  readonly nextcloudResource: string
  /** An access token without a sign-in, for tests that need many users. */
  issueAccessToken(token: {
    readonly subject: string
    readonly resource: string
    readonly scope: string
    /** Seconds; default 600. */
    readonly lifetime?: number
  }): Promise<string>
  /** Signs with a new key from now on; the old one stays published, as tokens signed with it are still alive. */
  rotateSigningKey(): Promise<void>
  /** How many tokens were exchanged so far. */
  exchanges(): number
  close(): Promise<void>
}

/**
 * An OpenID provider and OAuth authorization server in one, with the parts that an MCP set-up needs: dynamic registration of
 * public clients (RFC 7591), PKCE, resource indicators with one JWT audience per MCP server (RFC 8707), and token
 * exchange for Nextcloud (RFC 8693).
 *
 * @param options.people who can sign in; default alice and bob
 * @param options.nextcloudAudience Nextcloud's client id at this provider; default `nextcloud`
 */
export async function startIdentityProvider({
  port = 0,
  people = ['alice', 'bob'],
  nextcloudAudience = 'nextcloud',
}: {
  readonly port?: number
  readonly people?: readonly string[]
  readonly nextcloudAudience?: string
} = {}): Promise<IdentityProvider> {
  const client = { clientId: 'mcp-server', clientSecret: randomBytes(32).toString('base64url') }
  const resources = new Map<string, readonly string[]>()
  const redirectUris: string[] = []
  const adapter = createMemoryAdapter()
  const cookieKeys = [randomBytes(32).toString('base64url')]
  let signingKey = await generateSigningKey()
  let signingKeys: readonly SigningKey[] = [signingKey]
  let exchanges = 0

  const server = await listenOnLoopback(port)
  const issuer = server.origin
  server.serve(createListener())

  return {
    issuer,
    client,
    registerResource(resource, scopes) {
      resources.set(resource, scopes)
    },
    registerConnectCallback(redirectUri) {
      redirectUris.push(redirectUri)
      // oidc-provider reads its own clients once.
      server.serve(createListener())
    },
    nextcloudResource,
    issueAccessToken: ({ subject, resource, scope, lifetime = mcpTokenLifetime }) =>
      signAccessToken(signingKey, { issuer, subject, audience: resource, clientId: 'minted', scope, lifetime }),
    async rotateSigningKey() {
      signingKey = await generateSigningKey()
      signingKeys = [signingKey, ...signingKeys]
      // oidc-provider reads its keys once. Sessions, clients and grants live in the adapter, so a successor has them all.
      server.serve(createListener())
    },
    exchanges: () => exchanges,
    close: () => server.close(),
  }

  function createListener(): RequestListener {
    const provider = new OidcProvider(issuer, configuration())
    provider.use(signInPages(provider, people))
    registerExchange(provider)
    const handle = provider.callback()
    return (req, res) => void handle(req, res)
  }

  function configuration(): Configuration {
    const connects = redirectUris.length > 0
    return {
      adapter,
      jwks: { keys: signingKeys.map(({ privateJwk }) => ({ ...privateJwk })) },
      cookies: { keys: cookieKeys },
      clients: [
        {
          client_id: client.clientId,
          client_secret: client.clientSecret,
          grant_types: [tokenExchangeGrantType, ...(connects ? ['authorization_code', 'refresh_token'] : [])],
          redirect_uris: [...redirectUris],
          response_types: connects ? ['code'] : [],
        },
      ],
      clientDefaults: { id_token_signed_response_alg: 'ES256' },
      clientBasedCORS: (_ctx, origin, { redirectUris = [] }) =>
        redirectUris.some((redirectUri) => new URL(redirectUri).origin === origin),
      // An MCP client registers with the scope it needs first and asks for more later. RFC 7591 §2 lets the server drop
      // the value; keeping it would make every step-up fail.
      extraClientMetadata: {
        properties: ['scope'],
        validator: (_ctx, _name, _value, metadata) => {
          delete metadata.scope
        },
      },
      features: {
        devInteractions: { enabled: false },
        registration: { enabled: true },
        resourceIndicators: {
          enabled: true,
          // A client that names no resource gets a token for the first MCP server, never one that fits everywhere.
          defaultResource: (_ctx, _client, oneOf) => oneOf?.[0] ?? [...resources.keys()][0] ?? [],
          getResourceServerInfo(_ctx, resource) {
            const isNextcloud = resource === nextcloudResource
            const scopes = isNextcloud ? [] : resources.get(resource)
            if (scopes === undefined) throw new InvalidTarget('unknown resource')
            return {
              audience: isNextcloud ? nextcloudAudience : resource,
              scope: scopes.join(' '),
              accessTokenFormat: 'jwt',
              accessTokenTTL: isNextcloud ? nextcloudTokenLifetime : mcpTokenLifetime,
              jwt: { sign: { alg: 'ES256' } },
            }
          },
          useGrantedResource: () => true,
        },
        revocation: { enabled: true, allowedPolicy: (_ctx, { clientId }, token) => token.clientId === clientId },
        rpInitiatedLogout: { enabled: false },
      },
      findAccount: (_ctx, id) => (people.includes(id) ? { accountId: id, claims: () => ({ sub: id }) } : undefined),
      interactions,
      pkce: { required: () => true },
      responseTypes: ['code'],
      rotateRefreshToken: true,
      renderError(ctx, { error, error_description: description = '' }) {
        ctx.type = 'html'
        ctx.body = page(error, `<p>${escapeHtml(description)}</p>`)
      },
      ttl: {
        AccessToken: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? mcpTokenLifetime,
        Grant: 86_400,
        IdToken: mcpTokenLifetime,
        Interaction: 600,
        RefreshToken: 86_400,
        Session: 86_400,
      },
    }
  }

  function registerExchange(provider: Provider): void {
    registerTokenExchange(provider, {
      audiences: [nextcloudAudience],
      async readSubjectToken(token) {
        const { sub, aud = [], ...claims } = await verifyAccessToken(token, signingKeys, issuer)
        const scope = typeof claims['scope'] === 'string' ? claims['scope'] : ''
        return { subject: sub, audience: [aud].flat(), scopes: scope.split(' ') }
      },
      // Every MCP server here is operated by the one confidential client.
      isMeantFor: (audience, clientId) =>
        clientId === client.clientId && audience.some((member) => member === clientId || resources.has(member)),
      async issue({ subject, audience, clientId, scope }) {
        exchanges += 1
        const lifetime = nextcloudTokenLifetime
        const claims = { issuer, subject, audience, clientId, scope, lifetime }
        return { accessToken: await signAccessToken(signingKey, claims), expiresIn: lifetime }
      },
    })
  }
}
