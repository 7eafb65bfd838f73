import { isTooLong } from '../client-id.js'
import type { Config } from '../config/config.js'
import { sameUri } from '../config/values.js'
import { isJsonObject } from '../json.js'
import {
  expired,
  longClientId,
  malformed,
  missing,
  missingAudience,
  notYetValid,
  otherAudience,
  otherClient,
  otherIssuer,
  otherKind,
  ownClient,
  unprovable,
  type Moment,
} from './rejections.js'

/** Claims of a token whose signature, or whose introspection, has been found good. */
export type Claims = Readonly<Record<string, unknown>>

/** The demands on the claims of an access token. */
export type Expectations = Pick<
  Config,
  'audience' | 'resource' | 'allowedClients' | 'missingAudience' | 'idTokenLookalikes' | 'dpop' | 'client'
>

/** The content of an access token, read from claims that meet the expectations. */
export interface AccessTokenClaims {
  readonly subject: string
  readonly clientId: string
  /** Frozen, as is the audience. */
  readonly scopes: string[]
  readonly expiresAt: number
  readonly audience: string[]
  /** Thumbprint of the key that a request has to prove (RFC 9449 §6.1). Undefined: the token is bound to none. */
  readonly boundTo: string | undefined
}

/** The audiences of a token that are this server's. */
interface Audiences {
  readonly accepted: readonly string[]
  /** Whether `resource` is one of them. */
  readonly forResource: boolean
}

/** Claims of ID tokens (OIDC Core §3.3.2.11, FAPI 1.0 part 2 §5.1.1). */
const IN_ID_TOKENS = ['at_hash', 'c_hash', 's_hash']
/** The claim of logout tokens (Back-Channel Logout §2.4). */
const IN_LOGOUT_TOKENS = 'events'
const OTHER_USES = /^(?:id|refresh|offline|logout)(?:[_+-]|$)/i
const ACCESS_USES = /^(?:bearer|access|access_token)$/i
/** The id of an MCP client whose token names none. */
export const UNNAMED_CLIENT = 'unknown'
/** Claims that no ID token has: `scp` and `cid` are Okta's and Entra's, `uid` is Okta's and authentik's, the last four are Entra's. */
const NEVER_IN_ID_TOKENS = ['scp', 'cid', 'uid', 'appid', 'azpacr', 'appidacr', 'idtyp']
/** Claims that speak for an access token. The ID tokens of Nextcloud's app `oidc` have a `scope`, too. */
const USUAL_IN_ACCESS_TOKENS = ['scope', 'client_id', ...NEVER_IN_ID_TOKENS]
/** Claims that name the client of a token: the first that is there does. `appid` is that of Entra's tokens of version 1.0. */
const CLIENT_CLAIMS = ['client_id', 'azp', 'cid', 'appid'] as const

/**
 * Reads an access token's claims. One without an audience passes where `missingAudience` is a function, which the caller asks.
 *
 * @throws {InvalidTokenError} one is missing, of the wrong type or not what is expected here
 */
export function readAccessTokenClaims(claims: Claims, expected: Expectations, tokenType: unknown): AccessTokenClaims {
  const { sub, exp, aud } = claims
  if (typeof sub !== 'string' || sub === '') throw missing('sub', sub, 'a string that is not empty')
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw missing('exp', exp, 'a number')
  const audience = readStrings(aud)
  const accepted = audience.filter((value) => expected.audience.some((wanted) => sameUri(value, wanted)))
  if (audience.length === 0) checkMissingAudience(claims, expected)
  else if (accepted.length === 0) throw otherAudience(audience, expected.audience, expected.resource)
  const forResource = accepted.some((value) => sameUri(value, expected.resource))
  checkKind(claims, tokenType, { accepted, forResource }, expected)
  if (forResource) checkNotOurs(claims, expected)
  const boundTo = readBinding(claims, expected)
  const clientId = readClientId(claims, expected.allowedClients)
  const scopes = readScopes(claims)
  Object.freeze(scopes)
  Object.freeze(audience)
  return { subject: sub, clientId, scopes, expiresAt: exp, audience, boundTo }
}

