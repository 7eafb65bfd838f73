import { decodeProtectedHeader } from 'jose/decode/protected_header'
import { decodeJwt } from 'jose/jwt/decode'
import type { AuthorizationServerClient } from '../authorization-server/client.js'
import type { Discovery } from '../authorization-server/discovery.js'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import type { PerIssuer } from '../config/per-issuer.js'
import { InvalidTokenError, McpAuthError } from '../errors/errors.js'
import type { Events } from '../events.js'
import { deepFreeze } from '../freeze.js'
import { isDeeperThan } from '../json.js'
import { createSingleFlight, type SingleFlight } from '../single-flight.js'
import { checkIssuedAt, checkNotExpired, readAccessTokenClaims, type AccessTokenClaims, type Claims } from './claims.js'
import { createIntrospection, noIntrospection, readIntrospection, type Introspect } from './introspection.js'
import { joseRejection, type Verification } from './jose-failures.js'
import { createJwtVerifier, type IssuerKeys, type VerifyJwt } from './keys.js'
import { malformed, refusedClaims, tooLarge, unlistedIssuer, type ClaimsJudge } from './rejections.js'
import { hasCanonicalSignature } from '../token-spelling.js'
import { createVerifiedTokens, type VerifiedTokens } from './verified-tokens.js'

/** An MCP token that has been verified. */
export interface VerifiedToken extends AccessTokenClaims {
  readonly token: string
  readonly issuer: string
  readonly claims: Claims
}

/** Verifies MCP tokens and remembers the good ones. */
export interface Verifier<T> {
  /**
   * Returns what `present` made of the token: at once if it was verified before, else a promise.
   *
   * @param from the request that it came with
   *
   * The promise rejects with
   * {@link InvalidTokenError} the token cannot be used here,
   * {@link UpstreamUnavailableError} the authorization server is needed to tell and cannot be asked,
   * {@link ConfigurationError} it refuses to tell, or is not the one configured.
   */
  readonly verify: (token: string, from?: object) => T | Promise<T>
  /** Resolves when the metadata and the keys that verifying needs are there. */
  readonly ready: () => Promise<void>
  /** Forgets the tokens that were found good. */
  readonly forget: () => void
  readonly size: () => number
}

/** The rooms that the verifier needs. */
export interface VerifierRooms {
  readonly config: Config
  readonly discovery: Discovery
  readonly keys: IssuerKeys
  readonly client: Pick<AuthorizationServerClient, 'introspect'>
  readonly clock: Clock
  readonly events: Pick<Events, 'counters' | 'during'>
}

/** The two ways to read a token. */
interface Readers {
  readonly rooms: VerifierRooms
  readonly introspect: Introspect
  readonly verifyJwt: VerifyJwt
}

interface State<T> {
  readonly readers: PerIssuer<Readers>
  readonly events: Pick<Events, 'counters' | 'during'>
  readonly tokens: VerifiedTokens<T>
  flights: SingleFlight<T>
  readonly present: (token: VerifiedToken) => T
  readonly networkOf: (from: object) => string | undefined
}

/** RFC 6750 §2.1, b64token. */
const B64TOKEN = /^[\w.~+/-]+=*$/
/** Characters. A longer token is refused before anything is done with it. */
const LONGEST_TOKEN = 16_384
/** Levels of lists and objects in claims. Copying or printing deeper ones may exhaust the stack. */
const MOST_LEVELS = 100

/**
 * @param issuers the rooms of each issuer
 * @param present makes the object that stands for a caller, which is remembered in place of the token: a lookup less per request
 * @param networkOf names the network that a request comes from, if that is known
 */
export function createVerifier<T extends object>(
  issuers: PerIssuer<VerifierRooms>,
  present: (token: VerifiedToken) => T,
  networkOf: State<T>['networkOf'] = () => undefined,
): Verifier<T> {
  const [{ config, clock, events }] = issuers.all
  const state: State<T> = {
    readers: issuers.map(createReaders),
    events,
    tokens: createVerifiedTokens<T>(config, clock, events),
    flights: createSingleFlight<T>(),
    present,
    networkOf,
  }
  return {
    verify: (token, from) => verify(state, token, from),
    ready: async () => {
      await Promise.all(issuers.all.map(isReady))
    },
    forget: () => {
      state.tokens.clear()
      // Who comes from now on joins no verification with the keys of before.
      state.flights = createSingleFlight()
    },
    size: state.tokens.size,
  }
}

