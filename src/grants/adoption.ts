import type { Clock } from '../clock.js'
import { ttlOf, type Grant, type Identity, type StoredGrant } from './grant.js'
import { readPlainTombstone } from './plain-tombstone.js'
import { readGrant } from './read-grant.js'
import { formerKey, ownerOf, recordKey, type RecordOwner, type RecordOwners } from './record-key.js'
import type { Records } from './records.js'

/** The rooms that adoption needs. */
export interface AdoptionRooms {
  readonly records: Records
  readonly owner: RecordOwners
  readonly clock: Clock
}

/** Milliseconds between looks at a record that an instance of an earlier version is renewing, and looks at most. */
const PAUSE = 250
const LOOKS = 12

/** @throws {SealedValueError} there is a record, which cannot be opened */
export async function readStored(records: Pick<Records, 'read'>, key: string): Promise<StoredGrant | undefined> {
  const record = await records.read(key, readPlainTombstone)
  return record && { grant: readGrant(record.value), version: record.version }
}

/**
 * Returns the grant that a version before 0.4 stored for the user, as it will be stored here; undefined if there is none for this
 * configuration. Its key named no Nextcloud. An app password does. A refresh token goes to the first configuration that asks.
 *
 * @param accepts chooses the grants that are wanted
 */
export async function formerGrant(
  { records, owner: owners }: AdoptionRooms,
  { issuer, subject }: Identity,
  accepts: (grant: Grant) => boolean,
): Promise<StoredGrant | undefined> {
  const owner = ownerOf(owners, issuer)
  const stored = await readStored(records, formerKey('grant', owner, issuer, subject))
  if (stored === undefined) return undefined
  const { grant, version } = stored
  const { appPassword } = grant
  if (!accepts(grant) || (appPassword !== undefined && !isOf(owner, appPassword.nextcloud))) return undefined
  const adopted: Grant = {
    ...grant,
    identity: { issuer, subject },
    owner,
    ...(appPassword && { appPassword: { ...appPassword, nextcloud: owner.nextcloud } }),
  }
  return { grant: adopted, version }
}

/** Whether a base URL is the owner's Nextcloud. Earlier versions kept it as it was configured, with or without a slash at its end. */
function isOf({ nextcloud }: RecordOwner, url: string | undefined): boolean {
  return url === nextcloud || `${url}/` === nextcloud
}

/**
 * Moves such a grant under the key of this configuration. It is written there first, so that it is never lost, and then deleted
 * where it was. Whoever else works on the same record, of this version or an earlier one, is found out by compare-and-set.
 *
 * @returns the grant under its new key; `late` when another writer was first
 */
export async function adopt(
  rooms: AdoptionRooms,
  identity: Identity,
  accepts: (grant: Grant) => boolean,
): Promise<StoredGrant | undefined | 'late'> {
  const { records } = rooms
  const former = await restingGrant(rooms, identity, accepts)
  if (former === undefined) return undefined
  const { issuer, subject } = identity
  const owner = ownerOf(rooms.owner, issuer)
  const key = recordKey('grant', owner, issuer, subject)
  const version = await records.write(key, former.grant, null, ttlOf(former.grant))
  if (version === null) return 'late'
  if (await records.remove(formerKey('grant', owner, issuer, subject), former.version)) {
    return { grant: former.grant, version }
  }
  // An instance of an earlier version has changed it meanwhile, and may have spent the refresh token.
  await records.remove(key, version)
  return 'late'
}

/** Waits while an instance of an earlier version renews the grant: it could not store its new refresh token any more. */
async function restingGrant(
  rooms: AdoptionRooms,
  identity: Identity,
  accepts: (grant: Grant) => boolean,
): Promise<StoredGrant | undefined> {
  const { records, clock } = rooms
  const { issuer, subject } = identity
  const owner = ownerOf(rooms.owner, issuer)
  const lease = formerKey('lease', owner, formerKey('grant', owner, issuer, subject))
  for (let looks = 1; ; looks += 1) {
    const former = await formerGrant(rooms, identity, accepts)
    if (former?.grant.state !== 'presented' || looks > LOOKS || (await records.peek(lease)) === undefined) return former
    await clock.sleep(PAUSE)
  }
}
