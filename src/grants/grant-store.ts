import type { GrantsConfig } from '../config/config.js'
import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import type { KeptSecret } from '../modes.js'
import { change } from './change.js'
import { withClient } from './agreed-clients.js'
import { adopt, formerGrant, readStored } from './adoption.js'
import {
  attemptDisconnection,
  attemptEnd,
  attemptSettlement,
  attemptWithdrawal,
  endFormer,
  noteSealed,
  type Disconnected,
  type DisconnectionRooms,
} from './disconnection.js'
import {
  asSeenBy,
  isLiving,
  credentialIn,
  isOfKind,
  isRefreshable,
  retiredBy,
  secretIn,
  ttlOf,
  type Credential,
  type Grant,
  type Identity,
  type Retired,
  type SentCode,
  type StoredGrant,
  wasNone,
} from './grant.js'
import { readGrantPage, type GrantPage } from './grant-pages.js'
import { ownerOf, recordKey } from './record-key.js'
import { readReplaceable } from './replaceable.js'
import { replacedBy, replacedIn } from './replaced-tokens.js'
import type { KeyPage } from '../storage-adapter.js'
import { forgetUses } from './uses.js'
import { isOver, isWithdrawn, NO_WITHDRAWALS, withReplaced } from './withdrawals.js'

export type { Disconnected } from './disconnection.js'
export type { StoredGrant } from './grant.js'

/** The parts of a grant that a new connection brings. */
export type Connection = Pick<
  Grant,
  'fingerprint' | 'refreshEndsAt' | 'scopes' | 'accessToken' | 'refreshToken' | 'appPassword' | 'connection'
> & {
  /** The MCP client that the user agreed to. */
  readonly clientId: string
  /** `GrantStore.withdrawals` when the user agreed. Undefined if nobody was asked. */
  readonly withdrawals?: number | undefined
  /**
   * Tells whether the living grant that is there is surely of the account that has just signed in. Undefined: the subject tells, because
   * the issuer gives it to nobody else.
   */
  readonly isSameAccount?: (() => Promise<boolean>) | undefined
}

/** A connection that is stored. */
export interface Connected {
  /** The credential of the grant before, which must end elsewhere. Undefined if there is none. */
  readonly retired: Retired | undefined
  /** `GrantStore.withdrawals` at that moment, for what comes of the connection. */
  readonly withdrawals: number
}

/**
 * The grants of all users of one configuration. Every call rejects with {@link StorageError} when the store fails, and with
 * {@link SealedValueError} where a grant has to be opened and cannot be.
 */
