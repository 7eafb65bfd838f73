import { hash } from 'node:crypto'
import type { IntrospectionResponse } from 'oauth4webapi'
import { LRUCache } from 'lru-cache'
import { refusesClient, type AuthorizationServerClient } from '../authorization-server/client.js'
import { createCoolDown, createCoolDowns } from '../transport/cool-down.js'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { variableOf } from '../config/declarations.js'
import { ConfigurationError, UpstreamUnavailableError, type InvalidTokenError } from '../errors/errors.js'
import { checkIntrospectedClaims, type Claims } from './claims.js'
import { createPlaces } from './places.js'
import { inactive, opaque, otherTokenType, type Moment } from './rejections.js'

/**
 * Asks the authorization server about a token (RFC 7662). Undefined if there is no way to ask.
 *
 * @param from the network of the caller
 */
export type Introspect = (token: string, from?: string) => Promise<IntrospectionResponse | undefined>

/** Requests under way at one time. */
const MOST_AT_ONCE = 50
/** Tokens remembered as inactive, and for how many milliseconds. */
const INACTIVE_ENTRIES = 1_000
const INACTIVE_TTL = 5_000
/** Tokens remembered for a failure that came of them, and tokens remembered as good, which are worth another attempt. */
const FAILED_ENTRIES = 1_000
const GOOD_ENTRIES = 10_000
/** Seconds. Any caller's token can cause a failure, so that none may end introspection for all for longer than this. */
const LONGEST_RETRY_AFTER = 60
/** Different tokens of one kind that failed since the last answer: the server is at fault then, or else it is a stranger's own network. */
const RUN_OF_FAILURES = 10
/** Networks whose failures are remembered. */
const RUNS = 1_000
/** Milliseconds between two attempts during such a run, and for which it closes the door. */
const PROBE_INTERVAL = 1_000
const LONGEST_CLOSED = 30_000
const INACTIVE = { active: false }
/** The run of failures of tokens that were good before, whoever sends them. */
const KNOWN = 'known'
/** `token_type` of introspection answers about access tokens that need no proof. */
const BEARER_TYPES = ['bearer', 'access_token', 'n_a']

/**
 * Introspection that strangers cannot turn against the authorization server, nor against each other, because any opaque token causes a
 * request. There are so many places, shared fairly; inactive tokens are remembered for a short time; a failure is remembered for its token, and
 * ends introspection for all only if it cannot be a token's fault. A run of failures ends it for the network that they came from, or for the
 * tokens that were good before.
 *
 * @param patience milliseconds to wait for a place
 * @param begun called with each cool-down that begins
 */
export function createIntrospection(
  client: Pick<AuthorizationServerClient, 'introspect'>,
  clock: Clock,
  patience: number,
  begun?: () => void,
): Introspect {
  const forAll = createCoolDown(clock, LONGEST_RETRY_AFTER, begun)
  const forToken = createCoolDowns(clock, FAILED_ENTRIES, begun, LONGEST_RETRY_AFTER)
  const runs = createRuns(clock)
  const places = createPlaces(clock, MOST_AT_ONCE, patience)
  const inactiveUntil = new LRUCache<string, number>({ max: INACTIVE_ENTRIES })
  const good = new LRUCache<string, true>({ max: GOOD_ENTRIES })

  const ask = async (token: string, tokenHash: string, run: string): Promise<IntrospectionResponse | undefined> => {
    try {
      const answer = await client.introspect(token, run === KNOWN ? 'always' : 'never')
      for (const memory of [forAll, runs]) memory.succeeded()
      forToken.succeeded(tokenHash)
      if (answer?.active === false) inactiveUntil.set(tokenHash, clock.monotonic() + INACTIVE_TTL)
      if (answer?.active === true) good.set(tokenHash, true)
      return answer
    } catch (error) {
      if (isOfServer(error)) return forAll.failed(error)
      runs.of(run).failed(tokenHash, error)
      return forToken.failed(tokenHash, error)
    }
  }

  return async (token, from) => {
    // A hash, because a stranger's token may be long and is not kept.
    const tokenHash = hash('sha256', token, 'base64url')
    const isInactive = (): boolean => clock.monotonic() < (inactiveUntil.get(tokenHash) ?? -Infinity)
    const check = (): void => {
      forAll.check()
      forToken.check(tokenHash)
    }
    if (isInactive()) return INACTIVE
    check()
    const leave = await places.take(from)
    try {
      // Much may have been learnt while it waited.
      if (isInactive()) return INACTIVE
      check()
      // A token that nobody has seen good may be made to fail. Who sends many of them closes the door of their own network.
      const run = good.has(tokenHash) ? KNOWN : `from ${from ?? ''}`
      runs.of(run).check()
      return await ask(token, tokenHash, run)
    } finally {
      leave()
    }
  }
}

