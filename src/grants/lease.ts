import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.js'
import type { Records } from './records.js'

/** The right to be the one who refreshes a grant, for a time, among all instances on one store. */
export interface Lease {
  /** Whether it is surely still held: by this process's own clock, from before it was asked for. */
  readonly isHeld: () => boolean
  /** Gives it back, if it is still this one's to give. Never rejects: it is tried again, and runs out by itself in the end. */
  readonly release: () => Promise<void>
}

/** Milliseconds between attempts to give a lease back to a store that fails: left there, it would hold up the next renewal. */
const PAUSE = 1_000

/** @returns takes the lease of a key, or undefined when another has it */
export function createLeases(
  records: Records,
  clock: Clock,
  lifeMs: number,
): (key: string) => Promise<Lease | undefined> {
  return async (key) => {
    let askedAt = clock.monotonic()
    const sealed = await records.seal(key, randomUUID())
    let version = await records.writeSealed(key, sealed, null, lifeMs)
    if (version === null) return undefined
    let heldUntil = askedAt + lifeMs
    let released = false
    let renewal = Promise.resolve()
    let cancel = clock.after(lifeMs / 3, renew)

    function renew(): void {
      renewal = extend().catch(() => undefined)
    }

    /** A store that fails is asked again, as long as there is time left. */
    async function extend(): Promise<void> {
      if (released || version === null || clock.monotonic() >= heldUntil) return
      cancel = clock.after(lifeMs / 3, renew)
      askedAt = clock.monotonic()
      version = await records.writeSealed(key, sealed, version, lifeMs)
      heldUntil = version === null ? -Infinity : askedAt + lifeMs
    }

    async function giveBack(): Promise<void> {
      if (version === null) return
      try {
        await records.remove(key, version)
      } catch {
        if (clock.monotonic() + PAUSE < heldUntil) clock.after(PAUSE, () => void giveBack())
      }
    }

    return {
      isHeld: () => clock.monotonic() < heldUntil,
      async release() {
        released = true
        cancel()
        await renewal
        cancel()
        await giveBack()
      },
    }
  }
}
