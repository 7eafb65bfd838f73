import { ConfigurationError } from '../errors/errors.js'
import { deepFreeze } from '../freeze.js'
import { LOCAL_ANSWERS, OWN_SIGN_IN, type LocalOptions } from '../local-options.js'
import { type Environment, processEnvironment } from '../options.js'
import { quirksOf } from '../presets.js'
import type { ClientConfig, Config, Warn } from './config.js'
import { type LookUp, OPTIONS, type OptionValues, variableOf, variablesOf } from './declarations.js'
import { url } from './kinds.js'
import { readClient } from './read-client.js'
import { type Entry, ofEntry, readEntries } from './read-entries.js'
import { readGrants, readSharedTokens, readUsedProofs } from './read-grants.js'
import { readNextcloud } from './read-nextcloud.js'
import { readOptions } from './read-options.js'
import { isIssuerTemplate, LIST_TENANTS } from './issuer-template.js'
import { advertisedScopes, isPlainObject, isSecure, refuse, wellKnownUrl } from './values.js'

/**
 * Reads the options and, for those not given, their environment variables.
 *
 * @throws {ConfigurationError} an option is unknown, of the wrong type, missing or contradicts another; it is named
 */
export function readConfig(options: unknown = {}, environment: Environment = processEnvironment()): Config {
  const entries = readEntries(options, ofOneClient(options, environment))
  const [first, ...others] = entries.map((entry) => ofEntry(entry, () => readOne(entry))) as [Config, ...Config[]]
  checkPresets([first, ...others])
  return others.length === 0 ? first : deepFreeze({ ...first, others, warnings: warningsOf([first, ...others]) })
}

/** Without the secrets of other clients than the one that is named: they are not for that one's server. */
function ofOneClient(options: unknown, environment: Environment): Environment {
  const pairs = clientPairs(environment)
  const clientId = isPlainObject(options) ? options['clientId'] : undefined
  const own = clientId === undefined ? pairs.findIndex(({ id }) => id !== '') : ownSecret(clientId, pairs)
  if (own < 0) return environment
  const foreign = variablesOf('clientSecret').filter((_, index) => index !== own)
  return Object.fromEntries(Object.entries(environment).filter(([variable]) => !foreign.includes(variable)))
}

/** A client id and the secret beside it. Empty: the variable is not set. */
interface ClientPair {
  readonly id: string
  readonly secret: string
}

function clientPairs(environment: Environment): readonly ClientPair[] {
  const textOf = (variable = ''): string => environment[variable]?.trim() ?? ''
  const secrets = variablesOf('clientSecret')
  return variablesOf('clientId').map((variable, index) => ({ id: textOf(variable), secret: textOf(secrets[index]) }))
}

/**
 * Returns the index of the one secret that may be of a client whose id is an option. That of an alias is so if its own id says it, or if
 * no other variable says that it is of another client. -1: any may be.
 */
function ownSecret(clientId: unknown, pairs: readonly ClientPair[]): number {
  const named = pairs.findIndex(({ id, secret }) => id === clientId && secret !== '')
  if (named >= 0) return named
  const set = pairs.flatMap(({ id, secret }) => [id, secret]).filter((text) => text !== '')
  return set.length > 1 ? 0 : -1
}

/** With one preset the grants come from Nextcloud itself, whoever issues the MCP tokens. */
function checkPresets(configs: readonly Config[]): void {
  const isOfNextcloud = ({ nextcloud }: Config): boolean => quirksOf(nextcloud?.preset).endpoints !== undefined
  if (!configs.some(isOfNextcloud) || configs.every(isOfNextcloud)) return
  throw new ConfigurationError(
    'issuers have the preset nextcloud-oauth2-app in some entries only: Nextcloud itself gives the grants with it, so that all must have it',
    'issuers',
  )
}

/** Those of the top level are found with each issuer. */
function warningsOf(configs: readonly Config[]): Config['warnings'] {
  const all = configs.flatMap(({ warnings }) => warnings)
  return [...new Map(all.map((warning) => [warning.join(' '), warning])).values()]
}

function readOne({ options, environment, isFirst }: Entry): Config {
  const { values, given } = readOptions(OPTIONS, options, environment)
  const { authorizationServer, clientId, clientSecret, clientAuth, storage, encryptionKey, connect, ...plain } = values
  const inside = (options ?? {}) as LocalOptions
  const warnings: [option: string, message: string][] = []
  const warn = (option: string, message: string): void => void warnings.push([option, message])

  const { issuer, ...discovery } = readIssuer(values, given)
  const resource = readResource(values, given)
  const client = readClient({ clientId, clientSecret, clientAuth }, given)
  const nextcloud = readNextcloud(values, given, { client, discoveryUrl: discovery.discoveryUrl, warn })
  warnOfPlainHttp({ discoveryUrl: plain.discoveryUrl }, warn)
  warnOfPlainHttp(authorizationServer, warn, 'authorizationServer.')
  warnOfPlainHttp(
    { resource: resource.url, 'nextcloud.url': nextcloud?.url, 'nextcloud.publicUrl': values.nextcloud.publicUrl },
    warn,
  )
  const usedProofs = readUsedProofs(values, given, { environment, warn })
  const sharedTokens = readSharedTokens(values, given, { nextcloud, environment, warn })
  const furtherIssuer = isFirst ? undefined : issuer
  const context = {
    nextcloud,
    client,
    usedProofs,
    sharedTokens,
    resource: resource.url,
    furtherIssuer,
    environment,
    warn,
  }
  const grants = readGrants({ storage, encryptionKey, connect }, given, context)
  if (plain.http.agent !== undefined && plain.http.fetch !== undefined) {
    refuse(given('http.agent'), 'contradicts http.fetch, which has its own ways to set one')
  }
  // Nextcloud's own server knows clientId and clientSecret, and the issuer of the MCP tokens does not.
  const isElsewhere = grants !== undefined && quirksOf(nextcloud?.preset).endpoints !== undefined
  const ownAudience = client === undefined || isElsewhere ? [] : [client.id]

  return deepFreeze<Config>({
    ...plain,
    http: { ...plain.http, local: inside[LOCAL_ANSWERS] },
    ownSignIn: inside[OWN_SIGN_IN],
    issuer,
    others: [],
    ...discovery,
    endpoints: authorizationServer,
    resource: resource.text,
    resourceMetadataUrl: plain.resourceMetadataUrl ?? wellKnownUrl(resource.text),
    audience: plain.audience ?? [resource.text, ...ownAudience],
    client,
    ...readScopes(plain, warn),
    allowedClients: plain.allowedClients && new Set(plain.allowedClients),
    introspection: readIntrospection(values, given, isElsewhere ? 'elsewhere' : client),
    nextcloud,
    grants,
    usedProofs,
    sharedTokens,
    warnings,
  })
}

