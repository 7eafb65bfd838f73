import type { McpAuthInfo } from '../auth-info.js'
import { ConfigurationError } from '../errors/errors.js'
import { MODES, type NextcloudMode } from '../modes.js'
import type { Environment, NextcloudOptions } from '../options.js'
import { PRESETS, quirksOf, type NextcloudPreset } from '../presets.js'
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
  preset: true,
  timeout: true,
} satisfies Record<keyof NextcloudOptions, true>

/** Parameters that this package sets itself, from options of their own. */
const OWN_PARAMETERS = [
  'grant_type',
  'subject_token',
  'refresh_token',
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
  storageGiven: boolean,
): NextcloudConfig | undefined {
  const given = readObject(nextcloud.value, NAMES, environment, 'nextcloud.')
  const urlGiven = given('url', 'NEXTCLOUD_HOST')
  const url = optionalUrl(urlGiven)
  const mode = readMode(given('mode'), given('mode', 'ENABLE_TOKEN_EXCHANGE'), storageGiven)
  if (url === undefined) {
    if (nextcloud.value === undefined) return undefined
    refuse(urlGiven, 'is required (environment variable NEXTCLOUD_HOST)')
  }
  if (url.search !== '') refuse(urlGiven, 'must not have a query')
  for (const name of MODES[mode].ignores) {
    if (given(name).value !== undefined) refuse(given(name), `has no use in ${mode} mode`)
  }
  // In app-password mode there may be the app's own sign-in instead, which is looked for with the rest of `connect`.
  if (MODES[mode].asksAuthorizationServer && client?.hasCredentials !== true) {
    throw new ConfigurationError(
      `${client === undefined ? 'clientId' : 'clientSecret'} is required: in ${mode} mode (nextcloud.mode) the authorization server has to know this server, by clientId and clientSecret or clientAuth (environment variables OIDC_CLIENT_ID, OIDC_CLIENT_SECRET; nextcloud.url came from ${urlGiven.name})`,
      client === undefined ? 'clientId' : 'clientSecret',
    )
  }
  const preset = readPreset(given('preset'))
  const quirks = quirksOf(preset)
  if (MODES[mode].credentialFrom === 'exchange' && quirks.exchanges.length === 0) {
    refuse(given('preset'), `contradicts ${mode} mode, which that server does not have: use refresh-token mode`)
  }
  if (!quirks.idToken && MODES[mode].signInFor === 'identity') {
    refuse(given('preset'), 'contradicts app-password mode: that server cannot say who is at the browser')
  }
  const scopes = given('scopes')
  if (typeof scopes.value === 'function' && MODES[mode].keeps !== undefined) {
    refuse(scopes, `must be a list in ${mode} mode: a grant has one set of scopes for all callers`)
  }
  const fixedScopes = typeof scopes.value === 'function' ? [] : (optionalScopes(scopes) ?? [])
  return Object.freeze<NextcloudConfig>({
    url,
    base: url.href.replace(/\/?$/, '/'),
    mode,
    audience: optionalStrings(given('audience', 'NEXTCLOUD_RESOURCE_URI')) ?? ['nextcloud'],
    resource: optionalStrings(given('resource')) ?? [],
    scopes:
      typeof scopes.value === 'function' ? (scopes.value as (info: McpAuthInfo) => readonly string[]) : fixedScopes,
    fixedScopes,
    parameters: readParameters(given('parameters')),
    preset,
    timeout: optionalNumber(given('timeout'), 60_000, { unit: 'milliseconds', least: 1 }),
  })
}

function readMode(option: Given, variable: Given, storageGiven: boolean): NextcloudMode {
  const { value } = option
  if (value === undefined) {
    // Of the Python nextcloud-mcp-server: whether to exchange tokens, or to send on a token that is for both.
    if (variable.value === undefined) return storageGiven ? 'refresh-token' : 'token-exchange'
    if (variable.value === 'true') return 'token-exchange'
    if (variable.value === 'false') return 'pass-through'
    refuse(
      variable,
      'must be true (token-exchange mode) or false (pass-through mode); refresh-token mode comes with the option storage',
    )
  }
  if (!isMode(value)) refuse(option, `must be one of ${Object.keys(MODES).join(', ')}`)
  return value
}

function readPreset(given: Given): NextcloudPreset {
  const { value } = given
  if (value === undefined) return 'generic'
  if (!isPreset(value)) refuse(given, `must be one of ${Object.keys(PRESETS).join(', ')}`)
  return value
}

const isMode = (value: unknown): value is NextcloudMode => typeof value === 'string' && Object.hasOwn(MODES, value)

const isPreset = (value: unknown): value is NextcloudPreset =>
  typeof value === 'string' && Object.hasOwn(PRESETS, value)

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
