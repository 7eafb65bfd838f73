import { LRUCache } from 'lru-cache'
import {
  ConfigurationError,
  NotProvisionedError,
  StorageError,
  SubjectTokenRejectedError,
} from '../../errors/errors.js'
import { change } from '../../grants/change.js'
import { consentingClient, isLiving, refusedGrant, serves, whyUnusable, type Grant } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import { isOver } from '../../grants/withdrawals.js'
import { isSameSecret, type Secret } from '../../nextcloud/credential.js'
import type { Basis, Consent, Consenting, FreshToken, GrantCheck, GrantModeRooms, GrantOf, Look } from './mode.js'

/** The rooms that the check needs. */
export interface GrantCheckRooms extends Pick<GrantModeRooms, 'config' | 'grants' | 'clock'> {
  /** Returns the secret that callers get from a grant; undefined if the grant has none. */
  readonly secretOf: (grant: Grant) => Secret | undefined
  /** Returns it for the cache; undefined if it will not do any more. */
  readonly fresh: (stored: StoredGrant) => FreshToken | undefined
}

/** The looks that failed: those that would only fail again are not waited for. */
interface Health {
  /** Keys whose last look failed, and when (monotonic ms). One failing record is no reason to trust the tokens of other users. */
  readonly failing: LRUCache<string, number>
  /** Keys that failed without a success of any key between: many of them mean that the store is unavailable. */
  readonly run: Set<string>
  /** Monotonic milliseconds of the last failure of any key. */
  failedAt: number
}

const MOST_FAILING = 10_000
/** Different keys in a row. */
const UNAVAILABLE = 3
/**
 * Milliseconds at least for which a failure is believed to last: a store that has come back since may know that a token is over, and no
 * call is answered without it then.
 */
const LEAST_BELIEVED = 1_000
/** Milliseconds at least for which calls join a look that is under way. */
const SHARED_FOR = 1_000

export function createGrantCheck(rooms: GrantCheckRooms): GrantCheck {
  const { config, grants, clock } = rooms
  const grantCheck = config.cache.grantCheck * 1_000
  const consent = config.grants?.consent
  const looks = new WeakMap<Basis, { readonly outcome: Look['outcome']; readonly startedAt: number }>()
  const isRecent: GrantCheck['isRecent'] = (checkedAt, calledAt) =>
    calledAt - checkedAt <= Math.max(grantCheck, SHARED_FOR)
  const health: Health = { failing: new LRUCache({ max: MOST_FAILING }), run: new Set(), failedAt: -Infinity }
  // The next look after a failure is due when `grantCheck` is over.
  const believed = Math.max(2 * grantCheck, LEAST_BELIEVED)
  const wouldFail = (key: string): boolean => {
    const since = clock.monotonic() - believed
    return (health.failing.get(key) ?? -Infinity) > since || (health.run.size >= UNAVAILABLE && health.failedAt > since)
  }
  const permits: GrantCheck['permits'] = ({ clientId, withdrawals }, grant) => {
    if (isOver(grant?.withdrawals, clientId, withdrawals)) return false
    const client = consentingClient(consent, clientId)
    return client === undefined || (grant !== undefined && serves(grant, client))
  }
  return {
    permits,
    isRecent,
    denial: (caller, grant) =>
      overToken(caller, grant) ?? (permits(caller, grant) ? undefined : new NotProvisionedError('consent')),
    async read(identity) {
      const key = grants.store.keyOf(identity)
      // A rotated token that is not stored yet is the one that lives.
      await grants.rotations.flush(key)
      return grants.store.find(identity)
    },
    refusal: (caller, grant) => {
      const over = overToken(caller, grant)
      if (over !== undefined) return over
      // A grant without any clients has ended for everybody.
      if (grant === undefined || grant.clients.length === 0 || permits(caller, grant)) return undefined
      return new NotProvisionedError(whyUnusable(grant, caller.clientId, clock.now()) ?? 'consent')
    },
    used: ({ identity, clientId }, granted) => {
      if (clientId !== undefined && granted?.clients.includes(clientId) === true) grants.uses.note(identity, clientId)
    },
    check: (caller, secret, basis) => {
      const permitted = permits(caller, basis.consent)
      const now = clock.monotonic()
      if (permitted && now - basis.checkedAt < grantCheck) return true
      const key = grants.store.keyOf(caller.identity)
      const awaited = !permitted || !wouldFail(key)
      const known = looks.get(basis)
      if (known !== undefined && isRecent(known.startedAt, now)) return { outcome: known.outcome, awaited }
      const outcome = servingThrough(look(rooms, key, secret, basis), { clock, health, key }, basis)
      const ended = (): unknown => looks.delete(basis)
      looks.set(basis, { outcome, startedAt: now })
      outcome.then(ended, ended)
      return { outcome, awaited }
    },
  }
}

