import { ConfigurationError } from '../errors/errors.js'
import { MODES, type NextcloudMode } from '../modes.js'
import { quirksOf } from '../presets.js'
import type { Config, NextcloudConfig, Warn } from './config.js'
import { type LookUp, named, type OptionValues, variableOf } from './declarations.js'
import { refuse, sameUri } from './values.js'

/** The `nextcloud` options. Undefined: Nextcloud is not configured. */
export function readNextcloud(
  values: Pick<OptionValues, 'issuer' | 'nextcloud' | 'storage' | 'allowedClients' | 'dpop'>,
  given: LookUp,
  { client, discoveryUrl, warn }: Pick<Config, 'client' | 'discoveryUrl'> & { readonly warn: Warn },
): NextcloudConfig | undefined {
  const { url, ...options } = values.nextcloud
  if (url === undefined) {
    if (given('nextcloud').value === undefined) return undefined
    refuse(given('nextcloud.url'), `is required (environment variable ${variableOf('nextcloud.url')})`)
  }
  const { publicUrl = url } = options
  if (url.search !== '') refuse(given('nextcloud.url'), 'must not have a query')
  if (publicUrl.search !== '') refuse(given('nextcloud.publicUrl'), 'must not have a query')
  const { scopes, mode = defaultMode(values, given, client) } = options
  refuseUseless(given, mode)
  checkBinding(values.dpop, given, mode)
  if (MODES[mode].asksAuthorizationServer && client?.hasCredentials !== true) {
    throw withoutClient(mode, client === undefined ? 'clientId' : 'clientSecret', given('nextcloud.url').name)
  }
  checkPreset(given, { ...options, mode }, warn)
  warnOfMeantExchange(values, given, warn)
  warnOfAnyClient(
    { ...values, discoveryUrl },
    { preset: options.preset, addresses: [baseOf(url), baseOf(publicUrl)] },
    warn,
  )
  return {
    ...options,
    mode,
    url,
    base: baseOf(url),
    publicUrl,
    publicBase: baseOf(publicUrl),
    resource: options.resource ?? [],
    fixedScopes: typeof scopes === 'function' ? [] : scopes,
  }
}

/**
 * @throws {ConfigurationError} neither a store nor a client that the authorization server knows says which mode it is
 */
function defaultMode(
  { storage }: Pick<OptionValues, 'storage'>,
  given: LookUp,
  client: Config['client'],
): NextcloudMode {
  if (storage !== undefined) return 'refresh-token'
  if (client?.hasCredentials === true) return 'token-exchange'
  const missing = client === undefined ? 'clientId' : 'clientSecret'
  throw new ConfigurationError(
    `${missing} is required (environment variables ${variableOf('clientId')}, ${variableOf('clientSecret')}), or nextcloud.mode: nothing says how this server gets into the Nextcloud of ${given('nextcloud.url').name}. Choose:
- 'token-exchange', with clientId and clientSecret: the provider exchanges each MCP token (Keycloak, Zitadel, Authentik, Okta, Auth0; for Entra 'jwt-bearer')
- 'refresh-token', with them, storage and encryptionKey: the provider has no exchange, or is Nextcloud itself; users connect once, in their browser
- 'app-password', with connect.identity and storage: Nextcloud takes no tokens of the provider, or tools are to work with any provider; users connect once, in their browser
docs/modes.md of mcp-nextcloud-auth tells more.`,
    missing,
  )
}

/** A store alone means refresh-token mode, whose tokens nobody asks an audience for. */
function warnOfMeantExchange(
  { storage, nextcloud: { mode, preset } }: Pick<OptionValues, 'nextcloud' | 'storage'>,
  given: LookUp,
  warn: Warn,
): void {
  const { exchanges, usuallyExchanges } = quirksOf(preset)
  if (mode !== undefined || storage === undefined || exchanges.length === 0) return
  const audience = given('nextcloud.audience')
  if (audience.value === undefined && !usuallyExchanges) return
  const sign = audience.value === undefined ? `nextcloud.preset '${preset}'` : audience.name
  warn(
    'nextcloud.mode',
    `storage is given and nextcloud.mode is not, which means refresh-token mode: nothing is exchanged, and each user has to connect Nextcloud once. ${sign} looks like an exchange: set nextcloud.mode to 'token-exchange', with which instances share exchanged tokens in storage, or to 'refresh-token' if that is meant`,
  )
}

