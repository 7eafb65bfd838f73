import cluster from 'node:cluster'
import { hash } from 'node:crypto'
import { hashOfParts } from '../hash-of-parts.js'
import { MODES, MODES_WITH_GRANTS } from '../modes.js'
import type { Environment, IdentityRule } from '../options.js'
import { quirksOf } from '../presets.js'
import { OWN_KEY, PUT_UNCOUNTED, type StorageAdapter } from '../storage-adapter.js'
import type { Config, ConnectConfig, GrantsConfig, NextcloudConfig, SharedStoreConfig, Warn } from './config.js'
import { claimOfRule, nameOfRule, readsClaims, scopesOfRule } from './identity-rule.js'
import { type LookUp, named, OPTIONS, type OptionValues, variableOf } from './declarations.js'
import { refuse } from './values.js'

/** The rest of the configuration, as far as it tells about grants. */
export interface GrantsContext extends Pick<Config, 'nextcloud' | 'client' | 'usedProofs' | 'sharedTokens'> {
  readonly resource: URL
  /** The issuer, unless it is the first. */
  readonly furtherIssuer: string | undefined
  readonly environment: Environment
  readonly warn: Warn
}

type GrantsOptions = Pick<OptionValues, 'storage' | 'encryptionKey' | 'connect'>
type StoreOptions = Pick<GrantsOptions, 'storage' | 'encryptionKey'>

/** The way in which grants are kept and come about. Undefined: the mode has no use for them. */
export function readGrants(options: GrantsOptions, given: LookUp, context: GrantsContext): GrantsConfig | undefined {
  const { nextcloud } = context
  const credential = nextcloud && MODES[nextcloud.mode].keeps
  if (nextcloud === undefined || credential === undefined) {
    checkUseless(options, given, context)
    return undefined
  }
  const { storage, connect } = options
  const encryptionKeys = readEncryptionKeys(options, given)
  warnOfStorage(storage, context)
  return {
    credential,
    nextcloud: nextcloud.base,
    endsAlone: quirksOf(nextcloud.preset).endsAlone,
    askedFor: askedFor(nextcloud),
    storage: storage && boundAdapter(storage),
    encryptionKeys,
    consent: connect === false ? OPTIONS.connect.members.consent.default : connect.consent,
    connect: connect === false ? undefined : readConnect(connect, given, { ...context, nextcloud }),
  }
}

/** The store in which instances tell each other of DPoP proofs. Undefined: `dpop` is off, or no other process sees the store. */
export function readUsedProofs(
  { storage, encryptionKey, dpop }: StoreOptions & Pick<OptionValues, 'dpop'>,
  given: LookUp,
  { environment, warn }: Pick<GrantsContext, 'environment' | 'warn'>,
): SharedStoreConfig | undefined {
  if (dpop === 'off') return undefined
  if (storage?.shared !== true) {
    if (severalInstancesAreLikely(environment)) {
      warn(
        'dpop',
        'dpop has no shared storage, and this looks like one of several instances: each lets the same proof in once',
      )
    }
    return undefined
  }
  return { storage: boundAdapter(storage), encryptionKeys: readEncryptionKeys({ storage, encryptionKey }, given) }
}

/** The store in which instances share exchanged tokens. Undefined: the mode exchanges nothing, or there is no store. */
export function readSharedTokens(
  { storage, encryptionKey }: StoreOptions,
  given: LookUp,
  { nextcloud, environment, warn }: Pick<GrantsContext, 'nextcloud' | 'environment' | 'warn'>,
): SharedStoreConfig | undefined {
  if (storage === undefined || nextcloud === undefined || MODES[nextcloud.mode].credentialFrom !== 'exchange')
    return undefined
  warnOfOwnStorage(storage, 'shares its exchanged tokens with none', { environment, warn })
  return { storage: boundAdapter(storage), encryptionKeys: readEncryptionKeys({ storage, encryptionKey }, given) }
}

function readEncryptionKeys({ storage, encryptionKey }: StoreOptions, given: LookUp): readonly Uint8Array[] {
  if (encryptionKey === undefined && storage !== undefined && storage[OWN_KEY] === undefined) {
    refuse(
      given('encryptionKey'),
      `is required with a storage other than memory (environment variable ${variableOf('encryptionKey')}); npx mcp-nextcloud-auth keygen makes one`,
    )
  }
  return encryptionKey?.() ?? []
}

function askedFor({ base, resource, audience, fixedScopes, parameters }: NextcloudConfig): string {
  return hashOfParts([base], [resource, audience, fixedScopes, Object.entries(parameters).flat()])
}

/** Refuses an option that is useless without grants, or warns about it. */
function checkUseless(
  { storage, encryptionKey, connect }: GrantsOptions,
  given: LookUp,
  { nextcloud, usedProofs, sharedTokens, warn }: GrantsContext,
): void {
  const mode = nextcloud?.mode ?? 'this'
  if (storage !== undefined && usedProofs === undefined && sharedTokens === undefined)
    warn('storage', `storage has no use in ${mode} mode (nextcloud.mode)`)
  if (given('connect').value !== undefined && connect !== false) {
    refuse(given('connect'), `has no use without nextcloud.mode ${MODES_WITH_GRANTS}`)
  }
  const key = given('encryptionKey')
  // A variable may be there for another server on the same machine.
  if (key.variable === undefined) encryptionKey?.()
  if (key.value !== undefined && storage === undefined) {
    const why = 'it seals what is in storage, and none is given'
    warn('encryptionKey', `${key.name} has no use in ${mode} mode: ${why}`)
  }
}

