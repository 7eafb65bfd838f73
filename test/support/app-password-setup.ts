import type { ConnectOptions, McpAuthOptions, StorageAdapter } from '../../src/index.js'
import { ask } from './answers.js'
import { bareHost } from './hosts.js'
import { loginVisits } from './login-visits.js'
import { world } from './world.js'

export { waitingPage, type WaitingVisit } from './login-visits.js'
export { until } from './promises.js'

export type AppPasswordSetup = Awaited<ReturnType<typeof setUpAppPasswords>>

interface Surroundings {
  readonly connect?: ConnectOptions
  readonly options?: McpAuthOptions
  readonly storage?: StorageAdapter
  /** Whether this server has a client at the authorization server. Default true. */
  readonly client?: boolean
}

/** The old name of `world({ mode: 'app-password', host: bareHost })` and `loginVisits()`. */
export async function setUpAppPasswords({ connect = {}, client = true, storage, options: given }: Surroundings = {}) {
  const options: McpAuthOptions = {
    ...given,
    ...(!client && { clientId: undefined, clientSecret: undefined }),
    connect,
  }
  const made = await world({ mode: 'app-password', host: bareHost, options, ...(storage && { storage }) })
  return { ...made, ...loginVisits(made), signIn: made.authorize, ask, options }
}
