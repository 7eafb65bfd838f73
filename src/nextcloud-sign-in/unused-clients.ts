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
   * drives out itself and closes the door to nobody. In that network, and among networks of the same size, those go first about whom nobody
   * is asked. It counts no more than that, because a stranger may have any number of clients asked about. The one that is noted goes after
   * all others, because it is stored after this.
   *
   * @param networks the narrowest first
   * @returns whether it was noted. It is not where too many came at the same time, and must not be stored then: nothing would end it.
   */
  readonly note: (id: string, networks: readonly string[]) => Promise<boolean>
  /** Ends a client that went from the list before it was stored, because others came at the same time. To be called once it is stored. */
  readonly stored: (id: string) => Promise<void>
  /** Notes that somebody is asked about a client, in this process. */
  readonly asked: (id: string) => void
  /** Takes a client from the list, because it is in use. */
  readonly forget: (id: string) => Promise<void>
}

export function createUnusedClients(rooms: ClientRooms): UnusedClients {
  const askedAt = new LRUCache<string, number>({ max: ASKED.max })
  const isAsked: IsAsked = (id) => rooms.clock.monotonic() < (askedAt.get(id) ?? -Infinity) + ASKED.life
  let waiting: Unused[] = []
  let next: Promise<ReadonlySet<string>> | undefined
  let last: Promise<unknown> = Promise.resolve()
  // One after the other: requests at the same time must not keep each other from writing.
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work)
    last = turn.catch(() => undefined)
    return turn
  }
  const noteAll = async (): Promise<ReadonlySet<string>> => {
    const added = waiting
    waiting = []
    next = undefined
    const isNew = idsOf(added)
    const isLast: IsAsked = (id) => isNew.has(id) || isAsked(id)
    const surplus = idsOf(await changeList(rooms, (list) => withoutSurplus([...list, ...added], isLast)))
    await Promise.all([...surplus].filter((id) => !isNew.has(id)).map((id) => dropClient(rooms, id, [])))
    return surplus
  }
  return {
    asked: (id) => void askedAt.set(id, rooms.clock.monotonic()),
    note(id, networks) {
      const parts = networks.map((network) => recordKey('sign-in', rooms.owner, 'network', network).slice(-PART))
      const from = parts.reverse().join('')
      waiting.push({ id, at: rooms.clock.now(), from })
      return (next ??= inTurn(noteAll)).then((surplus) => !surplus.has(id))
    },
    async stored(id) {
      const record = await rooms.records.readIfOpens(listKey(rooms))
      // A list that only the key of another instance opens says nothing.
      if (!Array.isArray(record?.value)) return
      if (!readList(rooms, record).some((client) => client.id === id)) await dropClient(rooms, id, [])
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

const idsOf = (clients: readonly Unused[]): ReadonlySet<string> => new Set(clients.map(({ id }) => id))

/** Whether somebody is being asked about a client. */
type IsAsked = (id: string) => boolean

interface Change {
  readonly kept: readonly Unused[]
  readonly surplus: readonly Unused[]
}

const LIFE = CLIENT_KEPT.unused * 1_000
const listKey = ({ owner }: ClientRooms): string => recordKey('sign-in', owner, 'unused clients')

function readList({ clock }: ClientRooms, record: { readonly value: unknown } | undefined): readonly Unused[] {
  const stored = Array.isArray(record?.value) ? (record.value as readonly Unused[]) : []
  return stored.filter(({ at }) => clock.now() < at + LIFE)
}

/** @param next undefined: there is nothing to change */
function changeList(
  rooms: ClientRooms,
  next: (list: readonly Unused[]) => Change | undefined,
): Promise<readonly Unused[]> {
  const { records } = rooms
  const key = listKey(rooms)
  return change(
    'the clients',
    async () => {
      const record = await records.readIfOpens(key)
      const changed = next(readList(rooms, record))
      if (changed === undefined) return []
      const version = await records.write(key, changed.kept, record?.version ?? null, LIFE)
      return version === null ? 'late' : changed.surplus
    },
    MOST_ATTEMPTS,
  )
}

/**
 * Returns the list as it is kept. Its time is in proportion to the list, because many clients may wait for a slow store.
 *
 * @param list the oldest first
 */
export function withoutSurplus(list: readonly Unused[], isAsked: IsAsked): Change {
  const surplus = surplusOf(list, Math.max(0, list.length - MOST_UNUSED), { levels: LEVELS, isAsked })
  const gone = new Set(surplus)
  return { kept: list.filter((client) => !gone.has(client)), surplus }
}

/** Returns so many of the clients, one after the other from the network that has most of those left. */
function surplusOf(
  clients: readonly Unused[],
  count: number,
  { levels: [level, ...narrower], isAsked }: { readonly levels: readonly number[]; readonly isAsked: IsAsked },
): readonly Unused[] {
  if (count === 0) return []
  if (level === undefined) {
    return asLast(clients, ({ id }) => isAsked(id)).slice(0, count)
  }
  const isAllAsked = (network: readonly Unused[]): boolean => network.every(({ id }) => isAsked(id))
  // Of the largest networks, the first ones lose most.
  const networks = asLast(networksIn(clients, level), isAllAsked)
  const cuts = cutsOf(
    networks.map(({ length }) => length),
    count,
  )
  return networks.flatMap((network, at) => surplusOf(network, cuts[at] ?? 0, { levels: narrower, isAsked }))
}

/** Returns the items in their order, but those of a kind after the others. */
function asLast<T>(items: readonly T[], isLast: (item: T) => boolean): readonly T[] {
  const last = new Set(items.filter(isLast))
  return [...items.filter((item) => !last.has(item)), ...last]
}

/** Returns the clients of each network, in their order. */
function networksIn(clients: readonly Unused[], level: number): readonly (readonly Unused[])[] {
  const networks = new Map<string, Unused[]>()
  for (const client of clients) {
    const name = client.from.slice(0, level)
    const network = networks.get(name) ?? []
    networks.set(name, network)
    network.push(client)
  }
  return [...networks.values()]
}

/** Returns what each size loses where the largest one, or the first of the largest, loses one, so many times. */
function cutsOf(sizes: readonly number[], count: number): readonly number[] {
  const above = (level: number): number => sizes.reduce((sum, size) => sum + Math.max(0, size - level), 0)
  let [least, level] = [0, sizes.reduce((one, other) => Math.max(one, other), 0)]
  while (least < level) {
    const middle = Math.floor((least + level) / 2)
    if (above(middle) <= count) level = middle
    else least = middle + 1
  }
  let left = count - above(level)
  return sizes.map((size) => Math.max(0, size - level) + (size >= level && left-- > 0 ? 1 : 0))
}

/** Uses of a client by a person that are remembered in this process, and milliseconds between two notes of it in the store. */
const USES = { max: 10_000, ttl: 86_400_000 }

/** Returns a function that keeps the clients that are used, by one write a day for each and each of its users. */
export function createKeeping(
  rooms: ClientRooms & {
    readonly unusedClients: UnusedClients
    readonly documents: { readonly keep: (clientId: string, user: string) => void }
  },
  background: (work: Promise<unknown>) => void,
): (clientId: string, user: string) => void {
  const noted = new LRUCache<string, true>(USES)
  return (clientId, user) => {
    rooms.documents.keep(clientId, user)
    const use = hashOfParts([clientId, user])
    if (noted.has(use)) return
    noted.set(use, true)
    const kept = keepClient(rooms, clientId, user).then(() => rooms.unusedClients.forget(clientId))
    background(kept.catch(() => noted.delete(use)))
  }
}
