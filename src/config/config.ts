import type { ClientAuth } from 'oauth4webapi'
import type { LocalAnswers, OwnSignIn } from '../local-options.js'
import type { KeptSecret } from '../modes.js'
import type {
  AuthorizationServerOptions,
  CacheOptions,
  ConnectOptions,
  HttpOptions,
  McpAuthOptions,
  NextcloudOptions,
} from '../options.js'
import type { StorageAdapter } from '../storage-adapter.js'

/** Options with a default, which are all there. */
type Complete<O> = { readonly [K in keyof O]-?: Exclude<O[K], undefined> }

/** The validated, frozen form of the options: the ground that every room works from. Units are those of the options. */
export interface Config
  extends
    Pick<McpAuthOptions, 'validateClaims' | 'onEvent' | 'onError'>,
    Complete<
      Pick<McpAuthOptions, 'requiredScopes' | 'scopesSupported' | 'challengeScopes' | 'scopeSatisfies' | 'algorithms'>
    >,
    Complete<Pick<McpAuthOptions, 'clockTolerance' | 'introspection' | 'rootMetadata' | 'legacyMetadata'>>,
    Complete<Pick<McpAuthOptions, 'missingAudience' | 'idTokenLookalikes' | 'dpop'>> {
  /** Undefined: taken from the discovery document. */
  readonly issuer: string | undefined
  /** The configurations of the issuers after the first, each complete: they differ in what is of the issuer. */
  readonly others: readonly Config[]
  readonly discoveryUrl: URL | undefined
  /** Whether `discoveryUrl` is Nextcloud's own, because nothing names an issuer. */
  readonly isNextcloudByDefault: boolean
  readonly endpoints: Readonly<Record<keyof AuthorizationServerOptions, URL | undefined>>
  readonly resource: string
  readonly resourceMetadataUrl: string
  /** Undefined: the issuers. */
  readonly authorizationServers: readonly string[] | undefined
  readonly resourceName: string | undefined
  readonly resourceDocumentation: string | undefined
  readonly audience: readonly string[]
  readonly client: ClientConfig | undefined
  readonly allowedClients: ReadonlySet<string> | undefined
  readonly nextcloud: NextcloudConfig | undefined
  /** Undefined in every mode that keeps nothing of a user. */
  readonly grants: GrantsConfig | undefined
  /** The store in which all instances see which DPoP proofs were used. Undefined: each knows its own. */
  readonly usedProofs: SharedStoreConfig | undefined
  /** The store of the exchanged tokens that instances share. Undefined: each instance exchanges for itself. */
  readonly sharedTokens: SharedStoreConfig | undefined
  readonly cache: Complete<Omit<CacheOptions, 'renewBefore'>> & Pick<CacheOptions, 'renewBefore'>
  readonly http: HttpConfig
  /** The sign-in of an authorization server in this process. Undefined: there is none. */
  readonly ownSignIn: OwnSignIn | undefined
  /** Option → a message about it for the operator. */
  readonly warnings: readonly (readonly [option: string, message: string])[]
}

/** Takes a message for the operator about an option. */
export type Warn = (option: string, message: string) => void

export interface ClientConfig {
  readonly id: string
  readonly secret: string | undefined
  readonly auth: ClientAuth | undefined
  /** Whether this server can prove at the authorization server that it is this client. */
  readonly hasCredentials: boolean
}

export interface NextcloudConfig extends Complete<
  Pick<NextcloudOptions, 'mode' | 'scopes' | 'parameters' | 'preset' | 'timeout'>
> {
  readonly url: URL
  /** The URL with a slash at its end, so that a path can follow. */
  readonly base: string
  /** The URL at which browsers reach Nextcloud. */
  readonly publicUrl: URL
  /** The same with a slash at its end. */
  readonly publicBase: string
  readonly audience: readonly string[]
  readonly resource: readonly string[]
  /** The scopes that every caller asks for. None if `scopes` is a function, which chooses them for each MCP token. */
  readonly fixedScopes: readonly string[]
}

/** A store, with the keys that seal what is in it. */
export interface SharedStoreConfig {
  readonly storage: StorageAdapter
  readonly encryptionKeys: readonly Uint8Array[]
}

/** The way in which grants are kept, and in which they come about. */
export interface GrantsConfig {
  /** The secret that is kept of a user. */
  readonly credential: KeptSecret
  /** Base URL of the Nextcloud that grants are for, with a slash at its end. */
  readonly nextcloud: string
  /** `Quirks.endsAlone` of its authorization server. */
  readonly endsAlone: boolean
  /** Stands for everything that access tokens are asked for: a stored one that was asked for otherwise is not served. */
  readonly askedFor: string
  /** Undefined: in memory. */
  readonly storage: StorageAdapter | undefined
  /** The first seals, all open. None: the key that the storage in memory has. */
  readonly encryptionKeys: readonly Uint8Array[]
  readonly consent: Complete<ConnectOptions>['consent']
  /** Undefined: switched off. */
  readonly connect: ConnectConfig | undefined
}

export interface ConnectConfig
  extends
    Complete<Pick<ConnectOptions, 'path' | 'scopes' | 'authorizationParameters'>>,
    Pick<ConnectOptions, 'authenticateBrowser' | 'clientName' | 'identity'> {
  /** The redirect URI of the first issuer, and of each other that says that it names itself in its answers (RFC 9207). */
  readonly redirectUri: string
  /**
   * The redirect URI of an issuer after the first that does not: by it an answer tells whose it is (RFC 9700 §4.4.2.2). Undefined: the issuer is
   * the first, or users sign in at Nextcloud itself, whoever is the issuer.
   */
  readonly ownRedirectUri: string | undefined
  readonly returnTo: string | undefined
  /** Whether the user signs in at the authorization server on the way, for its tokens or to show who it is. */
  readonly signIn: boolean
}

export interface HttpConfig
  extends Complete<Omit<HttpOptions, 'fetch' | 'agent'>>, Pick<HttpOptions, 'fetch' | 'agent'> {
  /** Answers of an authorization server in this very process, which its own public name may not reach. */
  readonly local: LocalAnswers | undefined
}
