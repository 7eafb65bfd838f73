import type { CryptoKey, FlattenedJWSInput, JWSHeaderParameters, JWTVerifyOptions, JWTVerifyResult } from 'jose'
import * as errors from 'jose/errors'
import { jwtVerify } from 'jose/jwt/verify'
import type { Discovery } from '../authorization-server/discovery.js'
import { createFetchedDocument, type FetchedDocument } from '../transport/fetched-document.js'
import type { Transport } from '../transport/transport.js'
import type { Clock } from '../clock.js'
import { fetchKeySet, type KeySet } from './key-set.js'

/** The issuer's signing keys. */
export interface IssuerKeys {
  /**
   * Returns the key for a token, for `jose.jwtVerify`.
   *
   * @throws {errors.JWKSNoMatchingKey} the issuer does not publish it
   * @throws {UpstreamUnavailableError} the key set is needed and cannot be fetched
   */
  readonly key: (header: JWSHeaderParameters | undefined, token: FlattenedJWSInput) => CryptoKey | Promise<CryptoKey>
  /** Fetches the key set, unless it is there. */
  readonly load: () => Promise<void>
  /** `kid` of the keys that are known and have one. */
  readonly published: () => readonly string[]
}

/** The rooms that the keys need. */
export interface KeyRooms {
  readonly discovery: Discovery
  readonly transport: Transport
  readonly clock: Clock
  /** Seconds for which old keys serve on if the set cannot be fetched. */
  readonly staleKeys: number
}

/** The fetched key set. */
interface Keys extends Pick<KeyRooms, 'clock' | 'staleKeys'> {
  readonly kept: FetchedDocument<KeySet>
  /** Monotonic milliseconds of the last fetch for a key that was not in the set. */
  unknownKeyFetchAt: number
}

/** Milliseconds for which a key set is used without looking again. */
const KEYS_MAX_AGE = 600_000
/** Milliseconds between two fetches for keys that are not in the set, so that a flood of invented `kid`s costs no more. */
const UNKNOWN_KEY_INTERVAL = 10_000

/**
 * The keys, picked and imported by jose. Added to its remote key set: old keys serve on for `staleKeys` seconds if the set cannot
 * be fetched, failures cool down, and an unknown `kid` during an outage is an outage.
 */
export function createIssuerKeys({ discovery, transport, clock, staleKeys }: KeyRooms): IssuerKeys {
  const kept = createFetchedDocument(() => fetchKeySet(discovery, transport), clock)
  const keys: Keys = { kept, clock, staleKeys, unknownKeyFetchAt: -Infinity }
  return {
    key: (header, token) => fresh(keys)?.found(header) ?? find(keys, header, token),
    load: async () => {
      await current(keys)
    },
    published: () => kept.known()?.value.kids ?? [],
  }
}

/** Returns the set that is used without looking again; during an outage, an old one too, for so many seconds more. */
function fresh({ kept, clock }: Keys, staleKeys = 0): KeySet | undefined {
  const known = kept.known()
  const most = KEYS_MAX_AGE + staleKeys * 1_000
  return known !== undefined && clock.monotonic() - known.fetchedAt <= most ? known.value : undefined
}

async function current(keys: Keys): Promise<KeySet> {
  const { kept } = keys
  const usable = fresh(keys)
  if (usable !== undefined) return usable
  const old = fresh(keys, keys.staleKeys)
  if (old === undefined) {
    kept.coolDown.check()
    return kept.refresh()
  }
  // Once the outage is known, no caller waits for the server to be tried again.
  if (!kept.coolDown.failing()) return kept.refresh().catch(() => old)
  if (!kept.coolDown.active()) kept.refresh().catch(() => undefined)
  return old
}

async function find(keys: Keys, header: JWSHeaderParameters | undefined, token: FlattenedJWSInput): Promise<CryptoKey> {
  const { kept, clock } = keys
  const keySet = await current(keys)
  try {
    return await keySet.find(header, token)
  } catch (error) {
    if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
    // The issuer may have begun to use a new key since the set was fetched.
    kept.coolDown.check()
    const looked = !kept.coolDown.failing() && clock.monotonic() - keys.unknownKeyFetchAt < UNKNOWN_KEY_INTERVAL
    if (looked && !kept.refreshing()) throw error
    const newer = await kept.refresh()
    keys.unknownKeyFetchAt = clock.monotonic()
    return newer.find(header, token)
  }
}

/** Verifies JWTs. Rejects as `jose.jwtVerify` does, and as `keys.key` does. */
export type VerifyJwt = (token: string, options: JWTVerifyOptions) => Promise<JWTVerifyResult>

/** Returns a verifier of JWTs that one of the issuer's keys has signed, by one of the algorithms. */
export function createJwtVerifier(keys: Pick<IssuerKeys, 'key'>, algorithms: readonly string[]): VerifyJwt {
  const allowed = new Set<unknown>(algorithms)
  // Checked here, before any key is looked for, because jose would make a set of them for each token.
  const key: IssuerKeys['key'] = (header, token) => {
    if (!allowed.has(header?.alg)) throw new errors.JOSEAlgNotAllowed()
    return keys.key(header, token)
  }
  return (token, options) =>
    jwtVerify(token, key, options).catch((error: unknown) => tryEveryKey(error, token, options))
}

/** Verifies a token without `kid` that fits several keys of the set: any of them may have signed it. */
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
