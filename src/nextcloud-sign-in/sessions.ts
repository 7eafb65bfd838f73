import { keyOf, type ClientRooms } from './model-records.js'
import { changeList, readList, type PersonList } from './person-list.js'

/** A session in one browser, as a list of a person's sessions has it. */
export interface NotedSession {
  readonly uid: string
  /** Milliseconds since the epoch. */
  readonly since: number
  readonly lastUsed: number
}

/** Milliseconds for which a session lives from its last use, and for which a list of them is kept. */
export const SESSION_LIFE = 86_400_000
/** Milliseconds between two notes of the use of one session. */
const NOTED_EVERY = 600_000
/** Sessions of one person: the last ones. */
const MOST_SESSIONS = 50

/**
 * Notes that a person has used a session, which may be new. It is in the list before its browser has it.
 *
 * @param end ends a session that there is no room for in the list, where nobody could see or end it
 */
export function noteSession(
  rooms: ClientRooms,
  { accountId, uid }: { readonly accountId: string; readonly uid: string },
  end: (uid: string) => Promise<void>,
): Promise<void> {
  const now = rooms.clock.now()
  return changeList(rooms, listOf(rooms, accountId), async (list) => {
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
export async function readSessions(rooms: ClientRooms, accountId: string): Promise<readonly NotedSession[]> {
  return (await readList(rooms, listOf(rooms, accountId))).list
}

function listOf(rooms: ClientRooms, accountId: string): PersonList<NotedSession> {
  const life = SESSION_LIFE + NOTED_EVERY
  const isLiving = ({ lastUsed }: NotedSession): boolean => rooms.clock.now() < lastUsed + life
  return { key: keyOf(rooms, 'sessions', accountId), life, isLiving }
}
