import type {
  CryptoKey,
  FlattenedJWSInput,
  JSONWebKeySet,
  JWSHeaderParameters,
  JWTVerifyOptions,
  JWTVerifyResult,
} from 'jose'
import * as errors from 'jose/errors'
import { createLocalJWKSet } from 'jose/jwks/local'
import { jwtVerify } from 'jose/jwt/verify'
import type { Discovery } from '../authorization-server/discovery.js'
import { createFetchedDocument } from '../transport/fetched-document.js'
import type { Transport } from '../transport/transport.js'
import { nameOf } from '../transport/url-name.js'
import type { Clock } from '../clock.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { isNotSupported } from './jose-failures.js'

/** What jose says of a token; anything else that it says is about the key set. */
const JUDGEMENTS = [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported]

/** A JWKS, as jose reads it. */
interface KeySet {
  /** The key for a token, where one has been found for its `alg` and `kid` before: jose looks through the whole set each time. */
  readonly found: (header: JWSHeaderParameters | undefined) => CryptoKey | undefined
  /** Rejects as `jose.createLocalJWKSet` does. */
  readonly find: (header: JWSHeaderParameters | undefined, token: FlattenedJWSInput) => Promise<CryptoKey>
  readonly kids: readonly string[]
}

/** The issuer's signing keys. */
export interface IssuerKeys {
  /**
   * The key for a token, for `jose.jwtVerify`.
   *
   * @throws {errors.JWKSNoMatchingKey} the issuer does not publish it
   * @throws {UpstreamUnavailableError} the key set is needed and cannot be fetched
   */
  readonly key: (header: JWSHeaderParameters | undefined, token: FlattenedJWSInput) => CryptoKey | Promise<CryptoKey>
  /** Fetches the key set, unless it is there. */
  readonly load: () => Promise<void>
  /** `kid` of the keys that are known, as far as they have one. */
  readonly published: () => readonly string[]
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
  const kept = createFetchedDocument(() => fetchKeySet(discovery, transport), clock)
  const { coolDown } = kept
  let unknownKeyFetchAt = -Infinity

  /** @throws {UpstreamUnavailableError} the key that fits is published in a form that cannot be used */
  async function select(keySet: KeySet, header: JWSHeaderParameters | undefined, token: FlattenedJWSInput) {
    try {
      return await keySet.find(header, token)
    } catch (error) {
      if (JUDGEMENTS.some((judgement) => error instanceof judgement) || isNotSupported(error)) throw error
      throw new UpstreamUnavailableError('The authorization server publishes a key that cannot be used')
    }
  }

  /** The set that is used without looking again. */
  function fresh(): KeySet | undefined {
    const known = kept.known()
    return known !== undefined && clock.monotonic() - known.fetchedAt <= MAX_AGE ? known.value : undefined
  }

  async function current(): Promise<KeySet> {
    const usable = fresh()
    if (usable !== undefined) return usable
    const known = kept.known()
    const age = known === undefined ? Infinity : clock.monotonic() - known.fetchedAt
    const stale = age <= MAX_AGE + staleKeys * 1_000 ? known?.value : undefined
    if (stale === undefined) {
      coolDown.check()
      return kept.refresh()
    }
    // Once the outage is known, nobody waits for the server to be tried again.
    if (!coolDown.failing()) return kept.refresh().catch(() => stale)
    if (!coolDown.active()) kept.refresh().catch(() => undefined)
    return stale
  }

  async function find(header: JWSHeaderParameters | undefined, token: FlattenedJWSInput): Promise<CryptoKey> {
    const keySet = await current()
    try {
      return await select(keySet, header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      // The issuer may have begun to use a new key since the set was fetched.
      coolDown.check()
      const looked = !coolDown.failing() && clock.monotonic() - unknownKeyFetchAt < UNKNOWN_KEY_INTERVAL
      if (looked && !kept.refreshing()) throw error
      const newer = await kept.refresh()
      unknownKeyFetchAt = clock.monotonic()
      return select(newer, header, token)
    }
  }

  return {
    key: (header, token) => fresh()?.found(header) ?? find(header, token),
    async load() {
      await current()
    },
    published: () => kept.known()?.value.kids ?? [],
  }
}

/** Verifies JWTs. Rejects as `jose.jwtVerify` does, and as `keys.key` does. */
export type VerifyJwt = (token: string, options: JWTVerifyOptions) => Promise<JWTVerifyResult>

/** For JWTs that one of the issuer's keys has signed, by one of the algorithms. */
export function createJwtVerifier(keys: Pick<IssuerKeys, 'key'>, algorithms: readonly string[]): VerifyJwt {
  const allowed = new Set<unknown>(algorithms)
  // Checked here, before any key is looked for: jose would make a set of them all for each token.
  const key: IssuerKeys['key'] = (header, token) => {
    if (!allowed.has(header?.alg)) throw new errors.JOSEAlgNotAllowed()
    return keys.key(header, token)
  }
  return (token, options) =>
    jwtVerify(token, key, options).catch((error: unknown) => tryEveryKey(error, token, options))
}

/** A token without `kid` may fit several keys of the set: any of them may have signed it. */
async function tryEveryKey(error: unknown, token: string, options: JWTVerifyOptions): Promise<JWTVerifyResult> {
  if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
  for await (const key of error as unknown as AsyncIterable<CryptoKey>) {
    try {
      return await jwtVerify(token, key, options)
    } catch (failure) {
      if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure
    }
  }
  throw new errors.JWSSignatureVerificationFailed()
}

function createKeySet(document: JSONWebKeySet): KeySet {
  const keySet = createLocalJWKSet(document)
  /** No more of them than the set has keys, times the algorithms of each. */
  const found = new Map<string, CryptoKey>()
  return {
    found(header) {
      const name = nameOfKey(header)
      return name === undefined ? undefined : found.get(name)
    },
    async find(header, token) {
      const key = await keySet(header, token)
      const name = nameOfKey(header)
      if (name !== undefined) found.set(name, key)
      return key
    },
    kids: keySet.jwks().keys.flatMap(({ kid }) => (typeof kid === 'string' ? [kid] : [])),
  }
}

/** What a key is asked for by; undefined where several may go by it. */
function nameOfKey(header: JWSHeaderParameters | undefined): string | undefined {
  return typeof header?.alg === 'string' && typeof header.kid === 'string' ? `${header.alg} ${header.kid}` : undefined
}

async function fetchKeySet(discovery: Discovery, transport: Transport): Promise<KeySet> {
  const uri = await discovery.jwksUri()
  return transport.call('jwks', 'always', async (fetch) => {
    const response = await fetch(uri, {
      method: 'GET',
      headers: { accept: 'application/json, application/jwk-set+json' },
    })
    try {
      const document = (await response.json()) as JSONWebKeySet
      const keySet = createKeySet(document)
      // An empty set would turn every token away: it is a server that is not ready, or broken.
      if (response.status === 200 && document.keys.length > 0) return keySet
    } catch {
      // Not JSON, or not a key set: what it is instead is of no use to anybody.
    }
    const { status } = response
    const found = status === 200 ? 'answered with something that is not a JWKS' : `answered ${status} instead of a JWKS`
    throw new UpstreamUnavailableError(
      `${nameOf(uri)} ${found}: check jwks_uri in the metadata, or set authorizationServer.jwksUri`,
      { httpStatus: status },
    )
  })
}
