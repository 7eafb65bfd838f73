import type { Clock } from '../clock.js'
import type { SharedStoreConfig } from '../config/config.js'
import { StorageError } from '../errors/errors.js'
import type { Events } from '../events.js'
import { isJsonObject } from '../json.js'
import { ifError } from '../errors/if-error.js'
import type { SharedAccessToken } from './grant.js'
import { acquireLease, type Lease } from './lease.js'
import { sealingKeys } from './open-grants.js'
import { recordKey, type RecordOwner } from './record-key.js'
import { requireWrites } from './probe.js'
import { createRecords, limited } from './records.js'
import { createSealer } from './seal.js'

/** An exchanged token that instances share. */
export interface SharedToken extends SharedAccessToken {
  /** Grows with every token of the same key, so that an older record is told from a newer one. */
  readonly order: number
}

/** A record as it is stored. */
export interface StoredToken {
  readonly version: string
  /** Resolves to the token in it; to undefined if it does not open, because a key is missing or it is not this package's. */
  readonly open: () => Promise<SharedToken | undefined>
}

/** The milliseconds that are left for calls of the store. */
export interface Patience {
  left: number
}

/**
 * The exchanged tokens in the store. It is a cache: whoever gets no answer exchanges. So each call rejects with {@link StorageError} also
 * when the patience is over, and at once when the store failed within the last 2 s; then one call in 2 s finds out whether it works again.
 */
export interface TokenRecords {
  readonly keyOf: (owner: RecordOwner, tokenKey: string, parameters: string) => string
  readonly read: (key: string, patience: Patience) => Promise<StoredToken | undefined>
  /** Writes; resolves to the new version, or null when another writer was first. */
  readonly write: (
    key: string,
    token: SharedToken,
    how: { readonly expected: string | null; readonly ttlMs: number; readonly patience: Patience },
  ) => Promise<string | null>
  /** Takes the right to be the one who exchanges; undefined when another instance has it. */
  readonly acquireLease: (key: string, patience: Patience) => Promise<Lease | undefined>
  /** Whether the store may be asked now. */
  readonly mayAsk: () => boolean
  /** Rejects with {@link ConfigurationError} when the adapter says that it is not set up. A store that fails is no reason not to begin. */
  readonly ready: () => Promise<void>
}

/** Milliseconds for which an instance that was killed holds up the others. A living one renews it, however long the exchange takes. */
export const EXCHANGE_LEASE = 5_000
/** Milliseconds for which a store that failed is left alone. */
const PAUSE = 2_000

export function createTokenRecords(
  { storage, encryptionKeys }: SharedStoreConfig,
  clock: Clock,
  events: Events,
): TokenRecords {
  const sealer = createSealer(sealingKeys(encryptionKeys, storage))
  const records = createRecords(storage, sealer, clock, events)
  const { ask, mayAsk } = createFuse(clock)
  return {
    keyOf: (owner, ...parts) => recordKey('token', owner, ...parts),
    async read(key, patience) {
      const entry = await ask(patience, () => records.peek(key))
      return entry && { version: entry.version, open: () => open(sealer.open(key, entry.value)) }
    },
    async write(key, token, { expected, ttlMs, patience }) {
      const sealed = await sealer.seal(key, token)
      return ask(patience, () => records.writeSealed(key, sealed, expected, ttlMs))
    },
    async acquireLease(key, patience) {
      let asked: Promise<Lease | undefined> | undefined
      const lifeMs = EXCHANGE_LEASE
      try {
        return await ask(patience, () => (asked = acquireLease({ records, clock, lifeMs }, leaseKey(key))))
      } catch (error) {
        // One that comes too late would hold up the others, and would be renewed for ever.
        asked?.then((lease) => lease?.release()).catch(() => undefined)
        throw error
      }
    },
    mayAsk,
    ready: () => requireWrites(records).catch(ifError(StorageError, () => undefined)),
  }
}

const leaseKey = (key: string): string => recordKey('exchange', { clientId: '', resource: '', nextcloud: '' }, key)

/** Keeps calls from a store that failed a moment ago, except one at a time that finds out. */
function createFuse(clock: Clock) {
  const fuse = { failing: false, until: -Infinity }
  const mayAsk = (): boolean => !fuse.failing || clock.monotonic() >= fuse.until
  const pause = (): void => void (fuse.until = clock.monotonic() + PAUSE)
  async function ask<T>(patience: Patience, run: () => Promise<T>): Promise<T> {
    if (!mayAsk()) throw new StorageError('The storage failed a moment ago')
    pause()
    const startedAt = clock.monotonic()
    try {
      const answer = await limited(run(), patience.left, clock)
      fuse.failing = false
      return answer
    } catch (error) {
      fuse.failing = true
      pause()
      throw error
    } finally {
      patience.left -= clock.monotonic() - startedAt
    }
  }
  return { ask, mayAsk }
}

async function open(opening: Promise<unknown>): Promise<SharedToken | undefined> {
  const value = await opening.catch(() => undefined)
  return isSharedToken(value) ? value : undefined
}

function isSharedToken(value: unknown): value is SharedToken {
  if (!isJsonObject(value)) return false
  const { token, expiresIn, sentAt, order } = value
  const isLife = expiresIn === undefined || typeof expiresIn === 'number'
  return typeof token === 'string' && token !== '' && isLife && [sentAt, order].every(Number.isFinite)
}
