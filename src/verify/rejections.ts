import { variableOf } from '../config/declarations.js'
import { InvalidTokenError, type InvalidTokenReason } from '../errors/errors.js'
import { isoTime, type Fault } from '../errors/rejection-details.js'
import { isJsonObject } from '../json.js'

const FRESH = 'the client must get a fresh token'

/** One clause for the operator, which ends the sentence of a rejection. A rejection that knows more about its cause has a better one. */
export const REMEDIES: Readonly<Record<InvalidTokenReason, string>> = {
  malformed: 'the client must send the whole access token and nothing else',
  too_large: 'put fewer claims (groups, roles) in it',
  opaque: 'have the authorization server issue JWTs',
  signature: `${FRESH}, because its key was withdrawn, or it was changed or forged`,
  algorithm: 'have the authorization server sign access tokens with one of these',
  key: `${FRESH}, because its key was withdrawn in a rotation of keys, or it was changed or forged`,
  issuer: 'issuer must be, to the letter, what the authorization server writes into its tokens',
  audience: 'add an audience mapper for this server at the authorization server',
  expired: 'the client must renew it; if it just did, compare the clocks',
  not_yet_valid: 'compare the clocks (NTP)',
  missing_claim:
    'have the authorization server put it into access tokens (Keycloak: the client scope basic has sub, an audience mapper adds aud)',
  token_type: 'the client must send its access_token, not the id_token or refresh_token',
  sender_constrained: 'switch DPoP or mTLS binding off for MCP clients',
  client: `allowedClients (${variableOf('allowedClients')}) would have to list it`,
  inactive: 'it has expired, was revoked, is from elsewhere, or is not for this client to introspect',
  claims: 'look there for the condition',
}

/**
 * Returns a rejection with a sentence for the operator, which is put together only where it is read.
 *
 * @param describe the fault; the values that it finds are from a verified token unless it says otherwise
 */
function rejection(reason: InvalidTokenReason, describe: () => Fault, cause?: unknown): InvalidTokenError {
  return new InvalidTokenError(reason, cause, () => ({ verified: true, advice: REMEDIES[reason], ...describe() }))
}

/** Returns the rejection of a token that has not been verified. */
export function unverified(reason: InvalidTokenReason, describe: () => Omit<Fault, 'verified'>): InvalidTokenError {
  return rejection(reason, () => ({ ...describe(), verified: false }))
}

export function malformed(sentence: string): InvalidTokenError {
  return unverified('malformed', () => ({ sentence: () => sentence }))
}

export function tooLarge(length: number, most: number): InvalidTokenError {
  return unverified('too_large', () => ({
    sentence: () => `the token has ${length} characters, and ${most} is the most`,
  }))
}

/**
 * @param why the reason for which this server cannot have it introspected
 * @param advice better advice than the usual
 */
export function opaque(why: string, advice?: string): InvalidTokenError {
  const better = advice === undefined ? {} : { advice }
  return unverified('opaque', () => ({ sentence: () => `the token is not a JWT, and ${why}`, ...better }))
}

export function inactive(): InvalidTokenError {
  return unverified('inactive', () => ({
    sentence: () => 'the authorization server says that the token is not active',
  }))
}

export function missing(claim: string, found: unknown, wanted: string): InvalidTokenError {
  return rejection('missing_claim', () => ({
    claim,
    found,
    sentence: (words) => (found === undefined ? `${claim} is missing` : `${claim} is ${words}, not ${wanted}`),
  }))
}

export function otherIssuer(found: unknown, expected: string): InvalidTokenError {
  return rejection('issuer', () => ({
    claim: 'iss',
    expected,
    found,
    sentence: (iss, issuer) => `iss is ${iss}, not ${issuer}`,
  }))
}

export function otherAudience(found: readonly string[], expected: readonly string[]): InvalidTokenError {
  return rejection('audience', () => ({
    claim: 'aud',
    expected,
    found,
    sentence: (aud, accepted) => `aud is ${aud}, none of ${accepted}`,
  }))
}

export function expired(exp: unknown, nowSeconds: number): InvalidTokenError {
  return rejection('expired', () => ({
    claim: 'exp',
    expected: isoTime(nowSeconds),
    found: isoTime(exp),
    sentence: (end, now) => `exp is ${end} and it is ${now} here`,
  }))
}

/** The time at which a token is judged, in seconds. */
export interface Moment {
  readonly nowSeconds: number
  readonly clockTolerance: number
}

export function notYetValid(
  claim: 'nbf' | 'iat',
  found: unknown,
  { nowSeconds, clockTolerance }: Moment,
): InvalidTokenError {
  return rejection('not_yet_valid', () => ({
    claim,
    expected: isoTime(nowSeconds),
    found: isoTime(found),
    sentence: (start, now) =>
      `${claim} is ${start} and it is ${now} here, with a clockTolerance of ${clockTolerance} s`,
  }))
}

/** @param told the mark of the other kind of token, without its value */
export function otherKind(told: string, claim?: string, found?: string): InvalidTokenError {
  return rejection('token_type', () => ({
    ...(claim !== undefined && { claim }),
    found,
    sentence: (value) => `${found === undefined ? told : `${told} ${value}`}, which is not what an access token has`,
  }))
}

/** A refresh token can be active too, and a DPoP token comes without the proof. */
export function otherTokenType(type: unknown): InvalidTokenError {
  const dpop = typeof type === 'string' && type.toLowerCase() === 'dpop'
  return rejection(dpop ? 'sender_constrained' : 'token_type', () => ({
    claim: 'token_type',
    expected: ['Bearer'],
    found: type,
    sentence: (found, expected) => `the introspection answer has token_type ${found}, and ${expected} is needed`,
  }))
}

export function bound(cnf: unknown): InvalidTokenError {
  return rejection('sender_constrained', () => ({
    claim: 'cnf',
    found: isJsonObject(cnf) ? Object.keys(cnf) : cnf,
    sentence: (by) => `cnf binds the token to a key (${by}), and proofs of it are not verified here`,
  }))
}

export function otherClient(claim: string, id: string | undefined, allowed: ReadonlySet<string>): InvalidTokenError {
  return rejection('client', () => ({
    claim,
    expected: [...allowed],
    found: id,
    sentence: (found, expected) => `${claim} is ${found}, and only ${expected} may come in`,
  }))
}

/** @param verdict the end that `validateClaims` came to */
export function refusedClaims(verdict: 'returned false' | 'threw an error', cause?: unknown): InvalidTokenError {
  return rejection('claims', () => ({ sentence: () => `validateClaims ${verdict} for the claims` }), cause)
}
