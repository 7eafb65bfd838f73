import { isDeepStrictEqual } from 'node:util'
import type { Adapter, AdapterPayload } from 'oidc-provider'
import { change } from '../grants/change.js'
import { noteConsent } from './consents.js'
import {
  destroy,
  findModel,
  keyOf,
  read,
  seconds,
  storedIn,
  type ClientRooms,
  type ModelRooms,
  type Stored,
} from './model-records.js'
import { asOutage } from './outage.js'
import { createRefreshTokens, endFamily, type ModelStorage } from './refresh-tokens.js'
import { noteSession } from './sessions.js'

/** Seconds for which a client is kept that has registered itself: as long as nobody uses it, and from its last use. */
export const CLIENT_KEPT = { unused: 30 * 86_400, used: 180 * 86_400 }

/**
 * Returns the storage of oidc-provider: each model is a sealed record of a `StorageAdapter`, under a hash of its id.
 *
 * A code is consumed once among all instances. Codes and refresh tokens are good only while the `Grant` that they belong to is there, which
 * oidc-provider reads with each use.
 */
export function createModelAdapters(rooms: ModelRooms): (model: string) => Adapter {
  return (model) => {
    const guarded =
      <A extends unknown[], R>(work: (...given: A) => Promise<R>) =>
      (...given: A): Promise<R> =>
        asOutage(rooms.errors, work(...given))
    const { upsert, find, consume, destroy, revokeByGrantId } =
      model === 'RefreshToken' ? createRefreshTokens(rooms) : createModels(rooms, model)
    return {
      upsert: guarded(upsert),
      find: guarded(find),
      findByUid: guarded(async (uid) => {
        const id = (await findModel(rooms, UID, uid))?.['id']
        return typeof id === 'string' ? findModel(rooms, model, id) : undefined
      }),
      // There is no device flow.
      findByUserCode: () => Promise.resolve(undefined),
      consume: guarded(consume),
      destroy: guarded(destroy),
      revokeByGrantId: guarded(revokeByGrantId),
    }
  }
}

function createModels(rooms: ModelRooms, model: string): ModelStorage {
  return {
    upsert: (id, payload, expiresIn) => upsert(rooms, model, { id, payload, expiresIn }),
    find: (id) => (model === 'Session' ? findSession(rooms, id) : findModel(rooms, model, id)),
    consume: (id) => consume(rooms, model, id),
    destroy: (id) => destroy(rooms, model, id),
    // oidc-provider deletes the grant itself right after.
    revokeByGrantId: () => Promise.resolve(),
  }
}

interface Entry {
  readonly id: string
  readonly payload: AdapterPayload
  /** Seconds. Undefined: it does not expire. */
  readonly expiresIn: number | undefined
}

async function upsert(rooms: ModelRooms, model: string, entry: Entry): Promise<void> {
  const { id, payload, expiresIn } = entry
  const life = model === 'Client' ? CLIENT_KEPT.unused : expiresIn
  const { accountId } = payload
  if (model === 'Session' && !(await isNoted(rooms, entry))) return
  if (model === 'Grant' && accountId !== undefined && life !== undefined)
    await noteConsent(
      rooms,
      { accountId, clientId: payload.clientId ?? '', grantId: id, life },
      {
        consent: (surplus) => endConsent(rooms, surplus),
        client: (clientId) => dropClient(rooms, clientId, [accountId]),
      },
    )
  if (model === 'Interaction') await writeQuestion(rooms, entry)
  else await write(rooms, keyOf(rooms, model, id), storedOf(model, payload), life)
}

/** A no stays the answer of a question: whoever writes that may have read it before the no, in another window. */
function writeQuestion(rooms: ModelRooms, { id, payload, expiresIn }: Entry): Promise<void> {
  const { records } = rooms
  const key = keyOf(rooms, 'Interaction', id)
  return change('a sign-in', async () => {
    const record = await read(rooms, key)
    const before = storedIn(record)?.payload['result'] as { readonly error?: string } | undefined
    const stored: Stored = {
      format: 1,
      payload: before?.error === undefined ? payload : { ...payload, result: before },
    }
    return (await records.write(key, stored, record?.version ?? null, ttlOf(expiresIn))) === null ? 'late' : undefined
  })
}

/**
 * Leaves out what oidc-provider would keep of each client in a session, without end: it reads that for a logout and for tokens that end with
 * their session, and here is neither.
 */
const storedOf = (model: string, payload: AdapterPayload): object =>
  model === 'Session' ? { ...payload, authorizations: undefined } : payload

async function endConsent(rooms: ModelRooms, grantId: string): Promise<void> {
  await destroy(rooms, 'Grant', grantId)
  await endFamily(rooms, grantId)
}

/** The record of a session's uid, which stays as its id changes: the last id, or that the session has ended. */
const UID = 'Session uid'
/**
 * Seconds for which it is kept that a session has ended: longer than any request takes, because oidc-provider writes at the end of each what
 * it has read at the beginning. Afterwards there is no record of the uid, and no session either. Not longer, because each sign-in may leave one.
 */
