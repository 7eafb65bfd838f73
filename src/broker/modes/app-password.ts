import { LRUCache } from 'lru-cache'
import { NotProvisionedError } from '../../errors/errors.js'
import { change } from '../../grants/change.js'
import { whyUnusable, type AppPassword, type Grant } from '../../grants/grant.js'
import type { GrantStore, StoredGrant } from '../../grants/grant-store.js'
import { isSameSecret, type Secret } from '../../nextcloud/credential.js'
import { bury } from './bury.js'
import { createGrantCheck } from './grant-check.js'
import type { Caller, FreshToken, GrantModeRooms, Have, Mode } from './mode.js'

/** The rooms that this mode needs. */
export interface AppPasswordRooms extends Pick<GrantModeRooms, 'config' | 'appPasswords' | 'clock' | 'events'> {
  readonly grants: { readonly store: GrantStore }
}

/** A grant that has an app password. */
type StoredAppPassword = StoredGrant & { readonly grant: { readonly appPassword: AppPassword } }

/**
 * Seconds for which an app password serves without the store. It has no end of its own: this is how long a store may be unavailable
 * until tools notice.
 */
const KEPT = 3_600
/** Milliseconds in which Nextcloud is not asked again about an app password that it has just taken, however many 401 there are. */
const PROVEN_FOR = 60_000
const MOST_PROVEN = 10_000

/** An app password of the user, which Nextcloud gave once (Login Flow v2) and which several instances share. */
export function appPasswordMode(rooms: AppPasswordRooms): Mode {
  const { config, clock } = rooms
  const { store } = rooms.grants
  /** Monotonic milliseconds at which Nextcloud last said that it takes an app password, by fingerprint. */
  const proven = new LRUCache<string, number>({ max: MOST_PROVEN })
  const fresh = (stored: StoredGrant): FreshToken | undefined =>
    hasAppPassword(stored) ? freshSecret(stored, clock.monotonic()) : undefined
  return {
    getFreshToken: (caller, _target, have) => getFreshToken(rooms, proven, caller, have),
    boundToMcpToken: false,
    renewBefore: config.cache.renewBefore,
    margin: 0,
    provesRefusals: true,
    grants: createGrantCheck({ config, store, clock, secretOf, fresh }),
  }
}

function getFreshToken(
  rooms: AppPasswordRooms,
  proven: LRUCache<string, number>,
  { identity }: Caller,
  { notThis, force }: Have,
): Promise<FreshToken> {
  const { clock } = rooms
  const { store } = rooms.grants
  const key = store.keyOf(identity)
  return change('the grant', async () => {
    const stored = await store.read(key)
    const reason = whyUnusable(stored?.grant, undefined, clock.now())
    if (stored === undefined || reason !== undefined || !hasAppPassword(stored)) {
      throw new NotProvisionedError(reason ?? 'never')
    }
    const fresh = freshSecret(stored, clock.monotonic())
    // A 401 of one route is not the end of an app password: Nextcloud must refuse it where it says who the user is.
    if (force !== true || !isSameSecret(fresh.secret, notThis)) return fresh
    if (!(await isRefused(rooms, proven, stored.grant))) return fresh
    if (await bury(rooms, { key, identity }, stored)) throw new NotProvisionedError('revoked')
    return 'late'
  })
}

async function isRefused(
  { appPasswords, clock }: AppPasswordRooms,
  proven: LRUCache<string, number>,
  { fingerprint, appPassword }: StoredAppPassword['grant'],
): Promise<boolean> {
  const askedAt = clock.monotonic()
  if (askedAt < (proven.get(fingerprint) ?? -Infinity) + PROVEN_FOR) return false
  const refused = await appPasswords.isRefused(appPassword)
  if (refused === false) proven.set(fingerprint, askedAt)
  return refused === true
}

function hasAppPassword(stored: StoredGrant): stored is StoredAppPassword {
  return stored.grant.appPassword !== undefined
}

function freshSecret({ grant, version }: StoredAppPassword, now: number): FreshToken {
  const basis = { version, clients: grant.clients, checkedAt: now }
  return { secret: secretWith(grant.appPassword), expiresIn: KEPT, sentAt: now, source: 'store', basis }
}

function secretWith({ loginName, password }: AppPassword): Secret {
  return { scheme: 'Basic', loginName, password }
}

function secretOf({ appPassword }: Grant): Secret | undefined {
  return appPassword && secretWith(appPassword)
}