function createReaders(rooms: VerifierRooms): Readers {
  const { config, keys, client, clock, events } = rooms
  const coolsDown = (): void => void (events.counters.coolDowns += 1)
  return {
    rooms,
    introspect: createIntrospection(client, clock, config.http.timeout, coolsDown),
    verifyJwt: createJwtVerifier(keys, config.algorithms),
  }
}

async function isReady({ config, discovery, keys }: VerifierRooms): Promise<void> {
  await discovery.issuer()
  if (config.introspection !== 'always') return keys.load()
  if ((await discovery.forIntrospection()) === undefined) throw noIntrospection()
}

function verify<T>(state: State<T>, token: string, from?: object): T | Promise<T> {
  if (typeof token !== 'string') return Promise.reject(malformed('the token is not a string'))
  if (token.length > LONGEST_TOKEN) return Promise.reject(tooLarge(token.length, LONGEST_TOKEN))
  const presented = state.tokens.find(token)
  if (presented === undefined) return verifyOnce(state, token, from)
  state.events.counters.verifiedCacheHits += 1
  return presented
}

const VERIFY = { name: 'mcp.auth.verify' } as const

/** A function of its own, because a closure over `token` would be an allocation for each token seen before. */
function verifyOnce<T>(state: State<T>, token: string, from?: object): Promise<T> {
  const { all } = state.readers
  const run = (): Promise<T> =>
    all.length === 1
      ? verifyAgain(state, all[0], token, from)
      : pickReaders(state.readers, token).then((readers) => verifyAgain(state, readers, token, from))
  return state.flights.join(token, () => state.events.during(VERIFY, run))
}

/**
 * Picks the issuer whose keys, or whose word, decide on a token, by what the token says of itself and before anything is verified.
 *
 * Rejects with {@link InvalidTokenError} when no issuer is the token's own.
 */
async function pickReaders(readers: PerIssuer<Readers>, token: string): Promise<Readers> {
  if (!isJwt(token)) return introspecting(readers)
  let iss: unknown
  try {
    ;({ iss } = decodeJwt(token))
  } catch {
    throw malformed('the token looks like a JWT, and cannot be read as one').about(token)
  }
  const own = typeof iss === 'string' ? readers.find(iss) : undefined
  if (own !== undefined) return own
  throw unlistedIssuer(
    iss,
    readers.all.map(({ rooms }) => String(rooms.config.issuer)),
  ).about(token)
}

/**
 * Picks the first issuer that can be asked about a token that does not say whose it is. It goes to no other, because it is a credential.
 *
 * Rejects with {@link UpstreamUnavailableError} when an issuer before does not say whether it can.
 */
async function introspecting({ all }: PerIssuer<Readers>): Promise<Readers> {
  for (const readers of all) {
    const { config, discovery } = readers.rooms
    if (config.introspection === false || config.client?.hasCredentials !== true) continue
    if ((await discovery.forIntrospection()) !== undefined) return readers
  }
  return all[0]
}

