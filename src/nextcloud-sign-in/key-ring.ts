import { randomBytes } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'
import type { Clock } from '../clock.js'
import { change } from '../grants/change.js'
import { recordKey, type RecordOwner } from '../grants/record-key.js'
import type { Records } from '../grants/records.js'
import { createSingleFlight } from '../single-flight.js'

/** A private key, as it is stored. */
interface StoredKey {
  readonly jwk: JWK
  /** Milliseconds since the epoch from which it signs. It is published before that. */
  readonly signsFrom: number
}

interface StoredRing {
  readonly format: 1
  /** The oldest first. */
  readonly keys: readonly StoredKey[]
  /** Signs cookies. */
  readonly cookieKey: string
}

/** The keys of the authorization server, shared by all instances. */
export interface KeyRing {
  /** Private keys: first the one that signs, then those whose tokens may live, then one that signs later. */
  readonly keys: readonly JWK[]
  readonly cookieKey: string
}

/** Reads the key ring, and makes and rotates its keys. Rejects with {@link StorageError} while no ring is known. */
export type ReadKeyRing = () => Promise<KeyRing>

/** The rooms that keys need. */
export interface KeyRooms {
  readonly records: Records
  readonly owner: RecordOwner
  readonly clock: Clock
}

/** Milliseconds for which a key signs. */
const KEY_LIFE = 90 * 86_400_000
/** Milliseconds between looks into the store. A new key is published for twice as long before it signs, so that no instance lacks it. */
const LOOK_EVERY = 300_000
const PUBLISHED_AHEAD = 2 * LOOK_EVERY
/** Milliseconds for which a key is published after its last signature: the life of an access token, and clocks that differ. */
const PUBLISHED_AFTER = 3_600_000
export const ALGORITHM = 'ES256'

export function createKeyRing(rooms: KeyRooms): ReadKeyRing {
  const { clock } = rooms
  const flights = createSingleFlight<StoredRing>()
  let known: { readonly ring: StoredRing; readonly readAt: number } | undefined
  const look = (): Promise<StoredRing> =>
    flights.join('ring', async () => {
      const ring = await readRing(rooms)
      known = { ring, readAt: clock.monotonic() }
      return ring
    })
  return async () => {
    if (known === undefined) return atWork(await look(), clock.now())
    // A store that is unavailable does not stop a server that has its keys.
    if (clock.monotonic() - known.readAt >= LOOK_EVERY) await look().catch(() => undefined)
    return atWork(known.ring, clock.now())
  }
}

/** Returns the keys with the one first that signs now. */
function atWork({ keys, cookieKey }: StoredRing, now: number): KeyRing {
  // None does yet where another instance made the first key, and its clock is ahead.
  const signer = keys.findLast(({ signsFrom }) => signsFrom <= now)
  const inOrder = keys.toSorted((one, other) => Number(other === signer) - Number(one === signer))
  return { cookieKey, keys: inOrder.map(({ jwk }) => jwk) }
}

/** Reads what is stored, and changes it where a key is missing, old or of no more use. */
function readRing({ records, owner, clock }: KeyRooms): Promise<StoredRing> {
  const key = recordKey('sign-in', owner, 'keys')
  return change('the signing keys', async () => {
    const record = await records.read(key)
    const stored = record?.value as StoredRing | undefined
    const next = await renewed(stored, clock.now())
    if (stored !== undefined && next === stored) return stored
    return (await records.write(key, next, record?.version ?? null)) === null ? 'late' : next
  })
}

async function renewed(stored: StoredRing | undefined, now: number): Promise<StoredRing> {
  if (stored === undefined) {
    return { format: 1, keys: [await newKey(now)], cookieKey: randomBytes(32).toString('base64url') }
  }
  const { keys } = stored
  const needed = keys.filter((_, at) => now < (keys[at + 1]?.signsFrom ?? Infinity) + PUBLISHED_AFTER)
  const newest = keys.at(-1)
  const isOld = newest === undefined || now >= newest.signsFrom + KEY_LIFE
  if (!isOld && needed.length === keys.length) return stored
  return { ...stored, keys: isOld ? [...needed, await newKey(now + PUBLISHED_AHEAD)] : needed }
}

async function newKey(signsFrom: number): Promise<StoredKey> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true })
  const jwk = await exportJWK(privateKey)
  return { jwk: { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: ALGORITHM, use: 'sig' }, signsFrom }
}
