import type { AuthorizationServerClient } from '../../authorization-server/client.js'
import type { TokenAnswer } from '../../authorization-server/token-answer.js'
import type { Clock } from '../../clock.js'
import type { Config, NextcloudConfig } from '../../config/config.js'
import type { NotProvisionedError, SubjectTokenRejectedError } from '../../errors/errors.js'
import type { Events } from '../../events.js'
import type { Grant, Identity } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import type { Grants } from '../../grants/open-grants.js'
import type { SharedToken, TokenRecords } from '../../grants/token-records.js'
import type { CodeShares } from '../../local-options.js'
import type { AppPasswords } from '../../nextcloud/app-passwords.js'
import type { Secret } from '../../nextcloud/credential.js'
import type { SignIns } from '../../nextcloud/sign-ins.js'
import type { UnderWay } from '../../under-way.js'

/** The user that a Nextcloud token is wanted for: of a verified MCP token, or named by the app. */
export interface Caller {
  /** The MCP token. Empty for background work, which has none. */
  readonly token: string
  readonly identity: Identity
  /** The MCP client. Undefined for the operator's own work. */
  readonly clientId: string | undefined
  readonly audience: readonly string[]
  /** `exp`, in seconds. */
  readonly expiresAt: number
  /**
   * `GrantStore.withdrawals` when the user agreed to what the MCP token came of, where it says so: a token of this server's own. Undefined:
   * nobody was asked here.
   */
  readonly withdrawals?: number | undefined
  /** The claims of the MCP token. Absent for background work. */
  readonly claims?: Readonly<Record<string, unknown>>
}

/** Whether the MCP token has expired, by the wall clock and with the tolerance in seconds. */
export function hasExpired({ expiresAt }: Pick<Caller, 'expiresAt'>, clockTolerance: number, clock: Clock): boolean {
  return clock.now() >= (expiresAt + clockTolerance) * 1_000
}

/** A caller, with the broker's notes about it between calls. */
export interface BrokerSession {
  readonly caller: Caller
  /** `nextcloud.scopes` for this caller. */
  readonly scopes: () => readonly string[]
  /** The cache key of calls without options, once it is known. */
  defaultKey?: string
  /** Whether the user has taken back what the MCP token came of, as a look into the store has said. It is refused from then on. */
  isOver?: boolean
  /** One promise shared by all calls without options while it is pending. A chain per caller is expensive with a thousand of them. */
  pending?: Promise<string> | undefined
}

/** The purpose of a token. */
export interface Target {
  readonly audience: readonly string[]
  readonly resource: readonly string[]
  readonly scopes: readonly string[]
}

/** Secrets that the caller has already. */
export interface Have {
  /** A secret that will not do: it was refused, or is to be renewed. */
  readonly notThis?: Secret | undefined
  /** The last secret counts as bad, whatever it was. */
  readonly force?: boolean | undefined
  /** Nextcloud itself has said that it refuses `notThis`. */
  readonly proven?: boolean | undefined
  /** `notThis` serves meanwhile, so a token that is to be renewed soon will not do either. */
  readonly ahead?: boolean | undefined
}

/** One request for a token: for whom, for what, and under which cache key. */
export interface TokenRequest {
  readonly key: string
  readonly caller: Caller
  readonly target: Target
  readonly have: Have
}

/** The consent in a grant. */
export type Consent = Pick<Grant, 'clients' | 'withdrawals'>

/** The record that a token came from or is shared in, as last seen. */
export interface Basis {
  version: string
  /** The consent in it, if it is a grant. */
  consent?: Consent
  /** The token in it and the key of the record, if it is one that instances share. */
  readonly shared?: { readonly key: string; readonly token: SharedToken }
  /** Monotonic milliseconds of the last look into the store. */
  checkedAt: number
}

/** A secret for the cache. */
export interface FreshToken extends Pick<TokenAnswer, 'expiresIn' | 'sentAt'> {
  readonly secret: Secret
  readonly source: 'idp' | 'store'
  /** The record that it came from or is shared in; undefined if there is none. */
  readonly basis?: Basis | undefined
}

