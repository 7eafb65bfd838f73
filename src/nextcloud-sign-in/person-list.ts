import { change } from '../grants/change.js'
import type { ClientRooms } from './model-records.js'

/** Attempts at one change of a list, because a person may sign in several apps at once. */
const MOST_ATTEMPTS = 50

/** A list of one person, in one record. */
export interface PersonList<T> {
  readonly key: string
  /** Milliseconds for which the record is kept from its last change. */
  readonly life: number
  readonly isLiving: (entry: T) => boolean
}

export async function readList<T>({ records }: Pick<ClientRooms, 'records'>, { key, isLiving }: PersonList<T>) {
  const record = await records.readIfOpens(key)
  const stored = Array.isArray(record?.value) ? (record.value as readonly T[]) : []
  return { record, list: stored.filter(isLiving) }
}

/** @param next undefined: there is nothing to change */
export function changeList<T>(
  rooms: Pick<ClientRooms, 'records'>,
  person: PersonList<T>,
  next: (list: readonly T[]) => Promise<readonly T[] | undefined>,
): Promise<void> {
  return change(
    'the sign-ins of a person',
    async () => {
      const { record, list } = await readList(rooms, person)
      const changed = await next(list)
      if (changed === undefined) return undefined
      const version = await rooms.records.write(person.key, changed, record?.version ?? null, person.life)
      return version === null ? 'late' : undefined
    },
    MOST_ATTEMPTS,
  )
}
