import type { Clock } from '../clock.js'
import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { change } from './change.js'
import type { Credential, Identity } from './grant.js'
import { recordKey, type RecordOwner } from './record-key.js'
import type { Records } from './records.js'

/** A credential of a user that must end elsewhere: an app password at Nextcloud, a refresh token at its authorization server. */
export interface PendingDeletion {
  /** The fingerprint of the credential. */
  readonly id: string
  readonly identity: Identity
  readonly credential: Credential
  /** Milliseconds since the epoch. */
  readonly since: number
  /** Attempts that failed. 0: the first one is under way, or its process has ended. */
  readonly tries: number
  /** Milliseconds since the epoch of the next attempt. */
  readonly nextAt: number
  /** Whether the last attempt was a sign-in that Nextcloud refused. */
  readonly refused: boolean
}

/** Deletions that were taken for an attempt, which no other instance makes meanwhile. */
export interface Claim {
  readonly claimed: readonly PendingDeletion[]
  /** Milliseconds since the epoch of the first attempt at those left; undefined if none are. */
  readonly next: number | undefined
}

/**
 * The deletions that are not done yet, in the store: a list in a few records, so that they are found without a look at every record.
 * Every call rejects with {@link StorageError} when the store fails.
 */
export interface PendingDeletions {
  /** Keeps one in place of an older one of the same credential. Resolves to false where there is no room for it. */
  readonly put: (deletion: PendingDeletion) => Promise<boolean>
  readonly remove: (id: string) => Promise<void>
  /** Takes those that are due, and puts off the next attempt at them. */
  readonly claim: (isDue: (deletion: PendingDeletion) => boolean, until: number) => Promise<Claim>
}

interface Room {
  readonly records: Records
  readonly owner: RecordOwner
  readonly clock: Clock
}

/** One of the records. */
interface Shard {
  readonly index: number
  /** Null: it is not there yet. */
  readonly version: string | null
  readonly entries: readonly PendingDeletion[]
  /** Whether it opens. One that does not is left to those who have its key. */
  readonly opens: boolean
}

/** Milliseconds for which a deletion is tried. */
export const DELETION_LIFE = 30 * 24 * 3_600_000
/** Milliseconds for which a record of the list is kept: until the end of its last deletion has been told. */
const SHARD_LIFE = DELETION_LIFE + 24 * 3_600_000
const MOST_SHARDS = 32
/** Bytes of JSON in one record, which has 64 KiB when it is sealed. */
const SHARD_SIZE = 40_000

export function createPendingDeletions(records: Records, owner: RecordOwner, clock: Clock): PendingDeletions {
  const room: Room = { records, owner, clock }
  return {
    put: (deletion) => change('the list of deletions', () => attemptPut(room, deletion)),
    async remove(id) {
      for (let index = 0; index < MOST_SHARDS; index += 1) {
        const outcome = await change('the list of deletions', () => attemptRemoval(room, index, id))
        if (outcome !== 'next') return
      }
    },
    async claim(isDue, until) {
      const claimed: PendingDeletion[] = []
      const left: number[] = []
      for (let index = 0; index < MOST_SHARDS; index += 1) {
        const shard = await change('the list of deletions', () => attemptClaim(room, index, isDue, until))
        if (shard === undefined) break
        claimed.push(...shard.due)
        left.push(...shard.left)
      }
      return { claimed, next: left.length === 0 ? undefined : Math.min(...left) }
    },
  }
}

const keyOf = ({ owner }: Room, index: number): string => recordKey('deletions', owner, String(index))

async function readShard(room: Room, index: number): Promise<Shard> {
  const record = await room.records.read(keyOf(room, index)).catch(ifError(SealedValueError, () => 'sealed' as const))
  if (record === 'sealed') return { index, version: null, entries: [], opens: false }
  const { entries = [] } = (record?.value ?? {}) as { readonly entries?: readonly PendingDeletion[] }
  return { index, version: record?.version ?? null, entries, opens: true }
}

const isThere = ({ version, opens }: Shard): boolean => version !== null || !opens

function write(room: Room, { index, version }: Shard, entries: readonly PendingDeletion[]): Promise<string | null> {
  return room.records.write(keyOf(room, index), { entries }, version, SHARD_LIFE)
}

async function attemptPut(room: Room, deletion: PendingDeletion): Promise<boolean | 'late'> {
  const shards: Shard[] = []
  for (let index = 0; index < MOST_SHARDS && shards.every(isThere); index += 1)
    shards.push(await readShard(room, index))
  const others = ({ entries }: Shard) => entries.filter(({ id }) => id !== deletion.id)
  const target =
    shards.find((shard) => others(shard).length < shard.entries.length) ??
    shards.find((shard) => shard.opens && fits([...shard.entries, deletion]))
  if (target === undefined || !fits([deletion])) return false
  if ((await write(room, target, [...others(target), deletion])) === null) return 'late'
  // The list is read up to the first record that is not there: those before must live as long.
  for (const { index } of shards.slice(0, target.index)) {
    const before = await readShard(room, index)
    if (before.opens) await write(room, before, before.entries)
  }
  return true
}

const fits = (entries: readonly PendingDeletion[]): boolean => Buffer.byteLength(JSON.stringify(entries)) <= SHARD_SIZE

/** Resolves to `next` if the deletion may be in the next record. */
async function attemptRemoval(room: Room, index: number, id: string): Promise<'next' | 'done' | 'late'> {
  const shard = await readShard(room, index)
  if (!isThere(shard)) return 'done'
  const entries = shard.entries.filter((entry) => entry.id !== id)
  if (entries.length === shard.entries.length || shard.version === null) return 'next'
  // An empty record is kept as long as another one follows it.
  const isLast = entries.length === 0 && !isThere(await readShard(room, index + 1))
  const done = isLast
    ? await room.records.remove(keyOf(room, index), shard.version)
    : (await write(room, shard, entries)) !== null
  return done ? 'done' : 'late'
}

/** Resolves to undefined behind the last record. */
async function attemptClaim(
  room: Room,
  index: number,
  isDue: (deletion: PendingDeletion) => boolean,
  until: number,
): Promise<{ readonly due: readonly PendingDeletion[]; readonly left: readonly number[] } | undefined | 'late'> {
  const shard = await readShard(room, index)
  if (!isThere(shard)) return undefined
  const due = shard.entries.filter(isDue)
  const left = shard.entries.filter((entry) => !due.includes(entry)).map(({ nextAt }) => nextAt)
  if (due.length === 0) return { due, left }
  const entries = shard.entries.map((entry) => (due.includes(entry) ? { ...entry, nextAt: until } : entry))
  return (await write(room, shard, entries)) === null ? 'late' : { due, left }
}
