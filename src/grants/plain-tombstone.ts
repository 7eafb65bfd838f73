import type { Grant } from './grant.js'

/**
 * The remains of a grant that was ended by an instance without its key: the number of withdrawals, which is no secret, beyond any that the
 * grant may have had. Whichever key an instance has, it reads that everything of before was taken back. Whoever can write the store could as
 * well delete the grant.
 */
const PLAIN = /^taken-back:(\d{1,15})$/

/** @param count milliseconds since the epoch */
export const plainTombstone = (count: number): string => `taken-back:${count}`

/** Whether a stored value is one. */
export const isPlainTombstone = (value: string): boolean => PLAIN.test(value)

/** Returns it as a tombstone of no connection; undefined if the value is none. */
export function readPlainTombstone(value: string): Grant | undefined {
  const [, digits] = PLAIN.exec(value) ?? []
  if (digits === undefined) return undefined
  const count = Number(digits)
  return {
    ...{ format: 1, state: 'disconnected', fingerprint: '', generation: 1, scopes: [], clients: [] },
    withdrawals: { count, all: count, clients: [] },
    connectedAt: count,
  }
}
