import type { AuthorizationServerClient } from '../../authorization-server/client.js'
import type { Clock } from '../../clock.js'
import type { Config, NextcloudConfig } from '../../config/config.js'
import type { Events } from '../../events.js'
import type { Grants } from '../../grants/open-grants.js'

/** What this mode needs of the stored grants. */
export type GrantParts = Pick<
  Grants,
  'store' | 'rotations' | 'acquireLease' | 'leaseLife' | 'fingerprint' | 'background'
>

/** The rooms that this mode needs. */
export interface RefreshTokenParts {
  readonly config: Config
  readonly nextcloud: NextcloudConfig
  readonly client: AuthorizationServerClient
  readonly clock: Clock
  readonly events: Events
  readonly grants: GrantParts
}
