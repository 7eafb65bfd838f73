import cluster from 'node:cluster'
import { MODES } from '../modes.js'
import { quirksOf } from '../presets.js'
import type { ConnectOptions, Environment } from '../options.js'
import { OWN_KEY, type StorageAdapter } from '../storage-adapter.js'
import type { Config, ConnectConfig, GrantsConfig } from './config.js'
import { readEncryptionKeys } from './read-encryption-key.js'
import {
  type Given,
  isPlainObject,
  optionalFunction,
  optionalScopes,
  optionalString,
  optionalUrl,
  readObject,
  refuse,
} from './values.js'

const CONNECT_NAMES = {
  path: true,
  consent: true,
  scopes: true,
  authorizationParameters: true,
  returnTo: true,
  authenticateBrowser: true,
  identity: true,
} satisfies Record<keyof ConnectOptions, true>

/** Parameters of the authorization request that tie the answer to the browser and to this client. */
const OWN_PARAMETERS = [
  'client_id',
  'redirect_uri',
  'response_type',
  'response_mode',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
  'scope',
]

/** The options of the modes with grants, as they were given. */
export interface GrantsGiven {
  readonly storage: Given
  readonly encryptionKey: Given
  readonly connect: Given
  readonly environment: Environment
}

/** What the rest of the configuration says about grants. */
export interface GrantsContext extends Pick<Config, 'nextcloud' | 'client'> {
  readonly resource: URL
  readonly warn: (option: string, message: string) => void
}

/** How grants are kept and come about; undefined in the modes that have no use for them. */
export function readGrants(given: GrantsGiven, context: GrantsContext): GrantsConfig | undefined {
  const { storage, encryptionKey, connect } = given
  const { nextcloud, warn } = context
  const adapter = readStorage(storage)
  const credential = nextcloud && MODES[nextcloud.mode].keeps
  if (nextcloud === undefined || credential === undefined) {
    if (adapter !== undefined)
      warn('storage', `storage has no use in ${nextcloud?.mode ?? 'this'} mode (nextcloud.mode)`)
    if (connect.value !== undefined && connect.value !== false) {
      refuse(connect, "has no use without nextcloud.mode 'refresh-token' or 'app-password'")
    }
    if (encryptionKey.name === encryptionKey.option) readEncryptionKeys(encryptionKey)
    if (encryptionKey.value !== undefined && adapter === undefined) {
      warn(
        'encryptionKey',
        `${encryptionKey.name} has no use in ${nextcloud?.mode ?? 'this'} mode: it seals grants, and those come with storage (refresh-token mode)`,
      )
    }
    return undefined
  }
  const keys = readEncryptionKeys(encryptionKey)
  if (keys.length === 0 && adapter !== undefined && adapter[OWN_KEY] === undefined) {
    refuse(
      encryptionKey,
      'is required with a storage other than memory (environment variable TOKEN_ENCRYPTION_KEY); npx mcp-nextcloud-auth keygen makes one',
    )
  }
  if (adapter === undefined) {
    warn(
      'storage',
      'no storage is given: grants are kept in memory, and every user has to connect again after a restart',
    )
  }
  if (adapter?.shared !== true && severalInstancesAreLikely(given.environment)) {
    warn(
      'storage',
      'storage is not shared, and this looks like one of several instances: each knows only its own grants',
    )
  }
  const options = connect.value === false ? {} : connect.value
  const read = readObject(options, CONNECT_NAMES, given.environment, 'connect.')
  const consent = readConsent(read('consent'))
  const pages = connect.value === false ? undefined : readConnect(read, context)
  if (MODES[nextcloud.mode].signInFor === 'identity' && pages !== undefined && pages.identity === undefined) {
    warn(
      'connect.identity',
      'connect.identity is not set: whoever signs in to Nextcloud in the end, their account serves the MCP user, who may have sent them there',
    )
  }
  return {
    credential,
    nextcloud: nextcloud.url.href,
    storage: adapter === undefined ? undefined : boundAdapter(adapter),
    encryptionKeys: keys,
    consent,
    connect: pages,
  }
}

