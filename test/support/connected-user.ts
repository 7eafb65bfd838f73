import type { McpAuthOptions } from '../../src/index.js'
import type { RefreshTokens } from './refresh-tokens.js'
import { turn } from './promises.js'
import { watchedStorage } from './storages.js'
import { world, type Keeping, type World } from './world.js'

/** Lets an instance look for deletions that are pending, as each does soon after its start: its calls of the store can be counted then. */
export async function afterStart({ auth, clock }: Pick<World, 'auth' | 'clock'>): Promise<void> {
  await auth.isProvisioned({ subject: 'nobody' })
  clock.advance(500)
  for (let turns = 0; turns < 10; turns += 1) await turn()
}

export type GrantWorld = World & Keeping

/** A world in refresh-token mode in which Alice is connected, on a store that can be watched and made to fail. */
export async function setUpConnected(
  { clientId, ...parts }: { readonly clientId?: string; readonly refreshTokens?: RefreshTokens } = {},
  options: McpAuthOptions = {},
) {
  const watched = watchedStorage()
  const { storage } = watched
  const setup = await world({ mode: 'refresh-token', storage, options, ...parts })
  const first = await setup.connect('alice', { ...(clientId !== undefined && { clientId }) })
  return { ...setup, ...watched, first }
}
