import { json, readRequest, type Asked, type Told } from './nextcloud/exchange.js'
import { createFailures, serveOnLoopback } from './loopback.js'
import { createGrants } from './provider-grants.js'
import { ALG, createSigner, type FakeProviderParty, type FakeTokenOptions } from './provider-tokens.js'

export type { FakeProviderParty, FakeTokenOptions } from './provider-tokens.js'

/** Options of {@link fakeProvider}. */
export interface FakeProviderOptions {
  /** The MCP server that tokens are for: their `aud`, and `resource` of `mcpAuth()`. Default: `https://mcp.example.com/mcp`. */
  readonly resource?: string | undefined
  /** The audience that tokens are exchanged for, and that Nextcloud wants. Default: `nextcloud`. */
  readonly audience?: string | undefined
  /** The `sub` of who is signed in at the provider, for its authorization endpoint. Default: `alice`. */
  readonly user?: string | undefined
}

/** Claims of a token. One that is `undefined` is left out. Every other name is a claim of its own. */
export interface FakeTokenClaims {
  /** Default: `alice`. */
  readonly sub?: string | undefined
  /** Default: the resource. */
  readonly aud?: string | readonly string[] | undefined
  /** Scopes with spaces between them. Default: none. */
  readonly scope?: string | undefined
  /** The MCP client. Default: `mcp-client`. */
  readonly client_id?: string | undefined
  readonly [claim: string]: unknown
}

/** An OpenID provider for tests, as {@link fakeProvider} starts it. */
export interface FakeProvider {
  readonly issuer: string
  /** What `mcpAuth()` needs to know of it. */
  readonly options: FakeProviderParty
  /** The audience that tokens are exchanged for. */
  readonly audience: string
  /** Returns an MCP token, good unless claims or options say otherwise. */
  readonly token: (claims?: FakeTokenClaims, options?: FakeTokenOptions) => Promise<string>
  /** Signs another person in at the provider, by their `sub`. */
  readonly signIn: (sub: string) => void
  /** Ends the refresh tokens of a person, as an administrator does who ends their sessions. */
  readonly endSessions: (sub: string) => void
  /**
   * Lets the token endpoint fail.
   *
   * @param status from 400 to 599; 400 is `invalid_grant`
   * @param times requests that fail. Default: 1. A 429 and a 5xx are tried again within a call, so that one alone may not show.
   * @throws RangeError for another status
   */
  readonly failNext: (status: number, times?: number) => void
  /** Stops it, and ends its connections. */
  readonly close: () => Promise<void>
}

const RESOURCE = 'https://mcp.example.com/mcp'

/**
 * Starts an OpenID provider on 127.0.0.1, on a port that is free, for the tests of an app. It publishes its metadata and its keys,
 * mints MCP tokens, exchanges them for tokens of Nextcloud (RFC 8693), and has the code flow with PKCE and refresh tokens that
 * rotate. Whoever comes to its authorization endpoint is signed in at once. It keeps no process alive.
 *
 * @throws Error where `NODE_ENV` is `production`
 *
 * @example
 * import { mcpAuth } from 'mcp-nextcloud-auth'
 * import { fakeNextcloud, fakeProvider } from 'mcp-nextcloud-auth/testing'
 *
 * const provider = await fakeProvider()
 * const nextcloud = await fakeNextcloud({ provider })
 * const auth = mcpAuth({ ...provider.options, nextcloud: { url: nextcloud.url } })
 * const info = await auth.verify(await provider.token({ sub: 'alice', scope: 'notes:read' }))
 */
export async function fakeProvider({
  resource = RESOURCE,
  audience = 'nextcloud',
  user = 'alice',
}: FakeProviderOptions = {}): Promise<FakeProvider> {
  const failures = createFailures()
  const { url, close } = await serveOnLoopback('fakeProvider', async (req) => answer(await readRequest(req)))
  const options = {
    issuer: url,
    resource,
    clientId: 'mcp-server',
    clientSecret: 'secret-of-a-test',
    scopesSupported: ['openid'],
  }

  const { sign, publicKey, jwk } = await createSigner(url)
  const grants = createGrants({ options, audience, sign, publicKey, user })

  async function answer(asked: Asked): Promise<Told> {
    if (/^\/\.well-known\/(?:openid-configuration|oauth-authorization-server)$/.test(asked.path))
      return json(200, metadataOf(url))
    if (asked.path === '/jwks') return json(200, { keys: [jwk] })
    if (asked.path === '/authorize') return grants.authorize(asked)
    if (asked.path !== '/token' || asked.method !== 'POST') return json(404, { error: 'not_found' })
    const failure = failures.next()
    return failure === undefined ? grants.token(asked) : json(failure, { error: errorOf(failure) })
  }

  return {
    issuer: url,
    options,
    audience,
    token: (claims = {}, more) =>
      sign('at+jwt', { sub: 'alice', aud: resource, client_id: 'mcp-client', ...claims }, more),
    signIn: grants.signIn,
    endSessions: grants.endSessions,
    failNext: (status, times = 1) => failures.add(status, times),
    close,
  }
}

const ERRORS: Readonly<Record<number, string>> = { 400: 'invalid_grant', 401: 'invalid_client' }

const errorOf = (status: number): string =>
  ERRORS[status] ?? (status < 500 ? 'invalid_request' : 'temporarily_unavailable')

const metadataOf = (issuer: string) => ({
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/jwks`,
  response_types_supported: ['code'],
  grant_types_supported: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:token-exchange'],
  code_challenge_methods_supported: ['S256'],
  token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
  authorization_response_iss_parameter_supported: true,
  id_token_signing_alg_values_supported: [ALG],
  subject_types_supported: ['public'],
  scopes_supported: ['openid', 'offline_access'],
})