async function verifyAgain<T>(state: State<T>, readers: Readers, token: string, from: object | undefined): Promise<T> {
  const { rooms } = readers
  const { config, discovery, keys, clock, events } = rooms
  // What is found out is as old as that, also where the process stood still meanwhile.
  const since = clock.monotonic()
  const isSigned = isJwt(token)
  const byIntrospection = config.introspection === 'always' || !isSigned
  let issuer = ''
  try {
    checkSpelling(token, isSigned)
    const known = discovery.issuer()
    // No await for values at hand and no object spread below: each costs microseconds.
    issuer = typeof known === 'string' ? known : await known
    // From before the token is read, so that what is withdrawn meanwhile ends it.
    const trust = byIntrospection ? undefined : keys.trust()
    const read = byIntrospection ? introspected : signed
    const { payload, protectedHeader } = await read(
      readers,
      token,
      issuer,
      from && (state.networkOf(from) || undefined),
    )
    if (isDeeperThan(payload, MOST_LEVELS)) throw malformed(`its claims are nested in more than ${MOST_LEVELS} levels`)
    checkIssuedAt(payload, verification(rooms, issuer))
    const { subject, clientId, scopes, expiresAt, audience, boundTo } = readAccessTokenClaims(
      payload,
      config,
      protectedHeader?.typ,
    )
    const asked = askOperator(config, payload, audience)
    if (asked !== undefined) await asked
    // While somebody was asked, keys may have been withdrawn, and the token may have ended.
    if (trust?.holds(clock.monotonic()) === false) await signed(readers, token, issuer)
    checkNotExpired(expiresAt, verification(rooms, issuer))
    events.counters.verified += 1
    // The same claims serve every request with the token, so none may change them.
    const claims = deepFreeze(payload)
    const presented = state.present({ token, issuer, subject, clientId, scopes, expiresAt, audience, boundTo, claims })
    state.tokens.keep(token, expiresAt, presented, { trust, since })
    return presented
  } catch (error) {
    // An error of jose during introspection is about this server's own credentials.
    const failure = byIntrospection ? error : joseRejection(error, token, verification(rooms, issuer))
    // A rejection knows its token, so as never to show it.
    throw failure instanceof InvalidTokenError ? failure.about(token) : failure
  }
}

/** @throws {InvalidTokenError} no token is spelled like that */
function checkSpelling(token: string, isSigned: boolean): void {
  if (!B64TOKEN.test(token)) throw malformed('the token has characters that no token has (RFC 6750 section 2.1)')
  if (isSigned && !hasCanonicalSignature(token)) throw malformed('its signature is not spelled in base64url (RFC 7515)')
}

/** The payload of a token, with the header of a JWT. */
type Read = Promise<{ readonly payload: Claims; readonly protectedHeader?: { readonly typ?: unknown } }>

function signed({ rooms, verifyJwt }: Readers, token: string, issuer: string): Read {
  const { clockTolerance } = rooms.config
  return verifyJwt(token, { issuer, clockTolerance, currentDate: new Date(rooms.clock.now()) })
}

async function introspected({ rooms, introspect }: Readers, token: string, issuer: string, from?: string): Read {
  const answer = rooms.config.introspection === false ? undefined : await introspect(token, from)
  return { payload: readIntrospection(answer, rooms.config, { ...verification(rooms, issuer), token }) }
}

function verification({ config, keys, clock }: VerifierRooms, issuer: string): Verification {
  const { algorithms, clockTolerance } = config
  const nowSeconds = Math.floor(clock.now() / 1_000)
  return { issuer, algorithms, clockTolerance, nowSeconds, publishedKeys: keys.published }
}

/** Whether the token is a JWT in form. jose says whether it is a good one. */
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

/** Asks the operator's own checks, where there are any. */
function askOperator(
  { missingAudience, validateClaims }: Pick<Config, 'missingAudience' | 'validateClaims'>,
  claims: Claims,
  audience: readonly string[],
): Promise<void> | undefined {
  const proves = audience.length === 0 && typeof missingAudience === 'function' ? missingAudience : undefined
  if (proves === undefined && validateClaims === undefined) return undefined
  const ask = async (): Promise<void> => {
    if (proves !== undefined) await checkByOperator('missingAudience', proves, claims)
    if (validateClaims !== undefined) await checkByOperator('validateClaims', validateClaims, claims)
  }
  return ask()
}

async function checkByOperator(judge: ClaimsJudge, isGood: (claims: Claims) => unknown, claims: Claims): Promise<void> {
  let verdict: unknown
  try {
    verdict = await isGood(claims)
  } catch (error) {
    throw error instanceof McpAuthError ? error : refusedClaims(judge, 'threw an error', error)
  }
  if (verdict === false) throw refusedClaims(judge, 'returned false')
  // A proof that this server is meant is a yes and nothing less.
  if (judge === 'missingAudience' && verdict !== true) throw refusedClaims(judge, 'did not return true')
}
