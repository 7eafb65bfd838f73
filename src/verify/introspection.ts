import { hash } from 'node:crypto'
import type { IntrospectionResponse } from 'oauth4webapi'
import { LRUCache } from 'lru-cache'
import type { AuthorizationServerClient } from '../authorization-server/client.js'
import { createCoolDown } from '../transport/cool-down.js'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { variableOf } from '../config/declarations.js'
import { ConfigurationError, UpstreamUnavailableError, type InvalidTokenError } from '../errors/errors.js'
import { checkIntrospectedClaims, type Claims } from './claims.js'
import { inactive, opaque, otherTokenType, type Moment } from './rejections.js'

/** Asks the authorization server about a token (RFC 7662). Undefined if there is no way to ask. */
export type Introspect = (token: string) => Promise<IntrospectionResponse | undefined>

/** Requests under way at one time. */
const MOST_AT_ONCE = 50
/** Tokens remembered as inactive, and for how many milliseconds. */
const INACTIVE_ENTRIES = 1_000
const INACTIVE_TTL = 5_000
/** Seconds. Any caller's token can cause a failure, so that none may end introspection for all for longer than this. */
const LONGEST_RETRY_AFTER = 60
const INACTIVE = { active: false }
/** `token_type` of introspection answers about access tokens that need no proof. */
const BEARER_TYPES = ['bearer', 'access_token', 'n_a']

/**
 * Introspection that strangers cannot turn against the authorization server, because any opaque token causes a request: so many
 * requests at once, a cool-down after a failure, and a short memory of inactive tokens.
 */
export function createIntrospection(client: Pick<AuthorizationServerClient, 'introspect'>, clock: Clock): Introspect {
  const coolDown = createCoolDown(clock, LONGEST_RETRY_AFTER)
  const inactiveUntil = new LRUCache<string, number>({ max: INACTIVE_ENTRIES })
  let underWay = 0

  return async (token) => {
    // A hash, because a stranger's token may be long and is not kept.
    const tokenHash = hash('sha256', token, 'base64url')
    if (clock.monotonic() < (inactiveUntil.get(tokenHash) ?? -Infinity)) return INACTIVE
    coolDown.check()
    if (underWay >= MOST_AT_ONCE) {
      throw new UpstreamUnavailableError('Too many tokens are being introspected at once', { retryAfter: 1 })
    }
    underWay += 1
    try {
      const answer = await client.introspect(token)
      coolDown.succeeded()
      if (answer?.active === false) inactiveUntil.set(tokenHash, clock.monotonic() + INACTIVE_TTL)
      return answer
    } catch (error) {
      return coolDown.failed(error)
    } finally {
      underWay -= 1
    }
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
  if (answer === undefined) throw config.introspection === 'always' ? noIntrospection() : notIntrospected(token, config)
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
    "The metadata of the authorization server has no introspection_endpoint, which introspection: 'always' needs: set it to 'opaque-only', or authorizationServer.introspectionEndpoint",
    'introspection',
  )
}

function notIntrospected(
  token: string,
  { introspection, client }: Pick<Config, 'introspection' | 'client'>,
): InvalidTokenError {
  if (introspection === false)
    return opaque(
      token,
      'introspection is false here',
      'set it to opaque-only, or have the authorization server issue JWTs',
    )
  if (client?.hasCredentials === true) {
    return opaque(token, 'the metadata of the authorization server has no introspection_endpoint')
  }
  return opaque(
    token,
    'there is no clientSecret (or clientAuth) here to have it introspected with',
    `set one (${variableOf('clientSecret')}), or have the authorization server issue JWTs`,
  )
}
