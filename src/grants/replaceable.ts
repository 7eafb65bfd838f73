import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import type { StoredEntry } from '../storage-adapter.js'
import { adopt, readStored, type AdoptionRooms } from './adoption.js'
import type { Grant, Identity, SealedGrant, StoredGrant } from './grant.js'
import { formerKey, ownerOf, recordKey } from './record-key.js'
import type { Records } from './records.js'

/** The record that is there to be replaced, and its content as far as it opens. */
export interface Replaceable {
  readonly key: string
  /** Null if there is none. */
  readonly version: string | null
  readonly grant: Grant | undefined
  /** The record, if it does not open. */
  readonly sealed: SealedGrant | undefined
  /** Deletes a record of a version before 0.4 that does not open, if there is one. False when another writer was first. */
  readonly discard: () => Promise<boolean>
}

export async function readReplaceable(rooms: AdoptionRooms, identity: Identity): Promise<Replaceable | 'late'> {
  const { records } = rooms
  const { issuer, subject } = identity
  const owner = ownerOf(rooms.owner, issuer)
  const key = recordKey('grant', owner, issuer, subject)
  const nothing = { key, version: null, grant: undefined, sealed: undefined, discard: () => Promise.resolve(true) }
  const stored = await readOrPeek(records, key, () => readStored(records, key))
  if (stored !== undefined) return { ...nothing, version: stored.version, ...contentOf(stored, key) }
  const former = formerKey('grant', owner, issuer, subject)
  const adopted = await readOrPeek(records, former, () => adopt(rooms, identity, () => true))
  if (adopted === undefined || adopted === 'late') return adopted ?? nothing
  if ('grant' in adopted) return { ...nothing, ...adopted }
  return { ...nothing, ...contentOf(adopted, former), discard: () => records.remove(former, adopted.version) }
}

const readOrPeek = <T>(records: Records, key: string, read: () => Promise<T>): Promise<T | StoredEntry | undefined> =>
  read().catch(ifError(SealedValueError, () => records.peek(key)))

const contentOf = (stored: StoredGrant | StoredEntry, record: string): Pick<Replaceable, 'grant' | 'sealed'> =>
  'grant' in stored
    ? { grant: stored.grant, sealed: undefined }
    : { grant: undefined, sealed: { sealed: stored.value, record } }