export interface GrantStore {
  readonly keyOf: (identity: Identity) => string
  /** Returns the grant of a user. One of a version before 0.4 is moved under the key that it has today. */
  readonly find: (identity: Identity) => Promise<StoredGrant | undefined>
  /** The same, without any change to the store. */
  readonly look: (identity: Identity) => Promise<StoredGrant | undefined>
  /** Returns the grant under a key, for grants that were found before. */
  readonly read: (key: string) => Promise<StoredGrant | undefined>
  /** Whether the stored grant of a user has this credential, dead or alive, in whichever mode, or keeps it for its end. */
  readonly holds: (identity: Identity, credential: Credential | SentCode) => Promise<boolean>
  /** The version of the stored grant, which is not opened. */
  readonly version: (key: string) => Promise<string | undefined>
  /** The new version, or null when another writer has changed the grant since `expected` (null: there was none). */
  readonly write: (key: string, grant: Grant, expected: string | null) => Promise<string | null>
  /** The same in two steps: seals the grant at once, while the caller does something else, and writes it when told to. */
  readonly prepare: (key: string, grant: Grant) => (expected: string) => Promise<string | null>
  /** Whether the user's connection lives by a refresh token, as far as can be told. */
  readonly livesByRefreshToken: (identity: Identity) => Promise<boolean>
  /** The number of times that the user has taken something back, for a connection that begins now. */
  readonly withdrawals: (identity: Identity) => Promise<number>
  /** Whether the user has taken a consent back since there were so many. */
  readonly isWithdrawn: (identity: Identity, consent: Pick<Connection, 'clientId' | 'withdrawals'>) => Promise<boolean>
  /** Whether what came of a consent has ended since; without a client, of a sign-in. */
  readonly isOver: (
    identity: Identity,
    consent: Partial<Pick<Connection, 'clientId' | 'withdrawals'>>,
  ) => Promise<boolean>
  /**
   * Whether a token is of a consent that has ended, and there is a connection, which may be another person's. One that does not open is not
   * known to be.
   */
  readonly isOfBefore: (
    identity: Identity,
    consent: { readonly clientId: string | undefined; readonly withdrawals?: number | undefined },
  ) => Promise<boolean>
  /**
   * Replaces the stored grant, even one that cannot be opened, which is noted, by a new connection. Unless that grant lives and is of the same account,
   * all that came of it ends. The credential that must end elsewhere is noted. `withdrawn`: the user has taken the consent back since,
   * and nothing is stored.
   */
  readonly connect: (identity: Identity, connection: Connection) => Promise<Connected | 'withdrawn'>
  /**
   * Adds the consent to one MCP client more. False if there is no grant that could serve it.
   *
   * @param withdrawals as in `Connection`
   */
  readonly agree: (identity: Identity, clientId: string, withdrawals?: number) => Promise<boolean | 'withdrawn'>
  /** Ends the connections of an MCP client that are under way, and returns the grant, which stays as it is. */
  readonly withdraw: (identity: Identity, clientId: string) => Promise<Grant | undefined>
  /**
   * Takes away the consent of one MCP client, with what the operator gave to all, and the grant with the last; without a client, the
   * grant at once. `sealed`: it could not be opened, and is noted and deleted. Undefined if there was nothing to take away. Connections
   * that are under way come to nothing.
   */
  readonly disconnect: (
    identity: Identity,
    clientId: string | undefined,
  ) => Promise<Disconnected | 'sealed' | undefined>
  /**
   * Ends a grant as `disconnect` does, unless it is kept. One that cannot be opened is. Whatever takes its place meanwhile is asked about
   * again.
   *
   * @param isKept asks about the grant; undefined if there is none
   */
  readonly endUnless: (
    identity: Identity,
    isKept: (grant: Grant | undefined) => Promise<boolean>,
  ) => Promise<Disconnected | undefined | 'kept'>
  /** Forgets those of the credentials in the tombstone that have ended elsewhere. */
  readonly settle: (identity: Identity, ended: readonly Credential[]) => Promise<void>
  /**
   * Reads the grants of all configurations in the store, page by page: `limit` of those that are wanted at most. Rejects with
   * {@link ConfigurationError} where the adapter has no `list`.
   */
  readonly all: (page: KeyPage, accepts?: (grant: Grant) => boolean) => Promise<GrantPage>
}

/** Connections that a grant remembers beside its own: more of one user are not made while one of them is being stored. */
const MOST_EARLIER = 4

/** The rooms that the store of grants needs. */
export interface GrantStoreRooms extends DisconnectionRooms, Pick<GrantsConfig, 'credential' | 'endsAlone'> {}

