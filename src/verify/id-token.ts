import * as errors from 'jose/errors'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { isNotSupported } from './jose-failures.js'
import { createJwtVerifier, type VerifyingKeys } from './keys.js'

/**
 * Returns the user whom an ID token names, or undefined if it is not good: for this client, from this issuer, signed by it, alive,
 * and the answer to the very request that had this nonce (OIDC Core §3.1.3.7).
 *
 * Rejects with {@link UpstreamUnavailableError} when the issuer's keys are needed and cannot be fetched.
 */
export type VerifyIdToken = (
  idToken: string,
  expected: { readonly issuer: string; readonly nonce: string },
) => Promise<SignedInUser | undefined>

/** The user whom an ID token names. */
export interface SignedInUser {
  readonly issuer: string
  readonly subject: string
  readonly claims: Readonly<Record<string, unknown>>
}

export function createIdTokenVerifier(config: Config, keys: VerifyingKeys, clock: Clock): VerifyIdToken {
  const clientId = String(config.client?.id)
  const verifyJwt = createJwtVerifier(keys, config.algorithms)
  return async (idToken, { issuer, nonce }) => {
    try {
      const { payload } = await verifyJwt(idToken, {
        issuer,
        audience: clientId,
        clockTolerance: config.clockTolerance,
        currentDate: new Date(clock.now()),
        requiredClaims: ['sub', 'exp', 'iat', 'nonce'],
      })
      const { sub: subject, azp, aud } = payload
      const several = Array.isArray(aud) && aud.length > 1
      if ((azp !== undefined || several) && azp !== clientId) return undefined
      // The keys may have taken a while.
      const now = Math.floor(clock.now() / 1_000) - config.clockTolerance
      if (!(Number(payload.exp) > now)) return undefined
      if (payload['nonce'] !== nonce || typeof subject !== 'string' || subject === '') return undefined
      return { issuer, subject, claims: payload }
    } catch (error) {
      if (error instanceof errors.JOSEError || isNotSupported(error)) return undefined
      throw error
    }
  }
}
