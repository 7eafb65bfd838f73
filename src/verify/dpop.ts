import { hash } from 'node:crypto'
import type { FlattenedJWSInput, JWTPayload, JWTVerifyResult } from 'jose'
import * as errors from 'jose/errors'
import { EmbeddedJWK } from 'jose/jwk/embedded'
import { calculateJwkThumbprint } from 'jose/jwk/thumbprint'
import { jwtVerify } from 'jose/jwt/verify'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { InvalidDpopProofError, McpAuthError, type DpopProofFault } from '../errors/errors.js'
import { isoTime, type Fault } from '../errors/rejection-details.js'
import { hashOfParts } from '../hash-of-parts.js'
import { isJsonObject } from '../json.js'
import { checkNotExpired } from './claims.js'
import { isNotSupported } from './jose-failures.js'
import { boundToOther, notBound, withoutProof } from './rejections.js'
import { PROOF_WINDOW, type SpentProofs } from './spent-proofs.js'

/** A verified token, as far as a proof has to fit it. */
export interface MaybeBound {
  /** Thumbprint of the key that the token is bound to; undefined if it is bound to none. */
  readonly boundTo: string | undefined
  readonly caller: {
    readonly token: string
    readonly identity: { readonly issuer: string; readonly subject: string }
    /** Seconds. */
    readonly expiresAt: number
  }
}

/** A request with a proof. */
export interface ProvenRequest {
  readonly method: string
  /** Path and query, as the client sent them. */
  readonly target: string
  /** The `DPoP` header. Node joins several into one with commas. */
  readonly proof: string | readonly string[] | undefined
}

/** Verifies DPoP proofs (RFC 9449 §4.3). */
export interface Dpop {
  /**
   * Returns the proof of a request, before its token is looked at.
   *
   * @throws {InvalidDpopProofError} there is not one proof of a reasonable size
   */
  readonly readProof: (request: ProvenRequest) => string
  /**
   * Resolves if the proof is that of the key that a verified token is bound to, for this request, and not used before.
   *
   * Rejects with {@link InvalidTokenError} when the token is bound to no key or another one, with {@link InvalidDpopProofError},
   * and as {@link SpentProofs} does.
   */
  readonly check: (proof: string, token: MaybeBound, request: ProvenRequest) => Promise<void>
}

/** The rooms that proofs need. */
export interface DpopRooms {
  readonly config: Pick<Config, 'algorithms' | 'resource' | 'clockTolerance'>
  readonly clock: Clock
  readonly spent: Pick<SpentProofs, 'spend'>
}

/** Characters: a key and a signature of ML-DSA-87 have 9,600. */
const LONGEST_PROOF = 16_384
/** Members of a JWK that are private (RFC 7518 §6), of any kind of key. */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']

/**
 * A token without a proof of its key: a bound one is refused, and where proofs are required any other, too.
 *
 * @throws {InvalidTokenError}
 */
export function checkUnproven({ dpop }: Pick<Config, 'dpop'>, { boundTo }: Pick<MaybeBound, 'boundTo'>): void {
  if (boundTo !== undefined) throw withoutProof()
  if (dpop === 'required') throw notBound('Bearer')
}

export function createDpop(rooms: DpopRooms): Dpop {
  return {
    readProof: ({ proof }) => readProof(proof),
    check: async (proof, token, request) => {
      try {
        await check(rooms, proof, { token, request })
      } catch (error) {
        // The proof may repeat the token, which no event may show.
        throw error instanceof InvalidDpopProofError ? error.about(token.caller.token) : error
      }
    },
  }
}

function readProof(header: ProvenRequest['proof']): string {
  const [proof, ...others] = [header ?? []].flat()
  if (proof === undefined || proof === '') throw faulty('missing', 'there is no DPoP header', { advice: LOST })
  if (others.length > 0 || proof.includes(',')) throw faulty('several', 'there are several DPoP headers')
  if (proof.length > LONGEST_PROOF) {
    throw faulty('too_large', `the proof has ${proof.length} characters, and ${LONGEST_PROOF} is the most`)
  }
  return proof
}

