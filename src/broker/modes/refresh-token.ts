import { LRUCache } from 'lru-cache'
import { createCoolDowns } from '../../transport/cool-down.js'
import { quirksOf } from '../../presets.js'
import { NotProvisionedError, UpstreamUnavailableError } from '../../errors/errors.js'
import { deadGrant, whyUnusable, type Identity } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import type { RefreshTokenParts } from './refresh-token-parts.js'
import { createGrantCheck } from './grant-check.js'
import type { Caller, FreshToken, Mode, Present } from './mode.js'
import { createRenewal } from './renewal.js'
import { tokenLife } from '../token-cache.js'

/** Milliseconds between looks at a grant that another instance is renewing; they double, up to the longest. */
const FIRST_PAUSE = 25
const LONGEST_PAUSE = 500
/** Milliseconds beyond the lease of an instance that may have died: for its successor to get an answer. */
const PATIENCE_BEYOND_LEASE = 5_000
/** Milliseconds beyond its stated end for which a refresh token is kept. */
const EXPIRED_KEPT = 24 * 3_600_000
/** Refresh tokens whose failures are remembered at one time. */
const COOL_DOWNS = 10_000

/** RFC 6749 §6, on a grant that the user gave once and that several instances share. */
export function refreshTokenMode(parts: RefreshTokenParts): Mode {
  const { config, nextcloud, clock, events, grants } = parts
  const { store, rotations } = grants
  const quirks = quirksOf(nextcloud.preset)
  const timing = {
    renewBefore: quirks.refreshEndsAccessToken ? 0 : config.cache.renewBefore,
    margin: quirks.margin,
  }
  const coolDowns = createCoolDowns(clock, COOL_DOWNS)
  const reportedExpired = new LRUCache<string, true>({ max: COOL_DOWNS })
  const renew = createRenewal(parts, coolDowns)

  /** The access token that is in the store, when it will do. */
  function sharedToken({ grant, version }: StoredGrant, present: Present): FreshToken | undefined {
    const shared = grant.accessToken
    if (shared === undefined || shared.token === present.notThis) return undefined
    const now = clock.monotonic()
    // Another machine's clock said when; ours may be behind.
    const age = Math.max(0, clock.now() - shared.sentAt)
    const answer = { accessToken: shared.token, expiresIn: shared.expiresIn, sentAt: now - age }
    const life = tokenLife(answer, timing)
    if (life === undefined || now >= life.ownEnd - (present.ahead === true ? life.ahead : 0)) return undefined
    return { ...answer, source: 'store', standing: { version, clients: grant.clients, checkedAt: now } }
  }

  async function usable(key: string, identity: Identity, stored: StoredGrant | undefined): Promise<StoredGrant> {
    const reason = whyUnusable(stored?.grant, undefined, clock.now())
    if (stored !== undefined && reason === undefined) return stored
    if (stored?.grant.refreshToken !== undefined) await expire(key, identity, stored)
    throw new NotProvisionedError(reason ?? 'never')
  }

  /**
   * The stated end of a refresh token has passed by this machine's clock: the server need not be asked. It may be this clock that is
   * wrong, so the token is thrown away only long after that.
   */
  async function expire(key: string, identity: Identity, { grant, version }: StoredGrant): Promise<void> {
    if (!reportedExpired.has(grant.fingerprint)) {
      reportedExpired.set(grant.fingerprint, true)
      events.emit({ type: 'grant.lost', ...identity, fingerprint: grant.fingerprint, reason: 'expired' })
    }
    if (clock.now() < (grant.refreshEndsAt ?? Infinity) + EXPIRED_KEPT) return
    await store.write(key, deadGrant(grant, 'needs-reconnect', 'expired', clock.now()), version)
  }

  async function getFreshToken(caller: Caller, present: Present): Promise<FreshToken> {
    const identity = { issuer: caller.issuer, subject: caller.subject }
    const key = store.keyOf(identity)
    const patience = clock.monotonic() + grants.leaseLife + PATIENCE_BEYOND_LEASE
    let { notThis } = present
    for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      await rotations.flush(key)
      const stored = await usable(key, identity, await store.read(key))
      // Whatever is there when somebody comes without a token and takes the last one as bad, is that one.
      if (present.force === true) notThis ??= stored.grant.accessToken?.token ?? ''
      const shared = sharedToken(stored, { ...present, notThis })
      if (shared !== undefined) return shared
      coolDowns.check(stored.grant.fingerprint)
      const fresh = await renew(key, identity, stored)
      if (fresh !== undefined) return fresh
      if (clock.monotonic() >= patience) {
        throw new UpstreamUnavailableError('Another instance has been refreshing this grant for too long', {
          retryAfter: 1,
        })
      }
      await clock.sleep(pause * (0.5 + clock.random()))
    }
  }

  return {
    getFreshToken: (caller, _target, present) => getFreshToken(caller, present),
    boundToMcpToken: false,
    ...timing,
    ...createGrantCheck({
      config,
      store,
      clock,
      tokenOf: ({ accessToken }) => accessToken?.token,
      fresh: (stored) => sharedToken(stored, {}),
    }),
  }
}
