import { decodeProtectedHeader } from 'jose/decode/protected_header'
import * as errors from 'jose/errors'
import { decodeJwt } from 'jose/jwt/decode'
import { variableOf } from '../config/declarations.js'
import type { InvalidTokenError } from '../errors/errors.js'
import { ASYMMETRIC_ALGORITHMS } from '../config/kinds.js'
import { adviceForEntra } from './entra-issuers.js'
import {
  expired,
  malformed,
  missing,
  notYetValid,
  otherIssuer,
  REMEDIES,
  unverified,
  type Moment,
} from './rejections.js'

/** The demands on a JWT, for the words of a rejection. */
export interface Verification extends Moment {
  readonly issuer: string
  readonly algorithms: readonly string[]
  /** `kid` of the published keys. */
  readonly publishedKeys: () => readonly string[]
}

/** Whether it is Web Crypto's way to say that this platform does not have an algorithm. */
export function isNotSupported(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'NotSupportedError'
}

/** Returns a failure of jose as the fault of the token, if it is that, else the failure itself. */
export function joseRejection(error: unknown, token: string, verification: Verification): unknown {
  if (error instanceof errors.JWTClaimValidationFailed) return claimRejection(error, verification)
  if (error instanceof errors.JWTExpired) return expired(error.payload.exp, verification.nowSeconds)
  if (isNotSupported(error)) return otherAlgorithm(token, verification)
  switch (error instanceof errors.JOSEError ? error.code : undefined) {
    case errors.JOSEAlgNotAllowed.code:
    case errors.JOSENotSupported.code:
      return otherAlgorithm(token, verification)
    case errors.JWKSNoMatchingKey.code:
      return unfitKey('key', token, verification)
    case errors.JWSSignatureVerificationFailed.code:
      return unfitKey('signature', token, verification)
    case errors.JWSInvalid.code:
      return malformed('the token looks like a JWT, and cannot be read as one')
    case errors.JWTInvalid.code:
      return malformed('the payload of the token is not a JSON object')
    default:
      return error
  }
}

function claimRejection(error: errors.JWTClaimValidationFailed, verification: Verification): InvalidTokenError {
  const { claim, reason } = error
  const found = error.payload[claim]
  if (reason === 'missing' || reason === 'invalid') return missing(claim, found, 'a number')
  if (claim === 'iss') return otherIssuer(found, verification.issuer)
  // Of the moments, it looks at no other.
  return notYetValid('nbf', found, verification)
}

function otherAlgorithm(token: string, { algorithms }: Verification): InvalidTokenError {
  return unverified('algorithm', () => {
    const alg = unverifiedPart(() => decodeProtectedHeader(token).alg)
    const fault = { claim: 'alg', expected: algorithms, found: alg }
    return algorithms.includes(String(alg))
      ? {
          ...fault,
          sentence: (found) => `alg is ${found}, and the header asks for something that cannot be verified here`,
          advice: 'have the authorization server leave it out',
        }
      : {
          ...fault,
          sentence: (found, expected) => `alg is ${found}, none of ${expected}`,
          ...(ASYMMETRIC_ALGORITHMS.includes(String(alg)) && { advice: LEFT_OUT }),
        }
  })
}

const LEFT_OUT = `add it to algorithms, or ${REMEDIES.algorithm}`

/** The usual cause is a client that signs in somewhere else: its tokens say so, though unverified. */
function unfitKey(
  reason: 'key' | 'signature',
  token: string,
  { issuer, publishedKeys }: Verification,
): InvalidTokenError {
  return unverified(reason, () => {
    const claimed = unverifiedPart(() => decodeJwt(token).iss)
    const elsewhere = claimed !== issuer
    return {
      claim: 'kid',
      expected: reason === 'key' ? publishedKeys() : undefined,
      found: unverifiedPart(() => decodeProtectedHeader(token).kid),
      sentence: (kid, published, show) =>
        (reason === 'key'
          ? `kid is ${kid}, and the keys of ${show(issuer)} are ${published}`
          : `the signature does not fit the key of ${show(issuer)} (kid is ${kid})`) +
        (elsewhere ? `; iss, unverified, is ${show(claimed)}` : ''),
      ...unverifiedPart(() => adviceOn(decodeProtectedHeader(token), { reason, claimed, issuer })),
    }
  })
}

/** The advice for tokens that no key of the issuer fits, where their form tells more than the usual. */
function adviceOn(
  header: Readonly<Record<string, unknown>>,
  {
    reason,
    claimed,
    issuer,
  }: { readonly reason: 'key' | 'signature'; readonly claimed: unknown; readonly issuer: string },
): { readonly advice?: string } {
  // Microsoft Graph hashes the nonce before it signs, so that nobody else can verify its tokens.
  if (reason === 'signature' && 'nonce' in header) return { advice: FOR_GRAPH }
  if (claimed !== issuer) {
    return {
      advice:
        adviceForEntra(claimed, [issuer]) ??
        `the token seems to be from another authorization server or realm: if people are to sign in there, make it issuer (${variableOf('issuer')}); else the client must sign in at that of this server again`,
    }
  }
  return reason === 'key' && isOrganisationServer(issuer) ? { advice: OF_ORGANISATION } : {}
}

const FOR_GRAPH = `it seems to be for Microsoft Graph (there is a nonce in the header), which alone can verify it: the client must ask for a scope of this server by its whole name and for none of Graph beside it: set challengeScopes (${variableOf('challengeScopes')}), which a 401 has clients ask for, to that scope, such as https://mcp.example.com/mcp/tools (Application ID URI, slash, name; docs/entra.md)`
const OF_ORGANISATION = `issuer is the organisation server of Okta, which publishes no keys for its access tokens: make a custom authorization server of Okta issuer (${variableOf('issuer')}), such as https://…/oauth2/default, where MCP clients then sign in`

/** Whether it is Okta's server of an organisation, whose issuer is the host alone. */
function isOrganisationServer(issuer: string): boolean {
  const { hostname, pathname } = new URL(issuer)
  return pathname === '/' && /\.okta(?:preview|-emea|-gov)?\.(?:com|mil)$/.test(hostname)
}

/** Returns a part of a token, unverified; undefined if there is no such part. */
function unverifiedPart<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
