import { randomBytes, randomUUID } from 'node:crypto'
import { StorageError } from '../errors/errors.js'
import type { Records } from './records.js'

/** Milliseconds that the entry stays, should this process die. */
const TTL = 60_000

/**
 * Returns whether the store gives back an entry of its own that is written, read and deleted. A replica, a full store and a user without
 * the right to write answer reads as if nothing were wrong. Rejects as {@link Records} do.
 */
export async function keepsEntries(records: Pick<Records, 'peek' | 'remove' | 'writeSealed'>): Promise<boolean> {
  // A key that no record of the package has.
  const key = `probe:${randomUUID()}`
  const value = randomBytes(16).toString('hex')
  const version = await records.writeSealed(key, value, null, TTL)
  const found = await records.peek(key)
  const removed = version !== null && (await records.remove(key, version))
  const left = await records.peek(key)
  return found?.value === value && found.version === version && removed && left === undefined
}

/** Rejects as {@link Records} do, and with {@link StorageError} if the store does not give back what is written. */
export async function requireWrites(records: Pick<Records, 'peek' | 'remove' | 'writeSealed'>): Promise<void> {
  if (!(await keepsEntries(records))) throw new StorageError('The storage does not give back what is written')
}
