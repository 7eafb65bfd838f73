import { LRUCache } from 'lru-cache'
import { NotProvisionedError, UpstreamUnavailableError } from '../../errors/errors.js'
import { accessTokenOf, deadGrant, whyUnusable } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import { quirksOf } from '../../presets.js'
import { createCoolDowns, type CoolDowns } from '../../transport/cool-down.js'
import type { Timing } from '../token-cache.js'
import { basisOf, createGrantCheck } from './grant-check.js'
import type { Caller, FreshToken, GrantCheck, GrantModeRooms, GrantOf, Have, Mode } from './mode.js'
import { createPauses } from './pauses.js'
import { createRenewal, type Renewal } from './renewal.js'
import { bearerOf, livingToken } from './stored-token.js'

interface RefreshRooms extends GrantModeRooms {
  readonly timing: Timing
  /** The failures, by fingerprint of the refresh token. */
  readonly coolDowns: CoolDowns
  readonly renew: Renewal
  readonly check: GrantCheck
  /** Fingerprints of the refresh tokens whose end has been reported, by the keys of their grants. */
  readonly reportedExpired: LRUCache<string, string>
}

/** Milliseconds beyond the lease of an instance that may have died: for its successor to get an answer. */
const PATIENCE_BEYOND_LEASE = 5_000
/** Milliseconds beyond its stated end for which a refresh token is kept. */
const EXPIRED_KEPT = 24 * 3_600_000
/** Refresh tokens whose failures are remembered at one time. */
const COOL_DOWNS = 10_000

/** RFC 6749 §6, on a grant that the user gave once and that several instances share. */
export function refreshTokenMode(modeRooms: GrantModeRooms): Mode {
  const { config, nextcloud, clock, events } = modeRooms
  const { refreshEndsAccessToken, margin } = quirksOf(nextcloud.preset)
  const timing = { renewBefore: refreshEndsAccessToken ? 0 : config.cache.renewBefore, margin }
  const coolDowns = createCoolDowns(clock, COOL_DOWNS, () => void (events.counters.coolDowns += 1))
  const renew = createRenewal(modeRooms, coolDowns)
  const reportedExpired = new LRUCache<string, string>({ max: COOL_DOWNS })
  const grants = createGrantCheck({
    ...modeRooms,
    secretOf: (grant) => bearerOf(accessTokenOf(grant, modeRooms.grants.askedFor)),
    fresh: (stored) => sharedToken(rooms, stored, {}),
  })
  const rooms: RefreshRooms = { ...modeRooms, timing, coolDowns, renew, reportedExpired, check: grants }
  return {
    getFreshToken: ({ caller, have }, found) => getFreshToken(rooms, caller, have, found),
    boundToMcpToken: false,
    ...timing,
    grants,
    check: grants.check,
  }
}

async function getFreshToken(
  rooms: RefreshRooms,
  caller: Caller,
  have: Have,
  found: StoredGrant | undefined,
): Promise<FreshToken> {
  const { grants, check, coolDowns, clock } = rooms
  const { identity } = caller
  const of = { key: grants.store.keyOf(identity), identity }
  const again = createPauses(clock, grants.leaseLife + PATIENCE_BEYOND_LEASE)
  let { notThis } = have
  let present = found
  for (;;) {
    const stored = await usable(rooms, of, present)
    if (stored !== 'changed') {
      // Without a token of its own, a forced caller rejects the stored one.
      if (have.force === true) notThis ??= { scheme: 'Bearer', token: stored.grant.accessToken?.token ?? '' }
      const shared = sharedToken(rooms, stored, { ...have, notThis })
      if (shared !== undefined) return shared
      coolDowns.check(stored.grant.fingerprint)
      const fresh = await rooms.renew(of, stored)
      if (fresh !== 'changed') return fresh
    }
    if (!(await again())) {
      throw new UpstreamUnavailableError('Another instance has been refreshing this grant for too long', {
        retryAfter: 1,
      })
    }
    present = await check.read(identity)
    // The user may have taken the consent back meanwhile.
    const refusal = check.refusal(caller, present?.grant)
    if (refusal !== undefined) throw refusal
  }
}

/** @throws {NotProvisionedError} there is no grant, or it cannot serve */
async function usable(
  rooms: RefreshRooms,
  of: GrantOf,
  stored: StoredGrant | undefined,
): Promise<StoredGrant | 'changed'> {
  if (stored === undefined) throw new NotProvisionedError('never')
  const reason = whyUnusable(stored.grant, undefined, rooms.clock.now())
  if (reason === undefined) return stored
  const { refreshToken, refreshEndsAt } = stored.grant
  const hasEnded = refreshToken !== undefined && refreshEndsAt !== undefined
  if (hasEnded && !(await expire(rooms, of, stored, refreshEndsAt))) return 'changed'
  throw new NotProvisionedError(reason)
}

/**
 * Ends a grant whose refresh token has ended by this machine's clock. The server need not be asked. The clock may be wrong, so the
 * token is thrown away only long after that.
 *
 * @returns false if another writer has changed the grant meanwhile
 */
async function expire(
  rooms: RefreshRooms,
  { key, identity }: GrantOf,
  { grant, version }: StoredGrant,
  refreshEndsAt: number,
): Promise<boolean> {
  const { grants, clock, events, reportedExpired } = rooms
  if (reportedExpired.get(key) !== grant.fingerprint) {
    reportedExpired.set(key, grant.fingerprint)
    events.emit({ type: 'grant.lost', ...identity, fingerprint: grant.fingerprint, reason: 'expired' })
  }
  if (clock.now() < refreshEndsAt + EXPIRED_KEPT) return true
  return (await grants.store.write(key, deadGrant(grant, 'expired', clock.now()), version)) !== null
}

/** Returns the access token in the store; undefined if there is none, or it will not do. */
function sharedToken(rooms: RefreshRooms, stored: StoredGrant, have: Have): FreshToken | undefined {
  const { timing, clock, grants } = rooms
  const living = livingToken(accessTokenOf(stored.grant, grants.askedFor), have, timing, clock)
  return living && { ...living, source: 'store', basis: basisOf(stored, clock.monotonic()) }
}
