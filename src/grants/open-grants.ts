import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.js'
import type { Config, GrantsConfig } from '../config/config.js'
import type { Events } from '../events.js'
import { OWN_KEY, type StorageAdapter } from '../storage-adapter.js'
import { createUnderWay, type UnderWay } from '../under-way.js'
import { createElsewhere } from './elsewhere.js'
import { createGrantStore, type GrantStore } from './grant-store.js'
import { credentialIn, secretIn, type Credential, type Grant, type Identity, type SealedGrant } from './grant.js'
import { acquireLease, type Lease } from './lease.js'
import { ownerOf, recordKey, type RecordOwner } from './record-key.js'
import { requireWrites } from './probe.js'
import { createRecords, type Records } from './records.js'
import {
  createPendingDeletions,
  NOT_ENDED_ELSEWHERE,
  presented,
  type PendingDeletion,
  type PendingDeletions,
} from './pending-deletions.js'
import { readGrant } from './read-grant.js'
import { createRotations, type Rotations } from './rotations.js'
import { createSealer, type Sealer } from './seal.js'
import { createUses, type Uses } from './uses.js'

/** Everything that is stored for users, and what works on it. */
export interface Grants {
  /** The configuration that records belong to which are of no one issuer: part of every key. */
  readonly owner: RecordOwner
  /** Returns the configuration that the records of an issuer's users belong to. */
  readonly ownerOf: (issuer: string) => RecordOwner
  readonly records: Records
  readonly store: GrantStore
  readonly uses: Uses
  readonly rotations: Rotations
  readonly deletions: PendingDeletions
  /** Returns a deletion whose first attempt is under way. `refused`: Nextcloud refused the app password before. */
  readonly newDeletion: (
    identity: Identity,
    credential: PendingDeletion['credential'],
    refused?: boolean,
  ) => PendingDeletion & Required<Pick<PendingDeletion, 'note'>>
  /**
   * Has this called with the refresh token that came for a grant which has ended meanwhile, and with the fingerprint of the one that was
   * spent for it.
   */
  readonly whenLate: (act: Late) => void
  /** Has this called at each use of the store for a grant. */
  readonly whenUsed: (act: () => void) => void
  /** `GrantsConfig.askedFor`. */
  readonly askedFor: string
  /** Whether a grant was sealed with a key that is known here. */
  readonly mayOpen: (of: SealedGrant) => boolean
  /** Opens it. Rejects with {@link SealedValueError}. */
  readonly openSealed: (of: SealedGrant) => Promise<Grant>
  /** Takes the lease of a grant, by the grant's key; undefined when another instance has it. */
  readonly acquireLease: (grantKey: string) => Promise<Lease | undefined>
  /** Milliseconds. */
  readonly leaseLife: number
  /** Stands for a refresh token or an app password. */
  readonly fingerprint: (secret: string) => string
  /** Tracks work that no caller waits for. `settle` waits for it. */
  readonly background: (work: Promise<unknown>) => void
  /** Whether the process is about to end. No refresh token may be sent then, because its successor might not be stored. */
  readonly isEnding: () => boolean
  /** Rejects with {@link StorageError} when the store cannot be reached. */
  readonly ready: () => Promise<void>
  /**
   * Resolves when each rotation that could not be stored is, or one more attempt at it was made, and the work under way has ended.
   *
   * @param until monotonic milliseconds until which further attempts are made: the tokens end with this process
   */
  readonly settle: (until?: number) => Promise<void>
}

/** Takes a refresh token that came too late for its grant. Rejects with {@link StorageError}. */
export type Late = (identity: Identity, credential: Credential, spent: string) => Promise<unknown>

/** The rooms that grants need. */
export interface GrantsRooms {
  readonly config: Pick<Config, 'client' | 'resource'> & {
    readonly issuer?: Config['issuer']
    readonly others?: readonly Pick<Config, 'issuer' | 'client'>[]
    readonly http: Pick<Config['http'], 'timeout'>
  }
  readonly grants: Pick<GrantsConfig, 'encryptionKeys' | 'credential' | 'endsAlone' | 'nextcloud' | 'askedFor'>
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly events: Events
  /** Default: the work of the grants alone. */
  readonly underWay?: UnderWay
}

/** Milliseconds by which a lease outlives one call to the authorization server: for the answer to be stored. */
const LEASE_BEYOND_CALL = 5_000
/** Milliseconds that the first attempt at a deletion has, before another instance takes its process for ended. */
const FIRST_ATTEMPT = 60_000

