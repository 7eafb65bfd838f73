import type { Clock } from '../clock.js'
import type { GrantsConfig } from '../config/config.js'
import type { NotProvisionedReason } from '../errors/errors.js'
import type { KeptSecret } from '../modes.js'
import type { RecordOwner } from './record-key.js'
import { isEnded, type Withdrawals } from './withdrawals.js'

/** The owner of a grant. */
export interface Identity {
  readonly issuer: string
  readonly subject: string
}

/** Returns one text for each identity, for maps in memory. */
export const identityKey = ({ issuer, subject }: Identity): string => JSON.stringify([issuer, subject])

/** An access token that instances share through the store. */
export interface SharedAccessToken {
  readonly token: string
  /** Seconds of life that the authorization server stated. */
  readonly expiresIn?: number
  /** Milliseconds since the epoch, by the clock of the instance that got it: just before it asked. */
  readonly sentAt: number
  /** `GrantsConfig.askedFor` of that instance. Absent before 0.4: such a token is not served. */
  readonly askedFor?: string
}

/** A password of the user's for this server alone, where Nextcloud takes no tokens. */
export interface AppPassword {
  readonly loginName: string
  readonly password: string
  /** Base URL of the Nextcloud that gave it, with a slash at its end: no other may see it. Always there in a stored grant. */
  readonly nextcloud?: string
}

/**
 * `active`: the refresh token is good, as far as is known. `presented`: it was sent to the authorization server and no answer is
 * stored yet, so it may be spent. `needs-reconnect`: the server refused it, or its end has passed. `disconnected`: ended by the
 * user or the app, and kept as a tombstone.
 */
export type GrantState = 'active' | 'presented' | 'needs-reconnect' | 'disconnected'

/** The reason why a grant is dead. */
type GrantEnd = 'refused' | 'expired' | 'disconnected' | 'another_mode'

/** A refresh token that made way for another one of the same user, and must end when the connection does. */
export interface ReplacedToken {
  readonly refreshToken: string
  /** Milliseconds since the epoch at which it ends by itself, where the server states it. */
  readonly endsAt?: number
}

/** A user's grant for Nextcloud, as it is stored (sealed). */
export interface Grant {
  readonly format: 1
  /** The user. Always there once a grant of a version before 0.4 was adopted. */
  readonly identity?: Identity | undefined
  /** The configuration that it belongs to. Always there, as `identity` is. */
  readonly owner?: RecordOwner | undefined
  readonly state: GrantState
  /** Random text of the connection that it comes of, by which a write that is repeated finds it. Absent before 0.4. */
  readonly connection?: string | undefined
  /** Those of the connections that this one took the place of, the latest first: a write of one that is repeated now comes too late. */
  readonly earlier?: readonly string[] | undefined
  /** Goes up with each connection and disconnection: a renewal that began under a lower one must not be stored any more. */
  readonly generation: number
  /** Absent once it is dead. */
  readonly refreshToken?: string
  /** In place of the refresh token in app-password mode. A grant that Nextcloud refused keeps it, because a refusal may pass. */
  readonly appPassword?: AppPassword
  /** Stands for the refresh token or app password in events and cool-downs, and outlives it. */
  readonly fingerprint: string
  /** Milliseconds since the epoch at which the refresh token ends, where the server states it. */
  readonly refreshEndsAt?: number
  readonly scopes: readonly string[]
  readonly accessToken?: SharedAccessToken
  /** Ids of the MCP clients that the user agreed to. */
  readonly clients: readonly string[]
  /** Milliseconds since the epoch at which the user agreed to each of them. Absent before 0.4: ask `agreedAt`. */
  readonly agreed?: Readonly<Record<string, number>> | undefined
  /** Absent if the user has taken nothing back. */
  readonly withdrawals?: Withdrawals | undefined
  /** Refresh tokens that made way for others: they end with the connection. A tombstone has them if they could not be noted for that. */
  readonly replaced?: readonly ReplacedToken[] | undefined
  /** The credential of a tombstone that must end elsewhere, and could not be noted for that. */
  readonly unended?: Credential | undefined
  /** The instance that sent the refresh token, while it waits for the answer. */
  readonly presentedBy?: string | undefined
  /** The failure of the last renewal (`ERR_…`), or the end of a dead grant. `at` is in milliseconds since the epoch. */
  readonly lastError?: { readonly code: string; readonly at: number }
  /** Milliseconds since the epoch at which the app password of a dead grant was last tried. */
  readonly triedAt?: number
  /** Milliseconds since the epoch. */
  readonly connectedAt: number
}

/** A secret that acts for a user elsewhere until it is ended there. */
export type Credential = RefreshToken | { readonly appPassword: AppPassword }

interface RefreshToken {
  readonly refreshToken: string
  /** Whether it was sent to the authorization server and no answer is stored yet, so that it may be spent. */
  readonly presented?: boolean
}