/** Whether a failure cannot be the fault of the token that it came of: it is not this client's to ask, or there is nobody to ask. */
function isOfServer(error: unknown): boolean {
  if (refusesClient(error)) return true
  return error instanceof UpstreamUnavailableError && error.unprocessed && error.httpStatus === undefined
}

/** Runs by name. An answer ends them all. */
function createRuns(clock: Clock) {
  const runs = new LRUCache<string, ReturnType<typeof createRun>>({ max: RUNS })
  return {
    of: (name: string) => {
      const run = runs.get(name) ?? createRun(clock)
      runs.set(name, run)
      return run
    },
    succeeded: () => runs.clear(),
  }
}

/** A run of failures of different tokens without an answer between them. It closes the door for a while, but for a probe now and then. */
function createRun(clock: Clock) {
  const tokens = new Set<string>()
  let closedAt = 0
  let probeAt = 0
  let last: unknown
  return {
    failed: (token: string, error: unknown): void => {
      last = error
      // Once for a run: the same tokens, coming again, keep the door closed no longer.
      if (tokens.has(token) || tokens.add(token).size !== RUN_OF_FAILURES) return
      closedAt = clock.monotonic()
      probeAt = closedAt + PROBE_INTERVAL
    },
    /** Throws the last failure while the door is closed. */
    check: (): void => {
      if (tokens.size < RUN_OF_FAILURES) return
      const now = clock.monotonic()
      if (now - closedAt >= LONGEST_CLOSED) return tokens.clear()
      if (now >= probeAt) probeAt = now + PROBE_INTERVAL
      else throw last instanceof UpstreamUnavailableError ? last.with({ retryAfter: (probeAt - now) / 1_000 }) : last
    },
  }
}

/**
 * Returns the claims of an introspection answer.
 *
 * @param answer undefined if there was no way to ask
 * @throws {InvalidTokenError} the token is not active, not an access token, or cannot be introspected
 * @throws {ConfigurationError} every token must be introspected, and there is no endpoint
 */
export function readIntrospection(
  answer: IntrospectionResponse | undefined,
  config: Pick<Config, 'introspection' | 'client' | 'dpop'>,
  { token, ...moment }: Moment & { readonly issuer: string; readonly token: string },
): Claims {
  if (answer === undefined)
    throw config.introspection === 'always' ? noIntrospection() : notIntrospected({ token, ...moment }, config)
  if (!answer.active) throw inactive()
  checkTokenType(answer, config)
  checkIntrospectedClaims(answer, moment)
  return answer
}

/** A token that is only said to be bound must name the key as well, because its proof can be held to nothing else. */
function checkTokenType({ token_type: type, cnf }: Claims, { dpop }: Pick<Config, 'dpop'>): void {
  if (type === undefined) return
  const name = typeof type === 'string' ? type.toLowerCase() : ''
  if (BEARER_TYPES.includes(name)) return
  if (dpop === 'off' || name !== 'dpop' || cnf === undefined || cnf === null) throw otherTokenType(type)
}

export function noIntrospection(): ConfigurationError {
  return new ConfigurationError(
    "The metadata of the authorization server has no introspection_endpoint, which introspection: 'always' needs: set introspection to 'opaque-only'; if there is an endpoint that the metadata does not name, set authorizationServer.introspectionEndpoint to it",
    'introspection',
  )
}

/** Issuers whose access tokens nobody else can verify. */
const WITHOUT_JWTS = /^https:\/\/(?:accounts\.google|github)\.com(?:\/|$)/
const IN_FRONT = `put a provider that issues JWTs (Keycloak, Zitadel, authentik) in front of it, at which people sign in with Google or GitHub, and make that one issuer (${variableOf('issuer')})`

function notIntrospected(
  { issuer, token }: { readonly issuer: string; readonly token: string },
  { introspection, client }: Pick<Config, 'introspection' | 'client'>,
): InvalidTokenError {
  if (WITHOUT_JWTS.test(issuer))
    return opaque(token, 'issuer is one that introspects for nobody (Google, GitHub)', IN_FRONT)
  if (introspection === false)
    return opaque(
      token,
      'introspection is false here',
      "set introspection to 'opaque-only', or have the authorization server issue JWTs",
    )
  if (client?.hasCredentials === true) {
    return opaque(token, 'the metadata of the authorization server has no introspection_endpoint')
  }
  return opaque(
    token,
    'there is no clientSecret (or clientAuth) here to have it introspected with',
    `set clientSecret (${variableOf('clientSecret')}) to that of clientId, or have the authorization server issue JWTs`,
  )
}
