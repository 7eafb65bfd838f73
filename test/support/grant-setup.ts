import type { McpAuthOptions, StorageAdapter } from '../../src/index.js'
import type { ManualClock } from './clock.js'
import type { RefreshTokens } from './refresh-tokens.js'
import { watchedStorage } from './storages.js'
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

/** The same with an instance and Alice's connection, on a store that can be watched and made to fail. */
export async function setUpConnected(ways: Ways & { readonly clientId?: string } = {}, options?: McpAuthOptions) {
  const watched = watchedStorage()
  const setup = await setUpGrants({ storage: watched.storage, ...ways })
  const auth = setup.open(options)
  const first = await setup.connect('alice', { ...(ways.clientId !== undefined && { clientId: ways.clientId }) })
  return { ...setup, ...watched, storage: setup.storage, auth, first }
}
