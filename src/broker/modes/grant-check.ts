import { ConfigurationError, StorageError } from '../../errors/errors.js'
import { consentingClient, refusedGrant, whyUnusable, type Grant } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import { isSameSecret, type Secret } from '../../nextcloud/credential.js'
import { createSingleFlight } from '../../single-flight.js'
import type { Basis, FreshToken, GrantCheck, GrantModeRooms, GrantOf } from './mode.js'

/** The rooms that the check needs. */
export interface GrantCheckRooms extends Pick<GrantModeRooms, 'config' | 'grants' | 'clock'> {
  /** Returns the secret that callers get from a grant; undefined if the grant has none. */
  readonly secretOf: (grant: Grant) => Secret | undefined
  /** Returns it for the cache; undefined if it will not do any more. */
  readonly fresh: (stored: StoredGrant) => FreshToken | undefined
}

export function createGrantCheck(rooms: GrantCheckRooms): GrantCheck {
  const { config, grants, clock } = rooms
  const grantCheck = config.cache.grantCheck * 1_000
  const looks = createSingleFlight<boolean | FreshToken>()
  /** Whether the last look into the store failed: the next ones are not waited for. */
  const health = { failing: false }
  const permits: GrantCheck['permits'] = ({ clientId }, basis) => {
    const client = consentingClient(config.grants?.consent, clientId)
    return client === undefined || basis?.clients.includes(client) === true
  }
  return {
    permits,
    check: (caller, secret, basis) => {
      const permitted = permits(caller, basis)
      if (permitted && clock.monotonic() - basis.checkedAt < grantCheck) return true
      const key = grants.store.keyOf(caller.identity)
      const looking = looks.join(key, () => servingThrough(look(rooms, key, secret, basis), rooms, health, basis))
      if (permitted && health.failing) {
        looking.catch(() => undefined)
        return true
      }
      // Fetching again rejects with the reason.
      return looking.then((seen) => permits(caller, typeof seen === 'object' ? seen.basis : basis) && seen)
    },
  }
}

/** Lets a living token serve through an outage of the store. */
async function servingThrough(
  looking: Promise<boolean | FreshToken>,
  { clock }: GrantCheckRooms,
  health: { failing: boolean },
  basis: Basis,
): Promise<boolean | FreshToken> {
  try {
    const seen = await looking
    health.failing = false
    return seen
  } catch (error) {
    if (!(error instanceof StorageError || error instanceof ConfigurationError)) throw error
    health.failing = true
    basis.checkedAt = clock.monotonic()
    return true
  }
}

/** Looks whether the grant is still the one that the token came from. */
async function look(
  { grants, clock, secretOf, fresh }: GrantCheckRooms,
  key: string,
  secret: Secret,
  basis: Basis,
): Promise<boolean | FreshToken> {
  if ((await grants.store.version(key)) !== basis.version) {
    const stored = await grants.store.read(key)
    if (stored === undefined || whyUnusable(stored.grant, undefined, clock.now()) !== undefined) return false
    if (!isSameSecret(secretOf(stored.grant), secret)) return fresh(stored) ?? false
    basis.version = stored.version
    basis.clients = stored.grant.clients
  }
  basis.checkedAt = clock.monotonic()
  return true
}

/**
 * Marks a grant as dead whose credential was refused. Another instance may have replaced the credential meanwhile: only a grant that
 * is unchanged to this moment, as the compare-and-set sees to, has lost its connection.
 *
 * @returns whether it was unchanged
 */
export async function bury(rooms: GrantModeRooms, { key, identity }: GrantOf, stored: StoredGrant): Promise<boolean> {
  const { grants, clock, events } = rooms
  const { grant, version } = stored
  const dead = refusedGrant(grant, clock.now())
  if ((await grants.store.write(key, dead, version)) === null) return false
  events.emit({ type: 'grant.lost', ...identity, fingerprint: grant.fingerprint, reason: 'revoked' })
  return true
}
