import { LRUCache } from 'lru-cache'
import { NotProvisionedError } from '../../errors/errors.js'
import { change } from '../../grants/change.js'
import { whyUnusable, type Grant } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import { isSameSecret, type Secret } from '../../nextcloud/credential.js'
import { bury, createGrantCheck } from './grant-check.js'
import type { Caller, FreshToken, GrantCheck, GrantModeRooms, Have, Mode } from './mode.js'

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
    grants: check,
  }
}

function getFreshToken(
  rooms: AppPasswordRooms & { readonly check: GrantCheck },
  caller: Caller,
  { notThis, force }: Have,
  found: StoredGrant | undefined,
): Promise<FreshToken> {
  const { grants, check, clock } = rooms
  const { identity } = caller
  const key = grants.store.keyOf(identity)
  let attempts = 0
  return change('the grant', async () => {
    const stored = attempts++ === 0 ? found : await check.read(identity)
    // The user may have taken the consent back meanwhile.
    const reason = check.whyNot(caller, stored?.grant) ?? whyUnusable(stored?.grant, undefined, clock.now())
    const secret = stored && fresh(rooms, stored)
    if (stored === undefined || secret === undefined || reason !== undefined) {
      throw new NotProvisionedError(reason ?? 'never')
    }
    // A 401 of one route is not the end of an app password: Nextcloud must refuse it where it says who the user is.
    if (force !== true || !isSameSecret(secret.secret, notThis)) return secret
    if (await isRefused(rooms, stored.grant)) {
      if (await bury(rooms, { key, identity }, stored)) throw new NotProvisionedError('revoked')
      return 'late'
    }
    // Nextcloud may have taken a while, in which the user ended the connection.
    return (await grants.store.version(key)) === stored.version ? secret : 'late'
  })
}

async function isRefused(rooms: AppPasswordRooms, { fingerprint, appPassword }: Grant): Promise<boolean> {
  const { appPasswords, clock, proven } = rooms
  const askedAt = clock.monotonic()
  if (appPassword === undefined || askedAt < (proven.get(fingerprint) ?? -Infinity) + PROVEN_FOR) return false
  const refused = await appPasswords.isRefused(appPassword)
  if (refused === false) proven.set(fingerprint, askedAt)
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