export function createGrants(rooms: GrantsRooms): Grants {
  const { config, grants, storage, clock, events, underWay = createUnderWay() } = rooms
  const { credential, endsAlone, nextcloud, askedFor } = grants
  const owner = { clientId: config.client?.id ?? '', resource: config.resource, nextcloud }
  const owners = { ...owner, clientIds: clientIdsOf(config) }
  const sealer = createSealer(sealingKeys(grants.encryptionKeys, storage))
  const records = createRecords(storage, sealer, clock, events)
  const deletions = createPendingDeletions({
    ...{ records, owner, clock },
    givenUp: ({ identity }) =>
      events.emit({ type: 'grant.revoked', ...identity, revoked: false, hint: NOT_ENDED_ELSEWHERE }),
  })
  const newDeletion = createNewDeletion(sealer, clock)
  const note = createNote(deletions, newDeletion)
  const kept = createGrantStore({ records, owner: owners, credential, endsAlone, note, clock })
  const uses = createUses({
    ...{ records, owner: owners, clock },
    grantOf: async (identity) => (await kept.read(kept.keyOf(identity)))?.grant,
  })
  const background: Grants['background'] = (work) => void underWay.track(work)
  const elsewhere = createElsewhere({ store: kept, owner: owners, credential, background, events })
  const hook: { act: () => void; late: Late } = { act: () => undefined, late: () => Promise.resolve() }
  const told: GrantStore = {
    ...kept,
    async find(identity) {
      const stored = await kept.find(identity)
      if (stored === undefined) elsewhere.look(identity)
      return stored
    },
    connect: (identity, connection) =>
      kept.connect(identity, connection).finally(() => uses.drop(identity, connection.clientId)),
    agree: (identity, clientId, ...more) =>
      kept.agree(identity, clientId, ...more).finally(() => uses.drop(identity, clientId)),
    disconnect: (identity, clientId) =>
      kept.disconnect(identity, clientId).finally(() => uses.drop(identity, clientId)),
  }
  const store = heard(told, () => hook.act())
  const rotations = createRotations({
    store,
    patience: config.http.timeout,
    onLate: async ({ identity, grant, spent }) => {
      const late = credentialIn(grant)
      const isSpare = endsAlone || (grant.fingerprint !== spent && !(await kept.livesByRefreshToken(identity)))
      if (late !== undefined && isSpare) await hook.late(identity, late, spent)
    },
    onStored: ({ identity, grant: { fingerprint }, spent }) =>
      events.emit({ type: 'grant.rotated', ...identity, fingerprint, previous: spent }),
    clock,
  })
  const leaseLife = config.http.timeout + LEASE_BEYOND_CALL

  return {
    owner,
    ownerOf: (issuer) => ownerOf(owners, issuer),
    records,
    store,
    uses,
    rotations,
    deletions,
    newDeletion,
    whenLate: (act) => void (hook.late = act),
    whenUsed: (act) => void (hook.act = act),
    askedFor,
    ...openersOf(sealer),
    acquireLease: (grantKey) =>
      acquireLease({ records, clock, lifeMs: leaseLife }, recordKey('lease', owner, grantKey)),
    leaseLife,
    fingerprint: sealer.fingerprint,
    background,
    isEnding: underWay.isEnding,
    async ready() {
      await requireWrites(records)
    },
    async settle(until) {
      await rotations.settle(until)
      await uses.settle()
      await underWay.quiet()
    },
  }
}

/** The client at each of several issuers. */
function clientIdsOf({ issuer, client, others = [] }: GrantsRooms['config']): ReadonlyMap<string, string> {
  return new Map(
    [{ issuer, client }, ...others].flatMap((one) =>
      one.issuer === undefined ? [] : [[one.issuer, one.client?.id ?? '']],
    ),
  )
}

function createNewDeletion(sealer: Sealer, clock: Clock): Grants['newDeletion'] {
  return ({ issuer, subject }, credential, refused = false) => {
    const id = sealer.fingerprint(secretIn(credential))
    const since = clock.now()
    return {
      ...{ id, identity: { issuer, subject }, credential, since, refused, note: randomUUID() },
      tries: 0,
      nextAt: since + FIRST_ATTEMPT,
    }
  }
}

function createNote(
  deletions: PendingDeletions,
  newDeletion: Grants['newDeletion'],
): (identity: Identity, of: Credential | SealedGrant) => Promise<boolean> {
  return (identity, of) => {
    const deletion = newDeletion(identity, presented(of))
    // Nobody here makes a first attempt at what does not open.
    return deletions.put('sealed' in of ? { ...deletion, nextAt: deletion.since } : deletion)
  }
}

function openersOf(sealer: Sealer): Pick<Grants, 'mayOpen' | 'openSealed'> {
  return {
    mayOpen: ({ record, sealed }) => sealer.mayOpen(record, sealed),
    openSealed: async ({ record, sealed }) => readGrant(await sealer.open(record, sealed)),
  }
}

/** Returns the same store, of whose use `act` hears. */
function heard(store: GrantStore, act: () => void): GrantStore {
  const hearing =
    <A extends unknown[], R>(call: (...args: A) => R) =>
    (...args: A): R => {
      act()
      return call(...args)
    }
  const { find, version, connect, disconnect } = store
  return {
    ...store,
    find: hearing(find),
    version: hearing(version),
    connect: hearing(connect),
    disconnect: hearing(disconnect),
  }
}

/** The keys given; without any, the storage's own, since instances that share a store in memory must share its key. */
export function sealingKeys(given: readonly Uint8Array[], storage: StorageAdapter): readonly Uint8Array[] {
  const own = storage[OWN_KEY]
  return given.length > 0 || own === undefined ? given : [own]
}
