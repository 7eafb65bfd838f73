import { randomUUID } from 'node:crypto'
import type { RefreshAnswer } from '../../authorization-server/token-answer.js'
import type { NextcloudConfig } from '../../config/config.js'
import {
  asMcpAuthError,
  NotProvisionedError,
  StorageError,
  TokenRequestError,
  UpstreamUnavailableError,
} from '../../errors/errors.js'
import {
  isRefreshable,
  lasting,
  refreshEnd,
  sharedAccessToken,
  type Grant,
  type LivingGrant,
} from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import type { Lease } from '../../grants/lease.js'
import { quirksOf } from '../../presets.js'
import type { CoolDowns } from '../../transport/cool-down.js'
import { basisOf, bury } from './grant-check.js'
import type { FreshToken, GrantModeRooms, GrantOf } from './mode.js'

/**
 * Spends the refresh token of a grant for a fresh access token. `changed`: the grant has changed, or another instance is renewing it.
 */
export type Renewal = (of: GrantOf, stored: StoredGrant) => Promise<FreshToken | 'changed'>

interface RenewalRooms extends GrantModeRooms {
  /** The failures, by fingerprint of the refresh token. */
  readonly coolDowns: CoolDowns
  /** Names this instance in the mark. */
  readonly instance: string
}

/** A renewal under way: the grant is marked in the store, so that no other instance takes its token for unspent. */
interface Marked extends GrantOf {
  readonly grant: LivingGrant
  readonly version: string
  readonly lease: Lease
}

/**
 * Milliseconds that a token which another instance has sent is left alone, once that instance has no lease any more: it may have
 * an answer that it could not store yet. After an outage of the store its client may connect again later than this one's:
 * the packages for Redis wait 2.2 s between attempts.
 */
const GRACE = 3_000
const GRACE_LOOKS = 12
const LEASE_LOST = new Error('The lease ran out before the refresh token was sent')
const ENDING = 'close() was called. No refresh token is sent any more, because the next one might not be stored.'

const TOO_MANY_REFUSED =
  "Nextcloud's app oauth2 refused several refresh tokens of this user within 30 minutes, so this server sends no other one of theirs until the time that Retry-After states: after more than ten it would turn all users away. Their sessions were ended in Nextcloud (Security, Devices & sessions), or the client or its secret is wrong (clientId, clientSecret). The user can sign in again at once."

export function createRenewal(modeRooms: GrantModeRooms, coolDowns: CoolDowns): Renewal {
  const rooms: RenewalRooms = { ...modeRooms, coolDowns, instance: randomUUID() }
  return (of, stored) => renew(rooms, of, stored)
}

async function renew(rooms: RenewalRooms, of: GrantOf, stored: StoredGrant): Promise<FreshToken | 'changed'> {
  const { grants, instance } = rooms
  if (!isRefreshable(stored.grant)) return 'changed'
  checkTime(grants)
  const grant: LivingGrant = { ...stored.grant, state: 'presented', presentedBy: instance }
  // Sealed while the store is asked for the lease.
  const write = grants.store.prepare(of.key, grant)
  const lease = await grants.acquireLease(of.key)
  if (lease === undefined) return 'changed'
  try {
    // Write-ahead: another instance that finds the mark knows that the token may be spent.
    if (await isAnothers(rooms, of, stored)) return 'changed'
    const version = await write(stored.version)
    return version === null ? 'changed' : await present(rooms, { ...of, grant, version, lease })
  } finally {
    // No caller who waits for a token waits for this.
    grants.background(lease.release())
  }
}

/** @throws {StorageError} the process is about to end */
function checkTime({ isEnding }: Pick<GrantModeRooms['grants'], 'isEnding'>): void {
  if (isEnding()) throw new StorageError(ENDING, undefined, 1)
}

/** Whether another instance that has sent the refresh token stores its answer within the grace. */
async function isAnothers(rooms: RenewalRooms, { key }: GrantOf, stored: StoredGrant): Promise<boolean> {
  const { grants, clock, instance } = rooms
  const { presentedBy } = stored.grant
  if (presentedBy === undefined || presentedBy === instance) return false
  for (let looks = 0; looks < GRACE_LOOKS; looks += 1) {
    await clock.sleep(GRACE / GRACE_LOOKS)
    if ((await grants.store.version(key)) !== stored.version) return true
  }
  return false
}

