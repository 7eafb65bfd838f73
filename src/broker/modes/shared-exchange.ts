import { LRUCache } from 'lru-cache'
import { hashOfParts } from '../../hash-of-parts.js'
import { sharedAccessToken } from '../../grants/grant.js'
import type { Lease } from '../../grants/lease.js'
import { EXCHANGE_LEASE, type SharedToken, type TokenRecords } from '../../grants/token-records.js'
import { createSingleFlight, type SingleFlight } from '../../single-flight.js'
import type { Secret } from '../../nextcloud/credential.js'
import { tokenLife, type Timing } from '../token-cache.js'
import type { Basis, Caller, FreshToken, Have, Mode, ModeRooms, TokenRequest } from './mode.js'
import { createPauses } from './pauses.js'
import { createStorePatience, type StorePatience } from './store-patience.js'
import { bearerOf, livingToken } from './stored-token.js'

/** A token that an MCP token was exchanged for. */
export type ExchangedToken = FreshToken & { readonly secret: Extract<Secret, { readonly scheme: 'Bearer' }> }

/** The turn of this instance to exchange. */
export interface Turn {
  /**
   * Stores the token that it got, for as long as that lives: whoever asks from now on gets this one. Resolves to it, with the record as its
   * basis, also when the store fails.
   */
  readonly share: (fresh: ExchangedToken) => Promise<FreshToken>
  /** Leaves the exchange to another instance. */
  readonly giveUp: () => void
}

/** The sharing of exchanged tokens among instances. */
export interface Sharing extends Required<Pick<Mode, 'check'>> {
  /** Resolves to the token that another instance got, or to the turn of this one. Never rejects. */
  readonly take: (request: TokenRequest) => Promise<FreshToken | Turn>
}

interface SharingRooms extends Pick<ModeRooms, 'config' | 'nextcloud' | 'clock'> {
  readonly records: TokenRecords
  readonly timing: Timing
  /** The order of the latest token of each key that was seen here. A store that gives an older record is not believed. */
  readonly seen: LRUCache<string, number>
  readonly looks: SingleFlight<true | FreshToken>
  /** Keeps work for which nobody waits. */
  readonly background: (work: Promise<unknown>) => void
}

/** A token in the store, and the version of its record. */
interface Stored {
  readonly version: string
  readonly token: SharedToken | undefined
}

/** Milliseconds beyond the lease of an instance that may have been killed, and beyond the exchange of one that lives. */
const PATIENCE_BEYOND = 1_000
const MOST_SEEN = 10_000
/** Milliseconds for which a record is kept. Whoever still has the token then writes it again. */
const LONGEST_SHARED = 24 * 3_600_000
/** Attempts to write a token where other writers are first. */
const MOST_WRITES = 3

export function createSharing(
  { config, nextcloud, clock, underWay }: Pick<ModeRooms, 'config' | 'nextcloud' | 'clock' | 'underWay'>,
  records: TokenRecords,
  timing: Timing,
): Sharing {
  const rooms: SharingRooms = {
    ...{ config, nextcloud, clock, records, timing },
    seen: new LRUCache({ max: MOST_SEEN }),
    looks: createSingleFlight(),
    background: (work) => void underWay.track(work),
  }
  const grantCheck = config.cache.grantCheck * 1_000
  return {
    take: (request) => take(rooms, request),
    check: (caller, _secret, basis) => {
      const { shared } = basis
      if (shared === undefined || clock.monotonic() - basis.checkedAt < grantCheck || !records.mayAsk()) return true
      const outcome = rooms.looks.join(shared.key, () => lookAgain(rooms, { caller, basis, ...shared }))
      return { outcome, awaited: true }
    },
  }
}

/** One request, as far as the store is asked for it. */
interface Asking {
  readonly key: string
  readonly caller: Caller
  readonly have: Have
  readonly patience: StorePatience
}

async function take(rooms: SharingRooms, { key: tokenKey, caller, have }: TokenRequest): Promise<FreshToken | Turn> {
  const { config, clock } = rooms
  const key = keyOf(rooms, tokenKey)
  const asking = { key, caller, have, patience: createStorePatience(clock) }
  const again = createPauses(clock, Math.max(EXCHANGE_LEASE, config.http.timeout) + PATIENCE_BEYOND)
  try {
    const stored = await look(rooms, asking)
    // Without a token of its own, a forced caller rejects the stored one.
    if (have.force === true && have.notThis === undefined) asking.have = { ...have, notThis: bearerOf(stored?.token) }
    let taken = usable(rooms, asking, stored) ?? (await takeTurn(rooms, asking))
    while (taken === 'another' && (await again()))
      taken = usable(rooms, asking, await look(rooms, asking)) ?? (await takeTurn(rooms, asking))
    if (taken !== 'another') return taken
  } catch {
    // The store is a cache.
  }
  return turn(rooms, asking, undefined, undefined)
}

/** Resolves to the turn to exchange, to the token of an instance that had it just before, or to `another` if an instance has it now. */
async function takeTurn(rooms: SharingRooms, asking: Asking): Promise<FreshToken | Turn | 'another'> {
  const asked = rooms.records.acquireLease(asking.key)
  const lease = await asking.patience.waitFor(asked).catch((error: unknown) => {
    // One that comes too late would hold up the others.
    rooms.background(asked.then((late) => late?.release()))
    throw error
  })
  if (lease === undefined) return 'another'
  let stored: Stored | undefined
  try {
    stored = await look(rooms, asking)
  } catch {
    return turn(rooms, asking, lease, undefined)
  }
  const found = usable(rooms, asking, stored)
  if (found === undefined) return turn(rooms, asking, lease, { stored })
  rooms.background(lease.release())
  return found
}

