import type { Clock } from '../clock.js'
import { SealedValueError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { change } from './change.js'
import type { Grant, Identity } from './grant.js'
import type { GrantStore, StoredGrant } from './grant-store.js'
import { persevere } from './persevere.js'
import { createWriteBehind } from './write-behind.js'

/** A grant with a new refresh token, on its way into the store. */
export interface Rotation {
  readonly key: string
  readonly identity: Identity
  readonly grant: Grant
  /** The fingerprint of the refresh token that was spent for it. */
  readonly spent: string
  /** The version that it replaces. */
  readonly expected: string
}

/** Brings rotated refresh tokens into the store. Until one is there, this process holds the only copy of a user's connection. */
export interface Rotations {
  /**
   * Stores it. While the store fails it tries again, for `patience`.
   *
   * @returns the stored grant; undefined when it has moved on without the rotation (a disconnection, a newer connection or token)
   * @throws {StorageError} the store still fails: the rotation is kept, written in the background, and first of all by the next call for the key
   */
  readonly write: (rotation: Rotation) => Promise<StoredGrant | undefined>
  /** Writes the rotations that are kept for a key. Rejects with {@link StorageError} when the store still fails. */
  readonly flush: (key: string) => Promise<void>
  /**
   * Forgets the rotations that are kept for a key, and returns them, the latest first: the others are of connections before.
   *
   * @param generation of the grant that has ended: rotations of later ones stay
   */
  readonly drop: (key: string, generation: number) => readonly Rotation[]
  /** Makes one more attempt at every rotation that is kept, and further ones until then (monotonic milliseconds) while the store fails. */
  readonly settle: (until?: number) => Promise<void>
}

type Store = Pick<GrantStore, 'read' | 'write'>

/** The rooms that rotations need. */
export interface RotationRooms {
  readonly store: Store
  /** Milliseconds of attempts before `write` gives up: `http.timeout`. */
  readonly patience: number
  /** Called with a rotation whose grant has ended or was replaced meanwhile: its refresh token lives, and nothing needs it. */
  readonly onLate: (rotation: Rotation) => Promise<unknown>
  /** Called once for each rotation that is in the store, however late. */
  readonly onStored: (rotation: Rotation) => void
  readonly clock: Clock
}

export function createRotations({ store, patience, onStored, onLate, clock }: RotationRooms): Rotations {
  /** Those that are stored, or that somebody ends. */
  const over = new WeakSet<Rotation>()
  const keep = (rotation: Rotation): void => {
    const kept = backlog.get(rotation.key) ?? []
    // The latest is the one that lives.
    if (!kept.includes(rotation)) backlog.keep(rotation.key, [rotation, ...kept])
  }
  const handOn = async (rotation: Rotation): Promise<void> => {
    if (over.has(rotation)) return
    over.add(rotation)
    try {
      await onLate(rotation)
    } catch (error) {
      over.delete(rotation)
      keep(rotation)
      throw error
    }
  }
  const bring = async (rotation: Rotation): Promise<StoredGrant | undefined> => {
    const stored = await attempt(store, rotation)
    if (stored === 'late for its grant') {
      await handOn(rotation)
      return undefined
    }
    // The background and the next call for the key may write the same one at once.
    if (stored !== undefined && !over.has(rotation)) onStored(rotation)
    over.add(rotation)
    return stored
  }
  const backlog = createWriteBehind<readonly Rotation[]>(
    async (rotations) => {
      for (const rotation of rotations) {
        if (over.has(rotation)) continue
        // A grant that only another key opens was written by another instance: the rotation is of the past then.
        await bring(rotation).catch(ifError(SealedValueError, () => handOn(rotation)))
      }
    },
    () => undefined,
    clock,
  )
  return {
    async write(rotation) {
      try {
        return await persevere(clock, patience, () => bring(rotation))
      } catch (error) {
        if (error instanceof SealedValueError) await handOn(rotation)
        else keep(rotation)
        throw error
      }
    },
    flush: backlog.flush,
    drop(key, generation) {
      const isLater = ({ grant }: Rotation): boolean => grant.generation > generation
      const kept = backlog.drop(key) ?? []
      const later = kept.filter(isLater)
      if (later.length > 0) backlog.keep(key, later)
      const dropped = kept.filter((rotation) => !isLater(rotation) && !over.has(rotation))
      for (const rotation of dropped) over.add(rotation)
      return dropped
    },
    settle: backlog.settle,
  }
}

/** One attempt, unless other writers are first. */
function attempt(
  store: Store,
  { key, grant, spent, expected }: Rotation,
): Promise<StoredGrant | 'late for its grant' | undefined> {
  let next = grant
  let replaced = expected
  return change('the grant', async () => {
    const version = await store.write(key, next, replaced)
    if (version !== null) return { grant: next, version }
    const present = await store.read(key)
    if (present?.grant.generation !== grant.generation) return 'late for its grant'
    // An attempt that seemed to fail may have been carried out.
    if (isSameToken(present.grant, grant)) return present
    if (present.grant.fingerprint !== spent) return undefined
    // Another instance marked or refused the spent token, or a consent was taken away. The new token counts, and so does that.
    const { clients, agreed, withdrawals } = present.grant
    next = { ...grant, clients, agreed, withdrawals }
    replaced = present.version
    return 'late'
  })
}

function isSameToken(one: Grant, other: Grant): boolean {
  const { state, fingerprint, accessToken } = one
  return state === other.state && fingerprint === other.fingerprint && accessToken?.token === other.accessToken?.token
}