const ENDED_KEPT = 600

/** Finds a session that has not ended. Requests at one time may give it several ids, of which the page of connections knows the last. */
async function findSession(rooms: ModelRooms, id: string): Promise<AdapterPayload | undefined> {
  const session = await findModel(rooms, 'Session', id)
  if (session?.uid === undefined) return undefined
  const last = await findModel(rooms, UID, session.uid)
  return last?.['id'] === undefined ? undefined : session
}

/**
 * Notes a session, under its person too. False if it is not to be stored: it has ended, or it is nobody's. oidc-provider makes one of nobody
 * for each request with the cookie of a session that has ended, and these are counted by nobody.
 */
async function isNoted(rooms: ModelRooms, entry: Entry): Promise<boolean> {
  const { accountId, uid } = entry.payload
  if (accountId === undefined || uid === undefined || !(await goOn(rooms, uid, entry))) return false
  await noteSession(rooms, { accountId, uid }, (surplus) => endSession(rooms, surplus))
  return true
}

/** Notes the id of a session, which may be new. Returns whether the session goes on. */
function goOn(rooms: ModelRooms, uid: string, { id, expiresIn }: Entry): Promise<boolean> {
  const { records } = rooms
  const key = keyOf(rooms, UID, uid)
  return change('a sign-in', async () => {
    const record = await read(rooms, key)
    if (storedIn(record)?.payload['ended'] === true) return false
    const stored: Stored = { format: 1, payload: { id } }
    return (await records.write(key, stored, record?.version ?? null, ttlOf(expiresIn))) === null ? 'late' : true
  })
}

/** Ends a session under all its ids, also where a request is under way that has read it. */
export async function endSession(rooms: Pick<ModelRooms, 'records' | 'owner'>, uid: string): Promise<void> {
  const last = await findModel(rooms, UID, uid)
  // Nobody leaves a record by ending what there is not.
  if (last === undefined) return
  await write(rooms, keyOf(rooms, UID, uid), { ended: true }, ENDED_KEPT)
  if (typeof last['id'] === 'string') await destroy(rooms, 'Session', last['id'])
}

/** Returns milliseconds. */
const ttlOf = (expiresIn: number | undefined): number | undefined =>
  expiresIn === undefined ? undefined : Math.max(1, expiresIn) * 1_000

function write(
  { records }: Pick<ModelRooms, 'records'>,
  key: string,
  payload: object,
  expiresIn: number | undefined,
): Promise<void> {
  const stored = { format: 1, payload }
  const ttl = ttlOf(expiresIn)
  let expected: string | null = null
  return change('a sign-in', async () => {
    if ((await records.write(key, stored, expected, ttl)) !== null) return undefined
    expected = (await records.peek(key))?.version ?? null
    return 'late'
  })
}

/**
 * Marks a code as spent, for as long as it would have lived. Whoever comes second has nothing, and a code that is sent twice ends what the
 * first had got by it (RFC 6749 §4.1.2).
 */
function consume(rooms: ModelRooms, model: string, id: string): Promise<void> {
  const { records, clock } = rooms
  const key = keyOf(rooms, model, id)
  return change('a sign-in', async () => {
    const record = await read(rooms, key)
    const payload = storedIn(record)?.payload
    if (record === undefined || payload === undefined) throw new rooms.errors.InvalidGrant('it is not known')
    if (payload.consumed !== undefined) {
      if (payload.grantId !== undefined) await destroy(rooms, 'Grant', payload.grantId)
      throw new rooms.errors.InvalidGrant('it was used before')
    }
    const now = seconds(clock)
    const left = Math.max(1, (payload.exp ?? now) - now)
    const stored = { format: 1, payload: { ...payload, consumed: now } }
    return (await records.write(key, stored, record.version, left * 1_000)) === null ? 'late' : undefined
  })
}

/** Keeps a client that has registered itself, because somebody uses it. Another one has no record. */
export async function keepClient(rooms: ClientRooms, id: string, user: string): Promise<void> {
  const key = keyOf(rooms, 'Client', id)
  await change('a client', async () => {
    const record = await read(rooms, key)
    const before = storedIn(record)
    if (record === undefined || before === undefined) return undefined
    const users = [...new Set([...(before.users ?? []), user])].slice(0, 2)
    const stored: Stored = { format: 1, payload: before.payload, users }
    return (await rooms.records.write(key, stored, record.version, CLIENT_KEPT.used * 1_000)) === null
      ? 'late'
      : undefined
  })
}

/** Ends a client that has registered itself, if exactly these people have used it. */
export function dropClient(rooms: ClientRooms, id: string, usedBy: readonly string[]): Promise<void> {
  const key = keyOf(rooms, 'Client', id)
  return change('a client', async () => {
    const record = await read(rooms, key)
    if (record === undefined || !isDeepStrictEqual(storedIn(record)?.users ?? [], usedBy)) return undefined
    return (await rooms.records.remove(key, record.version)) ? undefined : 'late'
  })
}
