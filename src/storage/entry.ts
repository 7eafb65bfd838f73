import { randomUUID } from 'node:crypto'

const VERSION = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Characters of a version, for a store that keeps it in front of the value. */
export const VERSION_LENGTH = 36

/** A version that no other write has, before or after. */
export const newVersion = (): string => randomUUID()

export const isVersion = (text: string): boolean => VERSION.test(text)

/**
 * A version as it can go to a store and be compared there. A version of another form matches nothing, and must not break the
 * statement (PostgreSQL has no text with NUL): it becomes a text that no write has as its version.
 */
export const comparable = (version: string): string => (isVersion(version) ? version : 'foreign')

/** Whole milliseconds, at least one: all stores take that. A ttl that is not a number is a defect of the caller. */
export function wholeTtl(ttlMs: number | undefined): number | undefined {
  if (ttlMs === undefined) return undefined
  if (typeof ttlMs !== 'number' || !Number.isFinite(ttlMs))
    throw new TypeError('ttlMs must be a number of milliseconds')
  return Math.max(1, Math.ceil(ttlMs))
}
