import type { McpAuthInfo } from '../auth-info.js'
import { ConfigurationError } from '../errors.js'
import type { Environment, NextcloudMode, NextcloudOptions } from '../options.js'
import type { ClientConfig, NextcloudConfig } from './config.js'
import {
  type Given,
  isPlainObject,
  optionalNumber,
  optionalScopes,
  optionalStrings,
  optionalUrl,
  readObject,
  refuse,
} from './values.js'

const NAMES = {
  url: true,
  mode: true,
  audience: true,
  resource: true,
  scopes: true,
  parameters: true,
  timeout: true,
} satisfies Record<keyof NextcloudOptions, true>

/** What a mode has no use for: given all the same, it is a misunderstanding that must not pass in silence. */
const USELESS: Readonly<Record<NextcloudMode, readonly (keyof NextcloudOptions)[]>> = {
  'token-exchange': [],
  // What it is for is told by scopes; audience, which has a default, is just not sent.
  'jwt-bearer': [],
  'pass-through': ['resource', 'scopes', 'parameters'],
}

/** Parameters that this package sets itself, from options of their own. */
const OWN_PARAMETERS = [
  'grant_type',
  'subject_token',
  'assertion',
  'client_id',
  'client_secret',
  'client_assertion',
  'client_assertion_type',
  'scope',
  'audience',
  'resource',
]

/** The `nextcloud` options; undefined when Nextcloud is not configured. */
export function readNextcloud(
  nextcloud: Given,
  environment: Environment,
  client: ClientConfig | undefined,
): NextcloudConfig | undefined {
  const given = readObject(nextcloud.value, NAMES, environment, 'nextcloud.')
  const urlGiven = given('url', 'NEXTCLOUD_HOST')
  const url = optionalUrl(urlGiven)
  const mode = readMode(given('mode'), given('mode', 'ENABLE_TOKEN_EXCHANGE'))
  if (url === undefined) {
    if (nextcloud.value === undefined) return undefined
    refuse(urlGiven, 'is required (environment variable NEXTCLOUD_HOST)')
  }
  if (url.search !== '') refuse(urlGiven, 'must not have a query')
  for (const name of USELESS[mode]) {
    if (given(name).value !== undefined) refuse(given(name), `has no use in ${mode} mode`)
  }
  if (mode !== 'pass-through' && client?.hasCredentials !== true) {
    throw new ConfigurationError(
      `${client === undefined ? 'clientId' : 'clientSecret'} is required: in ${mode} mode (nextcloud.mode) the authorization server has to know this server, by clientId and clientSecret or clientAuth (environment variables OIDC_CLIENT_ID, OIDC_CLIENT_SECRET; nextcloud.url came from ${urlGiven.name})`,
      client === undefined ? 'clientId' : 'clientSecret',
    )
  }
  const scopes = given('scopes')
  return Object.freeze<NextcloudConfig>({
    url,
    mode,
    audience: optionalStrings(given('audience', 'NEXTCLOUD_RESOURCE_URI')) ?? ['nextcloud'],
    resource: optionalStrings(given('resource')) ?? [],
    scopes:
      typeof scopes.value === 'function'
        ? (scopes.value as (info: McpAuthInfo) => readonly string[])
        : (optionalScopes(scopes) ?? []),
    parameters: readParameters(given('parameters')),
    timeout: optionalNumber(given('timeout'), 60_000, { unit: 'milliseconds', least: 1 }),
  })
}

function readMode(option: Given, variable: Given): NextcloudMode {
  const { value } = option
  if (value === 'refresh-token') {
    refuse(option, "is 'refresh-token', which this version does not have yet: it comes with the storage of grants")
  }
  if (value === undefined) {
    // Of the Python nextcloud-mcp-server: whether to exchange tokens, or to send on a token that is for both.
    if (variable.value === undefined || variable.value === 'true') return 'token-exchange'
    if (variable.value === 'false') return 'pass-through'
    refuse(variable, 'must be true or false')
  }
  if (value !== 'token-exchange' && value !== 'jwt-bearer' && value !== 'pass-through') {
    refuse(option, "must be 'token-exchange', 'jwt-bearer' or 'pass-through'")
  }
  return value
}

function readParameters(given: Given): Readonly<Record<string, string>> {
  if (given.value === undefined) return {}
  if (!isPlainObject(given.value)) refuse(given, 'must be an object of strings')
  for (const [name, value] of Object.entries(given.value)) {
    if (typeof value !== 'string') refuse(given, `must be an object of strings, which ${name} is not`)
    if (OWN_PARAMETERS.includes(name))
      refuse(given, `must not hold ${name}, which has an option of its own or is set here`)
  }
  return Object.freeze({ ...(given.value as Record<string, string>) })
}
