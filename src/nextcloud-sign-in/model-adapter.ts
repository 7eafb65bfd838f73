import type { Adapter, AdapterPayload, errors } from 'oidc-provider'
import type { Clock } from '../clock.js'
import { change } from '../grants/change.js'
import { recordKey, type RecordOwner } from '../grants/record-key.js'
import type { OpenRecord, Records } from '../grants/records.js'
import { asOutage } from './outage.js'
import { noteSession } from './sessions.js'

/** The rooms that the clients in the store need. */
export interface ClientRooms {
  readonly records: Records
  readonly owner: RecordOwner
  readonly clock: Clock
}

/** The rooms that the stored models of oidc-provider need. */
export interface ModelRooms extends ClientRooms {
  /** The error classes of oidc-provider, which is loaded only where it is used. */
  readonly errors: typeof errors
}

interface Stored {
  readonly format: 1
  readonly payload: AdapterPayload
  /** Of a client: whether it has got tokens. */
  readonly isUsed?: boolean
}

/**
 * Seconds for which a spent token is remembered. One that comes back within that time ends its whole family. Each refresh leaves one
 * behind, so they are not kept as long as they would have lived.
 */
const SPENT_KEPT = 7 * 86_400
/** Seconds for which a client is kept that has registered itself: as long as nobody uses it, and from its last use. */
export const CLIENT_KEPT = { unused: 30 * 86_400, used: 180 * 86_400 }
/** Seconds in which a refresh token may be spent again, because the answer to the first request may have been lost. */
export const GRACE = 30

/**
 * Returns the storage of oidc-provider: each model is a sealed record of a `StorageAdapter`, under a hash of its id.
 *
 * A code or token is consumed once among all instances. Codes and refresh tokens are good only while the `Grant` that they belong to is
 * there, which oidc-provider reads with each use, so a family ends with its grant and has no index.
 */
export function createModelAdapters(rooms: ModelRooms): (model: string) => Adapter {
  return (model) => {
    const guarded =
      <A extends unknown[], R>(work: (...given: A) => Promise<R>) =>
      (...given: A): Promise<R> =>
        asOutage(rooms.errors, work(...given))
    const find = (id: string): Promise<AdapterPayload | undefined> => findModel(rooms, model, id)
    return {
      upsert: guarded((id, payload, expiresIn) => upsert(rooms, model, { id, payload, expiresIn })),
      find: guarded(find),
      findByUid: guarded(async (uid) => {
        const id = (await findModel(rooms, `${model} uid`, uid))?.['id']
        return typeof id === 'string' ? find(id) : undefined
      }),
      // There is no device flow.
      findByUserCode: () => Promise.resolve(undefined),
      consume: guarded((id) => consume(rooms, model, id)),
      destroy: guarded((id) => destroy(rooms, model, id)),
      // oidc-provider deletes the grant itself right after.
      revokeByGrantId: () => Promise.resolve(),
    }
  }
}

function keyOf({ owner }: Pick<ModelRooms, 'owner'>, model: string, id: string): string {
  return recordKey('sign-in', owner, model, id)
}

/** A record that only a key of the past opens counts as absent: the person signs in again. */
function read(rooms: Pick<ModelRooms, 'records'>, key: string): Promise<OpenRecord | undefined> {
  return rooms.records.readIfOpens(key)
}

function payloadOf(record: OpenRecord | undefined): AdapterPayload | undefined {
  const stored = record?.value as Stored | undefined
  return stored?.format === 1 ? stored.payload : undefined
}

interface Entry {
  readonly id: string
  readonly payload: AdapterPayload
  /** Seconds. Undefined: it does not expire. */
  readonly expiresIn: number | undefined
}

async function upsert(rooms: ModelRooms, model: string, { id, payload, expiresIn }: Entry): Promise<void> {
  const life = model === 'Client' ? CLIENT_KEPT.unused : expiresIn
  if (model === 'Session' && payload.uid !== undefined && payload.accountId !== undefined) {
    const { accountId, uid } = payload
    await noteSession(rooms, { accountId, uid }, (surplus) => endSession(rooms, surplus))
  }
  await write(rooms, keyOf(rooms, model, id), payload, life)
  if (model === 'Session' && payload.uid !== undefined) {
    await write(rooms, keyOf(rooms, 'Session uid', payload.uid), { id }, expiresIn)
  }
}

