import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JSONWebKeySet } from 'jose'
import type { McpAuthOptions } from '../dist/index.js'

export const RESOURCE = 'https://mcp.example.com/mcp'
export const CLIENT = { clientId: 'mcp-server', clientSecret: 'secret of the benchmark' }
export const ISSUER = 'https://idp.example.com'

export type Algorithm = 'RS256' | 'ES256' | 'EdDSA'

/** Signs access tokens, and publishes the keys. */
export interface Signer {
  readonly keys: JSONWebKeySet
  /** @param padding bytes that the token is made longer by */
  readonly mint: (claims?: Record<string, unknown>, padding?: number) => Promise<string>
}

/** @param count keys in the set; the last one signs */
export async function createSigner(issuer: string, alg: Algorithm = 'RS256', count = 1): Promise<Signer> {
  const keys: JSONWebKeySet = { keys: [] }
  let signing: CryptoKey | undefined
  for (let number = 1; number <= count; number += 1) {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
    keys.keys.push({ ...(await exportJWK(publicKey)), kid: `key-${number}`, alg, use: 'sig' })
    signing = privateKey
  }
  const key = signing
  if (key === undefined) throw new Error('A signer needs a key')
  let serial = 0
  return {
    keys,
    mint(claims = {}, padding = 0) {
      serial += 1
      const now = Math.floor(Date.now() / 1_000)
      return new SignJWT({
        iss: issuer,
        aud: RESOURCE,
        sub: 'alice',
        client_id: 'mcp-client',
        scope: 'notes.read notes.write',
        iat: now,
        exp: now + 7_200,
        jti: `token-${serial}`,
        ...(padding > 0 && { groups: 'x'.repeat(padding) }),
        ...claims,
      })
        .setProtectedHeader({ alg, kid: `key-${count}`, typ: 'at+jwt' })
        .sign(key)
    },
  }
}

/** How often an authorization server was asked for a token. */
export interface Asked {
  tokenRequests: number
}

/**
 * An authorization server within the process, where its own time must not count: options that reach it.
 *
 * @param life seconds of the Nextcloud tokens that it gives
 * @param wait milliseconds that a token request takes
 */
export function inProcess(
  keys: JSONWebKeySet,
  { life = 300, wait = () => Promise.resolve() }: { life?: number; wait?: () => Promise<void> } = {},
): { readonly options: Omit<McpAuthOptions, 'onError'>; readonly asked: Asked } {
  const asked: Asked = { tokenRequests: 0 }
  const metadata = { issuer: ISSUER, jwks_uri: `${ISSUER}/jwks`, token_endpoint: `${ISSUER}/token` }
  const fetch = async (url: string): Promise<Response> => {
    if (url === metadata.jwks_uri) return Response.json(keys)
    if (url !== metadata.token_endpoint) return Response.json(metadata)
    asked.tokenRequests += 1
    await wait()
    const accessToken = `nextcloud-token-${asked.tokenRequests}-${'x'.repeat(800)}`
    return Response.json({ access_token: accessToken, token_type: 'Bearer', expires_in: life })
  }
  const options = { issuer: ISSUER, resource: RESOURCE, ...CLIENT, http: { fetch } }
  return { options: { ...options, nextcloud: { url: 'https://cloud.example.com' } }, asked }
}
