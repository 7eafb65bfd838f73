import type { ProtectedHeaderParameters } from 'jose'
import { decodeProtectedHeader } from 'jose/decode/protected_header'
import * as errors from 'jose/errors'
import { decodeJwt } from 'jose/jwt/decode'
import { InvalidTokenError, type InvalidTokenReason } from '../errors/errors.js'
import { isoTime, type Fault } from '../errors/rejection-details.js'
import { isNotSupported } from './keys.js'

/** What a JWT is verified against, for the words of a rejection. */
export interface Verification {
  readonly issuer: string
  readonly algorithms: readonly string[]
  /** Seconds. */
  readonly clockTolerance: number
  readonly nowSeconds: number
  /** `kid` of the published keys. */
  readonly publishedKeys: () => readonly string[]
}

/**
 * A rejection with words for the operator, which are put together only where somebody reads them.
 *
 * @param fault what is wrong; the values that it finds are from a verified token unless it says otherwise
 */
export function rejection(reason: InvalidTokenReason, fault: Fault, cause?: unknown): InvalidTokenError {
  return new InvalidTokenError(reason, cause, () => ({ verified: true, ...fault }))
}

/** The same, about a token that has not been verified. */
function unverified(reason: InvalidTokenReason, describe: () => Omit<Fault, 'verified'>): InvalidTokenError {
  return new InvalidTokenError(reason, undefined, () => ({ ...describe(), verified: false }))
}

export function malformed(sentence: string): InvalidTokenError {
  return unverified('malformed', () => ({ sentence: () => sentence }))
}

export function tooLarge(length: number, most: number): InvalidTokenError {
  return unverified('too_large', () => ({
    sentence: () =>
      `the token has ${length} characters, and ${most} is the most: put fewer claims (groups, roles) in it`,
  }))
}

/** @param why what keeps this server from having the token introspected */
export function opaque(why: string): InvalidTokenError {
  return unverified('opaque', () => ({ sentence: () => `the token is not a JWT, and ${why}` }))
}

export function inactive(): InvalidTokenError {
  return unverified('inactive', () => ({
    sentence: () =>
      'the authorization server says that the token is not active: it has expired, was revoked, is from elsewhere, or is not for this client to introspect',
  }))
}

export function missing(claim: string, found: unknown, wanted: string): InvalidTokenError {
  const sentence: Fault['sentence'] = (words) =>
    found === undefined ? `${claim} is missing` : `${claim} is ${words}, not ${wanted}`
  return rejection('missing_claim', { claim, found, sentence })
}

export function otherIssuer(found: unknown, expected: string): InvalidTokenError {
  return rejection('issuer', {
    claim: 'iss',
    expected,
    found,
    sentence: (iss, issuer) =>
      `iss is ${iss}, not ${issuer}: issuer has to be, to the letter, what the authorization server writes into its tokens`,
  })
}

export function expired(exp: unknown, nowSeconds: number): InvalidTokenError {
  return rejection('expired', {
    claim: 'exp',
    expected: isoTime(nowSeconds),
    found: isoTime(exp),
    sentence: (end, now) =>
      `exp is ${end} and it is ${now} here: the client has to renew it; if it just did, compare the clocks`,
  })
}

export function notYetValid(
  claim: 'nbf' | 'iat',
  found: unknown,
  nowSeconds: number,
  tolerance: number,
): InvalidTokenError {
  return rejection('not_yet_valid', {
    claim,
    expected: isoTime(nowSeconds),
    found: isoTime(found),
    sentence: (start, now) =>
      `${claim} is ${start} and it is ${now} here: compare the clocks, of which ${tolerance} s of difference are tolerated (clockTolerance)`,
  })
}

/** A failure of jose as the fault of the token, where it is that. */
export function joseRejection(error: unknown, token: string, verification: Verification): unknown {
  if (error instanceof errors.JWTClaimValidationFailed) return claimRejection(error, verification)
  if (error instanceof errors.JWTExpired) return expired(error.payload.exp, verification.nowSeconds)
  if (isNotSupported(error)) return algorithm(token, verification)
  switch (error instanceof errors.JOSEError ? error.code : undefined) {
    case errors.JOSEAlgNotAllowed.code:
    case errors.JOSENotSupported.code:
      return algorithm(token, verification)
    case errors.JWKSNoMatchingKey.code:
      return unknownKey(token, verification)
    case errors.JWSSignatureVerificationFailed.code:
      return badSignature(token, verification)
    case errors.JWSInvalid.code:
      return malformed('the token looks like a JWT, and cannot be read as one')
    case errors.JWTInvalid.code:
      return malformed('the payload of the token is no JSON object')
    default:
      return error
  }
}

function claimRejection(error: errors.JWTClaimValidationFailed, verification: Verification): InvalidTokenError {
  const { claim, reason } = error
  const found = error.payload[claim]
  if (reason === 'missing' || reason === 'invalid') return missing(claim, found, 'a number')
  if (claim === 'iss') return otherIssuer(found, verification.issuer)
  const { nowSeconds, clockTolerance } = verification
  return notYetValid(claim === 'iat' ? 'iat' : 'nbf', found, nowSeconds, clockTolerance)
}

function algorithm(token: string, { algorithms }: Verification): InvalidTokenError {
  return unverified('algorithm', () => {
    const { alg } = headerOf(token)
    return {
      claim: 'alg',
      expected: algorithms,
      found: alg,
      sentence: (found, expected) =>
        algorithms.includes(String(alg))
          ? `alg is ${found}, and the header asks for something that cannot be verified here`
          : `alg is ${found}, none of ${expected}: have the authorization server sign access tokens with one of these`,
    }
  })
}

function unknownKey(token: string, { issuer, publishedKeys }: Verification): InvalidTokenError {
  return unverified('key', () => ({
    claim: 'kid',
    expected: publishedKeys(),
    found: headerOf(token).kid,
    sentence: (kid, published, show) =>
      `kid is ${kid}, and the keys of ${show(issuer)} are ${published}: ${whereFrom(token, issuer, show)}`,
  }))
}

function badSignature(token: string, { issuer }: Verification): InvalidTokenError {
  return unverified('signature', () => ({
    claim: 'kid',
    found: headerOf(token).kid,
    sentence: (kid, _none, show) =>
      `the signature does not fit the key of ${show(issuer)} (kid is ${kid}): ${whereFrom(token, issuer, show)}`,
  }))
}

/** The usual cause is a client that signs in somewhere else, which its tokens say, if only unverified. */
function whereFrom(token: string, issuer: string, show: (value: unknown) => string): string {
  const claimed = issuerOf(token)
  return claimed === issuer
    ? 'its key was withdrawn, or it was changed or forged'
    : `its iss, unverified, is ${show(claimed)}, so the client seems to use another authorization server or realm`
}

function headerOf(token: string): ProtectedHeaderParameters {
  try {
    return decodeProtectedHeader(token)
  } catch {
    return {}
  }
}

function issuerOf(token: string): unknown {
  try {
    return decodeJwt(token).iss
  } catch {
    return undefined
  }
}
