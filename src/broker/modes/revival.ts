import { revivedGrant, type Grant } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import type { Caller, GrantModeRooms } from './mode.js'

/** A dead grant, and the caller who asks for it. */
interface Dead {
  readonly key: string
  readonly caller: Pick<Caller, 'identity'>
  readonly stored: StoredGrant
}

/** Milliseconds between two tries of one app password. They grow with the time for which it has been dead, up to the longest. */
const PAUSE = 10 * 60_000
const LONGEST_PAUSE = 60 * 60_000
/** The part of the time since its end that a pause has. */
const GROWTH = 6

/**
 * Tries the app password of a dead grant again, if it is time: the account may be enabled again, or its user may have signed in with a
 * new password. The try is in the store before it is made, so that several instances make one.
 *
 * @returns the grant, if Nextcloud takes the app password again; `late` if another writer was first
 */
export async function revive(rooms: GrantModeRooms, dead: Dead): Promise<StoredGrant | 'late' | undefined> {
  const { signIns, clock } = rooms
  const { caller, stored } = dead
  if (!isDue(stored.grant, clock.now())) return undefined
  const giveBack = signIns.takePlace(caller.identity)
  if (giveBack === undefined) return undefined
  let refused = false
  try {
    const outcome = await tryOnce(rooms, dead)
    refused = outcome === 'refused'
    return outcome === 'refused' || outcome === 'unknown' ? undefined : outcome
  } finally {
    giveBack(refused)
  }
}

function isDue({ state, appPassword, lastError, triedAt = 0 }: Grant, now: number): boolean {
  if (state !== 'needs-reconnect' || appPassword === undefined) return false
  const dead = now - (lastError?.at ?? now)
  const pause = Math.min(Math.max(PAUSE, dead / GROWTH), LONGEST_PAUSE)
  // The time of the last try is by another machine's clock, which may be ahead.
  return Math.abs(now - triedAt) >= pause
}

async function tryOnce(
  { grants, appPasswords, clock, events }: GrantModeRooms,
  { key, caller, stored }: Dead,
): Promise<StoredGrant | 'late' | 'refused' | 'unknown'> {
  const tried: Grant = { ...stored.grant, triedAt: clock.now() }
  const version = await grants.store.write(key, tried, stored.version)
  if (version === null || tried.appPassword === undefined) return 'late'
  const refused = await appPasswords.isRefused(tried.appPassword)
  if (refused !== false) return refused === true ? 'refused' : 'unknown'
  const grant = revivedGrant(tried)
  const written = await grants.store.write(key, grant, version)
  if (written === null) return 'late'
  const { fingerprint } = grant
  events.emit({ type: 'grant.rotated', ...caller.identity, fingerprint, previous: fingerprint })
  return { grant, version: written }
}
