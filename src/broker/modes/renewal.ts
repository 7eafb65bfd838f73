import { randomUUID } from 'node:crypto'
import type { CoolDowns } from '../../transport/cool-down.js'
import { quirksOf } from '../../presets.js'
import type { RefreshAnswer } from '../../authorization-server/token-answer.js'
import {
  asMcpAuthError,
  NotProvisionedError,
  TokenRequestError,
  UpstreamUnavailableError,
} from '../../errors/errors.js'
import {
  deadGrant,
  isRefreshable,
  type Grant,
  type Identity,
  sharedAccessToken,
  type LivingGrant,
  wallTime,
} from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import type { Lease } from '../../grants/lease.js'
import type { FreshToken } from './mode.js'
import type { RefreshTokenParts } from './refresh-token-parts.js'

/**
 * Spends the refresh token of a grant for a fresh access token, if this instance gets to be the one who does; undefined when the
 * grant has changed, or another instance is at it.
 */
export type Renewal = (key: string, identity: Identity, stored: StoredGrant) => Promise<FreshToken | undefined>

/** What is to become {@link Marked}. */
interface Marking extends Pick<Marked, 'key' | 'identity' | 'grant'> {
  readonly write: (expected: string) => Promise<string | null>
}

/** A renewal under way: the grant is marked in the store, so that no other instance takes its token for unspent. */
interface Marked {
  readonly key: string
  readonly identity: Identity
  readonly grant: LivingGrant
  readonly version: string
  readonly lease: Lease
}

/**
 * Milliseconds that a token which another instance has sent is left alone, once that instance has no lease any more: it may have
 * an answer that it could not store yet. After an outage of the store its client connects anew later than this one's may have:
 * the packages for Redis wait 2.2 s between attempts.
 */
const GRACE = 3_000
const GRACE_LOOKS = 12
const LEASE_LOST = new Error('The lease ran out before the refresh token was sent')

export function createRenewal(parts: RefreshTokenParts, coolDowns: CoolDowns): Renewal {
  const { nextcloud, client, clock, events, grants } = parts
  const { store, rotations } = grants
  const quirks = quirksOf(nextcloud.preset)
  /** Names this instance in the mark. */
  const instance = randomUUID()

  function requestParameters(): URLSearchParams {
    const parameters = new URLSearchParams(nextcloud.parameters)
    for (const value of nextcloud.resource) parameters.append('resource', value)
    const scopes = nextcloud.fixedScopes
    if (quirks.scopesOnRefresh && scopes.length > 0) parameters.set('scope', scopes.join(' '))
    return parameters
  }

  /** Write-ahead: whoever finds the mark knows that the token may be spent. Undefined when the grant has changed meanwhile. */
  async function mark(
    { key, identity, grant, write }: Marking,
    { grant: before, version }: StoredGrant,
    lease: Lease,
  ): Promise<Marked | undefined> {
    const { presentedBy } = before
    if (presentedBy !== undefined && presentedBy !== instance && (await changes(key, version))) return undefined
    const next = await write(version)
    return next === null ? undefined : { key, identity, grant, version: next, lease }
  }

  async function changes(key: string, version: string): Promise<boolean> {
    for (let looks = 0; looks < GRACE_LOOKS; looks += 1) {
      await clock.sleep(GRACE / GRACE_LOOKS)
      if ((await store.version(key)) !== version) return true
    }
    return false
  }

  async function present(marked: Marked): Promise<FreshToken | undefined> {
    const { grant, lease } = marked
    let answer: RefreshAnswer | undefined
    try {
      answer = await client.refresh(grant.refreshToken, requestParameters(), () => {
        if (!lease.isHeld()) throw LEASE_LOST
      })
    } catch (error) {
      if (error === LEASE_LOST) return undefined
      await leave(marked, error)
      return coolDowns.failed(grant.fingerprint, error)
    }
    return answer === undefined ? refused(marked) : stored(marked, answer)
  }

  /** Nothing came of it: the grant stays, and says so. */
  async function leave({ key, grant, version }: Marked, error: unknown): Promise<void> {
    const unspent = !(error instanceof UpstreamUnavailableError) || error.unprocessed
    const lastError = { code: asMcpAuthError(error).code, at: clock.now() }
    const left: Grant = { ...grant, presentedBy: undefined, state: unspent ? 'active' : 'presented', lastError }
    // Where it cannot be written, the mark that is left costs the next one some patience.
    await store.write(key, left, version).catch(() => undefined)
  }

  /**
   * The server takes the token for dead, which another instance may have spent. Only a grant that is unchanged to this moment, as
   * the compare-and-set sees to, has lost its connection.
   */
  async function refused({ key, identity, grant, version }: Marked): Promise<undefined> {
    const dead = deadGrant(grant, 'needs-reconnect', 'refused', clock.now())
    if ((await store.write(key, dead, version)) === null) return undefined
    events.emit({ type: 'grant.lost', ...identity, fingerprint: grant.fingerprint, reason: 'revoked' })
    throw new NotProvisionedError('revoked')
  }

  /** The new refresh token has to be in the store before the access token is handed out. */
  async function stored(
    { key, identity, grant, version }: Marked,
    answer: RefreshAnswer,
  ): Promise<FreshToken | undefined> {
    const next = rotated(grant, answer)
    const written = await rotations.write({ key, grant: next, spent: grant.fingerprint, expected: version })
    coolDowns.succeeded(grant.fingerprint)
    if (written === undefined) return undefined
    events.emit({ type: 'grant.rotated', ...identity, fingerprint: next.fingerprint, previous: grant.fingerprint })
    if (answer.access instanceof TokenRequestError) return coolDowns.failed(next.fingerprint, answer.access)
    const standing = { version: written.version, clients: written.grant.clients, checkedAt: clock.monotonic() }
    return { ...answer.access, source: 'idp', standing }
  }

  function rotated(
    grant: LivingGrant,
    { refreshToken, refreshExpiresIn, scopes, sentAt, access }: RefreshAnswer,
  ): Grant {
    const { format, generation, clients, connectedAt } = grant
    const endsAt = refreshExpiresIn === undefined ? undefined : wallTime(sentAt, clock) + refreshExpiresIn * 1_000
    // Where the token stays the same and nothing new is said of its end, the end stays too.
    const refreshEndsAt = endsAt ?? (refreshToken === undefined ? grant.refreshEndsAt : undefined)
    const accessToken = access instanceof TokenRequestError ? undefined : sharedAccessToken(access, clock)
    return {
      format,
      generation,
      clients,
      connectedAt,
      state: 'active',
      refreshToken: refreshToken ?? grant.refreshToken,
      fingerprint: refreshToken === undefined ? grant.fingerprint : grants.fingerprint(refreshToken),
      scopes: scopes ?? grant.scopes,
      ...(refreshEndsAt !== undefined && { refreshEndsAt }),
      ...(accessToken !== undefined && { accessToken }),
    }
  }

  return async (key, identity, stored) => {
    if (!isRefreshable(stored.grant)) return undefined
    const grant: LivingGrant = { ...stored.grant, state: 'presented', presentedBy: instance }
    // Sealed while the store is asked for the lease.
    const marking = { key, identity, grant, write: store.prepare(key, grant) }
    const lease = await grants.acquireLease(key)
    if (lease === undefined) return undefined
    try {
      const marked = await mark(marking, stored, lease)
      return marked && (await present(marked))
    } finally {
      // Nobody who waits for a token waits for this.
      grants.background(lease.release())
    }
  }
}