function readScopes(
  options: Pick<OptionValues, 'requiredScopes' | 'scopesSupported' | 'challengeScopes'>,
  warn: Warn,
): Pick<Config, 'scopesSupported' | 'challengeScopes'> {
  const { requiredScopes, scopesSupported = requiredScopes, challengeScopes } = options
  const asked = requiredScopes.length > 0 ? requiredScopes : scopesSupported
  if (challengeScopes === undefined && advertisedScopes(asked).length === 0) warn('challengeScopes', NO_SCOPES)
  return { scopesSupported: advertisedScopes(scopesSupported), challengeScopes: challengeScopes ?? asked }
}

const NO_SCOPES =
  'no scope is named for MCP clients to ask for: several ask for none then and get none (Claude, Copilot). Set requiredScopes, scopesSupported or challengeScopes'

function readIssuer(
  { issuer, discoveryUrl, nextcloud }: OptionValues,
  given: LookUp,
): Pick<Config, 'issuer' | 'discoveryUrl' | 'isNextcloudByDefault'> {
  const isNextcloudByDefault = false
  if (issuer === undefined) {
    if (discoveryUrl !== undefined) return { issuer, discoveryUrl, isNextcloudByDefault }
    // The Python nextcloud-mcp-server takes Nextcloud for its provider then.
    if (nextcloud.url !== undefined && given('nextcloud.url').variable !== undefined) {
      const ofNextcloud = new URL('.well-known/openid-configuration', nextcloud.url.href.replace(/\/?$/, '/'))
      return { issuer, discoveryUrl: ofNextcloud, isNextcloudByDefault: true }
    }
    const variables = `${variableOf('issuer')}, ${variableOf('discoveryUrl')}`
    const message = `issuer is required (or discoveryUrl, or an environment variable: ${variables})`
    throw new ConfigurationError(message, 'issuer')
  }
  const option = given('issuer')
  if (isIssuerTemplate(issuer)) refuse(option, `is a template, and no token has it: ${LIST_TENANTS}`)
  const parsed = url.check(option)
  if (!isSecure(parsed)) {
    refuse(option, 'must be https, or http on loopback (RFC 8414 section 2); discoveryUrl may be an internal address')
  }
  if (parsed.pathname.includes('/.well-known/')) refuse(option, 'must be the issuer itself: that is a discoveryUrl')
  // RFC 8414 §2: no query. With one, "?" would end up in the middle of the well-known URL.
  if (parsed.search !== '') refuse(option, 'must not have a query (RFC 8414 section 2)')
  return { issuer, discoveryUrl, isNextcloudByDefault }
}

function readResource({ resource: text }: OptionValues, given: LookUp): { readonly text: string; readonly url: URL } {
  if (text === undefined) {
    const variable = variableOf('resource')
    const message = `resource is required: the URL of this MCP server (environment variable ${variable})`
    throw new ConfigurationError(message, 'resource')
  }
  const parsed = url.check(given('resource'))
  // It is published and compared as it is written, so it must be written as a URL is.
  if (!/^https?:\/\/[^\s\\]+$/i.test(text)) {
    refuse(given('resource'), 'must be an absolute URL, written without spaces')
  }
  return { text, url: parsed }
}

function warnOfPlainHttp(urls: Readonly<Record<string, URL | undefined>>, warn: Warn, prefix = ''): void {
  for (const [name, address] of Object.entries(urls)) {
    if (address === undefined || isSecure(address)) continue
    const option = prefix + name
    warn(option, `${option} is plain http off loopback: tokens can be read and keys replaced on the way`)
  }
}

/** @param client this server's client at the issuer, or `'elsewhere'` if it is known to another server */
function readIntrospection(
  { introspection }: OptionValues,
  given: LookUp,
  client: ClientConfig | 'elsewhere' | undefined,
): Config['introspection'] {
  const option = given('introspection')
  if (client === 'elsewhere') {
    if (option.value === undefined || introspection === false) return false
    refuse(option, 'contradicts the preset nextcloud-oauth2-app: clientId is of Nextcloud, and unknown to the issuer')
  }
  if (introspection === 'always' && client?.hasCredentials !== true) {
    refuse(option, "is 'always', which needs clientId and clientSecret (or clientAuth)")
  }
  return introspection
}
