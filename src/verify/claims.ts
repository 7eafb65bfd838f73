import { InvalidTokenError } from '../errors.js'

/** Claims of a token whose signature, or whose introspection, has been found good. */
export type Claims = Readonly<Record<string, unknown>>

/** What the claims of an access token have to be. */
export interface Expectations {
  readonly audience: readonly string[]
  /** The audience that is this server's client id: what an ID token for this server has too. */
  readonly clientId: string | undefined
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

/** The claims that only an ID token has, or a logout token (OIDC Core §3.3.2.11, Back-Channel Logout §2.4). */
const NOT_IN_ACCESS_TOKENS = ['at_hash', 'c_hash', 's_hash', 'events']
/** The claims that no ID token has. */
const ONLY_IN_ACCESS_TOKENS = ['scope', 'scp', 'client_id', 'cid']

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
  if (!isAccessToken(claims, tokenType, accepted, expected.clientId)) throw new InvalidTokenError('token_type')
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
  clientId: string | undefined,
): boolean {
  const header = headerType?.toLowerCase().replace(/^application\//, '')
  if (header === 'at+jwt') return true
  if (header !== undefined && header !== 'jwt') return false
  // Keycloak's `typ` and Cognito's `token_use` say it outright.
  const use = claims['typ'] ?? claims['token_use']
  if (use === 'Bearer' || use === 'access') return true
  if (typeof use === 'string' && ['id', 'refresh', 'offline', 'logout'].includes(use.toLowerCase())) return false
  if (NOT_IN_ACCESS_TOKENS.some((claim) => claim in claims)) return false
  if (ONLY_IN_ACCESS_TOKENS.some((claim) => claim in claims)) return true
  return !('nonce' in claims) && acceptedAudience.some((value) => value !== clientId)
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
