import { ConfigurationError } from '../errors/errors.js'
import {
  type AuthorizationServerOptions,
  type CacheOptions,
  type Environment,
  type FetchFunction,
  type HttpOptions,
  type McpAuthOptions,
  processEnvironment,
} from '../options.js'
import { deepFreeze } from '../freeze.js'
import { MODES } from '../modes.js'
import { quirksOf } from '../presets.js'
import type { ClientConfig, Config, HttpConfig } from './config.js'
import { readClient } from './read-client.js'
import { readGrants } from './read-grants.js'
import { readNextcloud } from './read-nextcloud.js'
import {
  type Given,
  isSecure,
  optionalBoolean,
  optionalFunction,
  optionalNumber,
  optionalScopes,
  optionalString,
  optionalStrings,
  optionalUrl,
  readObject,
  refuse,
} from './values.js'

const NAMES = {
  issuer: true,
  discoveryUrl: true,
  authorizationServer: true,
  resource: true,
  audience: true,
  clientId: true,
  clientSecret: true,
  clientAuth: true,
  requiredScopes: true,
  scopesSupported: true,
  scopeSatisfies: true,
  allowedClients: true,
  algorithms: true,
  clockTolerance: true,
  validateClaims: true,
  introspection: true,
  nextcloud: true,
  storage: true,
  encryptionKey: true,
  connect: true,
  cache: true,
  http: true,
  rootMetadata: true,
  resourceName: true,
  resourceDocumentation: true,
  onEvent: true,
  onError: true,
} satisfies Record<keyof McpAuthOptions, true>

/** Every asymmetric JWS algorithm of jose. */
const ASYMMETRIC_ALGORITHMS: readonly string[] = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'Ed25519',
  'EdDSA',
  'ML-DSA-44',
  'ML-DSA-65',
  'ML-DSA-87',
]

/**
 * Reads the options and, for those not given, their environment variables.
 *
 * @throws {ConfigurationError} an option is unknown, of the wrong type, missing or contradicts another; it is named
 */
