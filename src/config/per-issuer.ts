import { ConfigurationError } from '../errors/errors.js'
import type { Config } from './config.js'

/** What there is of each issuer. */
export interface PerIssuer<T> {
  /** In the order of `issuers`. */
  readonly all: readonly [T, ...T[]]
  /** Returns what is of an issuer. Any name finds that of a single issuer whose own name is not configured, and yet to be looked up. */
  readonly find: (issuer: string) => T | undefined
  /** @throws {ConfigurationError} the issuer is none of those that are configured */
  readonly of: (issuer: string) => T
  readonly map: <U>(make: (value: T) => U) => PerIssuer<U>
}

/** The configurations of the issuers, each complete. */
export function perIssuer(config: Config): PerIssuer<Config> {
  const { others } = config
  const byName = new Map([config, ...others].map((one) => [one.issuer, one]))
  const find = (issuer: string): Config | undefined => byName.get(issuer)
  return overIssuers([config, ...others], config.issuer === undefined ? () => config : find)
}

function overIssuers<T>(all: PerIssuer<T>['all'], find: PerIssuer<T>['find']): PerIssuer<T> {
  return {
    all,
    find,
    of(issuer) {
      const found = find(issuer)
      if (found === undefined) throw new ConfigurationError(`${issuer} is none of the issuers here`, 'issuers')
      return found
    },
    map<U>(make: (value: T) => U) {
      const made = new Map(all.map((value) => [value, make(value)]))
      const [first, ...more] = [...made.values()] as [U, ...U[]]
      const ofIssuer = (issuer: string): U | undefined => {
        const value = find(issuer)
        return value === undefined ? undefined : made.get(value)
      }
      return overIssuers([first, ...more], ofIssuer)
    },
  }
}
