import { randomBytes } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { MemoryStorage, type StorageAdapter } from 'mcp-nextcloud-auth'
import { listenOnLoopback } from '../demo/loopback.js'

/** A provider, a Nextcloud and a storage that fail when they are told to. None of them checks anything. */
export interface Services {
  readonly issuer: string
  readonly nextcloudUrl: string
  /** The status that each answers with from now on; 0: as it should. */
  readonly failing: { provider: number; nextcloud: number; storage: number }
  readonly storage: StorageAdapter
  /** Signs an MCP token. */
  readonly mint: (claims: { readonly sub: string; readonly aud: string; readonly exp?: number }) => Promise<string>
  /** Ends every refresh token. */
  readonly forget: () => void
  readonly close: () => Promise<void>
}

/** Seconds for which the tokens of the provider live. */
const LIFE = 600

export async function startServices(): Promise<Services> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const key = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }
  const failing = { provider: 0, nextcloud: 0, storage: 0 }
  const codes = new Map<string, { nonce: string }>()
  const refreshTokens = new Set<string>()
  const provider = await listenOnLoopback()
  const nextcloud = await listenOnLoopback()
  const issuer = provider.origin
  const sign = (claims: object): Promise<string> =>
    new SignJWT({ iss: issuer, client_id: 'example', exp: now() + LIFE, ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuedAt()
      .sign(privateKey)

  const granted = async (nonce?: string): Promise<object> => {
    const refresh_token = randomBytes(16).toString('base64url')
    refreshTokens.add(refresh_token)
    const claims = { sub: CONNECTING, aud: 'mcp-server', ...(nonce !== undefined && { nonce }) }
    return { ...fresh(), refresh_token, id_token: await sign(claims) }
  }
  const token = async (form: URLSearchParams): Promise<object> => {
    const given = form.get('refresh_token')
    if (given !== null) return refreshTokens.delete(given) ? granted() : { error: 'invalid_grant' }
    return form.has('code') ? granted(codes.get(form.get('code') ?? '')?.nonce) : fresh()
  }
  const answers: Record<string, (form: URLSearchParams) => object | Promise<object>> = {
    '/.well-known/openid-configuration': () => metadataOf(issuer),
    '/jwks': () => ({ keys: [key] }),
    '/token': token,
    '/introspect': () => ({ active: false }),
  }
  const listen: RequestListener = (req, res) => {
    void respond(failing.provider, req, res, async ({ pathname, searchParams }) => {
      if (pathname !== '/authorize') return answers[pathname]?.(new URLSearchParams(await text(req)))
      const code = randomBytes(8).toString('hex')
      codes.set(code, { nonce: searchParams.get('nonce') ?? '' })
      const back = new URL(searchParams.get('redirect_uri') ?? '')
      for (const [name, value] of [
        ['code', code],
        ['state', searchParams.get('state') ?? ''],
        ['iss', issuer],
      ] as const)
        back.searchParams.set(name, value)
      res.setHeader('location', back.href)
      return {}
    })
  }
  provider.serve(listen)
  nextcloud.serve((req, res) => {
    void respond(failing.nextcloud, req, res, () => ({ ocs: { data: { id: 'somebody' } } }))
  })
  return {
    issuer,
    nextcloudUrl: nextcloud.origin,
    failing,
    storage: failingStorage(failing),
    mint: sign,
    forget: () => refreshTokens.clear(),
    close: async () => {
      await Promise.all([provider.close(), nextcloud.close()])
    },
  }
}

/** The one who connects Nextcloud in a browser. */
export const CONNECTING = 'canary-subject-connecting'

const now = (): number => Math.floor(Date.now() / 1_000)

const fresh = () => ({
  access_token: `canary-token-${randomBytes(16).toString('hex')}`,
  token_type: 'Bearer',
  expires_in: LIFE,
})

function failingStorage(failing: Services['failing']): StorageAdapter {
  const storage = new MemoryStorage()
  const check = async <T>(call: Promise<T>): Promise<T> => {
    if (failing.storage > 0) throw new Error('canary-error')
    return call
  }
  return {
    shared: true,
    get: (key) => check(storage.get(key)),
    put: (...entry) => check(storage.put(...entry)),
    delete: (...entry) => check(storage.delete(...entry)),
  }
}

const metadataOf = (issuer: string) => ({
  issuer,
  jwks_uri: `${issuer}/jwks`,
  token_endpoint: `${issuer}/token`,
  introspection_endpoint: `${issuer}/introspect`,
  authorization_endpoint: `${issuer}/authorize`,
  response_types_supported: ['code'],
  authorization_response_iss_parameter_supported: true,
})

/** Answers after 2 to 20 ms, as a server that has something to do. */
async function respond(
  failure: number,
  req: IncomingMessage,
  res: ServerResponse,
  answer: (url: URL) => object | undefined | Promise<object | undefined>,
): Promise<void> {
  const body = failure > 0 ? { error: 'canary-error' } : await answer(new URL(req.url ?? '/', 'http://localhost'))
  await new Promise((resolve) => setTimeout(resolve, 2 + Math.random() * 18))
  const status = failure || (res.hasHeader('location') ? 303 : body === undefined ? 404 : 'error' in body ? 400 : 200)
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {}))
}