export function createGrantStore(rooms: GrantStoreRooms): GrantStore {
  const { records, owner, credential, clock } = rooms
  const keyOf: GrantStore['keyOf'] = ({ issuer, subject }) =>
    recordKey('grant', ownerOf(owner, issuer), issuer, subject)
  const seen = (stored: StoredGrant | undefined, askedAt: number): StoredGrant | undefined =>
    stored && !wasNone(stored.grant) ? { ...stored, grant: asSeenBy(credential, stored.grant), askedAt } : undefined
  const grantOf = (identity: Identity): Promise<Grant | undefined> =>
    readStored(records, keyOf(identity)).then(
      (stored) => stored?.grant,
      ifError(SealedValueError, () => undefined),
    )
  const withdrawalsOf = async (identity: Identity) => (await grantOf(identity))?.withdrawals
  const isOwn = (grant: Grant): boolean => !isLiving(grant) || isOfKind(credential, grant)
  return {
    keyOf,
    async find(identity) {
      const askedAt = clock.monotonic()
      const stored = await change('the grant', async () => {
        return (await readStored(records, keyOf(identity))) ?? adopt(rooms, identity, isOwn)
      })
      return seen(stored, askedAt)
    },
    async look(identity) {
      const askedAt = clock.monotonic()
      return seen((await readStored(records, keyOf(identity))) ?? (await formerGrant(rooms, identity, isOwn)), askedAt)
    },
    async read(key) {
      const askedAt = clock.monotonic()
      return seen(await readStored(records, key), askedAt)
    },
    async holds(identity, credential) {
      const stored = await readStored(records, keyOf(identity))
      if (stored === undefined) return false
      const held = [
        credentialIn(stored.grant) ?? [],
        isLiving(stored.grant) ? replacedIn(stored.grant, clock.now()) : [],
      ].flat()
      return held.some((one) => secretIn(one) === secretIn(credential))
    },
    version: async (key) => (await records.peek(key))?.version,
    write: (key, grant, expected) => records.write(key, grant, expected, ttlOf(grant)),
    prepare(key, grant) {
      const sealing = records.seal(key, grant)
      // It may fail, and never be written after all.
      sealing.catch(() => undefined)
      return async (expected) => records.writeSealed(key, await sealing, expected, ttlOf(grant))
    },
    livesByRefreshToken: (identity) =>
      readStored(records, keyOf(identity)).then(
        (stored) => stored !== undefined && isRefreshable(stored.grant),
        ifError(SealedValueError, () => true),
      ),
    withdrawals: async (identity) => (await withdrawalsOf(identity))?.count ?? 0,
    isWithdrawn: async (identity, { clientId, withdrawals }) =>
      isWithdrawn(await withdrawalsOf(identity), clientId, withdrawals),
    isOver: async (identity, { clientId, withdrawals }) => isOver(await withdrawalsOf(identity), clientId, withdrawals),
    async isOfBefore(identity, { clientId, withdrawals }) {
      if (withdrawals === undefined) return false
      const grant = await grantOf(identity)
      return grant !== undefined && isLiving(grant) && isOver(grant.withdrawals, clientId, withdrawals)
    },
    connect: (identity, connection) => change('the grant', () => attemptConnection(rooms, identity, connection)),
    agree: (identity, ...to) => change('the grant', () => attemptAgreement(rooms, identity, ...to)),
    withdraw: (identity, clientId) => change('the grant', () => attemptWithdrawal(rooms, identity, clientId)),
    async disconnect(identity, clientId) {
      const outcome = await change('the grant', () => attemptDisconnection(rooms, identity, clientId))
      await forgetWhatEnded(rooms, identity, { outcome, clientId })
      return outcome
    },
    async endUnless(identity, isKept) {
      const outcome = await change('the grant', () => attemptEnd(rooms, identity, isKept))
      if (outcome !== 'kept') await forgetWhatEnded(rooms, identity, { outcome, clientId: undefined })
      return outcome
    },
    settle: (identity, ended) => change('the grant', () => attemptSettlement(rooms, keyOf(identity), ended)),
    all: (page, accepts) => readGrantPage(records, page, accepts),
  }
}

/** Never rejects: the connection has ended, whatever becomes of this. */
async function forgetWhatEnded(
  rooms: GrantStoreRooms,
  identity: Identity,
  {
    outcome,
    clientId,
  }: { readonly outcome: Disconnected | 'sealed' | undefined; readonly clientId: string | undefined },
): Promise<void> {
  const { records, owner } = rooms
  const { remains = false, grant } = outcome === 'sealed' ? {} : (outcome ?? {})
  await forgetUses(records, owner, identity, remains ? clientId : undefined).catch(() => undefined)
  if (!remains) await endFormer(rooms, identity, grant).catch(() => undefined)
}