function readStorage(given: Given): StorageAdapter | undefined {
  if (given.value === undefined) return undefined
  if (!isAdapter(given.value)) {
    refuse(given, 'must be a StorageAdapter: with get, put and delete, and with shared, which is true or false')
  }
  return given.value
}

function isAdapter(value: unknown): value is StorageAdapter {
  if (typeof value !== 'object' || value === null) return false
  const { get, put, delete: remove, shared } = value as Partial<Record<keyof StorageAdapter, unknown>>
  return [get, put, remove].every((method) => typeof method === 'function') && typeof shared === 'boolean'
}

/** The configuration is frozen all the way down, which an adapter that is a plain object must not be. */
function boundAdapter(adapter: StorageAdapter): StorageAdapter {
  return {
    shared: adapter.shared,
    get: adapter.get.bind(adapter),
    put: adapter.put.bind(adapter),
    delete: adapter.delete.bind(adapter),
    [OWN_KEY]: adapter[OWN_KEY],
  }
}

/** The marks of a cluster worker, of PM2 and of Kubernetes. */
function severalInstancesAreLikely(environment: Environment): boolean {
  return (
    cluster.isWorker ||
    environment['NODE_APP_INSTANCE'] !== undefined ||
    environment['KUBERNETES_SERVICE_HOST'] !== undefined
  )
}

function readConsent(given: Given): GrantsConfig['consent'] {
  if (given.value === undefined) return 'per-client'
  if (given.value !== 'per-client' && given.value !== 'per-user') refuse(given, "must be 'per-client' or 'per-user'")
  return given.value
}

function readConnect(read: (key: string) => Given, { nextcloud, client, resource }: GrantsContext): ConnectConfig {
  const path = readPath(read('path'))
  const authenticateBrowser = optionalFunction(read('authenticateBrowser')) as ConnectConfig['authenticateBrowser']
  const identity = optionalFunction(read('identity')) as ConnectConfig['identity']
  if (!quirksOf(nextcloud?.preset).idToken && authenticateBrowser === undefined && identity === undefined) {
    refuse(
      read('identity'),
      'or connect.authenticateBrowser is required with the preset nextcloud-oauth2-app: that authorization server has no ID token that could say who is at the browser',
    )
  }
  const hasAppPasswords = nextcloud !== undefined && MODES[nextcloud.mode].signInFor === 'identity'
  if (hasAppPasswords && authenticateBrowser === undefined && client?.hasCredentials !== true) {
    refuse(
      read('authenticateBrowser'),
      'is required in app-password mode without clientId and clientSecret (or clientAuth), with which the authorization server could say who is at the browser',
    )
  }
  if (hasAppPasswords && read('scopes').value !== undefined) {
    refuse(read('scopes'), 'has no use in app-password mode, which asks for openid alone')
  }
  return {
    path,
    redirectUri: `${resource.origin}${path}/callback`,
    scopes: optionalScopes(read('scopes')) ?? nextcloud?.fixedScopes ?? [],
    authorizationParameters: readParameters(read('authorizationParameters')),
    returnTo: optionalUrl(read('returnTo'))?.href,
    authenticateBrowser,
    identity,
    // With app passwords there is nothing to get there but who it is.
    signIn: !hasAppPasswords || authenticateBrowser === undefined,
  }
}

function readPath(given: Given): string {
  const path = optionalString(given) ?? '/nextcloud'
  if (!/^(?:\/[\w~!$&'()*+,;=:@-][\w.~!$&'()*+,;=:@-]*)+$/.test(path)) {
    refuse(given, 'must be a path such as /nextcloud: with a slash at its start, none at its end, and nothing encoded')
  }
  return path
}

function readParameters(given: Given): Readonly<Record<string, string>> {
  if (given.value === undefined) return {}
  if (!isPlainObject(given.value)) refuse(given, 'must be an object of strings')
  for (const [name, value] of Object.entries(given.value)) {
    if (typeof value !== 'string') refuse(given, `must be an object of strings, which ${name} is not`)
    if (OWN_PARAMETERS.includes(name)) refuse(given, `must not hold ${name}, which is set here`)
  }
  return { ...(given.value as Record<string, string>) }
}
