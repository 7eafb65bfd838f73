import { LRUCache } from 'lru-cache'
import { NotProvisionedError, UpstreamUnavailableError, type NotProvisionedReason } from '../../errors/errors.js'
import { ifError } from '../../errors/if-error.js'
import { change } from '../../grants/change.js'
import { identityKey, whyUnusable, type Grant, type Identity } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import { isSameSecret, type Secret } from '../../nextcloud/credential.js'
import { basisOf, bury, createGrantCheck } from './grant-check.js'
import type { Caller, FreshToken, GrantCheck, GrantModeRooms, GrantOf, Have, Mode } from './mode.js'
import { revive } from './revival.js'

interface AppPasswordRooms extends GrantModeRooms {
  /** The app password that Nextcloud last said it takes, and when (monotonic milliseconds), by its user. */
  readonly proven: LRUCache<string, { readonly fingerprint: string; readonly at: number }>
  /** Fingerprints of the app passwords that this process has handed out, by their users. */
  readonly known: LRUCache<string, string>
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
  const rooms = {
    ...modeRooms,
    proven: new LRUCache<string, { readonly fingerprint: string; readonly at: number }>({ max: MOST_PROVEN }),
    known: new LRUCache<string, string>({ max: MOST_PROVEN }),
  }
  const check = createGrantCheck({ ...rooms, secretOf, fresh: (stored) => fresh(rooms, stored) })
  return {
    getFreshToken: ({ caller, have }, found) => getFreshToken({ ...rooms, check }, caller, have, found),
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
    check: check.check,
  }
}

function getFreshToken(
  rooms: AppPasswordRooms & { readonly check: GrantCheck },
  caller: Pick<Caller, 'identity' | 'clientId'>,
  { notThis, force, proven }: Have,
  given: StoredGrant | undefined,
): Promise<FreshToken> {
  const { grants, check, clock } = rooms
  const { identity } = caller
  const key = grants.store.keyOf(identity)
  let attempts = 0
  return change('the grant', async () => {
    const stored = attempts++ === 0 ? given : await check.read(identity)
    // The user may have taken the consent back meanwhile.
    const refusal = check.refusal(caller, stored?.grant)
    if (refusal !== undefined) throw refusal
    const reason = whyUnusable(stored?.grant, undefined, clock.now())
    if (stored === undefined || reason !== undefined) {
      const revived = stored && reason === 'revoked' && (await revive(rooms, { key, caller, stored }))
      return revived === 'late' ? 'late' : found(rooms, revived || undefined, reason)
    }
    const usable = found(rooms, stored)
    if (force !== true || !isSameSecret(usable.secret, notThis))
      return checked(rooms, identity, { grant: stored.grant, usable })
    return (await buryIfRefused(rooms, { key, identity, stored, proven })) ?? usable
  })
}

/**
 * Ends the grant if Nextcloud refuses its app password. A 401 of one route is not the end of it: Nextcloud must refuse it in words of
 * its own, or where it says who the user is.
 *
 * @returns `late` if another writer was first; undefined if Nextcloud does not refuse it
 * @throws {NotProvisionedError} the grant is dead
 */
async function buryIfRefused(
  rooms: AppPasswordRooms,
  { stored, proven, ...of }: GrantOf & { readonly stored: StoredGrant; readonly proven: boolean | undefined },
): Promise<'late' | undefined> {
  if (proven === true || (await isRefused(rooms, of.identity, stored.grant))) {
    // Whoever has proof of it has counted it.
    if (proven !== true) rooms.signIns.refused(of.identity)
    if (await bury(rooms, of, stored)) throw new NotProvisionedError('revoked')
    return 'late'
  }
  // Nextcloud may have taken a while, in which the user ended the connection.
  return (await rooms.grants.store.version(of.key)) === stored.version ? undefined : 'late'
}

/** @throws {NotProvisionedError} there is no app password */
function found(
  rooms: AppPasswordRooms,
  stored: StoredGrant | undefined,
  reason: NotProvisionedReason = 'never',
): FreshToken {
  const token = stored && fresh(rooms, stored)
  if (token === undefined) throw new NotProvisionedError(reason)
  return token
}

/**
 * Keeps an app password back of which this process knows nothing, while so many were refused that one more could turn everybody away.
 *
 * @throws {UpstreamUnavailableError} it may be sent later
 */
function checked(
  { signIns, clock, known }: AppPasswordRooms,
  identity: Identity,
  { grant, usable }: { readonly grant: Grant; readonly usable: FreshToken },
): FreshToken {
  const isNew = clock.now() < grant.connectedAt + NEW_FOR && !signIns.isBarred(identity)
  if (!isNew && known.get(identityKey(identity)) !== grant.fingerprint && signIns.isFull(identity)) {
    throw new UpstreamUnavailableError(
      'Nextcloud refused too many app passwords, and this one is not known to be good',
      { service: 'Nextcloud', retryAfter: RETRY_WHEN_FULL },
    )
  }
  known.set(identityKey(identity), grant.fingerprint)
  return usable
}

async function isRefused(
  rooms: AppPasswordRooms,
  identity: Identity,
  { fingerprint, appPassword }: Grant,
): Promise<boolean> {
  const { appPasswords, clock, proven, signIns } = rooms
  const at = clock.monotonic()
  const last = proven.get(identityKey(identity))
  const isProven = last?.fingerprint === fingerprint && at < last.at + PROVEN_FOR
  if (appPassword === undefined || isProven) return false
  const refused = await appPasswords.isRefused(appPassword)
  if (refused === false) proven.set(identityKey(identity), { fingerprint, at })
  // The 401 at hand was one, and this is another.
  if (refused === true) signIns.refused(identity)
  return refused === true
}

/** Returns the app password for the cache; undefined if the grant has none. */
function fresh({ clock }: AppPasswordRooms, stored: StoredGrant): FreshToken | undefined {
  const secret = secretOf(stored.grant)
  const now = clock.monotonic()
  return secret && { secret, expiresIn: KEPT, sentAt: now, source: 'store', basis: basisOf(stored, now) }
}

const secretOf = ({ appPassword }: Grant): Secret | undefined =>
  appPassword && { scheme: 'Basic', loginName: appPassword.loginName, password: appPassword.password }
