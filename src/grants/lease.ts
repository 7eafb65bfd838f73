import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.js'
import type { Records } from './records.js'

/** The right to be the one who refreshes a grant, for a time, among all instances on one store. */
export interface Lease {
  /** Whether it is surely still held. Its life is counted by this process's own clock, from before it was asked for. */
  readonly isHeld: () => boolean
  /** Gives it back unless another instance has it by now. Never rejects: it is tried again, and runs out by itself in the end. */
  readonly release: () => Promise<void>
}

/** Milliseconds between attempts to give a lease back to a store that fails: left there, it would hold up the next renewal. */
const PAUSE = 1_000

interface Leases {
  readonly records: Pick<Records, 'seal' | 'writeUncountedSealed' | 'peek' | 'remove'>
  readonly clock: Clock
  readonly lifeMs: number
}

/** A lease as this process knows it. */
interface Held {
  readonly key: string
  readonly sealed: string
  /** Null once another instance has it. */
  version: string | null
  /** Monotonic milliseconds. */
  until: number
  renewal: Promise<void>
  cancelRenewal: () => void
}

/** Takes the lease of a key; undefined when another instance has it. */
export async function acquireLease(leases: Leases, key: string): Promise<Lease | undefined> {
  const { records, clock, lifeMs } = leases
  const askedAt = clock.monotonic()
  const sealed = await records.seal(key, randomUUID())
  const version = await records.writeUncountedSealed(key, sealed, null, lifeMs)
  if (version === null) return undefined
  const until = askedAt + lifeMs
  const held: Held = { key, sealed, version, until, renewal: Promise.resolve(), cancelRenewal: () => undefined }
  renewLater(leases, held)
  return {
    isHeld: () => clock.monotonic() < held.until,
    async release() {
      held.cancelRenewal()
      await held.renewal
      await giveBack(leases, held, clock.monotonic() + lifeMs)
    },
  }
}

function renewLater(leases: Leases, held: Held): void {
  held.cancelRenewal = leases.clock.after(leases.lifeMs / 3, () => {
    held.renewal = renew(leases, held).catch(() => undefined)
  })
}

/** A store that fails is asked again, as long as there is time left. */
async function renew(leases: Leases, held: Held): Promise<void> {
  const { records, clock, lifeMs } = leases
  const askedAt = clock.monotonic()
  if (held.version === null || askedAt >= held.until) return
  renewLater(leases, held)
  const write = (over: string): Promise<string | null> =>
    records.writeUncountedSealed(held.key, held.sealed, over, lifeMs)
  held.version = (await write(held.version)) ?? (await overOwn(leases, held, write)) ?? null
  held.until = held.version === null ? -Infinity : askedAt + lifeMs
}

/** @param until monotonic milliseconds: even a renewal that the store carried out late has run out by then */
async function giveBack(leases: Leases, held: Held, until: number): Promise<void> {
  const { records, clock } = leases
  if (held.version === null) return
  const remove = (version: string): Promise<boolean> => records.remove(held.key, version)
  try {
    if (!(await remove(held.version))) await overOwn(leases, held, remove)
  } catch {
    if (clock.monotonic() + PAUSE < until) clock.after(PAUSE, () => void giveBack(leases, held, until))
  }
}

/** The same once more where what is stored is a renewal of this lease's own whose answer was lost. */
async function overOwn<T>(
  { records }: Leases,
  held: Held,
  act: (version: string) => Promise<T>,
): Promise<T | undefined> {
  const stored = await records.peek(held.key)
  return stored?.value === held.sealed ? act(stored.version) : undefined
}
