import type {
  AuthorizationServerOptions,
  CacheOptions,
  ConnectOptions,
  HttpOptions,
  McpAuthOptions,
  NextcloudOptions,
} from '../options.js'
import { PRESETS, type NextcloudPreset } from '../presets.js'
import { encryptionKeys } from './encryption-keys.js'
import { identityRule } from './identity-rule.js'
import {
  adapter,
  agent,
  algorithms,
  ASYMMETRIC_ALGORITHMS,
  callback,
  commaStrings,
  entries,
  href,
  missingAudience,
  mode,
  number,
  oneOf,
  parameters,
  path,
  scopes,
  scopesOrFunction,
  strings,
  text,
  truth,
  url,
  urls,
} from './kinds.js'
import type { Declaration, Declarations, Declared, Options, Paths, Values } from './read-options.js'
import { nameWith } from './values.js'

type Value<O, K extends keyof O> = Exclude<O[K], undefined>

const count = number({ unit: 'entries', most: 10_000_000 })
const seconds = number({ unit: 'seconds', whole: false })
const milliseconds = number({ unit: 'milliseconds', least: 1 })

const AUTHORIZATION_SERVER = {
  jwksUri: { kind: url, flag: 'jwks-uri <url>' },
  tokenEndpoint: { kind: url, flag: 'token-endpoint <url>' },
  introspectionEndpoint: { kind: url, flag: 'introspection-endpoint <url>' },
  revocationEndpoint: { kind: url },
  authorizationEndpoint: { kind: url, flag: 'authorization-endpoint <url>' },
} satisfies Declared<AuthorizationServerOptions>

/** Parameters of a token request that this package sets, or that have options of their own. */
const OF_TOKEN_REQUEST = [
  ...['grant_type', 'subject_token', 'refresh_token', 'assertion', 'client_id', 'client_secret'],
  ...['client_assertion', 'client_assertion_type', 'scope', 'audience', 'resource'],
]

const NEXTCLOUD = {
  url: { kind: url, environment: 'NEXTCLOUD_HOST', flag: 'nextcloud-url <url>' },
  publicUrl: { kind: url, environment: 'NEXTCLOUD_PUBLIC_URL', flag: 'nextcloud-public-url <url>' },
  mode: { kind: mode, environment: ['ENABLE_TOKEN_EXCHANGE', 'MCP_DEPLOYMENT_MODE'], flag: 'mode <mode>' },
  audience: {
    kind: strings,
    default: ['nextcloud'],
    environment: 'NEXTCLOUD_RESOURCE_URI',
    flag: 'nextcloud-audience <aud,…>',
  },
  resource: { kind: strings, flag: 'nextcloud-resource <uri,…>' },
  scopes: { kind: scopesOrFunction, default: [], flag: 'nextcloud-scopes <scope,…>' },
  parameters: { kind: parameters(OF_TOKEN_REQUEST), default: {}, flag: 'nextcloud-parameter <name=value>' },
  preset: { kind: oneOf(...(Object.keys(PRESETS) as NextcloudPreset[])), default: 'generic', flag: 'preset <name>' },
  timeout: { kind: milliseconds, default: 60_000 },
} satisfies Declared<NextcloudOptions>

/** Parameters of the authorization request that tie the answer to the browser and to this client. */
const OF_AUTHORIZATION_REQUEST = [
  ...['client_id', 'redirect_uri', 'response_type', 'response_mode', 'state', 'nonce'],
  ...['code_challenge', 'code_challenge_method', 'scope'],
]

const CONNECT = {
  path: { kind: path, default: '/nextcloud', flag: 'connect-path <path>' },
  consent: { kind: oneOf('per-client', 'per-user'), default: 'per-client' },
  scopes: { kind: scopes, flag: 'connect-scopes <scope,…>' },
  authorizationParameters: { kind: parameters(OF_AUTHORIZATION_REQUEST), default: {} },
  returnTo: { kind: href },
  authenticateBrowser: { kind: callback<Value<ConnectOptions, 'authenticateBrowser'>>() },
  clientName: { kind: callback<Value<ConnectOptions, 'clientName'>>() },
  identity: { kind: identityRule, environment: 'NEXTCLOUD_IDENTITY', flag: 'identity <rule>' },
} satisfies Declared<ConnectOptions>

const CACHE = {
  nextcloudTokens: { kind: count, default: 10_000 },
  verifiedTokens: { kind: count, default: 10_000 },
  renewBefore: { kind: seconds },
  verifiedTtl: { kind: seconds, default: 300 },
  keysMaxAge: { kind: seconds, default: 600 },
  staleKeys: { kind: seconds, default: 3_600 },
  grantCheck: { kind: seconds, default: 10 },
} satisfies Declared<CacheOptions>

const HTTP = {
  fetch: { kind: callback<Value<HttpOptions, 'fetch'>>() },
  agent: { kind: agent },
  timeout: { kind: milliseconds, default: 5_000, flag: 'timeout <ms>' },
  maxResponseBytes: { kind: number({ unit: 'bytes', least: 1 }), default: 1_048_576 },
  retries: { kind: number({ unit: 'attempts', most: 10 }), default: 2 },
} satisfies Declared<HttpOptions>