/** A code of an authorization server, which was sent to it: what comes for it is a credential that nobody may have stored. */
export interface SentCode {
  readonly code: string
  readonly verifier: string
}

/**
 * The record of a grant that the instance which ended it could not open: it had not the key yet, or no longer. Whoever has the key ends what
 * is in it.
 */
export interface SealedGrant {
  /** The value as it was stored. */
  readonly sealed: string
  /** The key of the record that it is bound to. */
  readonly record: string
}

/** Returns the secret itself. */
export function secretIn(credential: Credential | SentCode | SealedGrant): string {
  if ('sealed' in credential) return credential.sealed
  if ('code' in credential) return credential.code
  return 'refreshToken' in credential ? credential.refreshToken : credential.appPassword.password
}

/** Returns the credential in a grant, which a dead one may hold too; undefined if there is none. */
export function credentialIn({ refreshToken, appPassword, state }: Grant): Credential | undefined {
  if (refreshToken !== undefined) return { refreshToken, ...(state === 'presented' && { presented: true }) }
  return appPassword && { appPassword }
}

/** A credential that must end elsewhere, because its grant was replaced. */
export interface Retired {
  readonly credential: Credential
  /** Whether it was refused before. */
  readonly dead: boolean
}

/** Returns the credential that must end elsewhere when its grant ends; undefined if there is none. */
export function toEnd(grant: Grant): Retired | undefined {
  const credential = credentialIn(grant) ?? grant.unended
  return credential && { credential, dead: grant.state === 'needs-reconnect' }
}

/**
 * Returns the credential of a grant that must end when the grant is replaced. A refresh token that makes way for another is kept until the
 * connection ends (`replacedBy`), unless it ends alone.
 */
export function retiredBy(
  connection: Pick<Grant, 'refreshToken' | 'appPassword'>,
  before: Grant | undefined,
  endsAlone: boolean,
): Retired | undefined {
  const retired = before && toEnd(before)
  if (retired === undefined) return undefined
  const { credential } = retired
  // A write that was repeated may replace itself.
  if ('appPassword' in credential)
    return connection.appPassword?.password === credential.appPassword.password ? undefined : retired
  const isKept = connection.refreshToken !== undefined && !endsAlone
  return isKept || connection.refreshToken === credential.refreshToken ? undefined : retired
}

/** A grant, and the version to name when it is changed. */
export interface StoredGrant {
  readonly grant: Grant
  readonly version: string
  /** Monotonic milliseconds at which the store was asked: what comes after a standstill is as old as that. Undefined: it was written. */
  readonly askedAt?: number | undefined
}

/** A grant that can be refreshed. */
export type LivingGrant = Grant & { readonly refreshToken: string }

/**
 * Milliseconds for which a dead grant is kept, to say what became of it, and what was taken back. The tombstone of no connection is kept as
 * long: without it the count would begin again below that of a session that lives.
 */
export const DEAD_GRANT_TTL = 30 * 24 * 3_600_000

/** Milliseconds for which a grant is kept; undefined: for good. */
export function ttlOf(grant: Grant): number | undefined {
  return isLiving(grant) ? undefined : DEAD_GRANT_TTL
}

/** A fresh access token as it is shared; undefined when it must not be kept. */
export function sharedAccessToken(
  fresh: { readonly accessToken: string; readonly expiresIn: number | undefined; readonly sentAt: number },
  askedFor: string | undefined,
  clock: Clock,
): SharedAccessToken | undefined {
  const { accessToken: token, expiresIn } = fresh
  if (Number.isNaN(expiresIn)) return undefined
  return {
    token,
    sentAt: wallTime(fresh.sentAt, clock),
    ...(askedFor !== undefined && { askedFor }),
    ...(expiresIn !== undefined && { expiresIn }),
  }
}

/** The shared access token of a grant; undefined if there is none, or it was asked for with other words than today's. */
export function accessTokenOf({ accessToken }: Grant, askedFor: string): SharedAccessToken | undefined {
  return accessToken?.askedFor === askedFor ? accessToken : undefined
}

/** Milliseconds since the epoch at which the user agreed to an MCP client of the grant. */
export function agreedAt({ agreed, connectedAt }: Pick<Grant, 'agreed' | 'connectedAt'>, clientId: string): number {
  return (agreed !== undefined && Object.hasOwn(agreed, clientId) ? agreed[clientId] : undefined) ?? connectedAt
}

/** A moment of the monotonic clock, in milliseconds since the epoch. */
function wallTime(monotonic: number, clock: Clock): number {
  return clock.now() - (clock.monotonic() - monotonic)
}

/** The end of a refresh token, in milliseconds since the epoch; undefined if the server states none. */
export function refreshEnd(
  { refreshExpiresIn }: { readonly refreshExpiresIn: number | undefined },
  sentAt: number,
  clock: Clock,
): number | undefined {
  return refreshExpiresIn === undefined ? undefined : wallTime(sentAt, clock) + refreshExpiresIn * 1_000
}

