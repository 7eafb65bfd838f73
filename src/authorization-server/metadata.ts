import * as oauth from 'oauth4webapi'
import type { Config } from '../config/config.js'
import { named } from '../config/declarations.js'
import { isIssuerTemplate, LIST_TENANTS } from '../config/issuer-template.js'
import { isLoopback, isSecure } from '../config/values.js'
import { ConfigurationError, UpstreamUnavailableError } from '../errors/errors.js'
import type { IdpFetch, Transport } from '../transport/transport.js'
import { nameOf } from '../transport/url-name.js'
import { requestOptions } from './request-options.js'

/** Metadata field → the option that replaces it. */
export const OVERRIDES = {
  jwks_uri: 'jwksUri',
  token_endpoint: 'tokenEndpoint',
  introspection_endpoint: 'introspectionEndpoint',
  revocation_endpoint: 'revocationEndpoint',
  authorization_endpoint: 'authorizationEndpoint',
} as const

export type EndpointField = keyof typeof OVERRIDES

/**
 * Fetches the metadata document and checks it.
 *
 * @throws {ConfigurationError} it names another issuer, or leads away from https
 * @throws {UpstreamUnavailableError} there is no usable document
 */
export async function fetchMetadata(config: Config, transport: Transport): Promise<oauth.AuthorizationServer> {
  const document = await transport.call('discovery', 'always', (fetch) => discover(config, fetch))
  // oauth4webapi compares URLs, RFC 8414 §3.3 wants the very same string.
  if (config.issuer !== undefined && document.issuer !== config.issuer) throw otherIssuer(config, document.issuer)
  if (isIssuerTemplate(document.issuer)) throw otherIssuer(config, document.issuer)
  if (!isSecure(new URL(document.issuer))) {
    throw new ConfigurationError('The issuer in the discovery document is plain http off loopback', 'issuer')
  }
  for (const field of Object.keys(OVERRIDES) as EndpointField[]) {
    const url = document[field]
    if (url !== undefined && config.endpoints[OVERRIDES[field]] === undefined)
      checkEndpoint(field, url, document, config)
  }
  checkLists(document)
  return document
}

/** Lists that are looked into, which the library takes as they are (RFC 8414 §2). */
const LISTS = ['token_endpoint_auth_methods_supported', 'scopes_supported', 'subject_types_supported'] as const

function checkLists(document: oauth.AuthorizationServer): void {
  for (const field of LISTS) {
    if (!Array.isArray(document[field] ?? [])) {
      throw new UpstreamUnavailableError(`The metadata of the authorization server has a ${field} that is not a list`)
    }
  }
}

async function discover(config: Config, fetch: IdpFetch): Promise<oauth.AuthorizationServer> {
  const asked: string[] = []
  const response = await fetchDocument(config, (url, init) => {
    asked.push(nameOf(url))
    return fetch(url, { ...init, instead: (redirect) => behindIndex(url, redirect) })
  })
  try {
    const issuer: unknown = config.issuer ?? ((await response.clone().json()) as { issuer: unknown }).issuer
    if (typeof issuer !== 'string' || !URL.canParse(issuer)) throw new TypeError('no issuer')
    return await oauth.processDiscoveryResponse(new URL(issuer), response)
  } catch (error) {
    if (error instanceof oauth.OperationProcessingError && error.code === oauth.JSON_ATTRIBUTE_COMPARISON) {
      const { body } = error.cause as { body: { issuer: string } }
      throw otherIssuer(config, body.issuer)
    }
    // A 404 too: it is what a reverse proxy answers while the server behind it is down.
    const { status } = response
    const found = status === 200 ? 'answered with something that is not metadata' : `answered ${status}`
    const message = `${asked.join(' and ')} ${found}: ${adviceFor(config)}`
    throw new UpstreamUnavailableError(message, { httpStatus: status })
  }
}

/** Fetches the document that this server goes by: at `discoveryUrl`, else in the first form, else (404) in the second. */
export async function fetchDocument(config: Config, fetch: IdpFetch): Promise<Response> {
  if (config.discoveryUrl !== undefined) {
    return fetch(config.discoveryUrl.href, { method: 'GET', headers: { accept: 'application/json' } })
  }
  const issuer = String(config.issuer)
  const response = await fetchForm(issuer, 'oidc', fetch)
  return response.status === 404 ? fetchForm(issuer, 'oauth2', fetch) : response
}

/** Fetches the document at one of its two addresses: OIDC Discovery §4 puts the well-known part behind the path, RFC 8414 §3 before. */
export function fetchForm(issuer: string, form: 'oidc' | 'oauth2', fetch: IdpFetch): Promise<Response> {
  return oauth.discoveryRequest(new URL(issuer), { algorithm: form, ...requestOptions(fetch) })
}

/**
 * Returns the address of metadata that the web server of a Nextcloud redirects to, as Nextcloud's own documentation has it: the same
 * with `/index.php` before the well-known part, at this origin, whatever name the redirect gives it. Undefined: it is another redirect.
 */
export function behindIndex(url: string, redirect: URL): string | undefined {
  const { origin, pathname } = new URL(url)
  const moved = pathname.replace('/.well-known/', '/index.php/.well-known/')
  return moved !== pathname && moved === redirect.pathname ? origin + moved : undefined
}

function adviceFor(config: Config): string {
  if (!config.isNextcloudByDefault) return `check ${optionOf(config)}`
  return `set ${named('issuer')} or ${named('discoveryUrl')}. Without them Nextcloud itself (${named('nextcloud.url')}) is taken for the provider, which needs its app oidc`
}

/** Returns the option that says where the document is. */
function optionOf({ discoveryUrl }: Config): 'issuer' | 'discoveryUrl' {
  return discoveryUrl === undefined ? 'issuer' : 'discoveryUrl'
}

function otherIssuer(config: Config, found: string): ConfigurationError {
  const shown = found.replace(/[^\x21-\x7E]/g, '').slice(0, 200)
  const fault = isIssuerTemplate(found)
    ? `which is for all tenants, and no token has it: ${LIST_TENANTS}`
    : `and "${String(config.issuer)}" is configured; they must be the same string: make ${named('issuer')} what the document has; if that is an internal address, have the provider name its public one instead (Keycloak: KC_HOSTNAME)`
  return new ConfigurationError(`The discovery document names the issuer "${shown}", ${fault}`, optionOf(config))
}

/**
 * Plain http is for an issuer on loopback, and for the host of a `discoveryUrl` that the operator wrote so: a document must not
 * lead away from https.
 */
function checkEndpoint(field: string, value: string, { issuer }: oauth.AuthorizationServer, config: Config): void {
  if (!URL.canParse(value)) {
    throw new UpstreamUnavailableError(`The metadata of the authorization server has a ${field} that is not a URL`)
  }
  const url = new URL(value)
  if (url.protocol === 'https:') return
  const asNamed = url.origin === config.discoveryUrl?.origin
  const asIssuer = isLoopback(url) && new URL(issuer).protocol === 'http:'
  if (url.protocol !== 'http:' || !(asNamed || asIssuer)) {
    throw new ConfigurationError(`The metadata of the authorization server has a ${field} that is not https`)
  }
}