/**
 * Returns the thumbprint of the key that a token is bound to. A token that is bound in another way as well needs a proof that cannot be
 * verified here (RFC 7800 §3.1).
 *
 * @throws {InvalidTokenError} it is bound in another way, or `dpop` is off
 */
function readBinding({ cnf }: Claims, { dpop }: Expectations): string | undefined {
  if (cnf === undefined || cnf === null) return undefined
  const { jkt, ...others } = isJsonObject(cnf) ? cnf : {}
  if (dpop === 'off' || typeof jkt !== 'string' || jkt === '' || Object.keys(others).length > 0) throw unprovable(cnf)
  return jkt
}

/**
 * Checks `iss`, `exp` and `nbf` of an introspection answer, which jose has not looked at. An answer without `iss` is from the
 * server that was asked (RFC 7662 §2.2 has it optional).
 */
export function checkIntrospectedClaims(claims: Claims, moment: Moment & { readonly issuer: string }): void {
  const { iss, exp, nbf } = claims
  const { issuer } = moment
  if (iss !== undefined && iss !== issuer) throw otherIssuer(iss, issuer)
  checkNotExpired(exp, moment)
  if (isAhead(nbf, moment)) throw notYetValid('nbf', nbf, moment)
}

/** @throws {InvalidTokenError} the token has ended */
export function checkNotExpired(exp: unknown, { nowSeconds, clockTolerance }: Moment): void {
  if (typeof exp === 'number' && exp <= nowSeconds - clockTolerance) throw expired(exp, nowSeconds)
}

/** A token from the future was made by a clock that cannot be trusted with its `exp` either. */
export function checkIssuedAt({ iat }: Claims, moment: Moment): void {
  if (isAhead(iat, moment)) throw notYetValid('iat', iat, moment)
}

function isAhead(time: unknown, { nowSeconds, clockTolerance }: Moment): boolean {
  return time !== undefined && !(typeof time === 'number' && time <= nowSeconds + clockTolerance)
}

/**
 * An audience that is absent, or an empty list, may be made up for: the token must be proven to be for this server in another way
 * (MCP 2025-11-25, authorization, token handling).
 *
 * @throws {InvalidTokenError} it is not made up for
 */
function checkMissingAudience(claims: Claims, expected: Expectations): void {
  const { audience, allowedClients, missingAudience: rule } = expected
  const { aud } = claims
  const isAbsent = aud === undefined || (Array.isArray(aud) && aud.length === 0)
  if (!isAbsent || rule === 'reject') throw missing('aud', aud, 'a string or a list of strings')
  if (typeof rule === 'function') return
  const { claim, id } = clientOf(claims)
  if (id === undefined || !(audience.includes(id) || allowedClients?.has(id) === true)) {
    throw missingAudience(claim, id, [...audience, ...(allowedClients ?? [])])
  }
}

/**
 * RFC 9068 §2.1 marks access tokens `at+jwt`. Tokens of a server that does not are told apart by what they hold: an ID token for
 * this server's own client has the same issuer, keys, subject and audience.
 *
 * @throws {InvalidTokenError} it is a token of another kind
 */
function checkKind(
  claims: Claims,
  headerType: unknown,
  audiences: Audiences,
  { idTokenLookalikes, client }: Expectations,
): void {
  const header = readHeaderType(headerType)
  if (header === 'at+jwt') return
  if (header !== undefined && header !== 'jwt') throw otherKind('the header has typ', 'typ', String(headerType))
  // Keycloak's `typ`, and the `token_use` of Cognito and Hydra, say it outright.
  const uses = ['typ', 'token_use'].flatMap((claim) => {
    const use = claims[claim]
    return typeof use === 'string' ? [{ claim, use }] : []
  })
  const other = uses.find(({ use }) => OTHER_USES.test(use))
  if (other !== undefined) throw otherKind(`${other.claim} is`, other.claim, other.use)
  if (uses.some(({ use }) => ACCESS_USES.test(use))) return
  if (IN_LOGOUT_TOKENS in claims) throw otherKind(`there is a claim ${IN_LOGOUT_TOKENS}`, IN_LOGOUT_TOKENS)
  if (idTokenLookalikes === 'refuse') checkLookalike(claims, audiences, client)
}