/** Returns the refusal of a token that is over: a new connection does not mend it, and a new token does. */
function overToken(
  { clientId, withdrawals }: Consenting,
  grant: Pick<Consent, 'withdrawals'> | undefined,
): SubjectTokenRejectedError | undefined {
  return isOver(grant?.withdrawals, clientId, withdrawals) ? new SubjectTokenRejectedError() : undefined
}

/** Returns what the basis of a token keeps of a grant. */
export const basisOf = ({ grant, version, askedAt }: StoredGrant, now: number): Basis => ({
  version,
  consent: consentOf(grant),
  checkedAt: askedAt ?? now,
})

const consentOf = ({ clients, withdrawals }: Grant): Consent => ({ clients, withdrawals })

/** Lets a living token serve through an outage of the store. */
async function servingThrough(
  looking: Promise<boolean | FreshToken>,
  { clock, health, key }: Pick<GrantCheckRooms, 'clock'> & { readonly health: Health; readonly key: string },
  basis: Basis,
): Promise<boolean | FreshToken> {
  try {
    const seen = await looking
    recovered(health, key)
    return seen
  } catch (error) {
    if (error instanceof StorageError || error instanceof ConfigurationError) {
      const now = clock.monotonic()
      health.failing.set(key, now)
      health.failedAt = now
      if (health.run.size < UNAVAILABLE) health.run.add(key)
      basis.checkedAt = now
      return true
    }
    // The store has answered, even if what it holds cannot be opened.
    recovered(health, key)
    throw error
  }
}

function recovered({ failing, run }: Health, key: string): void {
  if (run.size >= UNAVAILABLE) failing.clear()
  failing.delete(key)
  run.clear()
}

/** Looks whether the grant is still the one that the token came from. */
async function look(
  { grants, clock, secretOf, fresh }: GrantCheckRooms,
  key: string,
  secret: Secret,
  basis: Basis,
): Promise<boolean | FreshToken> {
  const askedAt = clock.monotonic()
  if ((await grants.store.version(key)) !== basis.version) {
    const stored = await grants.store.read(key)
    if (stored === undefined || whyUnusable(stored.grant, undefined, clock.now()) !== undefined) return false
    if (!isSameSecret(secretOf(stored.grant), secret)) return fresh(stored) ?? false
    basis.version = stored.version
    basis.consent = consentOf(stored.grant)
  }
  basis.checkedAt = askedAt
  return true
}

/**
 * Marks a grant as dead whose credential was refused. Another instance may have replaced the credential meanwhile, or be about to: only a
 * grant that has the same one to this moment, as the compare-and-set sees to, has lost its connection. Where a consent alone has changed,
 * the credential must not be sent again to be refused again.
 *
 * @returns whether it had the same one
 */
export function bury(rooms: GrantModeRooms, { key, identity }: GrantOf, stored: StoredGrant): Promise<boolean> {
  const { grants, clock, events } = rooms
  let { grant, version } = stored
  return change('the grant', async () => {
    if ((await grants.store.write(key, refusedGrant(grant, clock.now()), version)) !== null) {
      events.emit({ type: 'grant.lost', ...identity, fingerprint: grant.fingerprint, reason: 'revoked' })
      return true
    }
    const present = await grants.store.read(key)
    if (present === undefined || !isSameCredential(present.grant, grant)) return false
    ;({ grant, version } = present)
    return 'late'
  })
}

function isSameCredential(one: Grant, other: Grant): boolean {
  const { generation, fingerprint, presentedBy } = other
  const isUnmoved = one.generation === generation && one.presentedBy === presentedBy
  return isLiving(one) && isUnmoved && one.fingerprint === fingerprint
}
