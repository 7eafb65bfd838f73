import type { Grant } from './grant.js'

/**
 * The remains of a grant that was ended by an instance without its key: the number of withdrawals, which is no secret, beyond any that the
 * grant may have had. Whichever key an instance has, it reads that everything of before was taken back. Whoever can write the store could as
 * well delete the grant, but not keep the user out by a number that no clock comes to.
 */
const PLAIN = /^taken-back:(\d{1,15})$/

/** @param count milliseconds since the epoch */
export const plainTombstone = (count: number): string => `taken-back:${count}`

/** Milliseconds by which the clocks of two instances may differ. */
const LATEST = 86_400_000

/** Returns the number of withdrawals in a stored value; undefined if it is no such remains. @param now milliseconds since the epoch */
export function plainCount(value: string, now: number): number | undefined {
  const [, digits] = PLAIN.exec(value) ?? []
  const count = Number(digits)
  return count <= now + LATEST ? count : undefined
}

/** Returns it as a tombstone of no connection; undefined if the value is none. @param now milliseconds since the epoch */
export function readPlainTombstone(value: string, now: number): Grant | undefined {
  const count = plainCount(value, now)
  if (count === undefined) return undefined
  return {
    ...{ format: 1, state: 'disconnected', fingerprint: '', generation: 1, scopes: [], clients: [] },
    withdrawals: { count, all: count, ended: [] },
    connectedAt: count,
  }
}