/** One way to get Nextcloud tokens. */
export interface Mode {
  /**
   * Gets a fresh one. Called at most once at a time for the same key, and for a caller whom `grants.refusal` refuses never.
   *
   * @param found the caller's grant, just read; undefined if there is none, or the mode has no grants
   */
  readonly getFreshToken: (request: TokenRequest, found: StoredGrant | undefined) => Promise<FreshToken>
  /** Whether the token is got for one MCP token, which it must not outlive, and not for a user. */
  readonly boundToMcpToken: boolean
  /** Seconds before its end at which a token is renewed ahead. Undefined: by its life. */
  readonly renewBefore: number | undefined
  /** Seconds before its stated end from which a token is not used. */
  readonly margin: number
  /**
   * Whether the mode asks Nextcloud itself if a refused credential is dead. Default false: the replacement of a refused token is not
   * replaced in its turn before it has worked.
   */
  readonly provesRefusals?: boolean
  /** Tries the credential of a dead grant again, if it is time. Resolves to whether the grant is good now. Default: never. */
  readonly tryAgain?: (caller: Pick<Caller, 'identity' | 'clientId'>) => Promise<boolean>
  /** The check of tokens from grants, in the modes that have grants. */
  readonly grants?: GrantCheck
  /** Whether the caller gets the cached token: true at once if that is known, else what a look into the store says. Default: true. */
  readonly check?: (caller: Caller, secret: Secret, basis: Basis) => true | Look
}

/** The consent that a caller acts by. */
export type Consenting = Pick<Caller, 'clientId' | 'withdrawals'>

/** A caller gets no token from a grant that may serve others. */
type Refusal = NotProvisionedError | SubjectTokenRejectedError

/** Decides whether a caller may have a token from a grant. */
export interface GrantCheck {
  /** Whether the user agreed to the caller's MCP client, and has not taken back what its token came of. */
  readonly permits: (caller: Consenting, grant: Consent | undefined) => boolean
  /** Returns the refusal of a caller whom `permits` says no to. */
  readonly denial: (caller: Consenting, grant: Consent | undefined) => Refusal | undefined
  /** Reads a user's grant from the store. */
  readonly read: (identity: Identity) => Promise<StoredGrant | undefined>
  /**
   * Returns the refusal of a caller for whom nothing is done with a grant: it serves other MCP clients only, or the caller's token is over,
   * which a new connection does not mend and a new token does.
   */
  readonly refusal: (caller: Consenting, grant: Grant | undefined) => Refusal | undefined
  readonly check: NonNullable<Mode['check']>
  /** Whether a look serves a call that has waited for it with others, both in monotonic ms: the process may have stood still in between. */
  readonly isRecent: (checkedAt: number, calledAt: number) => boolean
  /** Notes that the caller's MCP client is served, if the user agreed to it. */
  readonly used: (caller: Caller, consent: Consent | undefined) => void
}

/** A look into the store, at the record of a cached token. */
export interface Look {
  /** True: the token stands. Another token replaces it. False: it is gone, and to be fetched again. */
  readonly outcome: Promise<boolean | FreshToken>
  /** Whether the caller waits for it. Else it gets the token meanwhile, because the store fails. */
  readonly awaited: boolean
}

/** Exchanges the MCP token for one of Nextcloud. */
export type Exchange = (caller: Pick<Caller, 'token'>, target: Target) => Promise<TokenAnswer>

/** The stored grants, as far as modes use them. */
export type GrantRooms = Pick<
  Grants,
  'store' | 'uses' | 'rotations' | 'askedFor' | 'acquireLease' | 'leaseLife' | 'fingerprint' | 'background' | 'isEnding'
>

/** A user's grant: its key in the store, and the user. */
export interface GrantOf {
  readonly key: string
  readonly identity: Identity
}

/** The rooms that modes are built from. */
export interface ModeRooms {
  readonly config: Config
  readonly nextcloud: NextcloudConfig
  readonly client: AuthorizationServerClient
  readonly appPasswords: Pick<AppPasswords, 'isRefused'>
  readonly signIns: SignIns
  readonly codes: Pick<CodeShares, 'refresh'>
  /** The stored grants, in the modes that keep some. */
  readonly grants?: GrantRooms
  /** The exchanged tokens that instances share. Absent: each exchanges for itself. */
  readonly tokenRecords?: TokenRecords
  readonly underWay: UnderWay
  readonly clock: Clock
  readonly events: Events
}

/** The rooms of a mode that keeps grants. */
export interface GrantModeRooms extends ModeRooms {
  readonly grants: GrantRooms
}