export function readConfig(options: unknown = {}, environment: Environment = processEnvironment()): Config {
  const given = readObject(options, NAMES, environment)
  const warnings: [string, string][] = []
  const warnAboutPlainHttp = (option: string, url: URL | undefined): void => {
    if (url !== undefined && !isSecure(url)) {
      warnings.push([option, `${option} is plain http off loopback: tokens can be read and keys replaced on the way`])
    }
  }

  const issuer = readIssuer(given('issuer', 'OIDC_ISSUER'))
  const discoveryUrl = optionalUrl(given('discoveryUrl', 'OIDC_DISCOVERY_URL'))
  if (issuer === undefined && discoveryUrl === undefined) {
    throw new ConfigurationError(
      'issuer is required (or discoveryUrl, or an environment variable: OIDC_ISSUER, OIDC_DISCOVERY_URL)',
      'issuer',
    )
  }
  warnAboutPlainHttp('discoveryUrl', discoveryUrl)
  const server = readObject(
    given('authorizationServer').value,
    {
      jwksUri: true,
      tokenEndpoint: true,
      introspectionEndpoint: true,
      revocationEndpoint: true,
      authorizationEndpoint: true,
    } satisfies Record<keyof AuthorizationServerOptions, true>,
    environment,
    'authorizationServer.',
  )
  const endpoints = {
    jwksUri: optionalUrl(server('jwksUri')),
    tokenEndpoint: optionalUrl(server('tokenEndpoint')),
    introspectionEndpoint: optionalUrl(server('introspectionEndpoint')),
    revocationEndpoint: optionalUrl(server('revocationEndpoint')),
    authorizationEndpoint: optionalUrl(server('authorizationEndpoint')),
  }
  for (const [name, url] of Object.entries(endpoints)) warnAboutPlainHttp(`authorizationServer.${name}`, url)

  const resource = readResource(given('resource', 'NEXTCLOUD_MCP_SERVER_URL'))
  warnAboutPlainHttp('resource', resource.url)
  const client = readClient(
    given('clientId', 'OIDC_CLIENT_ID'),
    given('clientSecret', 'OIDC_CLIENT_SECRET'),
    given('clientAuth'),
  )
  const requiredScopes = optionalScopes(given('requiredScopes')) ?? []
  const allowedClients = optionalStrings(given('allowedClients', 'ALLOWED_MCP_CLIENTS'), 'commas')
  const storage = given('storage')
  const nextcloud = readNextcloud(given('nextcloud'), environment, client, storage.value !== undefined)
  warnAboutPlainHttp('nextcloud.url', nextcloud?.url)
  const exchanges = quirksOf(nextcloud?.preset).exchanges
  if (nextcloud && MODES[nextcloud.mode].credentialFrom === 'exchange' && !exchanges.includes(nextcloud.mode)) {
    warnings.push([
      'nextcloud.preset',
      `nextcloud.preset is '${nextcloud.preset}', a server without ${nextcloud.mode} mode: set nextcloud.mode to '${exchanges.join()}'`,
    ])
  }
  const grants = readGrants(
    { storage, encryptionKey: given('encryptionKey', 'TOKEN_ENCRYPTION_KEY'), connect: given('connect'), environment },
    { nextcloud, client, resource: resource.url, warn: (option, message) => warnings.push([option, message]) },
  )
  // With Nextcloud's own server, clientId and clientSecret are of Nextcloud: they are nothing to the issuer of the MCP tokens.
  const clientOfIssuer =
    grants !== undefined && quirksOf(nextcloud?.preset).endpoints !== undefined ? undefined : client
  const introspection = readIntrospection(given('introspection'), clientOfIssuer, clientOfIssuer !== client)

  return deepFreeze<Config>({
    issuer,
    discoveryUrl,
    endpoints,
    resource: resource.text,
    resourceMetadataUrl: resourceMetadataUrl(resource.url),
    rootMetadata: optionalBoolean(given('rootMetadata'), true),
    resourceName: optionalString(given('resourceName')),
    resourceDocumentation: optionalUrl(given('resourceDocumentation'))?.href,
    audience: optionalStrings(given('audience')) ?? [resource.text, ...(clientOfIssuer ? [clientOfIssuer.id] : [])],
    client,
    requiredScopes,
    // MCP 2026-07-28, authorization: offline_access is not for a resource server to advertise.
    scopesSupported: (optionalScopes(given('scopesSupported')) ?? requiredScopes).filter((s) => s !== 'offline_access'),
    scopeSatisfies:
      (optionalFunction(given('scopeSatisfies')) as McpAuthOptions['scopeSatisfies']) ??
      ((granted, required) => granted.includes(required)),
    allowedClients: allowedClients && new Set(allowedClients),
    algorithms: readAlgorithms(given('algorithms')),
    clockTolerance: optionalNumber(given('clockTolerance'), 5, { unit: 'seconds', most: 600, whole: false }),
    validateClaims: optionalFunction(given('validateClaims')) as McpAuthOptions['validateClaims'],
    introspection,
    nextcloud,
    grants,
    cache: readCache(given('cache').value, environment),
    http: readHttp(given('http').value, environment),
    onEvent: optionalFunction(given('onEvent')) as McpAuthOptions['onEvent'],
    onError: optionalFunction(given('onError')) as McpAuthOptions['onError'],
    warnings,
  })
}

function readIssuer(given: Given): string | undefined {
  const issuer = optionalString(given)
  if (issuer === undefined) return undefined
  const url = optionalUrl(given)
  if (url !== undefined && !isSecure(url)) {
    refuse(given, 'must be https, or http on loopback (RFC 8414 section 2); discoveryUrl may be an internal address')
  }
  if (url?.pathname.includes('/.well-known/') === true)
    refuse(given, 'must be the issuer itself: that is a discoveryUrl')
  // RFC 8414 §2: no query. Without this, "?" would end up in the middle of the well-known URL.
  if (url?.search !== '') refuse(given, 'must not have a query (RFC 8414 section 2)')
  return issuer
}

