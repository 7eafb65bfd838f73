import type { McpAuthOptions, NextcloudOptions } from '../../src/index.js'
import type { ManualClock } from './clock.js'
import type { ScriptedAuthorizationServer } from './scripted-authorization-server.js'
import { world, type World } from './world.js'

export { failureOf, turn } from './promises.js'
export * from './token-endpoint.js'
export { NEXTCLOUD } from './world.js'

/** What a test changes in the options. */
export type Changes = Omit<McpAuthOptions, 'nextcloud' | 'onEvent'> & { readonly nextcloud?: NextcloudOptions }

export type Setup = World

/** The old name of `world({ options })`. */
export function setUp(
  change: Changes | ((as: ScriptedAuthorizationServer) => Changes) = {},
  clock?: ManualClock,
): Promise<World> {
  return world({ options: change, ...(clock && { clock }) })
}
