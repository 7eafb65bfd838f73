import type { CryptoKey, FlattenedJWSInput, JWSHeaderParameters, JWTVerifyOptions, JWTVerifyResult } from 'jose'
import * as errors from 'jose/errors'
import { jwtVerify } from 'jose/jwt/verify'
import type { Discovery } from '../authorization-server/discovery.js'
import { createFetchedDocument, type FetchedDocument } from '../transport/fetched-document.js'
import type { Transport } from '../transport/transport.js'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { parseObject } from '../json.js'
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
  /** Looks for other keys after a bad signature, because a key may be replaced under its `kid`. Resolves whether it has looked. */
  readonly lookAgain: () => Promise<boolean>
  /** Milliseconds since the keys were fetched. Undefined: there are none. */
  readonly age: () => number | undefined
  /** Whether there are keys that serve while no others can be fetched. */
  readonly areUsable: () => boolean
  /** Fetches the key set now, also during a cool-down. */
  readonly look: () => Promise<void>
  /** Drops the keys and fetches them again. Rejects as `load` does, and the keys are dropped all the same. */
  readonly refresh: () => Promise<void>
  /** The trust in the keys that are known now; it ends with the first key that is withdrawn or replaced. */
  readonly trust: () => KeyTrust
}

/** The trust in what a set of keys has verified. */
export interface KeyTrust {
  /** @param now monotonic milliseconds */
  readonly holds: (now: number) => boolean
}

/** The rooms that the keys need. */
export interface KeyRooms {
  readonly discovery: Discovery
  readonly transport: Transport
  readonly clock: Clock
  /** Seconds by which the issuer's clock may differ. */
  readonly clockTolerance: number
  /** `keysMaxAge`: seconds for which a set is used without another look. `staleKeys`: seconds for which it serves on if none can be fetched. */
  readonly cache: Pick<Config['cache'], 'keysMaxAge' | 'staleKeys'>
}

/** The fetched key set. */
interface Keys extends Pick<KeyRooms, 'clock' | 'cache' | 'clockTolerance'> {
  readonly kept: FetchedDocument<KeySet>
  /** For keys that may be new. */
  readonly looks: Looks
  /** For keys that may have been replaced under their `kid`. */
  readonly secondLooks: Looks
  trust: KeyTrust
}

/** The looks at the set that strangers' tokens may cost. */
interface Looks {
  /** Takes one, if one is left. */
  readonly take: () => boolean
  /** The wall-clock second of the last one. */
  readonly lastAt: () => number
  /** Signatures of tokens that were here before the last one began, which did not find their keys. */
  readonly inVain: Set<string>
}

/** Milliseconds after which another look is granted, and looks that may be saved up. */
const LOOK_INTERVAL = 10_000
const MOST_LOOKS = 2
/** Signatures. A token beyond them is told less surely. */
const MOST_IN_VAIN = 100

/**
 * The keys, picked and imported by jose. Added to its remote key set: old keys serve on for `staleKeys` seconds if the set cannot
 * be fetched, failures cool down, and an unknown `kid` during an outage is an outage.
 */