/** Reads for a caller who waits. */
const look = (rooms: SharingRooms, { key, patience }: Asking): Promise<Stored | undefined> =>
  patience.waitFor(read(rooms, key))

async function read({ records }: SharingRooms, key: string): Promise<Stored | undefined> {
  const stored = await records.read(key)
  return stored && { version: stored.version, token: await stored.open() }
}

/** Returns the stored token for a caller; undefined if it will not do, has ended, or is older than one that was seen here. */
function usable(
  { timing, seen, clock }: SharingRooms,
  { key, caller, have }: Pick<Asking, 'key' | 'caller' | 'have'>,
  stored: Stored | undefined,
): FreshToken | undefined {
  if (stored?.token === undefined || stored.token.order < (seen.get(key) ?? -Infinity)) return undefined
  const { version, token } = stored
  const living = livingToken(token, have, timing, clock)
  if (living === undefined || clock.now() >= caller.expiresAt * 1_000) return undefined
  seen.set(key, token.order)
  const basis = { version, shared: { key, token }, checkedAt: clock.monotonic() }
  return { ...living, source: 'store', basis }
}

/**
 * @param lease undefined: the store does not say who exchanges
 * @param found undefined: the store does not say what is there
 */
function turn(
  rooms: SharingRooms,
  { key, caller, patience }: Asking,
  lease: Lease | undefined,
  found: { readonly stored: Stored | undefined } | undefined,
): Turn {
  const { background, seen, clock } = rooms
  const giveUp = (): void => lease && background(lease.release())
  return {
    giveUp,
    async share(fresh) {
      const shared = sharedToken(rooms, fresh, Math.max(seen.get(key) ?? 0, found?.stored?.token?.order ?? 0))
      if (shared === undefined) {
        giveUp()
        return fresh
      }
      seen.set(key, shared.order)
      const basis: Basis = { version: '', shared: { key, token: shared }, checkedAt: clock.monotonic() }
      const written = write(rooms, { caller, basis, key, token: shared }, found).then(giveUp, giveUp)
      background(written)
      // A store that has failed is not waited for a second time.
      if (lease !== undefined) await patience.waitFor(written).catch(() => undefined)
      return { ...fresh, basis }
    },
  }
}

/** Returns a fresh token as it is shared; undefined if it must not be kept. */
function sharedToken({ clock }: SharingRooms, fresh: ExchangedToken, orderBefore: number): SharedToken | undefined {
  const { secret, expiresIn, sentAt } = fresh
  const shared = sharedAccessToken({ accessToken: secret.token, expiresIn, sentAt }, undefined, clock)
  // Time makes it greater than that of a record which has expired, and the one before it greater than that of a clock which is ahead.
  return shared && { ...shared, order: Math.max(clock.now(), orderBefore + 1) }
}

/** A token of a caller that this instance has, and shares. */
interface Owned {
  readonly caller: Caller
  readonly basis: Basis
  readonly key: string
  readonly token: SharedToken
}

/** Writes a token to the store, unless there is a later one. */
async function write(
  rooms: SharingRooms,
  { caller, basis, key, token }: Owned,
  found: { readonly stored: Stored | undefined } | undefined,
): Promise<void> {
  let known = found
  for (let attempts = 0; attempts < MOST_WRITES; attempts += 1) {
    known ??= { stored: await read(rooms, key) }
    const { stored } = known
    if (stored?.token !== undefined && stored.token.order >= token.order) return
    const ttlMs = timeLeft(rooms, caller, token)
    if (ttlMs <= 0) return
    const version = await rooms.records.write(key, token, { expected: stored?.version ?? null, ttlMs })
    if (version !== null) {
      basis.version = version
      return
    }
    known = undefined
  }
}

/**
 * Returns the milliseconds for which a token is shared: while it lives, which its MCP token ends as well. A store refuses what one issuer
 * may state, say 1e300, and would be taken for failing, for all of them.
 */
function timeLeft({ timing, clock }: SharingRooms, { expiresAt }: Caller, { expiresIn, sentAt }: SharedToken): number {
  const life = tokenLife({ expiresIn, sentAt }, timing)
  return Math.min(Math.floor(Math.min(life?.ownEnd ?? 0, expiresAt * 1_000) - clock.now()), LONGEST_SHARED)
}

/** Looks whether another instance has replaced a cached token. A store that fails, or has lost the token, replaces none. */
async function lookAgain(rooms: SharingRooms, owned: Owned): Promise<true | FreshToken> {
  const { records, background, clock } = rooms
  const { caller, basis, key, token } = owned
  try {
    const entry = await createStorePatience(clock).waitFor(records.read(key))
    if (entry?.version !== basis.version) {
      const other = await entry?.open()
      const stored = entry && { version: entry.version, token: other }
      if (other !== undefined && other.order > token.order) {
        const fresh = usable(rooms, { key, caller, have: {} }, stored)
        if (fresh !== undefined) return fresh
      }
      if (stored === undefined || (other !== undefined && other.order < token.order))
        background(write(rooms, owned, { stored }).catch(() => undefined))
      else if (other?.token === token.token) basis.version = stored.version
    }
  } catch {
    // The token that is here lives.
  }
  basis.checkedAt = clock.monotonic()
  return true
}

/** Returns the key of the record: the configuration belongs to it, whatever another one on the same store asks for. */
function keyOf({ config, nextcloud, records }: SharingRooms, tokenKey: string): string {
  const owner = { clientId: config.client?.id ?? '', resource: config.resource, nextcloud: nextcloud.base }
  return records.keyOf(owner, tokenKey, hashOfParts([], [Object.entries(nextcloud.parameters).flat()]))
}