function warnOfStorage(storage: StorageAdapter | undefined, context: GrantsContext): void {
  if (storage === undefined) {
    const message =
      'no storage is given: grants are kept in memory, and every user has to connect again after a restart'
    context.warn('storage', message)
  }
  warnOfOwnStorage(storage, 'knows only its own grants', context)
}

function warnOfOwnStorage(
  storage: StorageAdapter | undefined,
  what: string,
  { environment, warn }: Pick<GrantsContext, 'environment' | 'warn'>,
): void {
  if (storage?.shared === true || !severalInstancesAreLikely(environment)) return
  warn('storage', `storage is not shared, and this looks like one of several instances: each ${what}`)
}

/** The marks of a cluster worker, of PM2 and of Kubernetes. */
function severalInstancesAreLikely(environment: Environment): boolean {
  return (
    cluster.isWorker ||
    environment['NODE_APP_INSTANCE'] !== undefined ||
    environment['KUBERNETES_SERVICE_HOST'] !== undefined
  )
}

/** The methods of an adapter. The configuration is frozen all the way down, which an adapter that is a plain object must not be. */
function boundAdapter(adapter: StorageAdapter): StorageAdapter {
  return {
    shared: adapter.shared,
    get: adapter.get.bind(adapter),
    put: adapter.put.bind(adapter),
    delete: adapter.delete.bind(adapter),
    ...(adapter.list && { list: adapter.list.bind(adapter) }),
    [PUT_UNCOUNTED]: adapter[PUT_UNCOUNTED]?.bind(adapter),
    [OWN_KEY]: adapter[OWN_KEY],
  }
}

function readConnect(
  options: Exclude<OptionValues['connect'], false>,
  given: LookUp,
  { nextcloud, client, resource, furtherIssuer, warn }: GrantsContext & { readonly nextcloud: NextcloudConfig },
): ConnectConfig {
  const { path, authenticateBrowser, identity } = options
  const forIdentity = MODES[nextcloud.mode].signInFor === 'identity'
  if (forIdentity && authenticateBrowser === undefined && client?.hasCredentials !== true) {
    refuse(
      given('connect.authenticateBrowser'),
      `is required in ${nextcloud.mode} mode without clientId and clientSecret (or clientAuth), with which the authorization server could say who is at the browser`,
    )
  }
  if (forIdentity && options.scopes !== undefined && !readsClaims(identity)) {
    const problem = `has no use in ${nextcloud.mode} mode, which asks for openid alone unless connect.identity reads a claim`
    refuse(given('connect.scopes'), problem)
  }
  checkIdentity(identity, given, { nextcloud, furtherIssuer, warn })
  const redirectUri = `${resource.origin}${path}/callback`
  const isElsewhere = quirksOf(nextcloud.preset).endpoints !== undefined
  return {
    path,
    authorizationParameters: options.authorizationParameters,
    returnTo: options.returnTo,
    authenticateBrowser,
    clientName: options.clientName,
    identity,
    redirectUri,
    ownRedirectUri: furtherIssuer === undefined || isElsewhere ? undefined : `${redirectUri}/${placeOf(furtherIssuer)}`,
    scopes: options.scopes ?? (forIdentity ? scopesOfRule(identity) : nextcloud.fixedScopes),
    signIn: !forIdentity || authenticateBrowser === undefined,
  }
}

/** Returns the last part of an issuer's own redirect URI, which an operator can work out with `sha256sum`. */
const placeOf = (issuer: string): string => hash('sha256', issuer).slice(0, 16)

/** Refuses a configuration in which nothing says whose account in Nextcloud a user connects, and warns of a rule that trusts many. */
function checkIdentity(
  identity: IdentityRule | undefined,
  given: LookUp,
  {
    nextcloud: { mode, preset },
    furtherIssuer,
    warn,
  }: { readonly nextcloud: NextcloudConfig } & Pick<GrantsContext, 'furtherIssuer' | 'warn'>,
): void {
  const forIdentity = MODES[mode].signInFor === 'identity'
  if (identity === undefined && (forIdentity || !quirksOf(preset).idToken)) {
    const where = forIdentity ? `in ${mode} mode` : `with the preset ${preset}`
    refuse({ ...given('connect.identity'), name: named('connect.identity') }, `is required ${where}: ${CHOICE}`)
  }
  if (identity === 'anyone') {
    const message =
      "connect.identity is 'anyone': whoever agrees in Nextcloud in the end, their account serves the MCP user, who may have sent them there"
    warn('connect.identity', message)
  }
  const claim = identity && claimOfRule(identity)
  if (identity !== undefined && claim !== undefined && furtherIssuer !== undefined) {
    const message = `connect.identity is ${nameOfRule(identity)}, which compares ${claim} whoever the issuer is: each of several issuers is trusted with the accounts of all, because one that gives its user the ${claim} of another's lets that user connect the other's account. Unless you trust them so, give a function (account, who) => boolean that looks at who.issuer too`
    warn('connect.identity', message)
  }
}

const CHOICE = `it is the rule by which the Nextcloud account that is connected must be that of the MCP user. Choose by the user ids that "occ user:list" shows for your users, with the value of the option first and of the variable behind it:
- they are the sub of the MCP tokens (Nextcloud's own app oidc): 'sub' or sub
- they are another claim, such as the user name (user_oidc with --mapping-uid=preferred_username --unique-uid=0): { claim: 'preferred_username' } or claim:preferred_username
- they have 64 hexadecimal digits (made by user_oidc, in its default): { userOidc: { providerId: 1 } } or user_oidc:1, with the id that "occ user_oidc:provider" lists
- anything else (LDAP, a list of your own): a function (account, who) => boolean, as an option only`