export function createIssuerKeys({ discovery, transport, clock, cache, clockTolerance }: KeyRooms): IssuerKeys {
  const kept = createFetchedDocument(
    async () => {
      const before = kept.known()?.value
      const keySet = await fetchKeySet(discovery, transport)
      if (before !== undefined && !keySet.holdsAllOf(before)) distrust()
      return keySet
    },
    clock,
    transport.coolsDown,
  )
  const newTrust = (): KeyTrust => {
    const trust: KeyTrust = { holds: (now) => keys.trust === trust && now <= goodUntil(keys) }
    return trust
  }
  const [looks, secondLooks] = [createLooks(clock), createLooks(clock)]
  const keys: Keys = { kept, clock, cache, clockTolerance, looks, secondLooks, trust: { holds: () => false } }
  const distrust = (): void => void (keys.trust = newTrust())
  distrust()
  return {
    key: (header, token) => fresh(keys)?.found(header) ?? find(keys, header, token),
    load: async () => {
      await current(keys)
    },
    published: () => kept.known()?.value.kids ?? [],
    lookAgain: async () => {
      // The keys that are there have said no, and those that there may be are not for a stranger's token to wait for.
      const comes = (keySet: Promise<unknown>): Promise<boolean> =>
        keySet.then(
          () => true,
          () => false,
        )
      // One under way may have begun before the key was replaced.
      const cameMeanwhile = kept.refreshing() && (await comes(kept.refresh()))
      if (kept.coolDown.active() || !(kept.refreshing() || secondLooks.take())) return cameMeanwhile
      return (await comes(kept.refresh())) || cameMeanwhile
    },
    age: () => {
      const known = kept.known()
      return known && clock.monotonic() - known.fetchedAt
    },
    areUsable: () => fresh(keys, true) !== undefined,
    look: async () => {
      await discovery.lookAgain()
      await kept.refresh()
    },
    refresh: async () => {
      kept.forget()
      distrust()
      await kept.refresh()
    },
    trust: () => keys.trust,
  }
}

function createLooks(clock: Clock): Looks {
  let left = MOST_LOOKS
  let grantedAt = clock.monotonic()
  let lastAt = -Infinity
  const inVain = new Set<string>()
  return {
    inVain,
    take: () => {
      const granted = Math.floor((clock.monotonic() - grantedAt) / LOOK_INTERVAL)
      left = Math.min(left + granted, MOST_LOOKS)
      grantedAt = left === MOST_LOOKS ? clock.monotonic() : grantedAt + granted * LOOK_INTERVAL
      if (left === 0) return false
      left -= 1
      lastAt = Math.floor(clock.now() / 1_000)
      inVain.clear()
      return true
    },
    lastAt: () => lastAt,
  }
}

/** Returns the end, in monotonic milliseconds, of the use of the set without another look; during an outage that is later. */
function goodUntil({ kept, cache }: Keys, serves = kept.coolDown.failing()): number {
  const most = cache.keysMaxAge + (serves ? cache.staleKeys : 0)
  return (kept.known()?.fetchedAt ?? -Infinity) + most * 1_000
}

/** @param isOld whether a set will do that is good during an outage only */
function fresh(keys: Keys, isOld = false): KeySet | undefined {
  return keys.clock.monotonic() <= goodUntil(keys, isOld) ? keys.kept.known()?.value : undefined
}

async function current(keys: Keys): Promise<KeySet> {
  const { kept } = keys
  const usable = fresh(keys)
  if (usable !== undefined) return usable
  const old = fresh(keys, true)
  if (old === undefined) {
    kept.coolDown.check()
    return kept.refresh()
  }
  // Once the outage is known, no caller waits for the server to be tried again.
  if (!kept.coolDown.failing()) return kept.refresh().catch(() => old)
  if (!kept.coolDown.active()) kept.refresh().catch(() => undefined)
  return old
}

/** A search for the key of a token. */
interface Search {
  readonly header: JWSHeaderParameters | undefined
  readonly token: FlattenedJWSInput
  /** The failure of the search so far. */
  readonly missing: unknown
}

/** A `kid` that an issuer may have given. Whatever else stands there is not looked for. */
const NAME = /^\P{Cc}+$/u

