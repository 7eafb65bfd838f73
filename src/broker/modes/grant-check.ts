import type { Clock } from '../../clock.js'
import type { Config } from '../../config/config.js'
import { ConfigurationError, StorageError } from '../../errors/errors.js'
import { consentingClient, whyUnusable, type Grant } from '../../grants/grant.js'
import type { GrantStore, StoredGrant } from '../../grants/grant-store.js'
import { createSingleFlight } from '../../single-flight.js'
import type { Caller, FreshToken, Mode, Standing } from './mode.js'

/** What a mode with grants needs to know whether what it has cached still stands. */
export interface GrantCheckParts {
  readonly config: Config
  readonly store: Pick<GrantStore, 'keyOf' | 'version' | 'read'>
  readonly clock: Clock
  /** What callers are handed from a grant, where it is in the grant itself. */
  readonly tokenOf: (grant: Grant) => string | undefined
  /** The same, for the cache; undefined where it will not do any more. */
  readonly fresh: (stored: StoredGrant) => FreshToken | undefined
}

/** Whether a caller may have what came from a grant, and whether the grant is still there. */
export function createGrantCheck(parts: GrantCheckParts): Required<Pick<Mode, 'permits' | 'check'>> {
  const { config, store, clock, tokenOf, fresh } = parts
  const consent = config.grants?.consent
  const grantCheck = config.cache.grantCheck * 1_000
  const checks = createSingleFlight<boolean | FreshToken>()
  /** The last look into the store failed: the next ones are not waited for. */
  let storeFailing = false

  function permits({ clientId }: Caller, standing: Standing | undefined): boolean {
    const client = consentingClient(consent, clientId)
    return client === undefined || standing?.clients.includes(client) === true
  }

  /** Looks whether the grant is still what the token stands on. */
  async function look(key: string, token: string, standing: Standing): Promise<boolean | FreshToken> {
    if ((await store.version(key)) !== standing.version) {
      const stored = await store.read(key)
      if (stored === undefined || whyUnusable(stored.grant, undefined, clock.now()) !== undefined) return false
      if (tokenOf(stored.grant) !== token) return fresh(stored) ?? false
      standing.version = stored.version
      standing.clients = stored.grant.clients
    }
    standing.checkedAt = clock.monotonic()
    return true
  }

  async function lookSafely(key: string, token: string, standing: Standing): Promise<boolean | FreshToken> {
    try {
      const outcome = await look(key, token, standing)
      storeFailing = false
      return outcome
    } catch (error) {
      if (!(error instanceof StorageError || error instanceof ConfigurationError)) throw error
      // A living token is served through an outage.
      storeFailing = true
      standing.checkedAt = clock.monotonic()
      return true
    }
  }

  return {
    permits,
    check(caller, token, standing) {
      const permitted = permits(caller, standing)
      if (permitted && clock.monotonic() - standing.checkedAt < grantCheck) return true
      const key = store.keyOf(caller)
      const looking = checks.join(key, () => lookSafely(key, token, standing))
      if (permitted && storeFailing) {
        looking.catch(() => undefined)
        return true
      }
      return looking.then((outcome) => {
        const now = typeof outcome === 'object' ? outcome.standing : standing
        // Got anew, it is refused with the reason.
        return permits(caller, now) && outcome
      })
    },
  }
}
