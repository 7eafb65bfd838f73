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
import {
  adapter,
  agent,
  algorithms,
  ASYMMETRIC_ALGORITHMS,
  callback,
  commaStrings,
  href,
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
} from './kinds.js'
import type { Declaration, Declarations, Declared, Options, Paths, Values } from './read-options.js'
import { nameWith } from './values.js'

type Given<K extends keyof McpAuthOptions> = Exclude<McpAuthOptions[K], undefined>

const entries = number({ unit: 'entries', most: 10_000_000 })
const seconds = number({ unit: 'seconds', whole: false })
const milliseconds = number({ unit: 'milliseconds', least: 1 })

const AUTHORIZATION_SERVER = {
  jwksUri: { kind: url, flag: 'jwks-uri <url>', says: 'replaces `jwks_uri`' },
  tokenEndpoint: { kind: url, flag: 'token-endpoint <url>', says: 'replaces `token_endpoint`' },
  introspectionEndpoint: { kind: url, flag: 'introspection-endpoint <url>', says: 'replaces `introspection_endpoint`' },
  revocationEndpoint: { kind: url, says: 'replaces `revocation_endpoint`' },
  authorizationEndpoint: { kind: url, flag: 'authorization-endpoint <url>', says: 'replaces `authorization_endpoint`' },
} satisfies Declared<AuthorizationServerOptions>

