import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.js'
import type { Records } from './records.js'

/** The right to be the one who refreshes a grant, for a time, among all instances on one store. */
export interface Lease {
  /** Whether it is surely still held: by this process's own clock, from before it was asked for. */
  readonly isHeld: () => boolean
  /** Gives it back, if it is still this one's to give. Never rejects: what cannot be given back runs out by itself. */
  readonly release: () => Promise<void>
}

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

    return {
      isHeld: () => clock.monotonic() < heldUntil,
      async release() {
        released = true
        cancel()
        await renewal
        cancel()
        if (version !== null) await records.remove(key, version).catch(() => undefined)
      },
    }
  }
}
