import { hash } from 'node:crypto'
import {
  decodeProtectedHeader,
  errors,
  jwtVerify,
  type CryptoKey,
  type JWTVerifyOptions,
  type JWTVerifyResult,
} from 'jose'
import { LRUCache } from 'lru-cache'
import type { AuthorizationServerClient } from '../authorization-server/client.js'
import type { Discovery } from '../authorization-server/discovery.js'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { InvalidTokenError, type InvalidTokenReason } from '../errors.js'
import type { Events } from '../events.js'
import {
  checkIntrospectedTimes,
  checkIssuedAt,
  readAccessTokenClaims,
  type AccessTokenClaims,
  type Claims,
} from './claims.js'
import type { IssuerKeys } from './keys.js'

/** An MCP token that has been verified. */
export interface VerifiedToken extends AccessTokenClaims {
  readonly token: string
  /** SHA-256, base64url: stands for the token in cache keys. */
  readonly tokenHash: string
  readonly issuer: string
  readonly claims: Claims
}

/** Verifies MCP tokens and remembers the good ones. */
export interface Verifier<T> {
  /**
   * What `present` made of the token: at once when it was verified before, else a promise.
   *
   * The promise rejects with
   * {@link InvalidTokenError} the token cannot be used here,
   * {@link UpstreamUnavailableError} the authorization server is needed to tell and cannot be asked,
   * {@link ConfigurationError} it refuses to tell, or is not the one configured.
   */
  readonly verify: (token: string) => T | Promise<T>
  readonly size: () => number
}

/** The rooms that the verifier needs. */
export interface VerifierParts {
  readonly config: Config
  readonly discovery: Discovery
  readonly keys: IssuerKeys
  readonly client: AuthorizationServerClient
  readonly clock: Clock
  readonly events: Events
}

/** Characters. A longer token is refused before anything is done with it. */
const LONGEST_TOKEN = 16_384

