import { createLocalJWKSet, errors, type FlattenedJWSInput, type JWSHeaderParameters, type JSONWebKeySet } from 'jose'
import type { Discovery } from '../authorization-server/discovery.js'
import { createCoolDown } from '../authorization-server/cool-down.js'
import type { Transport } from '../authorization-server/fetch.js'
import type { Clock } from '../clock.js'
import { UpstreamUnavailableError } from '../errors.js'

type LocalKeySet = ReturnType<typeof createLocalJWKSet>

/** The issuer's signing keys. */
export interface IssuerKeys {
  /**
   * The key for a token, for `jose.jwtVerify`.
   *
   * @throws {errors.JWKSNoMatchingKey} the issuer does not publish it
   * @throws {UpstreamUnavailableError} the key set is needed and cannot be fetched
   */
  readonly key: (
    header: JWSHeaderParameters | undefined,
    token: FlattenedJWSInput,
  ) => Promise<Awaited<ReturnType<LocalKeySet>>>
  /** Fetches the key set, unless it is there. */
  readonly load: () => Promise<void>
}

/** Milliseconds for which a key set is used without looking again. */
const MAX_AGE = 600_000
/** Milliseconds between two fetches for keys that are not in the set: a flood of invented `kid`s costs no more than this. */
const UNKNOWN_KEY_INTERVAL = 10_000

/**
 * jose picks and imports the keys; what is added here is what its remote key set has not: old keys serve on for `staleKeys`
 * seconds when the set cannot be fetched, failures cool down, and an unknown `kid` during an outage is an outage.
 */
export function createIssuerKeys(
  discovery: Discovery,
  transport: Transport,
  clock: Clock,
  staleKeys: number,
): IssuerKeys {
  const coolDown = createCoolDown(clock)
  let known: { keySet: LocalKeySet; fetchedAt: number } | undefined
  let pending: Promise<LocalKeySet> | undefined
  let unknownKeyFetchAt = -Infinity

  function refresh(): Promise<LocalKeySet> {
    pending ??= fetchKeySet(discovery, transport)
      .then((keySet) => {
        known = { keySet, fetchedAt: clock.monotonic() }
        coolDown.succeeded()
        return keySet
      })
      .catch((error: unknown) => coolDown.failed(error))
      .finally(() => {
        pending = undefined
      })
    return pending
  }

  async function current(): Promise<LocalKeySet> {
    if (known === undefined) {
      coolDown.check()
      return refresh()
    }
    const { keySet } = known
    const age = clock.monotonic() - known.fetchedAt
    if (age <= MAX_AGE) return keySet
    const usable = age <= MAX_AGE + staleKeys * 1_000
    if (coolDown.active()) {
      if (usable) return keySet
      coolDown.check()
    }
    return refresh().catch((error: unknown) => {
      if (usable) return keySet
      throw error
    })
  }

  return {
    async key(header, token) {
      const keySet = await current()
      try {
        return await keySet(header, token)
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
        // The issuer may have begun to use a new key since the set was fetched.
        coolDown.check()
        if (pending === undefined) {
          const now = clock.monotonic()
          if (now - unknownKeyFetchAt < UNKNOWN_KEY_INTERVAL) throw error
          unknownKeyFetchAt = now
        }
        return (await refresh())(header, token)
      }
    },
    async load() {
      await current()
    },
  }
}

async function fetchKeySet(discovery: Discovery, transport: Transport): Promise<LocalKeySet> {
  const uri = await discovery.jwksUri()
  return transport.call('jwks', true, async (fetch) => {
    const response = await fetch(uri, {
      method: 'GET',
      headers: { accept: 'application/json, application/jwk-set+json' },
    })
    try {
      if (response.status === 200) return createLocalJWKSet((await response.json()) as JSONWebKeySet)
    } catch {
      // Not JSON, or not a key set: what it is instead is of no use to anybody.
    }
    throw new UpstreamUnavailableError('The authorization server answers with something that is not a JWKS', {
      httpStatus: response.status,
    })
  })
}