const LOST = 'the client must send one with each request; look at what proxies drop'

interface Presented {
  readonly token: MaybeBound
  readonly request: ProvenRequest
}

async function check(rooms: DpopRooms, proof: string, { token, request }: Presented): Promise<void> {
  const { boundTo, caller } = token
  if (boundTo === undefined) throw notBound('DPoP').about(caller.token)
  const { clock, config } = rooms
  const nowSeconds = Math.floor(clock.now() / 1_000)
  const { payload } = await verifyProof(proof, boundTo, { config, now: new Date(nowSeconds * 1_000) })
  const { jti, iat } = checkClaims(payload, {
    method: request.method,
    url: urlOf(config.resource, request.target),
    ath: hash('sha256', caller.token, 'base64url'),
    nowSeconds,
  })
  const user = hashOfParts([caller.identity.issuer, caller.identity.subject])
  const outcome = await rooms.spent.spend({ user, key: boundTo, jti, iat })
  if (outcome === 'used') {
    throw faulty('jti', 'jti was used before', {
      claim: 'jti',
      advice: 'the client must sign a new proof for each request',
    })
  }
  // The store may have taken longer than the proof, or the token, was good.
  const now = Math.floor(clock.now() / 1_000)
  if (outcome === 'old' || !isInTime(iat, now)) throw outOfTime(iat, now)
  checkNotExpired(caller.expiresAt, { nowSeconds: now, clockTolerance: config.clockTolerance })
}

const isInTime = (iat: number, nowSeconds: number): boolean => Math.abs(nowSeconds - iat) <= PROOF_WINDOW

/** The key is held to the token before it verifies anything, so that a stranger's key costs no more than a hash. */
async function verifyProof(
  proof: string,
  boundTo: string,
  { config, now }: { readonly config: DpopRooms['config']; readonly now: Date },
): Promise<JWTVerifyResult> {
  const keyOf = async (header: Readonly<Record<string, unknown>>, input: FlattenedJWSInput) => {
    const { jwk } = header
    if (!isJsonObject(jwk)) throw faulty('jwk', 'the header has no jwk')
    const secret = PRIVATE_MEMBERS.find((name) => name in jwk)
    if (secret !== undefined) {
      throw faulty('jwk', `jwk has a private part (${secret})`, {
        advice: 'the key is no longer a secret: make another one',
      })
    }
    if ((await thumbprintOf(jwk)) !== boundTo) throw boundToOther()
    return EmbeddedJWK(header, input).catch((error: unknown) => {
      throw isNotSupported(error) ? error : faulty('jwk', 'jwk is not a public key for its alg', { cause: error })
    })
  }
  try {
    return await jwtVerify(proof, keyOf, { typ: 'dpop+jwt', algorithms: [...config.algorithms], currentDate: now })
  } catch (error) {
    throw error instanceof McpAuthError ? error : joseFault(error, config)
  }
}

async function thumbprintOf(jwk: object): Promise<string> {
  try {
    return await calculateJwkThumbprint(jwk)
  } catch (error) {
    throw faulty('jwk', 'jwk is not a key', { cause: error })
  }
}

/** Whatever fails while a proof is verified is the fault of the proof, which has all that it is verified with in itself. */
function joseFault(error: unknown, { algorithms }: Pick<Config, 'algorithms'>): InvalidDpopProofError {
  const code = error instanceof errors.JOSEError ? error.code : undefined
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'typ') {
    return faulty('typ', 'typ of the header is not dpop+jwt', { claim: 'typ' })
  }
  if (error instanceof errors.JWTClaimValidationFailed && error.reason === 'invalid') {
    return missingClaim(error.claim, error.payload[error.claim], 'a number')
  }
  if (error instanceof errors.JWTExpired || error instanceof errors.JWTClaimValidationFailed) {
    return faulty('iat', `${error.claim} of the proof does not let it be used now`, { claim: error.claim })
  }
  if (code === errors.JOSEAlgNotAllowed.code || isNotSupported(error)) {
    return faulty('algorithm', `alg is none of ${algorithms.join(', ')}`, { claim: 'alg' })
  }
  if (code === errors.JWSSignatureVerificationFailed.code) return faulty('signature', 'the signature does not fit jwk')
  return faulty('malformed', 'the proof is not a JWT that can be verified', { cause: error })
}