/**
 * @throws {InvalidTokenError} an ID token may look like this
 */
function checkLookalike(claims: Claims, { accepted, forResource }: Audiences, client: Expectations['client']): void {
  const mark = IN_ID_TOKENS.find((name) => name in claims)
  // MCP clients send no nonce, so that the access tokens of a provider whose look like this have none.
  if (mark !== undefined) throw otherKind(`there is a claim ${mark}`, mark, undefined, !('nonce' in claims))
  // An ID token is for a client, so one that is for this very resource is not an ID token.
  if ('nonce' in claims && (!forResource || !hasOneOf(claims, ['scope', 'scp']))) {
    throw otherKind('there is a claim nonce', 'nonce')
  }
  if (!forResource && !hasOneOf(claims, USUAL_IN_ACCESS_TOKENS)) {
    throw otherKind(`there is none of ${USUAL_IN_ACCESS_TOKENS.join(', ')}`, undefined, undefined, true)
  }
  // An ID token need not name its client, which is its audience (OIDC Core §2).
  const { id = client?.id } = clientOf(claims)
  if (!forResource && id !== undefined && accepted.includes(id) && !hasOneOf(claims, NEVER_IN_ID_TOKENS)) {
    throw otherKind('its aud is the very client that got it,', 'aud', id, true)
  }
}

/**
 * A token that this server's own client got, for Nextcloud or at a sign-in, is not one of an MCP client, unless MCP clients share that client.
 *
 * @throws {InvalidTokenError} the token is this server's own
 */
function checkNotOurs(claims: Claims, { client, allowedClients }: Expectations): void {
  const { claim, id } = clientOf(claims)
  if (id !== undefined && id === client?.id && allowedClients?.has(id) !== true) throw ownClient(claim, id)
}

/** Returns the media type in a header without `application/`, which may be left out (RFC 7515 §4.1.9). */
function readHeaderType(type: unknown): string | undefined {
  if (type === undefined) return undefined
  if (typeof type !== 'string') throw malformed('typ in its header is not a string')
  return type.toLowerCase().replace(/^application\//, '')
}

function hasOneOf(claims: Claims, names: readonly string[]): boolean {
  return names.some((name) => name in claims)
}

/** @throws {InvalidTokenError} only some clients may come in, and the token's is not one of them; or its id is too long to be kept */
function readClientId(claims: Claims, allowed: Expectations['allowedClients']): string {
  const { claim, id } = clientOf(claims)
  // It would push the others out of what is kept of them, where each has its room.
  if (id !== undefined && isTooLong(id)) throw longClientId(claim)
  if (allowed !== undefined && (id === undefined || !allowed.has(id))) throw otherClient(claim, id, allowed)
  return id ?? UNNAMED_CLIENT
}

/** Returns the client that a token names, and the claim that does. */
function clientOf(claims: Claims): { readonly claim: string; readonly id: string | undefined } {
  for (const claim of CLIENT_CLAIMS) {
    const id = claims[claim]
    if (typeof id === 'string' && id !== '') return { claim, id }
  }
  return { claim: CLIENT_CLAIMS[0], id: undefined }
}

/** Returns the scopes of `scope`, or of Entra's and Okta's `scp`. */
export function readScopes(claims: Claims): string[] {
  const value = claims['scope'] ?? claims['scp']
  return readStrings(typeof value === 'string' ? value.split(' ') : value)
}

function readStrings(value: unknown): string[] {
  if (typeof value === 'string') return value === '' ? [] : [value]
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string' && item !== '') : []
}
