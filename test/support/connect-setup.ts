import type { McpAuthOptions, StorageAdapter } from '../../src/index.js'
import { ask } from './answers.js'
import type { ManualClock } from './clock.js'
import { bareHost, type Handler, type Host } from './hosts.js'
import type { ScriptedAuthorizationServer } from './scripted-authorization-server.js'
import { world, type Keeping, type Served, type World } from './world.js'

export { faultyStorage, meetingStorage, type FaultyStorage } from './storages.js'
export * from './test-browser.js'
export type { SignedIn } from './world.js'

export type ConnectSetup = Omit<World, 'signIn'> &
  Keeping &
  Served & { readonly signIn: Served['authorize']; readonly ask: typeof ask }

interface Surroundings {
  readonly options?: McpAuthOptions | ((as: ScriptedAuthorizationServer) => McpAuthOptions)
  readonly storage?: (clock: ManualClock) => StorageAdapter
  readonly host?: Host
  readonly before?: readonly Handler[]
  readonly metadata?: Record<string, unknown>
  readonly clock?: ManualClock
}

/** The old name of `world({ mode: 'refresh-token', host: bareHost })`, whose `authorize` is this one's `signIn`. */
export async function setUpConnect({
  host = bareHost,
  before = [],
  ...parts
}: Surroundings = {}): Promise<ConnectSetup> {
  const made = await world({ mode: 'refresh-token', host, handlers: (auth) => [...before, auth.routes()], ...parts })
  return { ...made, signIn: made.authorize, ask }
}