/** Every option of `mcpAuth()`. Its documentation is its docstring in options.ts, which is held to its declaration. */
export const OPTIONS = {
  issuer: { kind: text, environment: 'OIDC_ISSUER', flag: 'issuer <url>' },
  issuers: { kind: entries },
  discoveryUrl: { kind: url, environment: 'OIDC_DISCOVERY_URL', flag: 'discovery-url <url>' },
  authorizationServer: { members: AUTHORIZATION_SERVER },
  resource: { kind: text, environment: 'NEXTCLOUD_MCP_SERVER_URL', flag: 'resource <url>' },
  audience: { kind: strings, flag: 'audience <aud,…>' },
  clientId: { kind: text, environment: ['OIDC_CLIENT_ID', 'NEXTCLOUD_OIDC_CLIENT_ID'], flag: 'client-id <id>' },
  clientSecret: { kind: text, environment: ['OIDC_CLIENT_SECRET', 'NEXTCLOUD_OIDC_CLIENT_SECRET'] },
  clientAuth: { kind: callback<Value<McpAuthOptions, 'clientAuth'>>() },
  requiredScopes: { kind: scopes, default: [], flag: 'required-scopes <scope,…>' },
  scopesSupported: { kind: scopes },
  challengeScopes: { kind: scopes, environment: 'NEXTCLOUD_OIDC_SCOPES' },
  scopeSatisfies: {
    kind: callback<Value<McpAuthOptions, 'scopeSatisfies'>>(),
    default: (granted, required) => granted.includes(required),
  },
  missingAudience: { kind: missingAudience, default: 'reject', flag: 'missing-audience <reject|client>' },
  idTokenLookalikes: {
    kind: oneOf('refuse', 'accept'),
    default: 'refuse',
    flag: 'id-token-lookalikes <refuse|accept>',
  },
  dpop: { kind: oneOf('off', 'allowed', 'required'), default: 'off', flag: 'dpop <off|allowed|required>' },
  allowedClients: { kind: commaStrings, environment: 'ALLOWED_MCP_CLIENTS', flag: 'allowed-clients <id,…>' },
  algorithms: { kind: algorithms, default: ASYMMETRIC_ALGORITHMS, flag: 'algorithms <alg,…>' },
  clockTolerance: {
    kind: number({ unit: 'seconds', most: 600, whole: false }),
    default: 5,
    flag: 'clock-tolerance <seconds>',
  },
  validateClaims: { kind: callback<Value<McpAuthOptions, 'validateClaims'>>() },
  introspection: {
    kind: oneOf('opaque-only', 'always', false),
    default: 'opaque-only',
    flag: 'introspection <opaque-only|always|false>',
  },
  nextcloud: { members: NEXTCLOUD },
  storage: { kind: adapter },
  encryptionKey: { kind: encryptionKeys, environment: 'TOKEN_ENCRYPTION_KEY' },
  connect: { members: CONNECT, orFalse: true },
  cache: { members: CACHE },
  http: { members: HTTP },
  authorizationServers: { kind: urls, flag: 'authorization-servers <url,…>' },
  resourceMetadataUrl: { kind: href, flag: 'resource-metadata-url <url>' },
  legacyMetadata: { kind: truth, default: false },
  rootMetadata: { kind: truth, default: true },
  resourceName: { kind: text },
  resourceDocumentation: { kind: href },
  onEvent: { kind: callback<Value<McpAuthOptions, 'onEvent'>>() },
  onError: { kind: callback<Value<McpAuthOptions, 'onError'>>() },
} satisfies Declared<McpAuthOptions>

/** The values of all options, with their defaults. */
export type OptionValues = Values<typeof OPTIONS>
/** The path of an option, such as `http.timeout`. */
export type OptionPath = Paths<typeof OPTIONS>
/** Looks an option up as it was given: for messages, and for rules that several options make together. */
export type LookUp = Options<typeof OPTIONS>['given']

function flat(declarations: Declarations, prefix = ''): [path: string, Declaration][] {
  return Object.entries(declarations).flatMap(([name, declaration]) =>
    'kind' in declaration ? [[prefix + name, declaration]] : flat(declaration.members, `${prefix}${name}.`),
  )
}

/** Every option by its path, such as `http.timeout`; options that are objects only by their members. */
export const DECLARATIONS: ReadonlyMap<string, Declaration> = new Map(flat(OPTIONS))

/** The environment variables that stand in for an option, the first of which that is set counts. */
export const variablesOf = (option: string): readonly string[] => [DECLARATIONS.get(option)?.environment ?? []].flat()

/** The environment variable of this package's own that stands in for an option. Empty: there is none. */
export const variableOf = (option: OptionPath): string => variablesOf(option)[0] ?? ''

/** An option with its environment variable, for messages: `issuer (environment variable OIDC_ISSUER)`. */
export const named = (option: OptionPath): string => nameWith(option, variableOf(option))
