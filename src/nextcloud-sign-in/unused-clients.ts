import { LRUCache } from 'lru-cache'
import { change } from '../grants/change.js'
import { recordKey } from '../grants/record-key.js'
import { hashOfParts } from '../hash-of-parts.js'
import { CLIENT_KEPT, dropClient, keepClient } from './model-adapter.js'
import type { ClientRooms } from './model-records.js'

/** A client that has registered itself and has got no token yet. */
interface Unused {
  readonly id: string
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Stands for the networks that it came from, the widest first: each is `PART` characters more. */
  readonly from: string
}

/** Clients of all instances. A list of them is a record, which holds no more. */
export const MOST_UNUSED = 500
/** Characters for one network, and for all of them. */
const PART = 6
const LEVELS = [PART, 2 * PART, 3 * PART]
/** Clients that somebody is being asked about, and milliseconds. */
const ASKED = { max: 10_000, life: 600_000 }
/** Attempts at one change of the list, because each instance may be at it all the time. */
const MOST_ATTEMPTS = 50

/** The clients that have registered themselves, as long as nobody has used them. */
export interface UnusedClients {
  /**
   * Notes a client. Where there are too many, the oldest one of the network that most of them came from ends, so that a stranger's flood
   * drives out itself and closes the door to nobody. In that network, those go first about whom nobody is asked.
   *
   * @param networks the narrowest first
   */
  readonly note: (id: string, networks: readonly string[]) => Promise<void>
  /** Notes that somebody is asked about a client, in this process. */
  readonly asked: (id: string) => void
  /** Takes a client from the list, because it is in use. */
  readonly forget: (id: string) => Promise<void>
}

export function createUnusedClients(rooms: ClientRooms): UnusedClients {
  const askedAt = new LRUCache<string, number>({ max: ASKED.max })
  const isAsked = (id: string): boolean => rooms.clock.monotonic() < (askedAt.get(id) ?? -Infinity) + ASKED.life
  let waiting: Unused[] = []
  let next: Promise<void> | undefined
  let last: Promise<unknown> = Promise.resolve()
  // One after the other: requests at the same time must not keep each other from writing.
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work)
    last = turn.catch(() => undefined)
    return turn
  }
  const noteAll = async (): Promise<void> => {
    const added = waiting
    waiting = []
    next = undefined
    const surplus = await changeList(rooms, (list) => withoutSurplus([...list, ...added], isAsked))
    await Promise.all(surplus.map(({ id }) => dropClient(rooms, id, [])))
  }
  return {
    asked: (id) => void askedAt.set(id, rooms.clock.monotonic()),
    note(id, networks) {
      const parts = networks.map((network) => recordKey('sign-in', rooms.owner, 'network', network).slice(-PART))
      const from = parts.reverse().join('')
      waiting.push({ id, at: rooms.clock.now(), from })
      return (next ??= inTurn(noteAll))
    },
    async forget(id) {
      await inTurn(() =>
        changeList(rooms, (list) => {
          const kept = list.filter((client) => client.id !== id)
          return kept.length === list.length ? undefined : { kept, surplus: [] }
        }),
      )
    },
  }
}

interface Change {
  readonly kept: readonly Unused[]
  readonly surplus: readonly Unused[]
}

/** @param next undefined: there is nothing to change */
function changeList(
  { records, owner, clock }: ClientRooms,
  next: (list: readonly Unused[]) => Change | undefined,
): Promise<readonly Unused[]> {
  const key = recordKey('sign-in', owner, 'unused clients')
  return change(
    'the clients',
    async () => {
      const record = await records.readIfOpens(key)
      const stored = Array.isArray(record?.value) ? (record.value as readonly Unused[]) : []
      const life = CLIENT_KEPT.unused * 1_000
      const changed = next(stored.filter(({ at }) => clock.now() < at + life))
      if (changed === undefined) return []
      const version = await records.write(key, changed.kept, record?.version ?? null, life)
      return version === null ? 'late' : changed.surplus
    },
    MOST_ATTEMPTS,
  )
}

/** @param list the oldest first */
function withoutSurplus(list: readonly Unused[], isAsked: (id: string) => boolean): Change {
  const kept = [...list]
  const surplus: Unused[] = []
  while (kept.length > MOST_UNUSED) {
    const crowd = LEVELS.reduce(largestGroup, kept)
    const last = crowd.find(({ id }) => !isAsked(id)) ?? crowd[0]
    surplus.push(
      ...kept.splice(
        kept.findIndex((client) => client === last),
        1,
      ),
    )
  }
  return { kept, surplus }
}

/** Returns the clients of the network that most of them came from, in their order. */
function largestGroup(clients: readonly Unused[], level: number): Unused[] {
  const groups = new Map<string, Unused[]>()
  let largest: Unused[] = []
  for (const client of clients) {
    const network = client.from.slice(0, level)
    const group = groups.get(network) ?? []
    groups.set(network, group)
    group.push(client)
  }
  for (const group of groups.values()) if (group.length > largest.length) largest = group
  return largest
}

/** Uses of a client by a person that are remembered in this process, and milliseconds between two notes of it in the store. */
const USES = { max: 10_000, ttl: 86_400_000 }

/** Returns a function that keeps the clients that are used, by one write a day for each and each of its users. */
export function createKeeping(
  rooms: ClientRooms & {
    readonly unusedClients: UnusedClients
    readonly documents: { readonly keep: (clientId: string) => void }
  },
  background: (work: Promise<unknown>) => void,
): (clientId: string, user: string) => void {
  const noted = new LRUCache<string, true>(USES)
  return (clientId, user) => {
    rooms.documents.keep(clientId)
    const use = hashOfParts([clientId, user])
    if (noted.has(use)) return
    noted.set(use, true)
    const kept = keepClient(rooms, clientId, user).then(() => rooms.unusedClients.forget(clientId))
    background(kept.catch(() => noted.delete(use)))
  }
}
