import { randomUUID } from 'node:crypto'
import {
  createLocalJWKSet,
  exportJWK,
  generateKeyPair,
  jwtVerify,
  SignJWT,
  type CryptoKey,
  type JWK,
  type JWTPayload,
} from 'jose'

const algorithm = 'ES256'

export interface SigningKey {
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly privateJwk: JWK
}

export interface AccessTokenClaims {
  readonly issuer: string
  readonly subject: string
  readonly audience: string
  readonly clientId: string
  readonly scope: string
  /** Seconds from now until the token expires. */
  readonly lifetime: number
}

/** A new random key for every start: nothing that this provider signed outlives it. */
export async function generateSigningKey(): Promise<SigningKey> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const kid = randomUUID()
  return { kid, privateKey, privateJwk: { ...(await exportJWK(privateKey)), kid, alg: algorithm, use: 'sig' } }
}

/** A JWT access token as RFC 9068 describes it. */
export function signAccessToken(key: SigningKey, claims: AccessTokenClaims): Promise<string> {
  return new SignJWT({ client_id: claims.clientId, scope: claims.scope })
    .setProtectedHeader({ alg: algorithm, kid: key.kid, typ: 'at+jwt' })
    .setIssuer(claims.issuer)
    .setSubject(claims.subject)
    .setAudience(claims.audience)
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime(`${claims.lifetime} seconds`)
    .sign(key.privateKey)
}

/**
 * The claims of an access token that this provider issued.
 *
 * @throws when it is anything else: another issuer's, expired, tampered with, or an ID token
 */
export async function verifyAccessToken(
  token: string,
  keys: readonly SigningKey[],
  issuer: string,
): Promise<JWTPayload & { readonly sub: string }> {
  const jwks = createLocalJWKSet({ keys: keys.map(({ privateJwk }) => publicPart(privateJwk)) })
  const { payload } = await jwtVerify<{ sub: string }>(token, jwks, {
    issuer,
    typ: 'at+jwt',
    algorithms: [algorithm],
    requiredClaims: ['sub', 'aud', 'exp'],
  })
  return payload
}

function publicPart({ kty, crv, x, y, kid, alg, use }: JWK): JWK {
  return { kty, crv, x, y, kid, alg, use } as JWK
}