/** The MCP client whose consent counts; none where consent is per user, nor for the operator's own work. */
export function consentingClient(
  consent: GrantsConfig['consent'] | undefined,
  clientId: string | undefined,
): string | undefined {
  return consent === 'per-user' ? undefined : clientId
}

/**
 * The reason for which a grant cannot serve, or undefined when it can.
 *
 * @param clientId the MCP client that it must serve; undefined for the operator's own work, and where consent is per user
 * @param now milliseconds since the epoch
 */
export function whyUnusable(
  grant: Grant | undefined,
  clientId: string | undefined,
  now: number,
): NotProvisionedReason | undefined {
  if (grant === undefined) return 'never'
  if (!isLiving(grant)) return grant.lastError?.code === 'expired' ? 'expired' : 'revoked'
  if (grant.refreshEndsAt !== undefined && now >= grant.refreshEndsAt) return 'expired'
  if (clientId !== undefined && !serves(grant, clientId)) return 'consent'
  return undefined
}

/**
 * Stands among the clients of a grant for every MCP client. Only the operator's import of connections puts it there: consent to a client
 * that calls itself so is none.
 */
export const ANY_CLIENT = '*'

/** Whether the grant is for an MCP client. One that was ended is not among all until the user agrees to it by itself. */
export function serves({ clients, withdrawals }: Pick<Grant, 'clients' | 'withdrawals'>, clientId: string): boolean {
  return clients.includes(clientId) || (clients.includes(ANY_CLIENT) && !isEnded(withdrawals, clientId))
}

/** Whether the grant is good, as far as is known. A dead one may hold an app password that is tried again. */
export function isLiving({ state }: Pick<Grant, 'state'>): boolean {
  return state === 'active' || state === 'presented'
}

export function isRefreshable(grant: Grant): grant is LivingGrant {
  return grant.refreshToken !== undefined
}

/**
 * A grant as a mode sees it. A grant of another mode is of no use to it, and the user must connect again. It stays as it is in the
 * store, so that the configuration can be changed back.
 */
export function asSeenBy(credential: KeptSecret, grant: Grant): Grant {
  return !isLiving(grant) || isOfKind(credential, grant) ? grant : deadGrant(grant, 'another_mode', grant.connectedAt)
}

/** Whether the grant holds a credential of the kind that the mode keeps. */
export function isOfKind(credential: KeptSecret, { appPassword, refreshToken }: Grant): boolean {
  return (credential === 'app-password' ? appPassword : refreshToken) !== undefined
}

/** The parts of a grant that its renewals and its end leave as they are. */
export function lasting(grant: Grant) {
  const { format, identity, owner, connection, earlier, generation, clients, agreed, withdrawals, replaced } = grant
  const { connectedAt } = grant
  return {
    ...{ format, identity, owner, connection, earlier, generation, clients, agreed, withdrawals, replaced },
    connectedAt,
  }
}

/** The remains of a grant that the authorization server or Nextcloud refused, or that has ended. */
export function deadGrant(grant: Grant, code: GrantEnd, at: number): Grant {
  const { fingerprint, scopes } = grant
  return { ...lasting(grant), fingerprint, scopes, state: 'needs-reconnect', lastError: { code, at } }
}

/** The remains of a grant whose credential was refused. An app password is kept: an account may be enabled again. */
export function refusedGrant(grant: Grant, at: number): Grant {
  const { appPassword } = grant
  const dead = deadGrant(grant, 'refused', at)
  return appPassword === undefined ? dead : { ...dead, appPassword, triedAt: at }
}

/** A grant whose app password is taken again. */
export function revivedGrant(grant: Grant): Grant {
  const { fingerprint, scopes, appPassword } = grant
  return { ...lasting(grant), fingerprint, scopes, ...(appPassword && { appPassword }), state: 'active' }
}

/** The remains of a grant that was ended on purpose. A new generation: nothing that began before it counts. */
export function disconnectedGrant(grant: Grant, at: number): Grant {
  const generation = grant.generation + 1
  const ended = deadGrant(grant, 'disconnected', at)
  return { ...ended, state: 'disconnected', generation, clients: [], agreed: undefined, replaced: undefined }
}

/** The tombstone of no connection: it tells only what the user has taken back. */
export function noneEnded(identity: Identity, owner: RecordOwner, at: number): Grant {
  const { issuer, subject } = identity
  const of = { identity: { issuer, subject }, owner, clients: [], scopes: [], fingerprint: '' } as const
  return { ...of, format: 1, generation: 1, state: 'disconnected', connectedAt: at }
}

/** Whether it is a tombstone of no connection, which counts as nothing except for a connection under way. */
export const wasNone = ({ state, fingerprint }: Grant): boolean => state === 'disconnected' && fingerprint === ''