function readResource(given: Given): { text: string; url: URL } {
  if (given.value === undefined) {
    throw new ConfigurationError(
      'resource is required: the URL of this MCP server (environment variable NEXTCLOUD_MCP_SERVER_URL)',
      'resource',
    )
  }
  const text = optionalString(given)
  const url = optionalUrl(given)
  // It is published and compared as it is written, so it has to be written as a URL is.
  if (text === undefined || url === undefined || !/^https?:\/\/[^\s\\]+$/i.test(text)) {
    refuse(given, 'must be an absolute URL, written without spaces')
  }
  return { text, url }
}

/** RFC 9728 §3.1: the well-known part goes between host and path; a lone slash after the host is dropped. */
function resourceMetadataUrl(resource: URL): string {
  const path = resource.pathname === '/' ? '' : resource.pathname
  return `${resource.origin}/.well-known/oauth-protected-resource${path}${resource.search}`
}

function readAlgorithms(given: Given): readonly string[] {
  const algorithms = optionalStrings(given)
  for (const algorithm of algorithms ?? []) {
    if (!ASYMMETRIC_ALGORITHMS.includes(algorithm)) {
      refuse(given, `must list asymmetric JWS algorithms only (${ASYMMETRIC_ALGORITHMS.join(', ')}), not ${algorithm}`)
    }
  }
  return algorithms ?? ASYMMETRIC_ALGORITHMS
}

/** @param isElsewhere this server's client is not one of the issuer's */
function readIntrospection(
  given: Given,
  client: ClientConfig | undefined,
  isElsewhere: boolean,
): Config['introspection'] {
  const { value } = given
  if (value === undefined) return isElsewhere ? false : 'opaque-only'
  if (value !== 'opaque-only' && value !== 'always' && value !== false) {
    refuse(given, "must be 'opaque-only', 'always' or false")
  }
  if (value !== false && isElsewhere) {
    refuse(given, 'contradicts the preset nextcloud-oauth2-app: clientId is of Nextcloud, and unknown to the issuer')
  }
  if (value === 'always' && client?.hasCredentials !== true) {
    refuse(given, "is 'always', which needs clientId and clientSecret (or clientAuth)")
  }
  return value
}

function readCache(source: unknown, environment: Environment): Config['cache'] {
  const names = {
    nextcloudTokens: true,
    verifiedTokens: true,
    renewBefore: true,
    verifiedTtl: true,
    staleKeys: true,
    grantCheck: true,
  } satisfies Record<keyof CacheOptions, true>
  const given = readObject(source, names, environment, 'cache.')
  const entries = { unit: 'entries', most: 10_000_000 }
  const seconds = { unit: 'seconds', whole: false }
  return Object.freeze({
    nextcloudTokens: optionalNumber(given('nextcloudTokens'), 10_000, entries),
    verifiedTokens: optionalNumber(given('verifiedTokens'), 10_000, entries),
    renewBefore: optionalNumber(given('renewBefore'), 60, seconds),
    verifiedTtl: optionalNumber(given('verifiedTtl'), 300, seconds),
    staleKeys: optionalNumber(given('staleKeys'), 3_600, seconds),
    grantCheck: optionalNumber(given('grantCheck'), 10, seconds),
  })
}

function readHttp(source: unknown, environment: Environment): HttpConfig {
  const names = {
    fetch: true,
    agent: true,
    timeout: true,
    maxResponseBytes: true,
    retries: true,
  } satisfies Record<keyof HttpOptions, true>
  const given = readObject(source, names, environment, 'http.')
  const agent = given('agent')
  if (agent.value !== undefined && typeof agent.value !== 'function' && typeof agent.value !== 'object') {
    refuse(agent, 'must be an http.Agent or a function that returns one')
  }
  if (agent.value !== undefined && given('fetch').value !== undefined) {
    refuse(agent, 'contradicts http.fetch, which has its own ways to set one')
  }
  return Object.freeze({
    fetch: optionalFunction(given('fetch')) as FetchFunction | undefined,
    agent: agent.value as HttpOptions['agent'],
    timeout: optionalNumber(given('timeout'), 5_000, { unit: 'milliseconds', least: 1 }),
    maxResponseBytes: optionalNumber(given('maxResponseBytes'), 1_048_576, { unit: 'bytes', least: 1 }),
    retries: optionalNumber(given('retries'), 2, { unit: 'attempts', most: 10 }),
  })
}
