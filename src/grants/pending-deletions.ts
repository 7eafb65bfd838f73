import type { Clock } from '../clock.js'
import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { jsonBytes } from '../json.js'
import { change } from './change.js'
import type { Credential, Identity, SealedGrant, SentCode } from './grant.js'
import { recordKey, type RecordOwner } from './record-key.js'
import type { OpenRecord, Records } from './records.js'

/**
 * A credential of a user that must end elsewhere: an app password at Nextcloud, a refresh token at its authorization server, or what may
 * come for a code.
 */
export interface PendingDeletion {
  /** The fingerprint of the credential. */
  readonly id: string
  /** The subject is empty where Nextcloud has not said yet who it is. */
  readonly identity: Identity
  readonly credential: Credential | SentCode | SealedGrant
  /** Milliseconds since the epoch. */
  readonly since: number
  /** Attempts that failed. 0: the first one is under way, or its process has ended. */
  readonly tries: number
  /** Milliseconds since the epoch of the next attempt. */
  readonly nextAt: number
  /** Whether the last attempt was a sign-in that Nextcloud refused. */
  readonly refused: boolean
  /** Tells this note of the credential from a later one. Absent before 0.4. */
  readonly note?: string
}

/** Deletions that were taken for an attempt, which no other instance makes meanwhile. */
export interface Claim {
  readonly claimed: readonly PendingDeletion[]
  /** Milliseconds since the epoch of the next attempt at those left; undefined if there is none. */
  readonly next: number | undefined
}

/**
 * The deletions that are not done yet, in the store: a list in a few records, so that they are found without a look at every record.
 * Every call rejects with {@link StorageError} when the store fails.
 */
export interface PendingDeletions {
  /**
   * Keeps one in place of an older one of the same credential, or of the one that is named. Resolves to false where there is no room.
   *
   * A user has room for a few, so that none fills the list for the others: beyond them older ones of the same user are given up. Where the
   * list is full, older ones of the issuer that takes up the most of it are, so that no issuer fills it for another.
   */
  readonly put: (deletion: PendingDeletion, inPlaceOf?: string) => Promise<boolean>
  /** The same, but one of the same credential stays as it is: it may be of somebody who knows more. */
  readonly putNew: (deletion: PendingDeletion, inPlaceOf?: string) => Promise<boolean>
  /** Removes one. With `note`, a later note of the same credential stays. */
  readonly remove: (id: string, note?: string) => Promise<void>
  readonly has: (id: string) => Promise<boolean>
  /** Returns all that open. */
  readonly list: () => Promise<readonly PendingDeletion[]>
  /** Takes those that are due, and puts off the next attempt at them. A refresh token counts as sent then, in the list. */
  readonly claim: (isDue: (deletion: PendingDeletion) => boolean, until: number) => Promise<Claim>
}

