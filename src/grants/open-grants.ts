import type { Clock } from '../clock.js'
import type { GrantsConfig } from '../config/config.js'
import type { Events } from '../events.js'
import type { StorageAdapter } from '../storage-adapter.js'
import { createGrantStore, type GrantStore } from './grant-store.js'
import { createLeases, type Lease } from './lease.js'
import { recordKey, type RecordOwner } from './record-key.js'
import { createRecords, type Records } from './records.js'
import { createRotations, type Rotations } from './rotations.js'
import { createSealer } from './seal.js'

/** Everything that is stored for users, and what works on it. */
export interface Grants {
  /** Whose the records are: part of every key. */
  readonly owner: RecordOwner
  readonly records: Records
  readonly store: GrantStore
  readonly rotations: Rotations
  /** Takes the lease of a grant, by the grant's key; undefined when another instance has it. */
  readonly acquireLease: (grantKey: string) => Promise<Lease | undefined>
  /** Milliseconds. */
  readonly leaseLife: number
  /** Of a refresh token or an app password. */
  readonly fingerprint: (secret: string) => string
  /** What this instance does after its answers: kept, so that `settle` waits for it. */
  readonly background: (work: Promise<unknown>) => void
  /** Rejects with {@link StorageError} when the store cannot be reached. */
  readonly ready: () => Promise<void>
  /** Resolves when background work has ended, and one more attempt was made at what could not be stored. */
  readonly settle: () => Promise<void>
}

/** Milliseconds by which a lease outlives one call to the authorization server: for the answer to be stored. */
const LEASE_BEYOND_CALL = 5_000

/** @param callTimeout milliseconds of one call to the authorization server */
export function createGrants(
  { encryptionKeys, credential, nextcloud }: GrantsConfig,
  storage: StorageAdapter,
  owner: RecordOwner,
  callTimeout: number,
  clock: Clock,
  events: Events,
): Grants {
  const sealer = createSealer(encryptionKeys)
  const records = createRecords(storage, sealer, clock, events)
  const store = createGrantStore(records, owner, clock, credential, nextcloud)
  const rotations = createRotations(store, clock, callTimeout)
  const leaseLife = callTimeout + LEASE_BEYOND_CALL
  const acquireLease = createLeases(records, clock, leaseLife)
  const working = new Set<Promise<unknown>>()

  return {
    owner,
    records,
    store,
    rotations,
    acquireLease: (grantKey) => acquireLease(recordKey('lease', owner, grantKey)),
    leaseLife,
    fingerprint: sealer.fingerprint,
    background(work) {
      working.add(work)
      const ended = (): boolean => working.delete(work)
      work.then(ended, ended)
    },
    async ready() {
      await records.peek(recordKey('grant', owner))
    },
    async settle() {
      await rotations.settle()
      await Promise.allSettled(working)
    },
  }
}