const NEXTCLOUD = {
  url: {
    kind: url,
    otherwise: 'required for Nextcloud tokens',
    environment: 'NEXTCLOUD_HOST',
    flag: 'nextcloud-url <url>',
    says: 'base URL, may have a path',
  },
  mode: {
    kind: mode,
    otherwise: "`'refresh-token'` with `storage`, else `'token-exchange'`",
    environment: 'ENABLE_TOKEN_EXCHANGE',
    flag: 'mode <mode>',
    says: 'one of the modes above; in the variable, `true` is `token-exchange` and `false` is `pass-through`',
  },
  audience: {
    kind: strings,
    default: ['nextcloud'],
    environment: 'NEXTCLOUD_RESOURCE_URI',
    flag: 'nextcloud-audience <aud,…>',
    says: 'RFC 8693 `audience`, a string or a list; in pass-through mode, the `aud` values that the token must hold; not sent in jwt-bearer mode',
  },
  resource: {
    kind: strings,
    otherwise: 'not sent',
    flag: 'nextcloud-resource <uri,…>',
    says: 'RFC 8707 `resource`, a string or a list',
  },
  scopes: {
    kind: scopesOrFunction,
    default: [],
    flag: 'nextcloud-scopes <scope,…>',
    says: '`scope` to ask for: a list, or a function of `req.mcpAuth`',
  },
  parameters: {
    kind: parameters([
      ...['grant_type', 'subject_token', 'refresh_token', 'assertion'],
      ...['client_id', 'client_secret', 'client_assertion', 'client_assertion_type'],
      ...['scope', 'audience', 'resource'],
    ]),
    default: {},
    flag: 'nextcloud-parameter <name=value>',
    says: 'extra parameters of the token request',
  },
  preset: {
    kind: oneOf(...(Object.keys(PRESETS) as NextcloudPreset[])),
    default: 'generic',
    flag: 'preset <name>',
    says: `the ways of the server that grants are refreshed at: ${Object.keys(PRESETS)
      .map((name) => `\`'${name}'\``)
      .join(', ')}`,
  },
  timeout: { kind: milliseconds, default: 60_000, says: "for Nextcloud's response headers in `nextcloudFetch`" },
} satisfies Declared<NextcloudOptions>

const CONNECT = {
  path: {
    kind: path,
    default: '/nextcloud',
    flag: 'connect-path <path>',
    says: 'path of the connect pages, on the origin of `resource`',
  },
  consent: {
    kind: oneOf('per-client', 'per-user'),
    default: 'per-client',
    says: "`'per-client'`: a grant serves only the MCP clients that the user agreed to; `'per-user'`: all of them",
  },
  scopes: {
    kind: scopes,
    otherwise: '`nextcloud.scopes` if that is a list',
    flag: 'connect-scopes <scope,…>',
    says: 'asked for besides `openid` and `offline_access`; not in app-password mode',
  },
  authorizationParameters: {
    // They tie the answer to the browser and to this client.
    kind: parameters([
      ...['client_id', 'redirect_uri', 'response_type', 'response_mode'],
      ...['state', 'nonce', 'code_challenge', 'code_challenge_method', 'scope'],
    ]),
    default: {},
    says: 'parameters of the authorization request, added or in place of `prompt` and `resource`',
  },
  returnTo: {
    kind: href,
    otherwise: 'a page that says "Connected"',
    says: 'the URL that the browser is sent to after a connection',
  },
  authenticateBrowser: {
    kind: callback<Exclude<ConnectOptions['authenticateBrowser'], undefined>>(),
    otherwise: 'the ID token says it',
    says: "`(req) => { issuer, subject }`, async: the user at this browser, by the app's own sign-in",
  },
  identity: {
    kind: callback<Exclude<ConnectOptions['identity'], undefined>>(),
    otherwise: 'not asked',
    says: '`(answer, ticketIdentity) => boolean`: whether the account is that of the user whose link it is',
  },
} satisfies Declared<ConnectOptions>

const CACHE = {
  nextcloudTokens: { kind: entries, default: 10_000, says: 'cached Nextcloud tokens; 0 turns it off' },
  verifiedTokens: { kind: entries, default: 10_000, says: 'cached MCP tokens; 0 turns it off' },
  renewBefore: {
    kind: seconds,
    default: 60,
    says: 'before its end, a Nextcloud token in use is renewed; at most 20 % of its life',
  },
  verifiedTtl: { kind: seconds, default: 300, says: 'for which a verified token is not looked at again' },
  staleKeys: { kind: seconds, default: 3_600, says: 'for which old keys serve on if the key set cannot be fetched' },
  grantCheck: {
    kind: seconds,
    default: 10,
    says: 'for which a cached token of a grant is used without a look into the store; a disconnection elsewhere shows within that time',
  },
} satisfies Declared<CacheOptions>

const HTTP = {
  fetch: {
    kind: callback<Exclude<HttpOptions['fetch'], undefined>>(),
    otherwise: 'node-fetch',
    says: 'another `fetch`',
  },
  agent: {
    kind: agent,
    otherwise: 'own keep-alive agents',
    says: 'proxy, own CA, client certificate; not with `fetch`',
  },
  timeout: {
    kind: milliseconds,
    default: 5_000,
    flag: 'timeout <ms>',
    says: 'for one call to the provider, its retries included',
  },
  maxResponseBytes: {
    kind: number({ unit: 'bytes', least: 1 }),
    default: 1_048_576,
    says: 'of an answer of the provider',
  },
  retries: {
    kind: number({ unit: 'attempts', most: 10 }),
    default: 2,
    says: 'after the first, for requests that are safe to repeat',
  },
} satisfies Declared<HttpOptions>

/** Every option of `mcpAuth()`, in the order of the documentation. */
export const OPTIONS = {
  issuer: {
    kind: text,
    otherwise: 'required, or `discoveryUrl`',
    environment: 'OIDC_ISSUER',
    flag: 'issuer <url>',
    says: 'exact issuer identifier; https, or http on loopback',
  },
  discoveryUrl: {
    kind: url,
    otherwise: 'the well-known location of `issuer`',
    environment: 'OIDC_DISCOVERY_URL',
    flag: 'discovery-url <url>',
    says: 'the metadata on another (internal) URL; its `issuer` must be the one configured',
  },
  authorizationServer: { members: AUTHORIZATION_SERVER },
  resource: {
    kind: text,
    otherwise: 'required',
    environment: 'NEXTCLOUD_MCP_SERVER_URL',
    flag: 'resource <url>',
    says: 'canonical URI of this MCP server (RFC 8707), published verbatim',
  },
  audience: {
    kind: strings,
    otherwise: '`[resource, clientId]`',
    flag: 'audience <aud,…>',
    says: 'accepted `aud` values, a string or a list; the token must hold one, give or take one trailing slash',
  },
  clientId: {
    kind: text,
    environment: 'OIDC_CLIENT_ID',
    flag: 'client-id <id>',
    says: "this server's own client at the provider",
  },
  clientSecret: { kind: text, environment: 'OIDC_CLIENT_SECRET', secret: true, says: 'its secret' },
  clientAuth: {
    kind: callback<Given<'clientAuth'>>(),
    otherwise: '`client_secret_basic`, or `client_secret_post` if discovery lists that and not basic',
    says: 'an oauth4webapi client authentication function (`PrivateKeyJwt`, `TlsClientAuth`, …) in place of a secret',
  },
  requiredScopes: { kind: scopes, default: [], flag: 'required-scopes <scope,…>', says: 'needed by every request' },
  scopesSupported: {
    kind: scopes,
    otherwise: '`requiredScopes`',
    says: '`scopes_supported` of the metadata; `offline_access` is never published',
  },
  scopeSatisfies: {
    kind: callback<Given<'scopeSatisfies'>>(),
    default: (granted, required) => granted.includes(required),
    otherwise: 'the required scope is among them',
    says: '`(granted, required) => boolean`: scope hierarchies',
  },
  allowedClients: {
    kind: commaStrings,
    otherwise: 'any',
    environment: 'ALLOWED_MCP_CLIENTS',
    flag: 'allowed-clients <id,…>',
    says: 'ids of the MCP clients let in (`client_id`, else `azp`, else `cid`); separated by commas in the variable',
  },
  algorithms: {
    kind: algorithms,
    default: ASYMMETRIC_ALGORITHMS,
    otherwise: 'every asymmetric one',
    flag: 'algorithms <alg,…>',
    says: 'accepted JWS algorithms; `none` and `HS*` are refused',
  },
  clockTolerance: {
    kind: number({ unit: 'seconds', most: 600, whole: false }),
    default: 5,
    flag: 'clock-tolerance <seconds>',
    says: 'for `exp`, `nbf` and `iat`',
  },
  validateClaims: {
    kind: callback<Given<'validateClaims'>>(),
    says: '`(claims) => …`: throw or return false to reject; may be async',
  },
  introspection: {
    kind: oneOf('opaque-only', 'always', false),
    default: 'opaque-only',
    flag: 'introspection <opaque-only|always|false>',
    says: "RFC 7662: `'opaque-only'` for tokens that are not JWTs, `'always'` for every token, `false` never",
  },
  nextcloud: { members: NEXTCLOUD },
  storage: {
    kind: adapter,
    otherwise: 'in memory, which forgets them with the process',
    says: 'the store of grants (refresh-token and app-password mode)',
  },
  encryptionKey: {
    kind: encryptionKeys,
    otherwise: 'required with a `storage` other than memory',
    environment: 'TOKEN_ENCRYPTION_KEY',
    secret: true,
    says: 'keys of 32 bytes, base64url or base64, a list or between commas; the first seals, all open. A key made for the Python server fits',
  },
  connect: {
    members: CONNECT,
    orFalse: true,
    otherwise: 'on in refresh-token and app-password mode',
    says: 'the pages on which a user connects Nextcloud; false switches them off',
  },
  cache: { members: CACHE },
  http: { members: HTTP },
  rootMetadata: {
    kind: truth,
    default: true,
    says: 'serve the metadata also at `/.well-known/oauth-protected-resource`',
  },
  resourceName: { kind: text, otherwise: 'not published', says: '`resource_name` of the metadata (RFC 9728 §2)' },
  resourceDocumentation: {
    kind: href,
    otherwise: 'not published',
    says: '`resource_documentation` of the metadata, a URL',
  },
  onEvent: {
    kind: callback<Given<'onEvent'>>(),
    says: 'every decision, machine-readable, never a token; also on the `diagnostics_channel` `mcp-nextcloud-auth`',
  },
  onError: {
    kind: callback<Given<'onError'>>(),
    otherwise: 'answer with them as JSON',
    says: '`(error, req, res, next)`; `error.status`, `error.headers`, `error.body` are ready to use',
  },
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

/** The environment variable that stands in for an option. Empty: there is none. */
export const variableOf = (option: OptionPath): string => DECLARATIONS.get(option)?.environment ?? ''

/** An option with its environment variable, for messages: `issuer (environment variable OIDC_ISSUER)`. */
export const named = (option: OptionPath): string => nameWith(option, variableOf(option))
