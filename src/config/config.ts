import type { ClientAuth } from 'oauth4webapi'
import type { McpAuthInfo } from '../auth-info.js'
import type {
  ConnectOptions,
  FetchFunction,
  HttpOptions,
  McpAuthOptions,
  NextcloudMode,
  NextcloudPreset,
} from '../options.js'
import type { StorageAdapter } from '../storage-adapter.js'

/** The validated, frozen form of the options: what every room works from. */
export interface Config {
  /** Undefined: taken from the discovery document. */
  readonly issuer: string | undefined
  readonly discoveryUrl: URL | undefined
  readonly endpoints: {
    readonly jwksUri: URL | undefined
    readonly tokenEndpoint: URL | undefined
    readonly introspectionEndpoint: URL | undefined
    readonly revocationEndpoint: URL | undefined
    readonly authorizationEndpoint: URL | undefined
  }
  readonly resource: string
  readonly resourceMetadataUrl: string
  readonly rootMetadata: boolean
  readonly resourceName: string | undefined
  readonly resourceDocumentation: string | undefined
  readonly audience: readonly string[]
  readonly client: ClientConfig | undefined
  readonly requiredScopes: readonly string[]
  readonly scopesSupported: readonly string[]
  readonly scopeSatisfies: (granted: readonly string[], required: string) => boolean
  readonly allowedClients: ReadonlySet<string> | undefined
  readonly algorithms: readonly string[]
  /** Seconds. */
  readonly clockTolerance: number
  readonly validateClaims: McpAuthOptions['validateClaims']
  readonly introspection: 'opaque-only' | 'always' | false
  readonly nextcloud: NextcloudConfig | undefined
  /** Undefined in every mode but refresh-token and app-password. */
  readonly grants: GrantsConfig | undefined
  readonly cache: {
    readonly nextcloudTokens: number
    readonly verifiedTokens: number
    /** Seconds. */
    readonly renewBefore: number
    /** Seconds. */
    readonly verifiedTtl: number
    /** Seconds. */
    readonly staleKeys: number
    /** Seconds. */
    readonly grantCheck: number
  }
  readonly http: HttpConfig
  readonly onEvent: McpAuthOptions['onEvent']
  readonly onError: McpAuthOptions['onError']
  /** Option → what to tell the operator about it. */
  readonly warnings: readonly (readonly [option: string, message: string])[]
}

export interface ClientConfig {
  readonly id: string
  readonly secret: string | undefined
  readonly auth: ClientAuth | undefined
  /** Whether this server can prove at the authorization server who it is. */
  readonly hasCredentials: boolean
}

export interface NextcloudConfig {
  readonly url: URL
  /** The URL with a slash at its end, so that a path can follow. */
  readonly base: string
  readonly mode: NextcloudMode
  readonly audience: readonly string[]
  readonly resource: readonly string[]
  readonly scopes: readonly string[] | ((info: McpAuthInfo) => readonly string[])
  /** The scopes that every caller asks for. None if `scopes` is a function, which chooses them for each MCP token. */
  readonly fixedScopes: readonly string[]
  readonly parameters: Readonly<Record<string, string>>
  readonly preset: NextcloudPreset
  /** Milliseconds. */
  readonly timeout: number
}

/** Where and how grants are kept, and how they come about. */
export interface GrantsConfig {
  /** What is kept of a user. */
  readonly credential: 'refresh-token' | 'app-password'
  /** Base URL of the Nextcloud that grants are for. */
  readonly nextcloud: string
  /** Undefined: in memory. */
  readonly storage: StorageAdapter | undefined
  /** The first seals, all open. None: the key that the storage in memory has. */
  readonly encryptionKeys: readonly Uint8Array[]
  readonly consent: 'per-client' | 'per-user'
  /** Undefined: switched off. */
  readonly connect: ConnectConfig | undefined
}

export interface ConnectConfig {
  /** Without a slash at its end. */
  readonly path: string
  readonly redirectUri: string
  readonly scopes: readonly string[]
  readonly authorizationParameters: Readonly<Record<string, string>>
  readonly returnTo: string | undefined
  readonly authenticateBrowser: ConnectOptions['authenticateBrowser']
  readonly identity: ConnectOptions['identity']
  /** Whether the user signs in at the authorization server on the way: to say who it is, or for the tokens of that. */
  readonly signIn: boolean
}

export interface HttpConfig {
  readonly fetch: FetchFunction | undefined
  readonly agent: HttpOptions['agent']
  /** Milliseconds. */
  readonly timeout: number
  readonly maxResponseBytes: number
  readonly retries: number
}
