import { randomBytes } from 'node:crypto'
import type { Clock } from '../clock.js'
import { InternalError } from '../errors/errors.js'
import { change } from '../grants/change.js'
import type { Records } from '../grants/records.js'
import { recordKey, type RecordKind, type RecordOwner } from '../grants/record-key.js'

/** A value that was stored under a secret, and can be taken once. */
export interface OneTimeRecord<T> {
  readonly key: string
  readonly version: string
  readonly value: T
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** Records under random secrets, each for a time and one use. The store sees a hash of the secret, its key. */
export interface OneTimeRecords<T extends object> {
  /** Stores a value under a new secret, unless one is given that is as random. */
  readonly create: (value: T, secret?: string) => Promise<{ readonly secret: string; readonly expiresAt: number }>
  /** Stores a value under a secret, unless there is one. Returns the one that is there. */
  readonly ensure: (value: T, secret: string) => Promise<T>
  /** Undefined if it is unknown, used, expired, or sealed with a key that is gone (`Records.readIfOpens`). Such a record would soon expire anyway. */
  readonly read: (secret: string) => Promise<OneTimeRecord<T> | undefined>
  /** Changes the value, but not the time when it expires. False if another request was first. */
  readonly replace: (record: OneTimeRecord<T>, value: T) => Promise<boolean>
  /** Takes it; false if another request was first. */
  readonly spend: (record: OneTimeRecord<T>) => Promise<boolean>
  /** Deletes it, if it is there. */
  readonly drop: (secret: string) => Promise<void>
}

/** Milliseconds. MCP 2025-11-25, security best practices: at most ten minutes. */
export const ONE_TIME_LIFE = 600_000

/** 256 bits in base64url. */
const SECRET = /^[\w-]{43}$/

export const randomSecret = (): string => randomBytes(32).toString('base64url')

/** The rooms that one-time records need. */
export interface OneTimeRooms {
  readonly records: Records
  readonly owner: RecordOwner
  readonly clock: Clock
}

interface Stored {
  readonly format: 1
  readonly value: unknown
  readonly expiresAt: number
}

/** @param life milliseconds, default ten minutes */
export function createOneTimeRecords<T extends object>(
  kind: RecordKind,
  { records, owner, clock }: OneTimeRooms,
  life = ONE_TIME_LIFE,
): OneTimeRecords<T> {
  const keyOf = (secret: string): string => recordKey(kind, owner, secret)
  const write = async (value: T, secret: string): Promise<Stored | undefined> => {
    const stored: Stored = { format: 1, value, expiresAt: clock.now() + life }
    return (await records.write(keyOf(secret), stored, null, life)) === null ? undefined : stored
  }
  const read = async (secret: string): Promise<OneTimeRecord<T> | undefined> => {
    if (!SECRET.test(secret)) return undefined
    const key = keyOf(secret)
    // A record that only a key of the past opens counts as unknown.
    const record = await records.readIfOpens(key)
    const stored = record?.value as Stored | undefined
    if (record === undefined || stored?.format !== 1 || clock.now() >= stored.expiresAt) return undefined
    // The values under these keys were all written as `T`.
    return { key, version: record.version, value: stored.value as T, expiresAt: stored.expiresAt }
  }
  return {
    async create(value, secret = randomSecret()) {
      const stored = await write(value, secret)
      if (stored === undefined) throw new InternalError('A random secret is there already')
      return { secret, expiresAt: stored.expiresAt }
    },
    ensure: (value, secret) =>
      change('a sign-in', async () => {
        if ((await write(value, secret)) !== undefined) return value
        // Undefined: it was taken in between.
        return (await read(secret))?.value ?? 'late'
      }),
    read,
    async replace({ key, version, expiresAt }, value) {
      const stored: Stored = { format: 1, value, expiresAt }
      return (await records.write(key, stored, version, Math.max(1, expiresAt - clock.now()))) !== null
    },
    // It may have expired since it was read, and while the store was asked.
    spend: async ({ key, version, expiresAt }) => (await records.remove(key, version)) && clock.now() < expiresAt,
    async drop(secret) {
      const key = keyOf(secret)
      const entry = await records.peek(key)
      if (entry !== undefined) await records.remove(key, entry.version)
    },
  }
}

/** A record that was found for the browser that it belongs to. Nothing is spent before `take`. */
export interface Claim<T> {
  readonly value: T
  /** Takes the record; false if another request was first. */
  readonly take: () => Promise<boolean>
}

/**
 * Finds a record that only one browser may take. A stranger who has seen the secret ends nothing, because the cookie is compared
 * before anything is spent.
 *
 * @param isOurs compares the browser's cookie with the record
 */
export async function takeOnce<T extends object>(
  records: Pick<OneTimeRecords<T>, 'read' | 'spend'>,
  secret: string,
  isOurs: (value: T) => boolean,
): Promise<Claim<T> | 'unknown' | 'other browser'> {
  const record = await records.read(secret)
  if (record === undefined) return 'unknown'
  return isOurs(record.value) ? { value: record.value, take: () => records.spend(record) } : 'other browser'
}
