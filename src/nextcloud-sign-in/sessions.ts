import { change } from '../grants/change.js'
import { recordKey, type RecordOwner } from '../grants/record-key.js'
import type { Records } from '../grants/records.js'
import type { Clock } from '../clock.js'

/** A session in one browser, as a list of a person's sessions has it. */
export interface NotedSession {
  readonly uid: string
  /** Milliseconds since the epoch. */
  readonly since: number
  readonly lastUsed: number
}

interface SessionRooms {
  readonly records: Records
  readonly owner: RecordOwner
  readonly clock: Clock
}

/** Milliseconds for which a session lives from its last use, and for which a list of them is kept. */
export const SESSION_LIFE = 86_400_000
/** Milliseconds between two notes of the use of one session. */
const NOTED_EVERY = 600_000
/** Sessions of one person: the last ones. */
const MOST_SESSIONS = 50
/** Attempts at one change of the list, because a person may sign in several apps at once. */
const MOST_ATTEMPTS = 50

/**
 * Notes that a person has used a session, which may be new. It is in the list before its browser has it.
 *
 * @param end ends a session that there is no room for in the list, where nobody could see or end it
 */
export function noteSession(
  rooms: SessionRooms,
  { accountId, uid }: { readonly accountId: string; readonly uid: string },
  end: (uid: string) => Promise<void>,
): Promise<void> {
  const now = rooms.clock.now()
  return changeList(rooms, accountId, async (list) => {
    const known = list.find((session) => session.uid === uid)
    if (known !== undefined && now - known.lastUsed < NOTED_EVERY) return undefined
    const others = list.filter((session) => session !== known)
    const surplus = others.slice(0, Math.max(0, others.length + 1 - MOST_SESSIONS))
    // Before the list loses them, because the store may fail in between.
    for (const session of surplus) await end(session.uid)
    return [...others.slice(surplus.length), { uid, since: known?.since ?? now, lastUsed: now }]
  })
}

/** Reads the sessions of a person. Some of them may have ended. */
export async function readSessions(rooms: SessionRooms, accountId: string): Promise<readonly NotedSession[]> {
  return (await readList(rooms, keyOf(rooms, accountId))).list
}

const keyOf = ({ owner }: SessionRooms, accountId: string): string => recordKey('sign-in', owner, 'sessions', accountId)

async function readList({ records, clock }: SessionRooms, key: string) {
  const record = await records.readIfOpens(key)
  const stored = Array.isArray(record?.value) ? (record.value as readonly NotedSession[]) : []
  return { record, list: stored.filter(({ lastUsed }) => clock.now() < lastUsed + SESSION_LIFE + NOTED_EVERY) }
}

/** @param next undefined: there is nothing to change */
function changeList(
  rooms: SessionRooms,
  accountId: string,
  next: (list: readonly NotedSession[]) => Promise<readonly NotedSession[] | undefined>,
): Promise<void> {
  const key = keyOf(rooms, accountId)
  return change(
    'the sessions',
    async () => {
      const { record, list } = await readList(rooms, key)
      const changed = await next(list)
      if (changed === undefined) return undefined
      const version = await rooms.records.write(key, changed, record?.version ?? null, SESSION_LIFE + NOTED_EVERY)
      return version === null ? 'late' : undefined
    },
    MOST_ATTEMPTS,
  )
}
