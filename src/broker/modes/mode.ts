import type { TokenAnswer } from '../../authorization-server/token-answer.js'

/** On whose behalf a Nextcloud token is wanted: the verified MCP token, or somebody whom the app names. */
export interface Caller {
  /** Empty for background work, which has none. */
  readonly token: string
  readonly issuer: string
  readonly subject: string
  /** The MCP client; undefined for the operator's own work. */
  readonly clientId: string | undefined
  readonly audience: readonly string[]
  /** `exp`, in seconds. */
  readonly expiresAt: number
}

/** A caller, with what the broker remembers about it between calls. */
export interface BrokerSession {
  readonly caller: Caller
  /** `nextcloud.scopes` for this caller. */
  readonly scopes: () => readonly string[]
  /** The cache key of calls without options, once it has been worked out. */
  defaultKey?: string
}

/** For what the token is wanted. */
export interface Target {
  readonly audience: readonly string[]
  readonly resource: readonly string[]
  readonly scopes: readonly string[]
}

/** What the caller has already. */
export interface Present {
  /** A token that will not do: it was refused, or it is to be renewed. */
  readonly notThis?: string | undefined
  /** The last token is taken as bad, whatever it was. */
  readonly force?: boolean | undefined
  /** `notThis` still serves meanwhile, so one that is to be renewed soon will not do either. */
  readonly ahead?: boolean | undefined
}

/** What a token from a grant was last seen to stand on. */
export interface Standing {
  version: string
  /** MCP clients that the user agreed to. */
  clients: readonly string[]
  /** Monotonic milliseconds of the last look into the store. */
  checkedAt: number
}

/** A token for the cache: an access token, or in app-password mode what follows `Basic` in its place. */
export interface FreshToken extends TokenAnswer {
  readonly source: 'idp' | 'store'
  readonly standing?: Standing | undefined
}

/** How a fresh Nextcloud token is got: one for each mode, called at most once at a time for the same caller and target. */
export type GetFreshToken = (caller: Caller, target: Target, present: Present) => Promise<FreshToken>

/** One way to get Nextcloud tokens. */
export interface Mode {
  readonly getFreshToken: GetFreshToken
  /** Whether the token is got for one MCP token, which it must not outlive, and not for a user. */
  readonly boundToMcpToken: boolean
  /** Seconds before its end at which a token is renewed ahead. */
  readonly renewBefore: number
  /** Seconds before its stated end from which a token is not used. */
  readonly margin: number
  /**
   * Whether it finds out by itself if a token that was refused is dead, as often as there is reason to. Default false: what has
   * replaced a refused token is not replaced in its turn before it has worked.
   */
  readonly provesRefusals?: boolean
  /** Whether a caller may have a token that was got for several at once. Default: whoever asked for it may. */
  readonly permits?: ((caller: Caller, standing: Standing | undefined) => boolean) | undefined
  /**
   * Whether a cached token may still be handed out to a caller: at once where that is known, else after a look into the store.
   * A promise of another token replaces it; of false, it is to be got anew.
   */
  readonly check?:
    ((caller: Caller, token: string, standing: Standing) => true | Promise<boolean | FreshToken>) | undefined
}
