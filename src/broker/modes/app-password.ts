import { LRUCache } from 'lru-cache'
import { NotProvisionedError, UpstreamUnavailableError } from '../../errors/errors.js'
import { ifError } from '../../errors/if-error.js'
import { change } from '../../grants/change.js'
import { whyUnusable, type Grant } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import { isSameSecret, type Secret } from '../../nextcloud/credential.js'
import { bury, createGrantCheck } from './grant-check.js'
import type { Caller, FreshToken, GrantCheck, GrantModeRooms, Have, Mode } from './mode.js'
import { revive } from './revival.js'

interface AppPasswordRooms extends GrantModeRooms {
  /** Monotonic milliseconds at which Nextcloud last said that it takes an app password, by fingerprint. */
  readonly proven: LRUCache<string, number>
}

/**
 * Seconds for which an app password serves without the store. It has no end of its own: this is how long a store may be unavailable
 * until tools notice.
 */
const KEPT = 3_600
/** Milliseconds in which Nextcloud is not asked again about an app password that it has just taken, however many 401 there are. */
const PROVEN_FOR = 60_000
const MOST_PROVEN = 10_000
/** Milliseconds for which an app password is good without proof, because Nextcloud has just given it. */
const NEW_FOR = 30 * 60_000
/** Seconds. */
const RETRY_WHEN_FULL = 300

/** An app password of the user, which Nextcloud gave once (Login Flow v2) and which several instances share. */
export function appPasswordMode(modeRooms: GrantModeRooms): Mode {
  const rooms = { ...modeRooms, proven: new LRUCache<string, number>({ max: MOST_PROVEN }) }
  const check = createGrantCheck({ ...rooms, secretOf, fresh: (stored) => fresh(rooms, stored) })
  return {
    getFreshToken: (caller, _target, have, found) => getFreshToken({ ...rooms, check }, caller, have, found),
    boundToMcpToken: false,
    renewBefore: rooms.config.cache.renewBefore,
    margin: 0,
    provesRefusals: true,
    tryAgain: async (caller) =>
      getFreshToken({ ...rooms, check }, caller, {}, await check.read(caller.identity)).then(
        () => true,
        ifError(NotProvisionedError, () => false),
      ),
    grants: check,
  }
}

function getFreshToken(
  rooms: AppPasswordRooms & { readonly check: GrantCheck },
  caller: Pick<Caller, 'identity' | 'clientId'>,
  { notThis, force, proven, ahead }: Have,
  given: StoredGrant | undefined,
): Promise<FreshToken> {
  const { grants, check, clock, signIns } = rooms
  const { identity } = caller
  const key = grants.store.keyOf(identity)
  let attempts = 0
  return change('the grant', async () => {
    const stored = attempts++ === 0 ? given : await check.read(identity)
    // The user may have taken the consent back meanwhile.
    const reason = check.whyNot(caller, stored?.grant) ?? whyUnusable(stored?.grant, undefined, clock.now())
    if (stored !== undefined && reason === 'revoked') {
      const revived = await revive(rooms, { key, caller, stored })
      if (revived !== undefined) return revived === 'late' ? 'late' : found(rooms, revived)
    }
    if (stored === undefined || reason !== undefined) throw new NotProvisionedError(reason ?? 'never')
    const usable = found(rooms, stored)
    // One that is renewed ahead is at work.
    if (force !== true || !isSameSecret(usable.secret, notThis))
      return ahead === true ? usable : checked(rooms, stored.grant, usable)
    // A 401 of one route is not the end of an app password: Nextcloud must refuse it where it says who the user is.
    if (proven === true || (await isRefused(rooms, stored.grant))) {
      signIns.refused()
      if (await bury(rooms, { key, identity }, stored)) throw new NotProvisionedError('revoked')
      return 'late'
    }
    // Nextcloud may have taken a while, in which the user ended the connection.
    return (await grants.store.version(key)) === stored.version ? usable : 'late'
  })
}

/** @throws {NotProvisionedError} the grant has no app password */
function found(rooms: AppPasswordRooms, stored: StoredGrant): FreshToken {
  const token = fresh(rooms, stored)
  if (token === undefined) throw new NotProvisionedError('never')
  return token
}

/**
 * Keeps an app password back of which this process knows nothing, while so many were refused that one more could turn everybody away.
 *
 * @throws {UpstreamUnavailableError} it may be sent later
 */
function checked({ signIns, clock, proven }: AppPasswordRooms, grant: Grant, usable: FreshToken): FreshToken {
  const isKnown = proven.has(grant.fingerprint) || clock.now() < grant.connectedAt + NEW_FOR
  if (isKnown || !signIns.isFull()) return usable
  throw new UpstreamUnavailableError('Nextcloud refused too many app passwords, and this one is not known to be good', {
    service: 'Nextcloud',
    retryAfter: RETRY_WHEN_FULL,
  })
}

async function isRefused(rooms: AppPasswordRooms, { fingerprint, appPassword }: Grant): Promise<boolean> {
  const { appPasswords, clock, proven, signIns } = rooms
  const askedAt = clock.monotonic()
  if (appPassword === undefined || askedAt < (proven.get(fingerprint) ?? -Infinity) + PROVEN_FOR) return false
  const refused = await appPasswords.isRefused(appPassword)
  if (refused === false) proven.set(fingerprint, askedAt)
  // The 401 at hand was one, and this is another.
  if (refused === true) signIns.refused()
  return refused === true
}

/** Returns the app password for the cache; undefined if the grant has none. */
function fresh({ clock }: AppPasswordRooms, { grant, version }: StoredGrant): FreshToken | undefined {
  const secret = secretOf(grant)
  if (secret === undefined) return undefined
  const now = clock.monotonic()
  const basis = { version, clients: grant.clients, checkedAt: now }
  return { secret, expiresIn: KEPT, sentAt: now, source: 'store', basis }
}

function secretOf({ appPassword }: Grant): Secret | undefined {
  if (appPassword === undefined) return undefined
  const { loginName, password } = appPassword
  return { scheme: 'Basic', loginName, password }
}