/** The rooms that the list needs. */
export interface PendingDeletionsRooms {
  readonly records: Records
  readonly owner: RecordOwner
  readonly clock: Clock
  /** Takes one that has made way for another. */
  readonly givenUp: (deletion: PendingDeletion) => void
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

/** Tells that a credential is not ended elsewhere. */
export const NOT_ENDED_ELSEWHERE =
  'A credential of this user could not be ended elsewhere: its user finds it in Nextcloud, under Personal settings, Security, Devices & sessions, and can revoke it there.'

/** Milliseconds for which a deletion is tried. */
export const DELETION_LIFE = 30 * 24 * 3_600_000
/** Milliseconds for which a record of the list is kept: until the end of its last deletion has been told. */
const SHARD_LIFE = DELETION_LIFE + 24 * 3_600_000
const MOST_SHARDS = 32
/** Deletions of one user, which fit into one record, and of those whom Nextcloud has not named yet. */
const MOST_OF_USER = 16
const MOST_OF_UNKNOWN = 200
/** Attempts at one change: every sign-in at Nextcloud changes the list, at every instance. */
const MOST_ATTEMPTS = 30
/** Those that follow each other at once. */
const HASTY_ATTEMPTS = 8
/** Milliseconds before each of the others, at most. */
const PAUSE = 50
/** Bytes of JSON in one record, which has 64 KiB when it is sealed. */
const SHARD_SIZE = 40_000

export function createPendingDeletions(room: PendingDeletionsRooms): PendingDeletions {
  /** The last change of this process that is not over. */
  let line: Promise<unknown> = Promise.resolve()
  const inLine = <T>(act: () => Promise<T>): Promise<T> => {
    const mine = line.then(act)
    line = mine.catch(() => undefined)
    return mine
  }
  return {
    put: (deletion, inPlaceOf = deletion.id) =>
      inLine(() => changed(room, () => attemptPut(room, deletion, { inPlaceOf, isNew: false }))),
    putNew: (deletion, inPlaceOf = deletion.id) =>
      inLine(() => changed(room, () => attemptPut(room, deletion, { inPlaceOf, isNew: true }))),
    remove: (id, note) => inLine(() => removeIn(room, { id, note })),
    has: async (id) => (await listIn(room)).some((entry) => entry.id === id),
    list: () => listIn(room),
    claim: (isDue, until) => inLine(() => claimIn(room, isDue, until)),
  }
}

function changed<T>({ clock }: PendingDeletionsRooms, attempt: () => Promise<T | 'late'>): Promise<T> {
  let attempts = 0
  const patiently = async (): Promise<T | 'late'> => {
    if ((attempts += 1) > HASTY_ATTEMPTS) await clock.sleep(clock.random() * PAUSE)
    return attempt()
  }
  return change('the list of deletions', patiently, MOST_ATTEMPTS)
}

async function listIn(room: PendingDeletionsRooms): Promise<readonly PendingDeletion[]> {
  const entries: PendingDeletion[] = []
  for (let index = 0; index < MOST_SHARDS; index += 1) {
    const shard = await readShard(room, index)
    if (!isThere(shard)) break
    entries.push(...shard.entries)
  }
  return entries
}

async function removeIn(room: PendingDeletionsRooms, what: Removed): Promise<void> {
  for (let index = 0; index < MOST_SHARDS; index += 1) {
    const outcome = await changed(room, () => attemptRemoval(room, index, what))
    if (outcome !== 'next') return
  }
}

async function claimIn(
  room: PendingDeletionsRooms,
  isDue: (deletion: PendingDeletion) => boolean,
  until: number,
): Promise<Claim> {
  const claimed: PendingDeletion[] = []
  const left: number[] = []
  for (let index = 0; index < MOST_SHARDS; index += 1) {
    const shard = await changed(room, () => attemptClaim(room, index, isDue, until))
    if (shard === undefined) break
    claimed.push(...shard.due)
    left.push(...shard.left)
  }
  // One that is left although it is due is about to be removed, or is for those who have its key.
  const ahead = left.filter((at) => at > room.clock.now())
  return { claimed, next: ahead.length === 0 ? undefined : Math.min(...ahead) }
}

const keyOf = ({ owner }: PendingDeletionsRooms, index: number): string => recordKey('deletions', owner, String(index))

async function readShard(room: PendingDeletionsRooms, index: number): Promise<Shard> {
  const record = await room.records.read(keyOf(room, index)).catch(ifError(SealedValueError, () => 'sealed' as const))
  if (record === 'sealed') return { index, version: null, entries: [], opens: false }
  const { entries = [] } = (record?.value ?? {}) as { readonly entries?: readonly PendingDeletion[] }
  return { index, version: record?.version ?? null, entries, opens: true }
}

/** A part of the list of one configuration. */
export interface DeletionsOfOwner {
  readonly owner: RecordOwner
  readonly entries: readonly PendingDeletion[]
}

/** Returns the deletions that a record holds; undefined if it is another kind of record. */
export function deletionsIn({ value }: OpenRecord): DeletionsOfOwner | undefined {
  const { owner, entries } = Object(value) as Partial<DeletionsOfOwner>
  return owner !== undefined && Array.isArray(entries) ? { owner, entries } : undefined
}

const isThere = ({ version, opens }: Shard): boolean => version !== null || !opens

function write(
  room: PendingDeletionsRooms,
  { index, version }: Shard,
  entries: readonly PendingDeletion[],
): Promise<string | null> {
  return room.records.write(keyOf(room, index), { entries, owner: room.owner }, version, SHARD_LIFE)
}

async function attemptPut(
  room: PendingDeletionsRooms,
  deletion: PendingDeletion,
  { inPlaceOf, isNew }: { readonly inPlaceOf: string; readonly isNew: boolean },
): Promise<boolean | 'late'> {
  const shards: Shard[] = []
  for (let index = 0; index < MOST_SHARDS && shards.every(isThere); index += 1)
    shards.push(await readShard(room, index))
  const entries = shards.flatMap((shard) => shard.entries)
  if (isNew && entries.some(({ id }) => id === deletion.id)) return true
  const before = entries.filter(({ id }) => id === deletion.id || id === inPlaceOf)
  const others = entries.filter((entry) => !before.includes(entry))
  const over = overShare(others, deletion)
  const freed = [...before, ...over]
  const place = placeFor(shards, deletion, freed) ?? placeOfHeaviest(shards, deletion, freed)
  if (place === undefined) return false
  const { target, crowdedOut } = place
  const gone = new Set([...freed, ...crowdedOut])
  const left = target.entries.filter((entry) => !gone.has(entry))
  if ((await write(room, target, [...left, deletion])) === null) return 'late'
  // The list is read up to the first record that is not there: those before must live as long.
  for (const { index } of shards.slice(0, target.index)) {
    const earlier = await readShard(room, index)
    // One that does not open is left as it is, because it has another version.
    await write(room, earlier, earlier.entries)
  }
  for (const { index, entries: listed } of shards) {
    const elsewhere = index === target.index ? [] : listed.filter((entry) => gone.has(entry))
    for (const { id, note } of elsewhere) await changed(room, () => attemptRemoval(room, index, { id, note }))
  }
  for (const entry of [...over, ...crowdedOut]) room.givenUp(entry)
  return true
}

/** Those that make way first come first: one that is likely to be in vain, then the oldest. */
const byWorth = (one: PendingDeletion, other: PendingDeletion): number =>
  Number(other.refused) - Number(one.refused) || one.since - other.since

/** Returns the deletions that make way for another one of their user, who has as many, or as much, as may be. */
function overShare(others: readonly PendingDeletion[], deletion: PendingDeletion): readonly PendingDeletion[] {
  const { issuer, subject } = deletion.identity
  const own = others.filter(({ identity }) => identity.issuer === issuer && identity.subject === subject).sort(byWorth)
  // Those whom Nextcloud has not named are many people.
  const isWithin = (kept: readonly PendingDeletion[]): boolean =>
    subject === '' ? kept.length < MOST_OF_UNKNOWN : kept.length < MOST_OF_USER && fits([...kept, deletion])
  return leastGone(own, isWithin) ?? []
}

/** Returns as few of the first as must go, so that the rest will do; undefined if none of it does. */
function leastGone(
  entries: readonly PendingDeletion[],
  isEnough: (left: readonly PendingDeletion[]) => boolean,
): readonly PendingDeletion[] | undefined {
  for (let count = 0; count <= entries.length; count += 1)
    if (isEnough(entries.slice(count))) return entries.slice(0, count)
  return undefined
}

/** A record that has room, once those are gone that make way there. */
interface Place {
  readonly target: Shard
  readonly crowdedOut: readonly PendingDeletion[]
}

/** Returns a record with room for a deletion, if possible one that loses another for it. */
function placeFor(
  shards: readonly Shard[],
  deletion: PendingDeletion,
  freed: readonly PendingDeletion[],
): Place | undefined {
  const leaves = (shard: Shard): boolean => shard.entries.some((entry) => freed.includes(entry))
  const mayHold = (shard: Shard): boolean =>
    shard.opens && fits([...shard.entries.filter((entry) => !freed.includes(entry)), deletion])
  const target = shards.find((shard) => mayHold(shard) && leaves(shard)) ?? shards.find(mayHold)
  return target && { target, crowdedOut: [] }
}

/** Returns the record in which the issuer that takes up the most of a full list makes way. Undefined: that is the deletion's own. */
function placeOfHeaviest(
  shards: readonly Shard[],
  deletion: PendingDeletion,
  freed: readonly PendingDeletion[],
): Place | undefined {
  const left = shards.map((shard) => ({ shard, entries: shard.entries.filter((entry) => !freed.includes(entry)) }))
  const heaviest = heaviestIssuer([...left.flatMap(({ entries }) => entries), deletion])
  if (heaviest === deletion.identity.issuer) return undefined
  for (const { shard, entries } of left.filter(({ shard: { opens } }) => opens)) {
    const theirs = entries.filter(({ identity }) => identity.issuer === heaviest).sort(byWorth)
    const others = entries.filter((entry) => !theirs.includes(entry))
    const crowdedOut = leastGone(theirs, (kept) => fits([...others, ...kept, deletion]))
    if (crowdedOut !== undefined) return { target: shard, crowdedOut }
  }
  return undefined
}

/** Returns the issuer whose deletions take up the most bytes. */
function heaviestIssuer(entries: readonly PendingDeletion[]): string | undefined {
  const bytes = new Map<string, number>()
  for (const entry of entries)
    bytes.set(entry.identity.issuer, (bytes.get(entry.identity.issuer) ?? 0) + jsonBytes(entry))
  return [...bytes].sort(([, one], [, other]) => other - one)[0]?.[0]
}

const fits = (entries: readonly PendingDeletion[]): boolean => jsonBytes(entries) <= SHARD_SIZE

/** A deletion to remove: the note of it that is meant, or any. */
type Removed = Pick<PendingDeletion, 'id'> & { readonly note: string | undefined }

const isMeant = (entry: PendingDeletion, { id, note }: Removed): boolean =>
  entry.id === id && (note === undefined || entry.note === undefined || entry.note === note)

/** Resolves to `next` if the deletion may be in the next record. */
async function attemptRemoval(
  room: PendingDeletionsRooms,
  index: number,
  what: Removed,
): Promise<'next' | 'done' | 'late'> {
  const shard = await readShard(room, index)
  if (!isThere(shard)) return 'done'
  const entries = shard.entries.filter((entry) => !isMeant(entry, what))
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
  room: PendingDeletionsRooms,
  index: number,
  isDue: (deletion: PendingDeletion) => boolean,
  until: number,
): Promise<{ readonly due: readonly PendingDeletion[]; readonly left: readonly number[] } | undefined | 'late'> {
  const shard = await readShard(room, index)
  if (!isThere(shard)) return undefined
  const due = shard.entries.filter(isDue)
  const left = shard.entries.flatMap((entry) => (due.includes(entry) ? [] : [entry.nextAt]))
  if (due.length === 0) return { due, left }
  const entries = shard.entries.map((entry) => (due.includes(entry) ? taken(entry, until) : entry))
  return (await write(room, shard, entries)) === null ? 'late' : { due, left }
}

/** If the process ends that has taken it, another one finds that a refresh token may be spent. */
function taken({ credential, ...deletion }: PendingDeletion, nextAt: number): PendingDeletion {
  return { ...deletion, credential: presented(credential), nextAt }
}

/** Returns a credential as it is noted before it is sent. */
export function presented<T extends Credential | SentCode | SealedGrant>(credential: T): T {
  return 'refreshToken' in credential ? { ...credential, presented: true } : credential
}
