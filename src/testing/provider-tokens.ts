import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose'

/** A provider and its client, in the names of the options of `mcpAuth()`. */
export interface FakeProviderParty {
  readonly issuer: string
  readonly resource: string
  readonly clientId: string
  readonly clientSecret: string
  readonly scopesSupported: readonly string[]
}

/** What is wrong with a token, or how long it lives. */
export interface FakeTokenOptions {
  /** Seconds until the token ends; a negative number is a token that has ended. Default: 600. */
  readonly lifetime?: number | undefined
  /** `unpublished` signs with a key that the provider does not publish. Default: `published`. */
  readonly key?: 'published' | 'unpublished' | undefined
}

/** Signs claims. One that is undefined is left out. */
export type Sign = (
  typ: string,
  claims: Readonly<Record<string, unknown>>,
  options?: FakeTokenOptions,
) => Promise<string>

export interface Signer {
  readonly sign: Sign
  readonly publicKey: CryptoKey
  /** The public key as the provider publishes it. */
  readonly jwk: JWK
}

export const ALG = 'ES256'
/** Seconds. */
const LIFETIME = 600

export async function createSigner(issuer: string): Promise<Signer> {
  const [published, unpublished] = await Promise.all([generateKeyPair(ALG), generateKeyPair(ALG)])
  const { publicKey } = published
  const kid = crypto.randomUUID()
  return {
    publicKey,
    jwk: { ...(await exportJWK(publicKey)), kid, alg: ALG, use: 'sig' },
    sign(typ, claims, { lifetime = LIFETIME, key = 'published' } = {}) {
      const now = Math.floor(Date.now() / 1_000)
      // A token that has ended was issued before that.
      const all: Record<string, unknown> = {
        iss: issuer,
        iat: now + Math.min(0, lifetime - LIFETIME),
        exp: now + lifetime,
        ...claims,
      }
      const { privateKey } = key === 'published' ? published : unpublished
      return new SignJWT(all).setProtectedHeader({ alg: ALG, kid, typ }).sign(privateKey)
    },
  }
}
