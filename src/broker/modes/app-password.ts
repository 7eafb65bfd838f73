import { LRUCache } from 'lru-cache'
import { NotProvisionedError } from '../../errors/errors.js'
import { change } from '../../grants/change.js'
import { deadGrant, whyUnusable, type AppPassword, type Grant, type Identity } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import type { AppPasswords } from '../../nextcloud/app-passwords.js'
import { basicCredentials } from '../../nextcloud/basic.js'
import { createGrantCheck } from './grant-check.js'
import type { FreshToken, Mode, Present } from './mode.js'
import type { RefreshTokenParts } from './refresh-token-parts.js'

/** The rooms that this mode needs. */
export interface AppPasswordParts extends Pick<RefreshTokenParts, 'config' | 'clock' | 'events'> {
  readonly grants: Pick<RefreshTokenParts['grants'], 'store'>
  readonly appPasswords: Pick<AppPasswords, 'isRefused'>
}

/**
 * Seconds for which an app password serves without the store. It has no end of its own: this is how long a store may be away until
 * tools notice.
 */
const KEPT = 3_600
/** Milliseconds in which Nextcloud is not asked again about an app password that it has just taken, however many 401 there are. */
const PROVEN_FOR = 60_000
const MOST_PROVEN = 10_000

/**
 * An app password of the user's, which Nextcloud gave once (Login Flow v2) and which several instances share. What the broker
 * knows as the token is what goes behind `Basic`.
 */
export function appPasswordMode(parts: AppPasswordParts): Mode {
  const { clock, events, appPasswords } = parts
  const { store } = parts.grants
  /** When Nextcloud last took an app password in answer to the question whether it does; by fingerprint. */
  const proven = new LRUCache<string, number>({ max: MOST_PROVEN })

  function fresh({ grant, version }: StoredGrant): FreshToken | undefined {
    if (grant.appPassword === undefined) return undefined
    const now = clock.monotonic()
    const standing = { version, clients: grant.clients, checkedAt: now }
    return { accessToken: basicCredentials(grant.appPassword), expiresIn: KEPT, sentAt: now, source: 'store', standing }
  }

  async function isRefused(fingerprint: string, appPassword: AppPassword): Promise<boolean> {
    const askedAt = clock.monotonic()
    if (askedAt < (proven.get(fingerprint) ?? -Infinity) + PROVEN_FOR) return false
    const refused = await appPasswords.isRefused(appPassword)
    if (refused === false) proven.set(fingerprint, askedAt)
    return refused === true
  }

  /** Only a grant that is unchanged to this moment, as the compare-and-set sees to, has lost its connection. */
  async function bury(key: string, identity: Identity, { grant, version }: StoredGrant): Promise<boolean> {
    const dead = deadGrant(grant, 'needs-reconnect', 'refused', clock.now())
    if ((await store.write(key, dead, version)) === null) return false
    events.emit({ type: 'grant.lost', ...identity, fingerprint: grant.fingerprint, reason: 'revoked' })
    return true
  }

  function getFreshToken(identity: Identity, { notThis, force }: Present): Promise<FreshToken> {
    const key = store.keyOf(identity)
    return change('the grant', async () => {
      const stored = await store.read(key)
      const reason = whyUnusable(stored?.grant, undefined, clock.now())
      const present = stored && fresh(stored)
      if (stored?.grant.appPassword === undefined || present === undefined || reason !== undefined) {
        throw new NotProvisionedError(reason ?? 'never')
      }
      // A 401 of one route is not the end of an app password: Nextcloud has to say so where it says who one is.
      if (force !== true || present.accessToken !== notThis) return present
      if (!(await isRefused(stored.grant.fingerprint, stored.grant.appPassword))) return present
      if (await bury(key, identity, stored)) throw new NotProvisionedError('revoked')
      return 'late'
    })
  }

  return {
    getFreshToken: ({ issuer, subject }, _target, present) => getFreshToken({ issuer, subject }, present),
    boundToMcpToken: false,
    renewBefore: parts.config.cache.renewBefore,
    margin: 0,
    provesRefusals: true,
    ...createGrantCheck({ config: parts.config, store, clock, tokenOf, fresh }),
  }
}

function tokenOf({ appPassword }: Grant): string | undefined {
  return appPassword && basicCredentials(appPassword)
}
