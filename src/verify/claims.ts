import { InvalidTokenError } from '../errors.js'

/** Claims of a token whose signature, or whose introspection, has been found good. */
export type Claims = Readonly<Record<string, unknown>>

/** What the claims of an access token have to be. */
export interface Expectations {
  readonly audience: readonly string[]
  readonly resource: string
  readonly allowedClients: ReadonlySet<string> | undefined
}

/** What an access token says, read from claims that meet the expectations. */
export interface AccessTokenClaims {
  readonly subject: string
  readonly clientId: string
  /** Frozen, as is the audience. */
  readonly scopes: string[]
  readonly expiresAt: number
  readonly audience: string[]
}

/** Claims of ID tokens and logout tokens (OIDC Core §3.3.2.11, FAPI 1.0 part 2 §5.1.1, Back-Channel Logout §2.4). */
const NOT_IN_ACCESS_TOKENS = ['at_hash', 'c_hash', 's_hash', 'events']
const OTHER_USES = /^(?:id|refresh|offline|logout)(?:[_+-]|$)/i
const ACCESS_USES = /^(?:bearer|access|access_token)$/i
/** Claims that speak for an access token. */
const USUAL_IN_ACCESS_TOKENS = ['scope', 'scp', 'client_id', 'cid']

/**
 * Reads an access token's claims.
 *
 * @throws {InvalidTokenError} one is missing, of the wrong type or not what is expected here
 */
export function readAccessTokenClaims(
  claims: Claims,
  expected: Expectations,
  tokenType: string | undefined,
): AccessTokenClaims {
  const { sub, exp } = claims
  if (typeof sub !== 'string' || sub === '') throw new InvalidTokenError('missing_claim')
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw new InvalidTokenError('missing_claim')
  const audience = readStrings(claims['aud'])
  if (audience.length === 0) throw new InvalidTokenError('missing_claim')
  const accepted = audience.filter((value) => expected.audience.some((wanted) => sameUri(value, wanted)))
  if (accepted.length === 0) throw new InvalidTokenError('audience')
  if (!isAccessToken(claims, tokenType, accepted, expected)) throw new InvalidTokenError('token_type')
  // RFC 7800: a token bound to a key is worth nothing without the proof, and proofs are not verified here.
  if (claims['cnf'] !== undefined && claims['cnf'] !== null) throw new InvalidTokenError('sender_constrained')
  const client = readClientId(claims)
  if (expected.allowedClients !== undefined && (client === undefined || !expected.allowedClients.has(client))) {
    throw new InvalidTokenError('client')
  }
  const scopes = readScopes(claims)
  Object.freeze(scopes)
  Object.freeze(audience)
  return { subject: sub, clientId: client ?? 'unknown', scopes, expiresAt: exp, audience }
}

/**
 * `iss`, `exp`, `nbf` of an introspection answer, which nobody else has looked at. An answer without `iss` is from the server
 * that was asked (RFC 7662 §2.2 has it optional).
 */
export function checkIntrospectedTimes(claims: Claims, issuer: string, nowSeconds: number, tolerance: number): void {
  const { iss, exp, nbf } = claims
  if (iss !== undefined && iss !== issuer) throw new InvalidTokenError('issuer')
  if (typeof exp === 'number' && exp <= nowSeconds - tolerance) throw new InvalidTokenError('expired')
  if (nbf !== undefined && !(typeof nbf === 'number' && nbf <= nowSeconds + tolerance)) {
    throw new InvalidTokenError('not_yet_valid')
  }
}

/** A token from the future has been made by a clock that cannot be trusted with its `exp` either. */
export function checkIssuedAt(claims: Claims, nowSeconds: number, tolerance: number): void {
  const { iat } = claims
  if (iat !== undefined && !(typeof iat === 'number' && iat <= nowSeconds + tolerance)) {
    throw new InvalidTokenError('not_yet_valid')
  }
}

/** Clients differ by one trailing slash in the audience that they ask for. */
function sameUri(value: string, wanted: string): boolean {
  return withoutSlash(value) === withoutSlash(wanted)
}

function withoutSlash(uri: string): string {
  return uri.endsWith('/') ? uri.slice(0, -1) : uri
}

/**
 * RFC 9068 §2.1 marks access tokens `at+jwt`; where a server does not, its other tokens have to be told by what they hold: an
 * ID token for this server's own client has the same issuer, keys, subject and audience.
 */
function isAccessToken(
  claims: Claims,
  headerType: string | undefined,
  acceptedAudience: readonly string[],
  expected: Expectations,
): boolean {
  const header = headerType?.toLowerCase().replace(/^application\//, '')
  if (header === 'at+jwt') return true
  if (header !== undefined && header !== 'jwt') return false
  // Keycloak's `typ`, and the `token_use` of Cognito and Hydra, say it outright.
  const uses = [claims['typ'], claims['token_use']].filter((use) => typeof use === 'string')
  if (uses.some((use) => OTHER_USES.test(use))) return false
  if (uses.some((use) => ACCESS_USES.test(use))) return true
  if (hasOneOf(claims, NOT_IN_ACCESS_TOKENS)) return false
  // An ID token is for a client, so one that is for this very resource is none.
  const forResource = acceptedAudience.some((value) => sameUri(value, expected.resource))
  if ('nonce' in claims && (!forResource || !hasOneOf(claims, ['scope', 'scp']))) return false
  return forResource || hasOneOf(claims, USUAL_IN_ACCESS_TOKENS)
}

function hasOneOf(claims: Claims, names: readonly string[]): boolean {
  return names.some((name) => name in claims)
}

function readClientId(claims: Claims): string | undefined {
  for (const claim of ['client_id', 'azp', 'cid']) {
    const value = claims[claim]
    if (typeof value === 'string' && value !== '') return value
  }
  return undefined
}

function readScopes(claims: Claims): string[] {
  const value = claims['scope'] ?? claims['scp']
  return readStrings(typeof value === 'string' ? value.split(' ') : value).filter((scope) => scope !== '')
}

function readStrings(value: unknown): string[] {
  if (typeof value === 'string') return value === '' ? [] : [value]
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string' && item !== '') : []
}
