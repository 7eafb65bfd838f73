import * as oauth from 'oauth4webapi'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { ConfigurationError, UpstreamUnavailableError } from '../errors/errors.js'
import { isLoopback, isSecure } from '../config/values.js'
import type { IdpFetch, Transport } from '../transport/transport.js'
import { createFetchedDocument } from '../transport/fetched-document.js'
import { PLAIN_HTTP_IS_CHECKED } from './plain-http.js'
import { quirksOf } from '../presets.js'
import { nameOf } from '../transport/url-name.js'

/** What is known of the authorization server: its metadata (RFC 8414, OIDC Discovery), with the operator's overrides. */
export interface Discovery {
  /** The issuer identifier: at once when it is configured, else from the document. */
  readonly issuer: () => string | Promise<string>
  readonly jwksUri: () => Promise<string>
  /** Metadata with `token_endpoint`. */
  readonly forTokenRequests: () => Promise<oauth.AuthorizationServer>
  /** Metadata with `introspection_endpoint`, or undefined when the server has none. */
  readonly forIntrospection: () => Promise<oauth.AuthorizationServer | undefined>
  /** Metadata with `revocation_endpoint`, or undefined when the server has none. */
  readonly forRevocation: () => Promise<oauth.AuthorizationServer | undefined>
  /** Metadata with `authorization_endpoint` and `token_endpoint`. */
  readonly forAuthorization: () => Promise<oauth.AuthorizationServer>
}

/** Milliseconds after which the document is fetched anew; the old one serves on while that goes on, or fails. */
const MAX_AGE = 3_600_000

export function createDiscovery(config: Config, transport: Transport, clock: Clock): Discovery {
  const { endpoints } = config
  const overrides: Partial<oauth.AuthorizationServer> = {
    ...(endpoints.jwksUri && { jwks_uri: endpoints.jwksUri.href }),
    ...(endpoints.tokenEndpoint && { token_endpoint: endpoints.tokenEndpoint.href }),
    ...(endpoints.introspectionEndpoint && { introspection_endpoint: endpoints.introspectionEndpoint.href }),
    ...(endpoints.revocationEndpoint && { revocation_endpoint: endpoints.revocationEndpoint.href }),
    ...(endpoints.authorizationEndpoint && { authorization_endpoint: endpoints.authorizationEndpoint.href }),
  }
  /** The server that grants are got at, where that is not the issuer of the MCP tokens. */
  const ofGrants = serverOfGrants(config)
  const kept = createFetchedDocument(async () => ({ ...(await fetchMetadata(config, transport)), ...overrides }), clock)

  async function metadata(): Promise<oauth.AuthorizationServer> {
    const known = kept.known()
    if (known === undefined) {
      kept.coolDown.check()
      return kept.refresh()
    }
    if (clock.monotonic() - known.fetchedAt > MAX_AGE && !kept.coolDown.active()) kept.refresh().catch(() => undefined)
    return known.value
  }

  return {
    issuer: () => config.issuer ?? metadata().then((document) => document.issuer),
    async jwksUri() {
      const uri = overrides.jwks_uri ?? (await metadata()).jwks_uri
      if (uri === undefined) throw missing('jwks_uri', 'authorizationServer.jwksUri')
      return uri
    },
    async forTokenRequests() {
      if (ofGrants !== undefined) return { ...ofGrants, ...overrides }
      // With an override nothing is discovered: it may be there because discovery does not work.
      if (config.issuer !== undefined && overrides.token_endpoint !== undefined) {
        return { issuer: config.issuer, ...overrides }
      }
      const document = await metadata()
      if (document.token_endpoint === undefined) throw missing('token_endpoint', 'authorizationServer.tokenEndpoint')
      return document
    },
    forIntrospection: () => withOptionalEndpoint('introspection_endpoint'),
    forRevocation: () => withOptionalEndpoint('revocation_endpoint'),
    async forAuthorization() {
      if (ofGrants !== undefined) return { ...ofGrants, ...overrides }
      const { authorization_endpoint: authorize, token_endpoint: token } = overrides
      if (config.issuer !== undefined && authorize !== undefined && token !== undefined) {
        return { issuer: config.issuer, ...overrides }
      }
      const document = await metadata()
      for (const field of ['authorization_endpoint', 'token_endpoint'] as const) {
        if (document[field] === undefined) throw missing(field, `authorizationServer.${OVERRIDES[field]}`)
      }
      return document
    },
  }

  async function withOptionalEndpoint(
    field: 'introspection_endpoint' | 'revocation_endpoint',
  ): Promise<oauth.AuthorizationServer | undefined> {
    // With an override nothing is discovered, as above.
    if (config.issuer !== undefined && overrides[field] !== undefined) return { issuer: config.issuer, ...overrides }
    const document = await metadata()
    return document[field] === undefined ? undefined : document
  }
}