/** Looks in the set that is there, in the one that is on its way, and in one that is fetched for this token. */
async function find(keys: Keys, header: JWSHeaderParameters | undefined, token: FlattenedJWSInput): Promise<CryptoKey> {
  let missing: unknown
  for (const keySet of [current, underWay, looked]) {
    try {
      return await (await keySet(keys, { header, token, missing })).find(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      missing = error
    }
  }
  const { inVain } = keys.looks
  if (inVain.size < MOST_IN_VAIN) inVain.add(token.signature)
  throw missing
}

/** A fetch under way may have begun before the issuer published the key, so that what it brings proves nothing against a token. */
const underWay = (keys: Keys): KeySet | Promise<KeySet> =>
  keys.kept.refreshing() ? keys.kept.refresh() : current(keys)

/**
 * Fetches the set for a token whose key is unknown, unless strangers' tokens have used up the looks: then a token that the last look
 * was made for, or that was issued before it, is bad, as is one that names a known key and does not fit it. Another one is looked for
 * when there is a look again.
 */
async function looked(keys: Keys, { header, token, missing }: Search): Promise<KeySet> {
  const { kept, looks } = keys
  if (header?.kid !== undefined && !(typeof header.kid === 'string' && NAME.test(header.kid))) throw missing
  // The issuer may have begun to use a new key since the set was fetched.
  kept.coolDown.check()
  if (kept.coolDown.failing() || kept.refreshing() || looks.take()) return kept.refresh()
  if (kept.known()?.value.kids.includes(header?.kid ?? '') || isBad(keys, token)) throw missing
  throw new UpstreamUnavailableError(
    'Too many tokens have come with keys that the authorization server does not publish',
    { retryAfter: LOOK_INTERVAL / 1_000 },
  )
}

/** Whether the last look was made for the token, or after it was issued, so that its key would have been found. */
function isBad({ looks, clockTolerance }: Keys, { payload, signature }: FlattenedJWSInput): boolean {
  const issuedAt = parseObject(Buffer.from(String(payload), 'base64url').toString())?.['iat']
  return typeof issuedAt !== 'number' || issuedAt + clockTolerance < looks.lastAt() || looks.inVain.has(signature)
}

/** The keys that verify JWTs. */
export type VerifyingKeys = Pick<IssuerKeys, 'key' | 'lookAgain'>

/** Verifies JWTs. Rejects as `jose.jwtVerify` does, and as `keys.key` does. */
export type VerifyJwt = (token: string, options: JWTVerifyOptions) => Promise<JWTVerifyResult>

/** Returns a verifier of JWTs that one of the issuer's keys has signed, by one of the algorithms. */
export function createJwtVerifier(keys: VerifyingKeys, algorithms: readonly string[]): VerifyJwt {
  const allowed = new Set<unknown>(algorithms)
  // Checked here, before any key is looked for, because jose would make a set of them for each token.
  const key: IssuerKeys['key'] = (header, token) => {
    if (!allowed.has(header?.alg)) throw new errors.JOSEAlgNotAllowed()
    return keys.key(header, token)
  }
  const verify: VerifyJwt = (token, options) =>
    jwtVerify(token, key, options).catch((error: unknown) => tryEveryKey(error, token, options))
  return async (token, options) => {
    try {
      return await verify(token, options)
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed) || !(await keys.lookAgain())) throw error
      return verify(token, options)
    }
  }
}

/** Keys that are tried for one token. Each costs the time of a signature, and tokens without `kid` may be made up. */
const MOST_TRIES = 10
const TOO_MANY_FIT = `A token without kid fits more than ${MOST_TRIES} keys of the authorization server: have it name its key in each token`

/**
 * Verifies a token without `kid` that fits several keys of the set: any of them may have signed it.
 *
 * @throws {UpstreamUnavailableError} none of those that were tried has, and more are there
 */
async function tryEveryKey(error: unknown, token: string, options: JWTVerifyOptions): Promise<JWTVerifyResult> {
  if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
  let left = MOST_TRIES
  for await (const key of error as unknown as AsyncIterable<CryptoKey>) {
    if (left-- === 0) throw new UpstreamUnavailableError(TOO_MANY_FIT)
    try {
      return await jwtVerify(token, key, options)
    } catch (failure) {
      if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure
    }
  }
  throw new errors.JWSSignatureVerificationFailed()
}