interface ExpectedClaims {
  readonly method: string
  readonly url: string
  readonly ath: string
  readonly nowSeconds: number
}

function checkClaims(claims: JWTPayload, expected: ExpectedClaims): { readonly jti: string; readonly iat: number } {
  const { method, url, nowSeconds } = expected
  const [jti, htm, htu, ath] = ['jti', 'htm', 'htu', 'ath'].map((claim) => textOf(claims, claim)) as [
    string,
    string,
    string,
    string,
  ]
  const { iat } = claims
  if (typeof iat !== 'number' || !Number.isFinite(iat)) throw missingClaim('iat', iat, 'a number')
  if (htm !== method) throw otherThan('htm', { found: htm, expected: method })
  if (!URL.canParse(htu) || inOneSpelling(new URL(htu)) !== url) {
    throw otherThan('htu', {
      found: htu,
      expected: url,
      advice: 'resource must be at the origin that clients have, and a proxy must leave the path as it is',
    })
  }
  // Neither hash is shown: each stands for a token.
  if (ath !== expected.ath) throw faulty('ath', 'ath is not the hash of the token in the request', { claim: 'ath' })
  if (!isInTime(iat, nowSeconds)) throw outOfTime(iat, nowSeconds)
  return { jti, iat }
}

function textOf(claims: JWTPayload, claim: string): string {
  const value = claims[claim]
  if (typeof value !== 'string' || value === '') throw missingClaim(claim, value, 'a string that is not empty')
  return value
}

/** Returns the URL that a request is for: `resource` says its origin, because a Host header may be anything. */
function urlOf(resource: string, target: string): string {
  return inOneSpelling(new URL(new URL(resource).origin + (target.startsWith('/') ? target : `/${target}`)))
}

/**
 * Returns a URL without query and fragment, in one spelling (RFC 9449 §4.3; RFC 3986 §6.2.2, §6.2.3): host and scheme in lower case, no
 * default port, no dot segments, escapes in upper case and none where none is needed.
 */
function inOneSpelling(url: URL): string {
  url.search = ''
  url.hash = ''
  return url.href.replace(/%[\da-f]{2}/gi, (escape) => {
    const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16))
    return /[\w.~-]/.test(character) ? character : escape.toUpperCase()
  })
}

function missingClaim(claim: string, found: unknown, wanted: string): InvalidDpopProofError {
  return new InvalidDpopProofError('missing_claim', () => ({
    claim,
    found,
    sentence: (words) =>
      found === undefined ? `${claim} is missing in the proof` : `${claim} of the proof is ${words}, not ${wanted}`,
  }))
}

function otherThan(claim: 'htm' | 'htu', fault: Pick<Fault, 'found' | 'expected' | 'advice'>): InvalidDpopProofError {
  return new InvalidDpopProofError(claim, () => ({
    claim,
    ...fault,
    sentence: (found, expected) => `${claim} of the proof is ${found}, and the request is for ${expected}`,
  }))
}

function outOfTime(iat: number, nowSeconds: number): InvalidDpopProofError {
  return new InvalidDpopProofError('iat', () => ({
    claim: 'iat',
    expected: isoTime(nowSeconds),
    found: isoTime(iat),
    sentence: (made, now) =>
      `iat of the proof is ${made} and it is ${now} here, where ${PROOF_WINDOW} s before and after are good`,
    advice: 'the client must sign a new proof for each request; if it does, compare the clocks (NTP)',
  }))
}

function faulty(
  fault: DpopProofFault,
  sentence: string,
  { cause, ...more }: Pick<Fault, 'claim' | 'advice'> & { readonly cause?: unknown } = {},
): InvalidDpopProofError {
  return new InvalidDpopProofError(fault, () => ({ ...more, sentence: () => sentence }), cause)
}
