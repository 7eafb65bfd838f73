import { named } from '../config/declarations.js'
import { SealedValueError, StorageError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { withoutClient } from './agreed-clients.js'
import { formerGrant, readStored, type AdoptionRooms } from './adoption.js'
import {
  DEAD_GRANT_TTL,
  credentialIn,
  disconnectedGrant,
  noneEnded,
  secretIn,
  toEnd,
  ttlOf,
  type Credential,
  type Grant,
  type Identity,
  type Retired,
  type SealedGrant,
} from './grant.js'
import { plainTombstone } from './plain-tombstone.js'
import { formerKey, ownerOf } from './record-key.js'
import { readReplaceable, type Replaceable } from './replaceable.js'
import { replacedIn } from './replaced-tokens.js'
import { oneMore, type Withdrawals } from './withdrawals.js'

/** The rooms that a disconnection needs. */
export interface DisconnectionRooms extends AdoptionRooms {
  /**
   * Notes a credential before a grant loses it, so that it ends elsewhere although the process may end first. False if there is no room;
   * rejects with {@link StorageError}.
   */
  readonly note: (identity: Identity, credential: Credential | SealedGrant) => Promise<boolean>
}

/** The outcome of a disconnection. */
export interface Disconnected {
  /** The grant as it was. */
  readonly grant: Grant
  /** Whether the grant is left, because other MCP clients still have the user's consent. */
  readonly remains: boolean
  /** Its credential, which must end elsewhere. Undefined if there is none, or the grant is left. */
  readonly retired: Retired | undefined
  /** The refresh tokens that it kept for its end, which must end elsewhere too. */
  readonly replaced: readonly Credential[]
  /** Whether all that is noted. If not, the tombstone has it. */
  readonly noted: boolean
}

/**
 * One attempt at `GrantStore.disconnect`. `sealed`: the grant could not be opened.
 *
 * @throws {SealedValueError} it could neither be opened nor noted, and stays
 */
export async function attemptDisconnection(
  rooms: DisconnectionRooms,
  identity: Identity,
  clientId: string | undefined,
): Promise<Disconnected | 'sealed' | undefined | 'late'> {
  const before = await readReplaceable(rooms, identity)
  if (before === 'late') return 'late'
  const { sealed } = before
  if (sealed === undefined) return endGrant(rooms, identity, { before, clientId })
  await noteSealed(rooms, identity, sealed)
  if (!(await before.discard())) return 'late'
  // Not sealed: those who have the other key must be able to read it.
  const left = plainTombstone(rooms.clock.now())
  const version = await rooms.records.writeSealed(before.key, left, before.version, DEAD_GRANT_TTL)
  return version === null ? 'late' : 'sealed'
}

/**
 * Notes a record that is about to be deleted or replaced: a credential in it, which only others can read, must end elsewhere.
 *
 * @throws {SealedValueError} there is no room
 */
export async function noteSealed(
  { note }: Pick<DisconnectionRooms, 'note'>,
  identity: Identity,
  sealed: SealedGrant,
): Promise<void> {
  if (!(await note(identity, sealed))) throw new SealedValueError(named('encryptionKey'))
}

/** One attempt at `GrantStore.endUnless`. */
export async function attemptEnd(
  rooms: DisconnectionRooms,
  identity: Identity,
  isKept: (grant: Grant | undefined) => Promise<boolean>,
): Promise<Disconnected | undefined | 'kept' | 'late'> {
  const before = await readReplaceable(rooms, identity)
  if (before === 'late') return 'late'
  // One that does not open is of others, who have its key.
  if (before.sealed !== undefined || (await isKept(before.grant))) return 'kept'
  return endGrant(rooms, identity, { before, clientId: undefined })
}

async function endGrant(
  rooms: DisconnectionRooms,
  identity: Identity,
  { before, clientId }: { readonly before: Replaceable; readonly clientId: string | undefined },
): Promise<Disconnected | undefined | 'late'> {
  const { grant } = before
  const withdrawals = oneMore(grant?.withdrawals, clientId)
  const retired = grant && toEnd(grant)
  const replaced = grant === undefined ? [] : replacedIn(grant, rooms.clock.now())
  const ending = [...(retired === undefined ? [] : [retired.credential]), ...replaced]
  if (grant === undefined || (grant.state === 'disconnected' && ending.length === 0)) {
    return (await writeWithdrawals(rooms, identity, { before, withdrawals })) ? undefined : 'late'
  }
  const left = withoutClient(grant, clientId)
  if (left.clients.length > 0) {
    const written = await write(rooms, before, { ...grant, ...left, withdrawals })
    return written ? { grant, remains: true, retired: undefined, replaced: [], noted: true } : 'late'
  }
  const noted = await areNoted(rooms, identity, ending)
  // The write may seem to fail, and the process may end: until they are noted, the credentials must be somewhere.
  const unended = noted ? {} : { ...(retired && { unended: retired.credential }), replaced: grant.replaced }
  const ended = { ...disconnectedGrant(grant, rooms.clock.now()), withdrawals, ...unended }
  return (await write(rooms, before, ended)) ? { grant, remains: false, retired, replaced, noted } : 'late'
}

/** Notes that credentials must end. False if the store does not take a note, which must not keep the user connected. */
async function areNoted(
  { note }: DisconnectionRooms,
  identity: Identity,
  credentials: readonly Credential[],
): Promise<boolean> {
  for (const credential of credentials) {
    if (!(await note(identity, credential).catch(ifError(StorageError, () => false)))) return false
  }
  return true
}

/** One attempt at `GrantStore.withdraw`. */
export async function attemptWithdrawal(
  rooms: DisconnectionRooms,
  identity: Identity,
  clientId: string,
): Promise<Grant | undefined | 'late'> {
  const before = await readReplaceable(rooms, identity)
  if (before === 'late') return 'late'
  // It is of others, who have its key: a "no" must not end it.
  if (before.sealed !== undefined) return undefined
  const withdrawals = oneMore(before.grant?.withdrawals, clientId)
  return (await writeWithdrawals(rooms, identity, { before, withdrawals })) ? before.grant : 'late'
}

/** Changes nothing but the withdrawals. Where there is no grant, they are in a tombstone for a while. */
async function writeWithdrawals(
  rooms: DisconnectionRooms,
  identity: Identity,
  { before, withdrawals }: { readonly before: Replaceable; readonly withdrawals: Withdrawals },
): Promise<boolean> {
  const grant = before.grant ?? noneEnded(identity, ownerOf(rooms.owner, identity.issuer), rooms.clock.now())
  return (await write(rooms, before, { ...grant, withdrawals })) && before.discard()
}

async function write({ records }: DisconnectionRooms, { key, version }: Replaceable, grant: Grant): Promise<boolean> {
  return (await records.write(key, grant, version, ttlOf(grant))) !== null
}

/** One attempt at `GrantStore.settle`. */
export async function attemptSettlement(
  { records }: DisconnectionRooms,
  key: string,
  credentials: readonly Credential[],
): Promise<undefined | 'late'> {
  const stored = await readStored(records, key)
  // What a new connection keeps is for its own end.
  if (stored?.grant.state !== 'disconnected') return undefined
  const { grant, version } = stored
  // The tombstone may be of a later disconnection, with credentials of its own.
  const ended = new Set(credentials.map(secretIn))
  const unended = grant.unended && (ended.has(secretIn(grant.unended)) ? undefined : grant.unended)
  const replaced = grant.replaced?.filter((one) => !ended.has(secretIn(one)))
  if (unended === grant.unended && replaced?.length === grant.replaced?.length) return undefined
  const left = { ...grant, unended, replaced: replaced?.length === 0 ? undefined : replaced }
  const written = await records.write(key, left, version, ttlOf(grant))
  return written === null ? 'late' : undefined
}

/**
 * Deletes what an instance of a version before 0.4 has stored beside the grant: it would come back once the tombstone has expired. Its
 * credential is ended with the deletions that are tried again.
 */
export async function endFormer(
  rooms: DisconnectionRooms,
  identity: Identity,
  ended: Grant | undefined,
): Promise<void> {
  const former = await formerGrant(rooms, identity, () => true)
  if (former === undefined) return
  const credential = credentialIn(former.grant)
  if (credential !== undefined && former.grant.fingerprint !== ended?.fingerprint)
    await rooms.note(identity, credential)
  const owner = ownerOf(rooms.owner, identity.issuer)
  await rooms.records.remove(formerKey('grant', owner, identity.issuer, identity.subject), former.version)
}
