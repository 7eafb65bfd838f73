import { hash, randomUUID } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose'
import type { SendOptions } from './answers.js'
import { RESOURCE } from './scripted-authorization-server.js'

/** A key of an MCP client. */
export interface DpopKey {
  readonly alg: string
  readonly privateKey: CryptoKey
  readonly publicJwk: JWK
  readonly privateJwk: JWK
  readonly thumbprint: string
}

/** The parts of a proof; those of undefined are left out. */
export interface ProofParts {
  readonly header?: Record<string, unknown>
  readonly claims?: Record<string, unknown>
}

export async function dpopKey(alg = 'ES256'): Promise<DpopKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const publicJwk = await exportJWK(publicKey)
  const privateJwk = await exportJWK(privateKey)
  return { alg, privateKey, publicJwk, privateJwk, thumbprint: await calculateJwkThumbprint(publicJwk) }
}

/**
 * Signs a proof for `POST` to the resource of the tests.
 *
 * @param now milliseconds since the epoch
 */
export function signProof(key: DpopKey, token: string, now: number, parts: ProofParts = {}): Promise<string> {
  const { header, claims } = parts
  const payload = {
    jti: randomUUID(),
    htm: 'POST',
    htu: RESOURCE,
    iat: Math.floor(now / 1_000),
    ath: hash('sha256', token, 'base64url'),
    ...claims,
  }
  const protectedHeader = { typ: 'dpop+jwt', alg: key.alg, jwk: key.publicJwk, ...header }
  return new SignJWT(present(payload))
    .setProtectedHeader(present(protectedHeader) as { alg: string })
    .sign(key.privateKey)
}

/** A POST to the path of the resource, with a token and proofs, a header for each. */
export function withProof(token: string, ...proofs: readonly string[]): SendOptions {
  return {
    method: 'POST',
    path: new URL(RESOURCE).pathname,
    headers: [['Authorization', `DPoP ${token}`], ...proofs.map((proof) => ['DPoP', proof] as const)],
  }
}

function present(members: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}