/** What would be the metadata of a server that has none. Its name is that of the Nextcloud it is part of. */
function serverOfGrants({ nextcloud, grants }: Config): oauth.AuthorizationServer | undefined {
  const { endpoints } = quirksOf(nextcloud?.preset)
  if (nextcloud === undefined || grants === undefined || endpoints === undefined) return undefined
  return {
    issuer: nextcloud.url.href,
    authorization_endpoint: nextcloud.base + endpoints.authorization,
    token_endpoint: nextcloud.base + endpoints.token,
  }
}

/** Metadata field → the option that replaces it. */
const OVERRIDES = {
  jwks_uri: 'jwksUri',
  token_endpoint: 'tokenEndpoint',
  introspection_endpoint: 'introspectionEndpoint',
  revocation_endpoint: 'revocationEndpoint',
  authorization_endpoint: 'authorizationEndpoint',
} as const

function missing(field: string, option: string): ConfigurationError {
  return new ConfigurationError(`The metadata of the authorization server has no ${field}; set ${option}`, option)
}

async function fetchMetadata(config: Config, transport: Transport): Promise<oauth.AuthorizationServer> {
  const document = await transport.call('discovery', 'always', async (fetch) => {
    const asked: string[] = []
    const response = await fetchDocument(config, (url, init) => {
      asked.push(nameOf(url))
      return fetch(url, init)
    })
    try {
      const issuer: unknown = config.issuer ?? ((await response.clone().json()) as { issuer: unknown }).issuer
      if (typeof issuer !== 'string' || !URL.canParse(issuer)) throw new TypeError('no issuer')
      return await oauth.processDiscoveryResponse(new URL(issuer), response)
    } catch (error) {
      throw asDiscoveryFailure(error, config, asked, response.status)
    }
  })
  // oauth4webapi compares URLs, RFC 8414 §3.3 wants the very same string.
  if (config.issuer !== undefined && document.issuer !== config.issuer) throw otherIssuer(config, document.issuer)
  if (!isSecure(new URL(document.issuer))) {
    throw new ConfigurationError('The issuer in the discovery document is plain http off loopback', 'issuer')
  }
  checkEndpoints(document, config)
  return document
}

async function fetchDocument(config: Config, fetch: IdpFetch): Promise<Response> {
  if (config.discoveryUrl !== undefined) {
    return fetch(config.discoveryUrl.href, { method: 'GET', headers: { accept: 'application/json' } })
  }
  const issuer = new URL(config.issuer ?? '')
  const request = (algorithm: 'oidc' | 'oauth2'): Promise<Response> =>
    oauth.discoveryRequest(issuer, {
      algorithm,
      [oauth.customFetch]: fetch,
      ...PLAIN_HTTP_IS_CHECKED,
    })
  const response = await request('oidc')
  return response.status === 404 ? request('oauth2') : response
}

function asDiscoveryFailure(error: unknown, config: Config, asked: readonly string[], httpStatus: number): Error {
  if (error instanceof oauth.OperationProcessingError && error.code === oauth.JSON_ATTRIBUTE_COMPARISON) {
    const { body } = error.cause as { body: { issuer: string } }
    return otherIssuer(config, body.issuer)
  }
  // A 404 too: it is what a reverse proxy answers while the server behind it is down.
  const found = httpStatus === 200 ? 'answered with something that is not metadata' : `answered ${httpStatus}`
  const option = config.discoveryUrl === undefined ? 'issuer' : 'discoveryUrl'
  return new UpstreamUnavailableError(`${asked.join(' and ')} ${found}: check ${option}`, { httpStatus })
}

function otherIssuer(config: Config, found: string): ConfigurationError {
  const named = found.replace(/[^\x21-\x7E]/g, '').slice(0, 200)
  return new ConfigurationError(
    `The discovery document names the issuer ${named}, configured is ${config.issuer ?? ''}; they have to be the same string`,
    config.discoveryUrl === undefined ? 'issuer' : 'discoveryUrl',
  )
}

/**
 * Plain http is for an issuer on loopback, and for the host of a `discoveryUrl` that the operator wrote so: a document must not
 * lead away from https.
 */
function checkEndpoints(document: oauth.AuthorizationServer, config: Config): void {
  const issuer = new URL(document.issuer)
  for (const field of Object.keys(OVERRIDES) as (keyof typeof OVERRIDES)[]) {
    const value = document[field]
    if (value === undefined || config.endpoints[OVERRIDES[field]] !== undefined) continue
    if (!URL.canParse(value)) {
      throw new UpstreamUnavailableError(`The metadata of the authorization server has a ${field} that is not a URL`)
    }
    const url = new URL(value)
    const { protocol } = url
    const plainAsNamed = protocol === 'http:' && url.origin === config.discoveryUrl?.origin
    const plainAsIssuer = protocol === 'http:' && isLoopback(url) && issuer.protocol === 'http:'
    if (protocol !== 'https:' && !plainAsNamed && !plainAsIssuer) {
      throw new ConfigurationError(`The metadata of the authorization server has a ${field} that is not https`)
    }
  }
}
