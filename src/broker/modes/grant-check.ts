import type { Clock } from '../../clock.js'
import type { Config } from '../../config/config.js'
import { ConfigurationError, StorageError } from '../../errors/errors.js'
import { consentingClient, whyUnusable, type Grant } from '../../grants/grant.js'
import type { GrantStore, StoredGrant } from '../../grants/grant-store.js'
import { isSameSecret, type Secret } from '../../nextcloud/credential.js'
import { createSingleFlight } from '../../single-flight.js'
import type { Basis, FreshToken, GrantCheck } from './mode.js'

/** The rooms that the check needs. */
export interface GrantCheckRooms {
  readonly config: Config
  readonly store: Pick<GrantStore, 'keyOf' | 'version' | 'read'>
  readonly clock: Clock
  /** Returns the secret that callers get from a grant; undefined if the grant has none. */
  readonly secretOf: (grant: Grant) => Secret | undefined
  /** The same, for the cache; undefined if it will not do any more. */
  readonly fresh: (stored: StoredGrant) => FreshToken | undefined
}

/** A cached token, with the key of its grant. */
interface Cached {
  readonly key: string
  readonly secret: Secret
  readonly basis: Basis
}

export function createGrantCheck(rooms: GrantCheckRooms): GrantCheck {
  const { config, store, clock } = rooms
  const consent = config.grants?.consent
  const grantCheck = config.cache.grantCheck * 1_000
  const looks = createSingleFlight<boolean | FreshToken>()
  /** Whether the last look into the store failed: the next ones are not waited for. */
  const health = { failing: false }
  const permits: GrantCheck['permits'] = ({ clientId }, basis) => {
    const client = consentingClient(consent, clientId)
    return client === undefined || basis?.clients.includes(client) === true
  }
  return {
    permits,
    check: (caller, secret, basis) => {
      const permitted = permits(caller, basis)
      if (permitted && clock.monotonic() - basis.checkedAt < grantCheck) return true
      const key = store.keyOf(caller.identity)
      const looking = looks.join(key, () => lookSafely(rooms, health, { key, secret, basis }))
      if (permitted && health.failing) {
        looking.catch(() => undefined)
        return true
      }
      // Fetching again rejects with the reason.
      return looking.then((seen) => permits(caller, typeof seen === 'object' ? seen.basis : basis) && seen)
    },
  }
}

/** Serves a living token through an outage of the store. */
async function lookSafely(
  rooms: GrantCheckRooms,
  health: { failing: boolean },
  cached: Cached,
): Promise<boolean | FreshToken> {
  try {
    const seen = await look(rooms, cached)
    health.failing = false
    return seen
  } catch (error) {
    if (!(error instanceof StorageError || error instanceof ConfigurationError)) throw error
    health.failing = true
    cached.basis.checkedAt = rooms.clock.monotonic()
    return true
  }
}

/** Looks whether the grant is still the one that the token came from. */
async function look(rooms: GrantCheckRooms, { key, secret, basis }: Cached): Promise<boolean | FreshToken> {
  const { store, clock } = rooms
  if ((await store.version(key)) !== basis.version) {
    const stored = await store.read(key)
    if (stored === undefined || whyUnusable(stored.grant, undefined, clock.now()) !== undefined) return false
    if (!isSameSecret(rooms.secretOf(stored.grant), secret)) return rooms.fresh(stored) ?? false
    basis.version = stored.version
    basis.clients = stored.grant.clients
  }
  basis.checkedAt = clock.monotonic()
  return true
}
