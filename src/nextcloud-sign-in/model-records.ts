import type { AdapterPayload, errors } from 'oidc-provider'
import type { Clock } from '../clock.js'
import { change } from '../grants/change.js'
import { recordKey, type RecordOwner } from '../grants/record-key.js'
import type { OpenRecord, Records } from '../grants/records.js'

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

/** A model as it is stored. */
export interface Stored {
  readonly format: 1
  readonly payload: AdapterPayload
  /** Of a client: those for whom it has got tokens, two at most. */
  readonly users?: readonly string[]
  /** Of a refresh token: when those before it were spent, in seconds since the epoch, the last one last. */
  readonly spentAt?: readonly number[]
  /** Of a question: when a request took its answer, in milliseconds since the epoch. */
  readonly takenAt?: number
}

export const seconds = (clock: Clock): number => Math.floor(clock.now() / 1_000)

export function keyOf({ owner }: Pick<ModelRooms, 'owner'>, model: string, id: string): string {
  return recordKey('sign-in', owner, model, id)
}

/** A record that only a key of the past opens counts as absent: the person signs in again. */
export function read(rooms: Pick<ModelRooms, 'records'>, key: string): Promise<OpenRecord | undefined> {
  return rooms.records.readIfOpens(key)
}

export function storedIn(record: OpenRecord | undefined): Stored | undefined {
  const stored = record?.value as Stored | undefined
  return stored?.format === 1 ? stored : undefined
}

export async function findModel(
  rooms: Pick<ModelRooms, 'records' | 'owner'>,
  model: string,
  id: string,
): Promise<AdapterPayload | undefined> {
  return storedIn(await read(rooms, keyOf(rooms, model, id)))?.payload
}

export function destroy(rooms: Pick<ModelRooms, 'records' | 'owner'>, model: string, id: string): Promise<void> {
  const { records } = rooms
  const key = keyOf(rooms, model, id)
  return change('a sign-in', async () => {
    const entry = await records.peek(key)
    return entry === undefined || (await records.remove(key, entry.version)) ? undefined : 'late'
  })
}