async function endSession(rooms: ModelRooms, uid: string): Promise<void> {
  const id = (await findModel(rooms, 'Session uid', uid))?.['id']
  if (typeof id === 'string') await destroy(rooms, 'Session', id)
  await destroy(rooms, 'Session uid', uid)
}

function write(rooms: ModelRooms, key: string, payload: object, expiresIn: number | undefined): Promise<void> {
  const { records } = rooms
  const stored = { format: 1, payload }
  const ttl = expiresIn === undefined ? undefined : Math.max(1, expiresIn) * 1_000
  let expected: string | null = null
  return change('a sign-in', async () => {
    if ((await records.write(key, stored, expected, ttl)) !== null) return undefined
    expected = (await records.peek(key))?.version ?? null
    return 'late'
  })
}

async function findModel(rooms: ModelRooms, model: string, id: string): Promise<AdapterPayload | undefined> {
  const payload = payloadOf(await read(rooms, keyOf(rooms, model, id)))
  if (payload === undefined || !isWithinGrace(rooms, model, payload)) return payload
  return { ...payload, consumed: undefined }
}

const seconds = (clock: Clock): number => Math.floor(clock.now() / 1_000)

function isWithinGrace({ clock }: ModelRooms, model: string, { consumed }: AdapterPayload): boolean {
  return model === 'RefreshToken' && typeof consumed === 'number' && seconds(clock) - consumed < GRACE
}

/** Marks it as spent. Whoever comes second has nothing, and a code that is sent twice ends what the first had got by it (RFC 6749 §4.1.2). */
function consume(rooms: ModelRooms, model: string, id: string): Promise<void> {
  const { records, clock } = rooms
  const key = keyOf(rooms, model, id)
  return change('a sign-in', async () => {
    const record = await read(rooms, key)
    const payload = payloadOf(record)
    if (record === undefined || payload === undefined) throw new rooms.errors.InvalidGrant('it is not known')
    if (isWithinGrace(rooms, model, payload)) return undefined
    if (payload.consumed !== undefined) {
      if (payload.grantId !== undefined) await destroy(rooms, 'Grant', payload.grantId)
      throw new rooms.errors.InvalidGrant('it was used before')
    }
    const now = seconds(clock)
    const left = Math.max(1, Math.min(SPENT_KEPT, (payload.exp ?? Infinity) - now))
    const stored = { format: 1, payload: { ...payload, consumed: now } }
    return (await records.write(key, stored, record.version, left * 1_000)) === null ? 'late' : undefined
  })
}

/** Keeps a client that has registered itself, because it is in use. Another one has no record. */
export async function keepClient(rooms: ClientRooms, id: string): Promise<void> {
  const key = keyOf(rooms, 'Client', id)
  await change('a client', async () => {
    const record = await read(rooms, key)
    const payload = payloadOf(record)
    if (record === undefined || payload === undefined) return undefined
    const stored: Stored = { format: 1, payload, isUsed: true }
    return (await rooms.records.write(key, stored, record.version, CLIENT_KEPT.used * 1_000)) === null
      ? 'late'
      : undefined
  })
}

/** Ends a client that has registered itself, unless it has got tokens. */
export function dropUnused(rooms: ClientRooms, id: string): Promise<void> {
  const key = keyOf(rooms, 'Client', id)
  return change('a client', async () => {
    const record = await read(rooms, key)
    if (record === undefined || (record.value as Stored | undefined)?.isUsed === true) return undefined
    return (await rooms.records.remove(key, record.version)) ? undefined : 'late'
  })
}

function destroy(rooms: ModelRooms, model: string, id: string): Promise<void> {
  const { records } = rooms
  const key = keyOf(rooms, model, id)
  return change('a sign-in', async () => {
    const entry = await records.peek(key)
    return entry === undefined || (await records.remove(key, entry.version)) ? undefined : 'late'
  })
}
