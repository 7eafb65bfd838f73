import type { AuthorizationServer } from 'oauth4webapi'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { ConfigurationError } from '../errors/errors.js'
import { quirksOf } from '../presets.js'
import { createFetchedDocument } from '../transport/fetched-document.js'
import type { Transport } from '../transport/transport.js'
import { fetchMetadata, OVERRIDES, type EndpointField } from './metadata.js'

/** The metadata of the authorization server (RFC 8414, OIDC Discovery), with the operator's overrides. */
export interface Discovery {
  /** The issuer identifier: at once when it is configured, else from the document. */
  readonly issuer: () => string | Promise<string>
  /** The document as the server publishes it. */
  readonly document: () => Promise<AuthorizationServer>
  /** Fetches the document if that failed and it is needed, also during a cool-down. Rejects as `document` does. */
  readonly lookAgain: () => Promise<void>
  readonly jwksUri: () => Promise<string>
  /** Metadata with `token_endpoint`. */
  readonly forTokenRequests: () => Promise<AuthorizationServer>
  /** Metadata with `introspection_endpoint`, or undefined when the server has none. */
  readonly forIntrospection: () => Promise<AuthorizationServer | undefined>
  /** Metadata with `revocation_endpoint`, or undefined when the server has none. */
  readonly forRevocation: () => Promise<AuthorizationServer | undefined>
  /** Metadata with `authorization_endpoint` and `token_endpoint`. */
  readonly forAuthorization: () => Promise<AuthorizationServer>
}

/** Milliseconds after which the document is fetched again; the old one serves on meanwhile, and after a failure. */
const DOCUMENT_MAX_AGE = 3_600_000

export function createDiscovery(config: Config, transport: Transport, clock: Clock): Discovery {
  const overrides = overridesOf(config)
  const ofGrants = serverOfGrants(config, overrides)
  const kept = createFetchedDocument(() => fetchMetadata(config, transport), clock, transport.coolsDown)

  async function document(): Promise<AuthorizationServer> {
    const known = kept.known()
    if (known === undefined) {
      kept.coolDown.check()
      return kept.refresh()
    }
    if (clock.monotonic() - known.fetchedAt > DOCUMENT_MAX_AGE && !kept.coolDown.active())
      kept.refresh().catch(() => undefined)
    return known.value
  }

  const metadata = async (): Promise<AuthorizationServer> => ({ ...(await document()), ...overrides })

  /** With overrides nothing is discovered: they may be there because discovery does not work. */
  async function metadataFor(...fields: EndpointField[]): Promise<AuthorizationServer> {
    const known = config.issuer !== undefined && fields.every((field) => overrides[field] !== undefined)
    return known ? { issuer: config.issuer, ...overrides } : metadata()
  }

  return {
    issuer: () => config.issuer ?? document().then(({ issuer }) => issuer),
    document,
    lookAgain: async () => {
      if (kept.known() === undefined && kept.coolDown.failing()) await kept.refresh()
    },
    jwksUri: async () => overrides.jwks_uri ?? need('jwks_uri', await metadata()),
    forTokenRequests: async () => ofGrants ?? withFields(await metadataFor('token_endpoint'), 'token_endpoint'),
    forIntrospection: async () => ifOffered('introspection_endpoint', await metadataFor('introspection_endpoint')),
    forRevocation: async () => ifOffered('revocation_endpoint', await metadataFor('revocation_endpoint')),
    forAuthorization: async () => {
      const fields = ['authorization_endpoint', 'token_endpoint'] as const
      return ofGrants ?? withFields(await metadataFor(...fields), ...fields)
    },
  }
}

function overridesOf({ endpoints }: Config): Partial<AuthorizationServer> {
  const given = Object.entries(OVERRIDES).flatMap(([field, option]) => {
    const url = endpoints[option]
    return url === undefined ? [] : [[field, url.href]]
  })
  return Object.fromEntries(given) as Partial<Record<EndpointField, string>>
}

/**
 * Returns the server that gives grants, if it is not the issuer of the MCP tokens and has no metadata. It bears the name of the
 * Nextcloud that it is part of.
 */
function serverOfGrants(
  { nextcloud, grants }: Config,
  overrides: Partial<AuthorizationServer>,
): AuthorizationServer | undefined {
  const { endpoints } = quirksOf(nextcloud?.preset)
  if (nextcloud === undefined || grants === undefined || endpoints === undefined) return undefined
  return {
    issuer: nextcloud.url.href,
    authorization_endpoint: nextcloud.publicBase + endpoints.authorization,
    token_endpoint: nextcloud.base + endpoints.token,
    ...overrides,
  }
}

function ifOffered(field: EndpointField, document: AuthorizationServer): AuthorizationServer | undefined {
  return document[field] === undefined ? undefined : document
}

function withFields(document: AuthorizationServer, ...fields: EndpointField[]): AuthorizationServer {
  for (const field of fields) need(field, document)
  return document
}

/** @throws {ConfigurationError} the document lacks the endpoint */
function need(field: EndpointField, document: AuthorizationServer): string {
  const option = `authorizationServer.${OVERRIDES[field]}`
  const message = `The metadata of the authorization server has no ${field}; set ${option}`
  const url = document[field]
  if (url === undefined) throw new ConfigurationError(message, option)
  return url
}