async function present(rooms: RenewalRooms, marked: Marked): Promise<FreshToken | 'changed'> {
  const { grant } = marked
  let answer: RefreshAnswer | 'dead'
  try {
    answer = await send(rooms, marked)
  } catch (error) {
    if (error === LEASE_LOST) return 'changed'
    await leave(rooms, marked, error)
    return rooms.coolDowns.failed(grant.fingerprint, error)
  }
  if (answer !== 'dead') return store(rooms, marked, answer)
  // Spent or refused, it never comes back.
  rooms.coolDowns.succeeded(grant.fingerprint)
  if (await bury(rooms, marked, marked)) throw new NotProvisionedError('revoked')
  return 'changed'
}

/** @throws {UpstreamUnavailableError} Nextcloud refused so much of this user that nothing was sent */
async function send(
  { client, nextcloud, codes, grants }: RenewalRooms,
  { identity, grant, lease }: Marked,
): Promise<RefreshAnswer | 'dead'> {
  const refresh = () =>
    client.refresh(grant.refreshToken, requestParameters(nextcloud), () => {
      if (!lease.isHeld()) throw LEASE_LOST
      checkTime(grants)
    })
  if (!quirksOf(nextcloud.preset).throttles) return refresh()
  const answer = await codes.refresh(identity, refresh)
  if (answer === 'dead' || !('retryAfter' in answer)) return answer
  const { retryAfter } = answer
  throw new UpstreamUnavailableError(TOO_MANY_REFUSED, {
    ...{ service: 'Nextcloud', retryAfter, statedRetryAfter: retryAfter, unprocessed: true, hint: TOO_MANY_REFUSED },
  })
}

function requestParameters({ parameters: extra, resource, preset, fixedScopes }: NextcloudConfig): URLSearchParams {
  const parameters = new URLSearchParams(extra)
  for (const value of resource) parameters.append('resource', value)
  if (quirksOf(preset).scopesOnRefresh && fixedScopes.length > 0) parameters.set('scope', fixedScopes.join(' '))
  return parameters
}

/** Leaves the grant as it was, with the error. */
async function leave({ grants, clock }: RenewalRooms, { key, grant, version }: Marked, error: unknown): Promise<void> {
  const unspent = !(error instanceof UpstreamUnavailableError) || error.unprocessed
  const lastError = { code: asMcpAuthError(error).code, at: clock.now() }
  const left: Grant = { ...grant, presentedBy: undefined, state: unspent ? 'active' : 'presented', lastError }
  // If it cannot be written, the mark that is left costs the next renewal some patience.
  await grants.store.write(key, left, version).catch(() => undefined)
}

/** Stores the new refresh token, which must be there before the access token is handed out. */
async function store(rooms: RenewalRooms, marked: Marked, answer: RefreshAnswer): Promise<FreshToken | 'changed'> {
  const { grants, coolDowns, clock } = rooms
  const { key, identity, grant, version } = marked
  const next = rotated(rooms, grant, answer)
  const askedAt = clock.monotonic()
  const written = await grants.rotations.write({
    key,
    identity,
    grant: next,
    spent: grant.fingerprint,
    expected: version,
  })
  coolDowns.succeeded(grant.fingerprint)
  if (written === undefined) return 'changed'
  if (answer.access instanceof TokenRequestError) return coolDowns.failed(next.fingerprint, answer.access)
  const { accessToken: token, expiresIn, sentAt } = answer.access
  const basis = basisOf(written, askedAt)
  return { secret: { scheme: 'Bearer', token }, expiresIn, sentAt, source: 'idp', basis }
}

function rotated({ grants, clock }: RenewalRooms, grant: LivingGrant, answer: RefreshAnswer): Grant {
  const { refreshToken, scopes, sentAt, access } = answer
  // If the token stays the same and the answer states no end, the end stays too.
  const refreshEndsAt =
    refreshEnd(answer, sentAt, clock) ?? (refreshToken === undefined ? grant.refreshEndsAt : undefined)
  const accessToken =
    access instanceof TokenRequestError ? undefined : sharedAccessToken(access, grants.askedFor, clock)
  return {
    ...lasting(grant),
    state: 'active',
    refreshToken: refreshToken ?? grant.refreshToken,
    fingerprint: refreshToken === undefined ? grant.fingerprint : grants.fingerprint(refreshToken),
    scopes: scopes ?? grant.scopes,
    ...(refreshEndsAt !== undefined && { refreshEndsAt }),
    ...(accessToken !== undefined && { accessToken }),
  }
}
