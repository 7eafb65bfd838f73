import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { lastWithin } from '../json.js'
import { change } from './change.js'
import { agreedAt, type Grant, type Identity, identityKey, isLiving } from './grant.js'
import { ownerOf, recordKey, type RecordOwners } from './record-key.js'
import type { OpenRecord, Records } from './records.js'

/** The last use of each MCP client of a user: by client id, in milliseconds since the epoch. */
export type LastUses = ReadonlyMap<string, number>

/** Notes when MCP clients were last served. No caller waits for it, and no call fails for it. */
export interface Uses {
  /** Notes that a client was served now. It is stored within ten minutes, and at most once an hour for each client. */
  readonly note: (identity: Identity, clientId: string) => void
  /** Reads what is stored, and what this process has noted since. */
  readonly read: (identity: Identity) => Promise<LastUses>
  /** Forgets what this process has noted of a client that the user has connected or disconnected; without a client, of all. */
  readonly drop: (identity: Identity, clientId: string | undefined) => void
  /** Stores what is noted. Never rejects. */
  readonly settle: () => Promise<void>
}

interface UsesRooms {
  readonly records: Records
  readonly owner: RecordOwners
  /** Reads a user's grant. */
  readonly grantOf: (identity: Identity) => Promise<Grant | undefined>
  readonly clock: Clock
}

/** What this process has noted of a user. */
interface Noted {
  readonly identity: Identity
  /** By client id: milliseconds since the epoch. */
  readonly uses: Map<string, number>
  /** Ids of the clients whose use is not stored yet. */
  readonly pending: Set<string>
}

interface Stored {
  readonly format: 1
  readonly uses: readonly (readonly [clientId: string, at: number])[]
}

/** Milliseconds. */
const HOUR = 3_600_000
/** Milliseconds before a use is stored: together with those of the user's other clients. */
const DELAY = 600_000
/** Milliseconds for which the last use is known. */
const KEPT = 400 * 24 * HOUR
/** Clients of one user, and bytes of JSON that they take in the store: the last ones. */
const MOST_CLIENTS = 100
const MOST_BYTES = 10_000
/** Users whose last uses this process knows. */
const MOST_USERS = 10_000

export function createUses(rooms: UsesRooms): Uses {
  const { records, owner, clock } = rooms
  const users = new LRUCache<string, Noted>({ max: MOST_USERS })
  let waiting = false
  let storing = Promise.resolve()
  const storeAll = async (): Promise<void> => {
    // One after the other, since nobody waits for it.
    for (const noted of [...users.values()]) if (noted.pending.size > 0) await store(rooms, noted)
  }
  const settle = (): Promise<void> => (storing = storing.then(storeAll))
  return {
    note(identity, clientId) {
      const key = identityKey(identity)
      const noted = users.get(key) ?? { identity, uses: new Map<string, number>(), pending: new Set<string>() }
      const now = clock.now()
      if (now - (noted.uses.get(clientId) ?? -Infinity) < HOUR) return
      const [oldest] = noted.uses.keys()
      if (noted.uses.size >= MOST_CLIENTS && oldest !== undefined) noted.uses.delete(oldest)
      noted.uses.delete(clientId)
      noted.uses.set(clientId, now)
      noted.pending.add(clientId)
      users.set(key, noted)
      if (waiting) return
      waiting = true
      clock.after(DELAY, () => {
        waiting = false
        void settle()
      })
    },
    async read(identity) {
      const uses = new Map(await readUses(records, owner, identity))
      for (const [id, at] of users.get(identityKey(identity))?.uses ?? []) uses.set(id, Math.max(at, uses.get(id) ?? 0))
      return uses
    },
    drop(identity, clientId) {
      const key = identityKey(identity)
      if (clientId === undefined) return void users.delete(key)
      const noted = users.get(key)
      noted?.uses.delete(clientId)
      noted?.pending.delete(clientId)
    },
    settle,
  }
}

/** Stores what is pending of a user. What cannot be stored is noted again with the next use. */
async function store(rooms: UsesRooms, { identity, uses, pending }: Noted): Promise<void> {
  const clients = [...pending]
  pending.clear()
  const written = await write(rooms, identity, new Map(clients.map((id) => [id, uses.get(id) ?? 0]))).catch(() => false)
  if (!written) for (const id of clients) uses.delete(id)
}

async function write(rooms: UsesRooms, identity: Identity, fresh: LastUses): Promise<boolean> {
  const { records, owner, grantOf } = rooms
  const key = keyOf(owner, identity)
  await change('the last use', async () => {
    const record = await readRecord(records, key)
    const stored = new Map(usesIn(record))
    // Another instance may have written it.
    const due = [...fresh].filter(([id, at]) => at - (stored.get(id) ?? -Infinity) >= HOUR)
    if (due.length === 0) return true
    const kept = [...stored].filter(([id]) => !fresh.has(id))
    const value: Stored = { format: 1, uses: lastWithin([...kept, ...fresh].slice(-MOST_CLIENTS), MOST_BYTES) }
    return (await records.writeUncounted(key, value, record?.version ?? null, KEPT)) === null ? 'late' : true
  })
  // This look comes behind the write: a disconnection deletes the record behind its own, so that one of the two finds it.
  const grant = await grantOf(identity)
  const serves = grant !== undefined && isLiving(grant) ? grant.clients : []
  for (const id of fresh.keys()) if (!serves.includes(id)) await forgetUses(records, owner, identity, id)
  return true
}

const keyOf = (owner: RecordOwners, { issuer, subject }: Identity): string =>
  recordKey('use', ownerOf(owner, issuer), issuer, subject)

/** A record that only a key of the past opens is worth nothing. */
const readRecord = (records: Records, key: string): Promise<OpenRecord | undefined> =>
  records.read(key).catch(
    ifError(SealedValueError, async () => {
      const entry = await records.peek(key)
      return entry && { value: undefined, version: entry.version }
    }),
  )

function usesIn(record: OpenRecord | undefined): Stored['uses'] {
  const stored = record?.value as Stored | undefined
  return stored?.format === 1 ? stored.uses : []
}

/** Reads the last uses of a user's clients in a configuration, as far as they are stored. */
export async function readUses(records: Records, owner: RecordOwners, identity: Identity): Promise<LastUses> {
  return new Map(usesIn(await readRecord(records, keyOf(owner, identity))))
}

/** Returns the last use of a client since the user agreed to it: one of before has nothing to do with this consent. */
export function lastUseOf(grant: Grant, clientId: string, used: LastUses): number | undefined {
  const at = used.get(clientId)
  return at !== undefined && at >= agreedAt(grant, clientId) ? at : undefined
}

/** Deletes the last use of a client, or of all clients with the grant. */
export function forgetUses(
  records: Records,
  owner: RecordOwners,
  identity: Identity,
  clientId: string | undefined,
): Promise<true> {
  const key = keyOf(owner, identity)
  return change('the last use', async () => {
    const record = await readRecord(records, key)
    if (record === undefined) return true
    const uses = clientId === undefined ? [] : usesIn(record).filter(([id]) => id !== clientId)
    const isDone =
      uses.length === 0
        ? await records.remove(key, record.version)
        : (await records.writeUncounted(key, { format: 1, uses }, record.version, KEPT)) !== null
    return isDone ? true : 'late'
  })
}
