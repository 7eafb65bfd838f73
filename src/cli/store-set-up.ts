import type { Config, GrantsConfig } from '../config/config.js'
import { createEvents } from '../events.js'
import { createGrants, type Grants } from '../grants/open-grants.js'
import { Misuse, type SetUp, type Surroundings } from './command-line.js'
import { readAsApp } from './doctor/configuration.js'
import { Failure } from './failures.js'
import { waysToGive } from './options.js'
import { lazyAdapter, type Store } from './stores.js'

/** The stored connections of the configuration that a command line describes. */
export interface StoreSetUp {
  readonly config: Config
  readonly issuer: string
  readonly settings: GrantsConfig
  readonly grants: Grants
  readonly store: Store
}

/**
 * Reads the configuration as the app does, with the store that the command line names.
 *
 * @throws {Misuse} there is no store, or no issuer
 * @throws {ConfigurationError} an option is missing or wrong
 */
export function openSetUp({ options, store }: SetUp, { environment, clock }: Surroundings): StoreSetUp {
  if (store === undefined) throw new Misuse(`the store is missing: name it by ${waysToGive('storage')}`)
  const storage = lazyAdapter(store)
  const { config } = readAsApp({ ...options, storage }, environment)
  const { issuer, grants: settings, nextcloud } = config
  if (settings === undefined) {
    throw new Failure(`${nextcloud?.mode ?? 'this'} mode stores no connections: set ${waysToGive('nextcloud.mode')}`)
  }
  // The store names its users by it, so it must be the one in their tokens.
  if (issuer === undefined) throw new Misuse(`the issuer is missing: name it by ${waysToGive('issuer')}`)
  const events = createEvents(() => undefined, clock)
  return { config, issuer, settings, grants: createGrants({ config, grants: settings, storage, clock, events }), store }
}
