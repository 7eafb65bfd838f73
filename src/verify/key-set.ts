import type { CryptoKey, FlattenedJWSInput, JSONWebKeySet, JWSHeaderParameters } from 'jose'
import * as errors from 'jose/errors'
import { createLocalJWKSet } from 'jose/jwks/local'
import type { Discovery } from '../authorization-server/discovery.js'
import type { Transport } from '../transport/transport.js'
import { nameOf } from '../transport/url-name.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { isNotSupported } from './jose-failures.js'

/** A JWKS, as jose reads it. */
export interface KeySet {
  /** Returns the key that was found for this `alg` and `kid` before, because jose searches the whole set each time. */
  readonly found: (header: JWSHeaderParameters | undefined) => CryptoKey | undefined
  /**
   * Rejects as `jose.createLocalJWKSet` does if no key fits, and with {@link UpstreamUnavailableError} if the one that fits is
   * published in a form that cannot be used.
   */
  readonly find: (header: JWSHeaderParameters | undefined, token: FlattenedJWSInput) => Promise<CryptoKey>
  /** `kid` of the keys that have one. */
  readonly kids: readonly string[]
  /** Whether each key of another set is in this one as well, unchanged. */
  readonly holdsAllOf: (other: KeySet) => boolean
  /** The keys, as they are published. */
  readonly published: ReadonlySet<string>
}

/** Keys of a set. Authorization servers publish fewer than twenty, and each token without `kid` costs a look at all. */
export const MOST_KEYS = 100

/** The errors by which jose judges a token. All others are about the key set. */
const JUDGEMENTS = [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported]

/** @throws {UpstreamUnavailableError} the key set cannot be fetched, or is empty or not a key set */
export async function fetchKeySet(discovery: Discovery, transport: Transport): Promise<KeySet> {
  const uri = await discovery.jwksUri()
  return transport.call('jwks', 'always', async (fetch) => {
    const response = await fetch(uri, {
      method: 'GET',
      headers: { accept: 'application/json, application/jwk-set+json' },
    })
    const { status } = response
    let found = status === 200 ? 'answered with something that is not a JWKS' : `answered ${status} instead of a JWKS`
    try {
      const document = (await response.json()) as JSONWebKeySet
      const { length } = document.keys
      // An empty set would turn every token away: the server is not ready, or broken.
      if (status === 200 && length > 0 && length <= MOST_KEYS) return createKeySet(document)
      if (length > MOST_KEYS) found = `answered with a JWKS of ${length} keys, and no more than ${MOST_KEYS} are read`
    } catch {
      // It is not JSON or not a key set, as the error below says.
    }
    throw new UpstreamUnavailableError(
      `${nameOf(uri)} ${found}: check jwks_uri in the metadata, or set authorizationServer.jwksUri`,
      { httpStatus: status },
    )
  })
}

function createKeySet(document: JSONWebKeySet): KeySet {
  const keySet = createLocalJWKSet(document)
  /** Bounded by the keys of the set times the algorithms of each. */
  const known = new Map<string, CryptoKey>()
  const published = new Set(document.keys.map((jwk) => JSON.stringify(jwk)))
  return {
    found: (header) => {
      const name = nameOfKey(header)
      return name === undefined ? undefined : known.get(name)
    },
    find: async (header, token) => {
      const key = await keySet(header, token).catch(judgement)
      const name = nameOfKey(header)
      if (name !== undefined) known.set(name, key)
      return key
    },
    published,
    holdsAllOf: (other) => [...other.published].every((jwk) => published.has(jwk)),
    kids: keySet.jwks().keys.flatMap(({ kid }) => (typeof kid === 'string' ? [kid] : [])),
  }
}

function judgement(error: unknown): never {
  if (JUDGEMENTS.some((kind) => error instanceof kind) || isNotSupported(error)) throw error
  throw new UpstreamUnavailableError('The authorization server publishes a key that cannot be used')
}

/** Returns the name that a key is asked for by; undefined if several may go by it. */
function nameOfKey(header: JWSHeaderParameters | undefined): string | undefined {
  return typeof header?.alg === 'string' && typeof header.kid === 'string' ? `${header.alg} ${header.kid}` : undefined
}
