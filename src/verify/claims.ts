import type { InvalidTokenError } from '../errors/errors.js'
import {
  bound,
  expired,
  missing,
  notYetValid,
  otherAudience,
  otherClient,
  otherIssuer,
  otherKind,
} from './rejections.js'

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
  if (typeof sub !== 'string' || sub === '') throw missing('sub', sub, 'a string that is not empty')
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw missing('exp', exp, 'a number')
  const audience = readStrings(claims['aud'])
  if (audience.length === 0) throw missing('aud', claims['aud'], 'a string or a list of strings')
  const accepted = audience.filter((value) => expected.audience.some((wanted) => sameUri(value, wanted)))
  if (accepted.length === 0) throw otherAudience(audience, expected.audience)
  const kind = whyNoAccessToken(claims, tokenType, accepted, expected)
  if (kind !== undefined) throw kind
  // RFC 7800: a token bound to a key is worth nothing without the proof, and proofs are not verified here.
  if (claims['cnf'] !== undefined && claims['cnf'] !== null) throw bound(claims['cnf'])
  const client = readClientId(claims)
  if (expected.allowedClients !== undefined && (client === undefined || !expected.allowedClients.has(client.id))) {
    throw otherClient(client?.claim ?? 'client_id', client?.id, expected.allowedClients)
  }
  const scopes = readScopes(claims)
  Object.freeze(scopes)
  Object.freeze(audience)
  return { subject: sub, clientId: client?.id ?? 'unknown', scopes, expiresAt: exp, audience }
}

/**
 * `iss`, `exp`, `nbf` of an introspection answer, which nobody else has looked at. An answer without `iss` is from the server
 * that was asked (RFC 7662 §2.2 has it optional).
 */
export function checkIntrospectedTimes(claims: Claims, issuer: string, nowSeconds: number, tolerance: number): void {
  const { iss, exp, nbf } = claims
  if (iss !== undefined && iss !== issuer) throw otherIssuer(iss, issuer)
  if (typeof exp === 'number' && exp <= nowSeconds - tolerance) throw expired(exp, nowSeconds)
  if (nbf !== undefined && !(typeof nbf === 'number' && nbf <= nowSeconds + tolerance)) {
    throw notYetValid('nbf', nbf, { nowSeconds, clockTolerance: tolerance })
  }
}

/** A token from the future has been made by a clock that cannot be trusted with its `exp` either. */
export function checkIssuedAt(claims: Claims, nowSeconds: number, tolerance: number): void {
  const { iat } = claims
  if (iat !== undefined && !(typeof iat === 'number' && iat <= nowSeconds + tolerance)) {
    throw notYetValid('iat', iat, { nowSeconds, clockTolerance: tolerance })
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
function whyNoAccessToken(
  claims: Claims,
  headerType: string | undefined,
  acceptedAudience: readonly string[],
  expected: Expectations,
): InvalidTokenError | undefined {
  const header = headerType?.toLowerCase().replace(/^application\//, '')
  if (header === 'at+jwt') return undefined
  if (header !== undefined && header !== 'jwt') return otherKind('the header has typ', 'typ', headerType)
  // Keycloak's `typ`, and the `token_use` of Cognito and Hydra, say it outright.
  const uses = ['typ', 'token_use'].flatMap((claim) => {
    const use = claims[claim]
    return typeof use === 'string' ? [{ claim, use }] : []
  })
  const other = uses.find(({ use }) => OTHER_USES.test(use))
  if (other !== undefined) return otherKind(`${other.claim} is`, other.claim, other.use)
  if (uses.some(({ use }) => ACCESS_USES.test(use))) return undefined
  const mark = NOT_IN_ACCESS_TOKENS.find((name) => name in claims)
  if (mark !== undefined) return otherKind(`there is a claim ${mark}`, mark)
  // An ID token is for a client, so one that is for this very resource is none.
  const forResource = acceptedAudience.some((value) => sameUri(value, expected.resource))
  if ('nonce' in claims && (!forResource || !hasOneOf(claims, ['scope', 'scp']))) {
    return otherKind('there is a claim nonce', 'nonce')
  }
  if (forResource || hasOneOf(claims, USUAL_IN_ACCESS_TOKENS)) return undefined
  return otherKind(`there is none of ${USUAL_IN_ACCESS_TOKENS.join(', ')}`)
}

function hasOneOf(claims: Claims, names: readonly string[]): boolean {
  return names.some((name) => name in claims)
}

/** The client, and the claim that names it. */
interface ClientClaim {
  readonly claim: string
  readonly id: string
}

function readClientId(claims: Claims): ClientClaim | undefined {
  for (const claim of ['client_id', 'azp', 'cid']) {
    const id = claims[claim]
    if (typeof id === 'string' && id !== '') return { claim, id }
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
