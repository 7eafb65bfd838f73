import { LRUCache } from 'lru-cache'
import { NotProvisionedError } from '../../errors/errors.js'
import { change } from '../../grants/change.js'
import { whyUnusable, type Grant } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import { isSameSecret, type Secret } from '../../nextcloud/credential.js'
import { bury, createGrantCheck } from './grant-check.js'
import type { Caller, FreshToken, GrantModeRooms, Have, Mode } from './mode.js'

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
  return {
    getFreshToken: (caller, _target, have) => getFreshToken(rooms, caller, have),
    boundToMcpToken: false,
    renewBefore: rooms.config.cache.renewBefore,
    margin: 0,
    provesRefusals: true,
    grants: createGrantCheck({ ...rooms, secretOf, fresh: (stored) => fresh(rooms, stored) }),
  }
}

function getFreshToken(rooms: AppPasswordRooms, { identity }: Caller, { notThis, force }: Have): Promise<FreshToken> {
  const { store } = rooms.grants
  const key = store.keyOf(identity)
  return change('the grant', async () => {
    const stored = await store.find(identity)
    const reason = whyUnusable(stored?.grant, undefined, rooms.clock.now())
    const found = stored && fresh(rooms, stored)
    if (stored === undefined || found === undefined || reason !== undefined) {
      throw new NotProvisionedError(reason ?? 'never')
    }
    // A 401 of one route is not the end of an app password: Nextcloud must refuse it where it says who the user is.
    if (force !== true || !isSameSecret(found.secret, notThis)) return found
    if (!(await isRefused(rooms, stored.grant))) return found
    if (await bury(rooms, { key, identity }, stored)) throw new NotProvisionedError('revoked')
    return 'late'
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