async function attemptConnection(
  rooms: GrantStoreRooms,
  identity: Identity,
  { clientId, withdrawals: known, isSameAccount, ...connection }: Connection,
): Promise<Connected | 'withdrawn' | 'late'> {
  const { records, owner, credential, endsAlone, clock } = rooms
  const before = await readReplaceable(rooms, identity)
  if (before === 'late') return 'late'
  const outcome = outcomeBefore(before.grant, { clientId, withdrawals: known, connection: connection.connection })
  if (outcome !== undefined) return outcome
  const present = await continued(credential, before.grant, isSameAccount)
  const connectedAt = clock.now()
  // What was taken back before is not known of one that does not open: the new count is beyond any that it may have had.
  const taken = before.sealed === undefined ? before.grant?.withdrawals : { ...NO_WITHDRAWALS, count: connectedAt }
  const withdrawals = present === undefined ? withReplaced(taken) : present.withdrawals
  const grant: Grant = {
    ...connection,
    format: 1,
    identity: { issuer: identity.issuer, subject: identity.subject },
    owner: ownerOf(owner, identity.issuer),
    state: 'active',
    generation: (before.grant?.generation ?? 0) + 1,
    ...withClient(present, clientId, connectedAt),
    withdrawals,
    replaced: before.grant && replacedBy(connection, before.grant, endsAlone, connectedAt),
    earlier: before.grant && connectionsIn(before.grant).slice(0, MOST_EARLIER),
    connectedAt,
  }
  const retired = retiredBy(grant, before.grant, endsAlone)
  if (retired !== undefined) await rooms.note(identity, retired.credential)
  if (before.sealed !== undefined) await noteSealed(rooms, identity, before.sealed)
  const version = await records.write(before.key, grant, before.version)
  if (version === null) return 'late'
  await before.discard()
  return { retired, withdrawals: withdrawals?.count ?? 0 }
}

/** Returns the connections that a grant stands for, the latest first. */
const connectionsIn = ({ connection, earlier = [] }: Grant): readonly string[] => [connection ?? [], earlier].flat()

/** Returns the outcome of a connection that is stored already, or that its user has taken back; undefined if it is to be stored. */
function outcomeBefore(
  grant: Grant | undefined,
  { clientId, withdrawals, connection }: Pick<Connection, 'clientId' | 'withdrawals' | 'connection'>,
): Connected | 'withdrawn' | undefined {
  const taken = grant?.withdrawals
  const isPresent = connection !== undefined && grant?.connection === connection
  if (!isPresent && isWithdrawn(taken, clientId, withdrawals)) return 'withdrawn'
  if (connection === undefined || grant === undefined || !connectionsIn(grant).includes(connection)) return undefined
  // A write that seemed to fail was carried out, and its refresh token may be spent by now, or have made way for another one. Then nobody
  // knows whether that is of the same account.
  if (!grant.clients.includes(clientId)) return 'withdrawn'
  return { retired: undefined, withdrawals: (isPresent ? taken?.count : withdrawals) ?? 0 }
}

/**
 * Returns the grant that a new connection goes on with: a living one of the same account. A user who ended it at the authorization server
 * may have meant a client of it, and whoever has the subject now may be somebody else. Then each client is asked for again.
 */
async function continued(
  credential: KeptSecret,
  before: Grant | undefined,
  isSameAccount: Connection['isSameAccount'],
): Promise<Grant | undefined> {
  const seen = before && asSeenBy(credential, before)
  return seen !== undefined && isLiving(seen) && (await (isSameAccount?.() ?? true)) ? seen : undefined
}

async function attemptAgreement(
  { records, owner, clock }: GrantStoreRooms,
  { issuer, subject }: Identity,
  clientId: string,
  withdrawals?: number,
): Promise<boolean | 'withdrawn' | 'late'> {
  const key = recordKey('grant', ownerOf(owner, issuer), issuer, subject)
  const stored = await readStored(records, key)
  if (isOver(stored?.grant.withdrawals, clientId, withdrawals)) return 'withdrawn'
  if (stored === undefined || !isLiving(stored.grant)) return false
  const { grant, version } = stored
  if (grant.clients.includes(clientId)) return true
  const next = { ...grant, ...withClient(grant, clientId, clock.now()) }
  if (!next.clients.includes(clientId)) return false
  return (await records.write(key, next, version)) === null ? 'late' : true
}
