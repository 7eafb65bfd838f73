import { deadGrant } from '../../grants/grant.js'
import type { StoredGrant } from '../../grants/grant-store.js'
import type { GrantModeRooms, GrantOf } from './mode.js'

/**
 * Marks a grant as dead whose credential was refused. Another instance may have replaced the credential meanwhile: only a grant that
 * is unchanged to this moment, as the compare-and-set sees to, has lost its connection.
 *
 * @returns whether it was unchanged
 */
export async function bury(
  {
    grants,
    clock,
    events,
  }: Pick<GrantModeRooms, 'clock' | 'events'> & {
    readonly grants: { readonly store: Pick<GrantModeRooms['grants']['store'], 'write'> }
  },
  { key, identity }: GrantOf,
  { grant, version }: StoredGrant,
): Promise<boolean> {
  const dead = deadGrant(grant, 'needs-reconnect', 'refused', clock.now())
  if ((await grants.store.write(key, dead, version)) === null) return false
  events.emit({ type: 'grant.lost', ...identity, fingerprint: grant.fingerprint, reason: 'revoked' })
  return true
}
