import type { StorageAdapter } from '../../src/index.js'
import type { ManualClock } from './clock.js'
import type { RefreshTokens } from './refresh-tokens.js'
import { world, type Keeping, type World } from './world.js'

export { ENCRYPTION_KEY, MCP_CLIENT } from './grant-constants.js'

export type GrantSetup = World & Keeping

interface Ways {
  readonly clock?: ManualClock
  readonly storage?: StorageAdapter
  readonly refreshTokens?: RefreshTokens
}

/** The old name of `world({ mode: 'refresh-token' })`. */
export const setUpGrants = (ways: Ways = {}): Promise<GrantSetup> => world({ mode: 'refresh-token', ...ways })
