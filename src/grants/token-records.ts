import { afterPatience, type Clock } from '../clock.js'
import type { SharedStoreConfig } from '../config/config.js'
import { named } from '../config/declarations.js'
import { StorageError } from '../errors/errors.js'
import type { Events } from '../events.js'
import { isJsonObject } from '../json.js'
import { ifError } from '../errors/if-error.js'
import type { SharedAccessToken } from './grant.js'
import { acquireLease, type Lease } from './lease.js'
import { sealingKeys } from './open-grants.js'
import { recordKey, type RecordOwner } from './record-key.js'
import { requireWrites } from './probe.js'
import { createRecords } from './records.js'
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

/**
 * The exchanged tokens in the store. It is a cache: whoever gets no answer exchanges. So each call rejects with {@link StorageError} also
 * when the store has answered nobody for 1.8 s, and at once when it failed within the last 2 s; then one call in 2 s finds out whether it works
 * again.
 */
export interface TokenRecords {
  readonly keyOf: (owner: RecordOwner, tokenKey: string, parameters: string) => string
  readonly read: (key: string) => Promise<StoredToken | undefined>
  /** Writes; resolves to the new version, or null when another writer was first. */
  readonly write: (
    key: string,
    token: SharedToken,
    how: { readonly expected: string | null; readonly ttlMs: number },
  ) => Promise<string | null>
  /** Takes the right to be the one who exchanges; undefined when another instance has it. */
  readonly acquireLease: (key: string) => Promise<Lease | undefined>
  /** Whether the store may be asked now. */
  readonly mayAsk: () => boolean
  /** Rejects with {@link ConfigurationError} when the adapter says that it is not set up. A store that fails is no reason not to begin. */
  readonly ready: () => Promise<void>
}

/** Milliseconds for which an instance that was killed holds up the others. A living one renews it, however long the exchange takes. */
export const EXCHANGE_LEASE = 5_000
/** Milliseconds without an answer to anybody. */
const SILENCE = 1_800
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
  const warnOfKey = createKeyWarning(clock, events)
  return {
    keyOf: (owner, ...parts) => recordKey('token', owner, ...parts),
    async read(key) {
      const entry = await ask(() => records.peek(key))
      if (entry === undefined) return undefined
      if (!sealer.mayOpen(key, entry.value)) warnOfKey()
      return { version: entry.version, open: () => open(sealer.open(key, entry.value)) }
    },
    async write(key, token, { expected, ttlMs }) {
      const sealed = await sealer.seal(key, token)
      return ask(() => records.writeSealed(key, sealed, expected, ttlMs))
    },
    async acquireLease(key) {
      let asked: Promise<Lease | undefined> | undefined
      const lifeMs = EXCHANGE_LEASE
      try {
        return await ask(() => (asked = acquireLease({ records, clock, lifeMs }, leaseKey(key))))
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

/** Milliseconds between two warnings of a key that is not known here. */
const WARNINGS_APART = 3_600_000

/** Returns a function that warns of a token which another instance has sealed with a key that is not known here: no call fails for it. */
function createKeyWarning(clock: Clock, events: Events): () => void {
  let warnedAt = -Infinity
  return () => {
    if (clock.monotonic() < warnedAt + WARNINGS_APART) return
    warnedAt = clock.monotonic()
    events.emit({
      type: 'config.warning',
      option: 'encryptionKey',
      message: `an exchanged token in the storage is sealed with none of the keys given, so that instances exchange for themselves: let ${named('encryptionKey')} hold the same keys in all of them`,
    })
  }
}

const leaseKey = (key: string): string => recordKey('exchange', { clientId: '', resource: '', nextcloud: '' }, key)

/** The state of the store, as its answers show it. */
interface Fuse {
  failing: boolean
  /** Monotonic milliseconds until which a store that failed is left alone. */
  until: number
  /** Monotonic milliseconds of its last answer, whoever had asked. */
  answeredAt: number
}

/** Keeps calls from a store that failed a moment ago, except one at a time that finds out. */
function createFuse(clock: Clock) {
  const fuse: Fuse = { failing: false, until: -Infinity, answeredAt: -Infinity }
  const mayAsk = (): boolean => !fuse.failing || clock.monotonic() >= fuse.until
  const pause = (): void => void (fuse.until = clock.monotonic() + PAUSE)
  async function ask<T>(run: () => Promise<T>): Promise<T> {
    if (!mayAsk()) throw new StorageError('The storage failed a moment ago')
    pause()
    try {
      const answer = await unlessSilent(run(), fuse, clock)
      fuse.failing = false
      fuse.answeredAt = clock.monotonic()
      return answer
    } catch (error) {
      fuse.failing = true
      pause()
      throw error
    }
  }
  return { ask, mayAsk }
}

/** Rejects when the store answers nobody. One that answers others is not hanging: this process may be kept busy by their calls. */
function unlessSilent<T>(pending: Promise<T>, fuse: Readonly<Fuse>, clock: Clock): Promise<T> {
  const startedAt = clock.monotonic()
  return new Promise((resolve, reject) => {
    let cancel = (): void => undefined
    const wait = (ms: number): void => {
      cancel = afterPatience(clock, ms, () => {
        const left = Math.max(startedAt, fuse.answeredAt) + SILENCE - clock.monotonic()
        if (left > 0) wait(left)
        else reject(new StorageError(`The storage answered nothing for ${SILENCE} ms`))
      })
    }
    wait(SILENCE)
    pending.then(resolve, reject).finally(() => cancel())
  })
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
