import { decodeProtectedHeader } from 'jose/decode/protected_header'
import { LRUCache } from 'lru-cache'
import type { AuthorizationServerClient } from '../authorization-server/client.js'
import type { Discovery } from '../authorization-server/discovery.js'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { ConfigurationError, InvalidTokenError, McpAuthError } from '../errors/errors.js'
import type { Events } from '../events.js'
import { deepFreeze } from '../freeze.js'
import { createSingleFlight } from '../single-flight.js'
import {
  checkIntrospectedTimes,
  checkIssuedAt,
  readAccessTokenClaims,
  type AccessTokenClaims,
  type Claims,
} from './claims.js'
import { createIntrospection } from './introspection.js'
import { createJwtVerifier, type IssuerKeys } from './keys.js'
import { joseRejection } from './jose-failures.js'
import { inactive, malformed, opaque, otherTokenType, refusedClaims, tooLarge } from './rejections.js'

/** An MCP token that has been verified. */
export interface VerifiedToken extends AccessTokenClaims {
  readonly token: string
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
  /** Resolves when the metadata and the keys that verifying needs are there. */
  readonly ready: () => Promise<void>
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

/** A verified token in the cache. */
interface Entry<T> {
  readonly token: string
  readonly presented: T
  /**
   * Wall-clock seconds: `exp`, with the tolerance. Not milliseconds, since V8 keeps small whole numbers in the object, and larger ones
   * apart from it.
   */
  readonly expiresAt: number
  /** Whole monotonic milliseconds: from here on it is verified again, wherever the wall clock has been set to. */
  readonly staleAt: number
}

/** `token_type` of introspection answers about access tokens that need no proof. */
const BEARER_TYPES = ['bearer', 'access_token', 'n_a']
/** RFC 6750 §2.1, b64token. */
const B64TOKEN = /^[\w.~+/-]+=*$/
/** Characters. A longer token is refused before anything is done with it. */
const LONGEST_TOKEN = 16_384
/** Characters at the end of a JWT, which are those of its signature. */
const KEY_LENGTH = 32

/**
 * What a token is looked up by. It only finds an entry, which is good for the very same token and no other: to hash a whole JWT costs
 * several times as much. Other tokens may all end alike.
 */
const entryKey = (token: string): string => (token.startsWith('eyJ') ? token.slice(-KEY_LENGTH) : token)

export function createVerifier<T extends object>(
  parts: VerifierParts,
  present: (token: VerifiedToken) => T,
): Verifier<T> {
  const { config, discovery, keys, client, clock, events } = parts
  const { counters } = events
  const { algorithms, clockTolerance } = config
  const expected = {
    audience: config.audience,
    resource: config.resource,
    allowedClients: config.allowedClients,
  }
  const entries =
    config.cache.verifiedTokens > 0 && config.cache.verifiedTtl > 0
      ? new LRUCache<string, Entry<T>>({
          max: config.cache.verifiedTokens,
          dispose: (_entry, _key, reason) => {
            if (reason === 'evict') counters.evictions += 1
          },
        })
      : undefined
  const whyNotIntrospected =
    config.introspection === false
      ? 'switched off'
      : config.client?.hasCredentials === true
        ? 'no endpoint'
        : 'no credentials'
  const introspectToken = createIntrospection(client, clock)
  const verifyJwt = createJwtVerifier(keys, algorithms)
  const flights = createSingleFlight<T>()

  function verify(token: string): T | Promise<T> {
    if (typeof token !== 'string') return Promise.reject(malformed('the token is no string'))
    if (token.length > LONGEST_TOKEN) return Promise.reject(tooLarge(token.length, LONGEST_TOKEN))
    const entry = entries?.get(entryKey(token))
    if (entry !== undefined && entry.token === token && isGood(entry)) {
      counters.verifiedCacheHits += 1
      return entry.presented
    }
    return flights.join(token, () => verifyAnew(token))
  }

  const isGood = ({ expiresAt, staleAt }: Entry<T>): boolean =>
    clock.now() < expiresAt * 1_000 && clock.monotonic() < staleAt

  async function verifyAnew(token: string): Promise<T> {
    const byIntrospection = config.introspection === 'always' || !isJwt(token)
    let issuer = ''
    try {
      if (!B64TOKEN.test(token)) throw malformed('the token has characters that no token has (RFC 6750 section 2.1)')
      const known = discovery.issuer()
      // Nothing is awaited that is there, and below no object is spread: both cost microseconds.
      issuer = typeof known === 'string' ? known : await known
      const { payload, protectedHeader } = byIntrospection
        ? await introspect(token, issuer)
        : await verifyJwt(token, { issuer, clockTolerance, currentDate: new Date(clock.now()) })
      checkIssuedAt(payload, nowSeconds(), clockTolerance)
      const { subject, clientId, scopes, expiresAt, audience } = readAccessTokenClaims(
        payload,
        expected,
        protectedHeader?.typ,
      )
      if (config.validateClaims !== undefined) await checkByOperator(config.validateClaims, payload)
      counters.verified += 1
      const claims = deepFreeze(payload)
      return remember({ token, issuer, subject, clientId, scopes, expiresAt, audience, claims })
    } catch (error) {
      // What jose says while the server is asked is about this server's own credentials.
      const failure = byIntrospection ? error : asRejection(error, token, issuer)
      // A rejection knows its token, so as never to show it.
      throw failure instanceof InvalidTokenError ? failure.about(token) : failure
    }
  }

  function asRejection(error: unknown, token: string, issuer: string): unknown {
    const verification = { issuer, algorithms, clockTolerance, nowSeconds: nowSeconds(), publishedKeys: keys.published }
    return joseRejection(error, token, verification)
  }

  /** The same claims serve every request with the token: they are frozen, so that none may change them. */
  function remember(verified: VerifiedToken): T {
    const presented = present(verified)
    const { token } = verified
    const expiresAt = verified.expiresAt + clockTolerance
    const staleAt = Math.floor(clock.monotonic() + config.cache.verifiedTtl * 1_000)
    entries?.set(entryKey(token), { token, presented, expiresAt, staleAt })
    return presented
  }

  const nowSeconds = (): number => Math.floor(clock.now() / 1_000)

  /** The answer, as the payload of a JWT without a header. */
  async function introspect(
    token: string,
    issuer: string,
  ): Promise<{ readonly payload: Claims; readonly protectedHeader?: undefined }> {
    const answer = config.introspection === false ? undefined : await introspectToken(token)
    if (answer === undefined) {
      if (config.introspection === 'always') throw noIntrospection()
      throw opaque(whyNotIntrospected)
    }
    if (!answer.active) throw inactive()
    checkTokenType(answer.token_type)
    checkIntrospectedTimes(answer, issuer, nowSeconds(), clockTolerance)
    return { payload: answer }
  }

  return {
    verify,
    async ready() {
      await discovery.issuer()
      if (config.introspection !== 'always') return keys.load()
      if ((await discovery.forIntrospection()) === undefined) throw noIntrospection()
    },
    size: () => entries?.size ?? 0,
  }
}

function noIntrospection(): ConfigurationError {
  return new ConfigurationError(
    "The metadata of the authorization server has no introspection_endpoint, which introspection: 'always' needs",
    'introspection',
  )
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

function checkTokenType(type: unknown): void {
  if (type === undefined) return
  const name = typeof type === 'string' ? type.toLowerCase() : ''
  if (BEARER_TYPES.includes(name)) return
  throw otherTokenType(type)
}

async function checkByOperator(validateClaims: NonNullable<Config['validateClaims']>, claims: Claims): Promise<void> {
  let verdict: unknown
  try {
    verdict = await validateClaims(claims)
  } catch (error) {
    if (error instanceof McpAuthError) throw error
    throw refusedClaims('threw an error', error)
  }
  if (verdict === false) throw refusedClaims('returned false')
}
