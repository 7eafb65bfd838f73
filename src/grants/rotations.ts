import type { Clock } from '../clock.js'
import { SealedValueError } from '../errors/errors.js'
import { change } from './change.js'
import type { Grant } from './grant.js'
import type { GrantStore, StoredGrant } from './grant-store.js'
import { persevere } from './persevere.js'

/** A grant with a new refresh token, on its way into the store. */
export interface Rotation {
  readonly key: string
  readonly grant: Grant
  /** The fingerprint of the refresh token that was spent for it. */
  readonly spent: string
  /** The version that it replaces. */
  readonly expected: string
}

/**
 * Brings rotated refresh tokens into the store. Until one is there, this process holds the only copy of a user's connection: it
 * is kept, and tried again, however long the store is away.
 */
export interface Rotations {
  /**
   * Stores it, and tries again for a while when the store fails.
   *
   * @returns what is stored now; undefined when the grant has moved on without it (a disconnection, a newer connection or token)
   * @throws {StorageError} the store still fails: it is kept, and written first of all later
   */
  readonly write: (rotation: Rotation) => Promise<StoredGrant | undefined>
  /** Writes what is still to be written for a key. Rejects with {@link StorageError} when the store still fails. */
  readonly flush: (key: string) => Promise<void>
  /** Forgets what is still to be written for a key; what it was. */
  readonly drop: (key: string) => Grant | undefined
  /** Makes one more attempt at everything that is still to be written. */
  readonly settle: () => Promise<void>
}

/** Milliseconds between attempts that nobody waits for: less than another instance waits before it takes over a token. */
const BACKGROUND_PAUSE = 500
/** Rotations kept at one time. */
const MOST_KEPT = 10_000
/** Writes that fail one after the other before the rest waits for the next time. */
const MOST_FAILURES = 3

/** @param patience milliseconds of attempts before `write` gives up */
export function createRotations(grants: GrantStore, clock: Clock, patience: number): Rotations {
  const kept = new Map<string, Rotation>()
  let waiting = false

  /** Once, but for conflicts. */
  function attempt({ key, grant, spent, expected }: Rotation): Promise<StoredGrant | undefined> {
    let next = grant
    let replaced = expected
    return change('the grant', async () => {
      const version = await grants.write(key, next, replaced)
      if (version !== null) return { grant: next, version }
      const present = await grants.read(key)
      if (present === undefined || present.grant.generation !== grant.generation) return undefined
      // An attempt that seemed to fail may have been carried out.
      if (isSameToken(present.grant, grant)) return present
      // Somebody marked the spent token, refused it, or took away a client's consent: the new token counts, and so does that.
      if (present.grant.fingerprint !== spent) return undefined
      next = { ...grant, clients: present.grant.clients }
      replaced = present.version
      return 'late'
    })
  }

  function keep(rotation: Rotation): void {
    const [oldest] = kept.keys()
    if (kept.size >= MOST_KEPT && oldest !== undefined) kept.delete(oldest)
    kept.set(rotation.key, rotation)
    tryLater()
  }

  function tryLater(): void {
    if (waiting || kept.size === 0) return
    waiting = true
    clock.after(BACKGROUND_PAUSE, () => {
      waiting = false
      void flushAll(MOST_FAILURES).then(tryLater)
    })
  }

  /**
   * Several that fail in a row show that the store is still away: the others need not ask it. One alone may be on a part of the
   * store that is, and goes to the end, so that it holds up nobody.
   */
  async function flushAll(mostFailures: number): Promise<void> {
    let failures = 0
    for (const [key, rotation] of [...kept]) {
      try {
        await flush(key)
        failures = 0
      } catch {
        // Reported where it happened; what is kept is tried again.
        failures += 1
        if (kept.get(key) === rotation && kept.delete(key)) kept.set(key, rotation)
        if (failures >= mostFailures) return
      }
    }
  }

  async function flush(key: string): Promise<void> {
    const rotation = kept.get(key)
    if (rotation === undefined) return
    try {
      await attempt(rotation)
    } catch (error) {
      if (!(error instanceof SealedValueError)) throw error
      // Replaced by something that only another key opens: not this process's any more.
    }
    if (kept.get(key) === rotation) kept.delete(key)
  }

  return {
    async write(rotation) {
      try {
        return await persevere(clock, patience, () => attempt(rotation))
      } catch (error) {
        // What only another key opens is not this process's any more.
        if (!(error instanceof SealedValueError)) keep(rotation)
        throw error
      }
    },
    flush,
    drop(key) {
      const rotation = kept.get(key)
      kept.delete(key)
      return rotation?.grant
    },
    settle: () => flushAll(Infinity),
  }
}

function isSameToken(one: Grant, other: Grant): boolean {
  const { state, fingerprint, accessToken } = one
  return state === other.state && fingerprint === other.fingerprint && accessToken?.token === other.accessToken?.token
}
