import type { ClientAuth } from 'oauth4webapi'
import type { McpAuthInfo } from '../auth-info.js'
import type { FetchFunction, HttpOptions, McpAuthOptions, NextcloudMode } from '../options.js'

/** The validated, frozen form of the options: what every room works from. */
export interface Config {
  /** Undefined: taken from the discovery document. */
  readonly issuer: string | undefined
  readonly discoveryUrl: URL | undefined
  readonly endpoints: {
    readonly jwksUri: URL | undefined
    readonly tokenEndpoint: URL | undefined
    readonly introspectionEndpoint: URL | undefined
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
  readonly cache: {
    readonly nextcloudTokens: number
    readonly verifiedTokens: number
    /** Seconds. */
    readonly renewBefore: number
    /** Seconds. */
    readonly verifiedTtl: number
    /** Seconds. */
    readonly staleKeys: number
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
  readonly mode: NextcloudMode
  readonly audience: readonly string[]
  readonly resource: readonly string[]
  readonly scopes: readonly string[] | ((info: McpAuthInfo) => readonly string[])
  readonly parameters: Readonly<Record<string, string>>
  /** Milliseconds. */
  readonly timeout: number
}

export interface HttpConfig {
  readonly fetch: FetchFunction | undefined
  readonly agent: HttpOptions['agent']
  /** Milliseconds. */
  readonly timeout: number
  readonly maxResponseBytes: number
  readonly retries: number
}