export function createVerifier<T extends object>(
  parts: VerifierParts,
  present: (token: VerifiedToken) => T,
): Verifier<T> {
  const { config, discovery, keys, client, clock, events } = parts
  const { counters } = events
  const ttl = config.cache.verifiedTtl * 1_000
  const expected = {
    audience: config.audience,
    clientId: config.client?.id,
    allowedClients: config.allowedClients,
  }
  const entries =
    config.cache.verifiedTokens > 0 && ttl > 0
      ? new LRUCache<string, { presented: T; validUntil: number }>({
          max: config.cache.verifiedTokens,
          dispose: (_entry, _key, reason) => {
            if (reason === 'evict') counters.evictions += 1
          },
        })
      : undefined
  const flights = new Map<string, Promise<T>>()

  function verify(token: string): T | Promise<T> {
    if (typeof token !== 'string') return Promise.reject(new InvalidTokenError('malformed'))
    if (token.length > LONGEST_TOKEN) return Promise.reject(new InvalidTokenError('too_large'))
    const tokenHash = hash('sha256', token, 'base64url')
    const entry = entries?.get(tokenHash)
    if (entry !== undefined && clock.now() < entry.validUntil) {
      counters.verifiedCacheHits += 1
      return entry.presented
    }
    let flight = flights.get(tokenHash)
    if (flight === undefined) {
      flight = verifyAnew(token, tokenHash).finally(() => flights.delete(tokenHash))
      flights.set(tokenHash, flight)
    }
    return flight
  }

  async function verifyAnew(token: string, tokenHash: string): Promise<T> {
    const issuer = await discovery.issuer()
    const byIntrospection = config.introspection === 'always' || !isJwt(token)
    const { claims, type } = byIntrospection ? await introspect(token, issuer) : await verifySignature(token, issuer)
    checkIssuedAt(claims, nowSeconds(), config.clockTolerance)
    const read = readAccessTokenClaims(claims, expected, type)
    await checkByOperator(claims)
    counters.verified += 1
    const presented = present({ ...read, token, tokenHash, issuer, claims: deepFreeze(claims) })
    const validUntil = Math.min(clock.now() + ttl, (read.expiresAt + config.clockTolerance) * 1_000)
    entries?.set(tokenHash, { presented, validUntil })
    return presented
  }

  const nowSeconds = (): number => Math.floor(clock.now() / 1_000)

  async function verifySignature(token: string, issuer: string): Promise<{ claims: Claims; type: string | undefined }> {
    const options: JWTVerifyOptions = {
      issuer,
      algorithms: config.algorithms as string[],
      clockTolerance: config.clockTolerance,
      currentDate: new Date(clock.now()),
    }
    try {
      const { payload, protectedHeader } = await jwtVerify(token, keys.key, options).catch((error: unknown) =>
        tryEveryKey(error, token, options),
      )
      return { claims: payload, type: protectedHeader.typ }
    } catch (error) {
      throw asRejection(error)
    }
  }

  async function introspect(token: string, issuer: string): Promise<{ claims: Claims; type: string | undefined }> {
    const answer = config.introspection === false ? undefined : await client.introspect(token)
    if (answer === undefined) throw new InvalidTokenError('opaque')
    if (!answer.active) throw new InvalidTokenError('inactive')
    const { token_type: type } = answer
    // A refresh token can be active too, and some servers say its kind here.
    if (type !== undefined && !/^(?:bearer|access_token|n_a|dpop)$/i.test(type))
      throw new InvalidTokenError('token_type')
    checkIntrospectedTimes(answer, issuer, nowSeconds(), config.clockTolerance)
    return { claims: answer, type: undefined }
  }

  async function checkByOperator(claims: Claims): Promise<void> {
    if (config.validateClaims === undefined) return
    let verdict: unknown
    try {
      verdict = await config.validateClaims(claims)
    } catch (error) {
      throw new InvalidTokenError('claims', error)
    }
    if (verdict === false) throw new InvalidTokenError('claims')
  }

  return { verify, size: () => entries?.size ?? 0 }
}

/** Whether the token is a JWT in form; whether it is a good one is for jose to say. */
function isJwt(token: string): boolean {
  const first = token.indexOf('.')
  if (first < 0) return false
  const second = token.indexOf('.', first + 1)
  if (second < 0 || token.includes('.', second + 1)) return false
  // Nearly every JWT header begins with `{"`.
  if (token.startsWith('eyJ')) return true
  try {
    return typeof decodeProtectedHeader(token).alg === 'string'
  } catch {
    return false
  }
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

/** A failure of jose as the fault of the token, where it is that. */
function asRejection(error: unknown): unknown {
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === 'missing' || error.reason === 'invalid') return new InvalidTokenError('missing_claim')
    return new InvalidTokenError(error.claim === 'iss' ? 'issuer' : 'not_yet_valid')
  }
  // Web Crypto's way to say that this platform does not have the algorithm.
  if (error instanceof DOMException && error.name === 'NotSupportedError') return new InvalidTokenError('algorithm')
  const reason = error instanceof errors.JOSEError ? REASONS[error.code] : undefined
  return reason === undefined ? error : new InvalidTokenError(reason)
}

const REASONS: Readonly<Record<string, InvalidTokenReason>> = {
  [errors.JWTExpired.code]: 'expired',
  [errors.JOSEAlgNotAllowed.code]: 'algorithm',
  [errors.JOSENotSupported.code]: 'algorithm',
  [errors.JWKSNoMatchingKey.code]: 'key',
  [errors.JWSInvalid.code]: 'malformed',
  [errors.JWTInvalid.code]: 'malformed',
  [errors.JWSSignatureVerificationFailed.code]: 'signature',
}

/** The same claims serve every request with the token, so that none may change them. */
function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    Object.values(value).forEach(deepFreeze)
  }
  return value
}