const baseOf = ({ href }: URL): string => href.replace(/\/?$/, '/')

function refuseUseless(given: LookUp, mode: NextcloudMode): void {
  for (const name of MODES[mode].ignores) {
    const option = given(`nextcloud.${name}`)
    // A variable may be there for another server on the same machine.
    if (option.value !== undefined && option.variable === undefined) refuse(option, `has no use in ${mode} mode`)
  }
  if (typeof given('nextcloud.scopes').value === 'function' && MODES[mode].keeps !== undefined) {
    refuse(given('nextcloud.scopes'), `must be a list in ${mode} mode: a grant has one set of scopes for all callers`)
  }
}

/** A token that is bound to a key of the MCP client is worth nothing from here. */
function checkBinding(dpop: OptionValues['dpop'], given: LookUp, mode: NextcloudMode): void {
  if (dpop === 'off' || MODES[mode].credentialFrom !== 'mcp-token') return
  refuse(
    given('dpop'),
    `contradicts ${mode} mode: a token that is bound to a key of the MCP client cannot be passed on`,
  )
}

/** In app-password mode the app's own sign-in may do instead, which is looked for with the rest of `connect`. */
function withoutClient(mode: NextcloudMode, missing: 'clientId' | 'clientSecret', url: string): ConfigurationError {
  const variables = `${variableOf('clientId')}, ${variableOf('clientSecret')}`
  return new ConfigurationError(
    `${missing} is required: in ${mode} mode (nextcloud.mode) the authorization server must know this server, by clientId and clientSecret or clientAuth (environment variables ${variables}; nextcloud.url came from ${url})`,
    missing,
  )
}

/** The documents of Nextcloud's app oidc, behind the base URL. */
const OWN_DOCUMENT = /^(?:index\.php\/)?(?:\.well-known|apps\/oidc)\//

function warnOfAnyClient(
  { issuer, discoveryUrl, allowedClients }: Pick<OptionValues, 'issuer' | 'discoveryUrl' | 'allowedClients'>,
  { preset, addresses }: Pick<NextcloudConfig, 'preset'> & { readonly addresses: readonly string[] },
  warn: Warn,
): void {
  const { letsAnyClientIn, endpoints } = quirksOf(preset)
  // With endpoints of its own, the issuer is another server, which may share the address.
  const isIssuer = issuer !== undefined && endpoints === undefined && addresses.some((base) => sameUri(issuer, base))
  const document = discoveryUrl?.href ?? ''
  const isFound = addresses.some((base) => document.startsWith(base) && OWN_DOCUMENT.test(document.slice(base.length)))
  if (allowedClients !== undefined || !(isIssuer || isFound || letsAnyClientIn)) return
  warn(
    'allowedClients',
    `${named('allowedClients')} is not given: Nextcloud itself issues the tokens (its app oidc), so one of any client of that Nextcloud is taken, and clients can register themselves there`,
  )
}

function checkPreset(given: LookUp, { preset, mode }: Pick<NextcloudConfig, 'preset' | 'mode'>, warn: Warn): void {
  const { exchanges, idToken } = quirksOf(preset)
  const { credentialFrom, signInFor } = MODES[mode]
  if (credentialFrom === 'exchange' && exchanges.length === 0) {
    refuse(
      given('nextcloud.preset'),
      `contradicts ${mode} mode, which that server does not have: use refresh-token mode`,
    )
  }
  if (credentialFrom === 'exchange' && !exchanges.includes(mode)) {
    const message = `nextcloud.preset is '${preset}', a server without ${mode} mode: set nextcloud.mode to '${exchanges.join()}'`
    warn('nextcloud.preset', message)
  }
  if (signInFor === 'identity' && !idToken) {
    refuse(given('nextcloud.preset'), `contradicts ${mode} mode: that server cannot say who is at the browser`)
  }
}
