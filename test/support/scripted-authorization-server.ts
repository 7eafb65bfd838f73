import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTHeaderParameters } from 'jose'

/** One request that came in. */
export interface ReceivedRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly form: URLSearchParams
}

/** What is answered: a JSON body with a status, or whatever a function does with the response. */
export type ScriptedAnswer =
  | {
      readonly status?: number
      readonly headers?: Record<string, string>
      readonly json?: unknown
      readonly text?: string
    }
  | ((request: ReceivedRequest, res: ServerResponse) => unknown)

export interface SigningKey {
  readonly alg: string
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly publicJwk: JWK
}

/**
 * An authorization server whose every answer can be scripted, for the faults and quirks that a well-behaved one never shows.
 * Its journeys with a real provider are in test/e2e.
 */
export interface ScriptedAuthorizationServer {
  readonly issuer: string
  /** Changes to it show at once. */
  readonly metadata: Record<string, unknown>
  readonly key: SigningKey
  /** The published key set. */
  readonly keys: JWK[]
  /** Answers of a path, used up one by one; the last serves on. None: as a healthy server would. */
  readonly script: (path: string, ...answers: ScriptedAnswer[]) => void
  readonly received: (path?: string) => readonly ReceivedRequest[]
  /** Signs an access token; claims of undefined are left out. */
  readonly mint: (claims?: Record<string, unknown>, options?: MintOptions) => Promise<string>
  /** Stops listening, so that connections are refused. */
  readonly stop: () => Promise<void>
  /** Listens again, on the same port. */
  readonly restart: () => Promise<void>
  readonly close: () => Promise<void>
}

export interface MintOptions {
  readonly key?: SigningKey
  readonly header?: Partial<JWTHeaderParameters>
}

export const RESOURCE = 'https://mcp.example.com/mcp'
export const CLIENT_ID = 'mcp-server'
export const CLIENT_SECRET = 'a secret: with %, + and ö'

export async function signingKey(kid: string, alg = 'ES256'): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { alg, kid, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

/** @param now milliseconds since the epoch, for `iat` and `exp` of minted tokens */
export async function startAuthorizationServer(now: () => number = Date.now): Promise<ScriptedAuthorizationServer> {
  const key = await signingKey('first')
  const keys = [key.publicJwk]
  const scripts = new Map<string, ScriptedAnswer[]>()
  const received: ReceivedRequest[] = []
  let issued = 0

  const listener: RequestListener = (req, res) => {
    void respond(req, res)
  }
  async function respond(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { pathname: path, searchParams: query } = new URL(req.url ?? '/', 'http://localhost')
    const form = new URLSearchParams(await text(req))
    const request = { method: req.method ?? '', path, query, headers: req.headers, form }
    received.push(request)
    const answers = scripts.get(path)
    const answer = (answers !== undefined && answers.length > 1 ? answers.shift() : answers?.[0]) ?? healthy(request)
    if (typeof answer === 'function') {
      await answer(request, res)
      return
    }
    res.writeHead(answer.status ?? 200, { 'content-type': 'application/json', ...answer.headers })
    res.end(answer.text ?? JSON.stringify(answer.json ?? {}))
  }

  function healthy({ path }: ReceivedRequest): ScriptedAnswer {
    if (path === '/.well-known/openid-configuration') return { json: metadata }
    if (path === '/jwks') return { json: { keys } }
    if (path === '/token') {
      issued += 1
      return { json: { access_token: `nextcloud-token-${issued}`, token_type: 'Bearer', expires_in: 300 } }
    }
    if (path === '/introspect') return { json: { active: false } }
    return { status: 404, json: { error: 'not_found' } }
  }

  let server = createServer(listener)
  const listen = (port: number): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once('error', reject).listen({ port, host: '127.0.0.1', backlog: 4_096 }, resolve)
    })
  await listen(0)
  const { port } = server.address() as AddressInfo
  const issuer = `http://127.0.0.1:${port}`
  const metadata: Record<string, unknown> = {
    issuer,
    jwks_uri: `${issuer}/jwks`,
    token_endpoint: `${issuer}/token`,
    introspection_endpoint: `${issuer}/introspect`,
    response_types_supported: ['code'],
  }

  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })

  return {
    issuer,
    metadata,
    key,
    keys,
    script: (path, ...answers) => void scripts.set(path, answers),
    received: (path) => (path === undefined ? received : received.filter((request) => request.path === path)),
    async mint(claims = {}, options = {}) {
      const seconds = Math.floor(now() / 1_000)
      const { key: signer = key, header } = options
      const payload: Record<string, unknown> = {
        iss: issuer,
        sub: 'alice',
        aud: RESOURCE,
        client_id: 'mcp-client',
        scope: 'notes:read',
        iat: seconds,
        exp: seconds + 3_600,
        ...claims,
      }
      const present = Object.fromEntries(Object.entries(payload).filter(([, value]) => value !== undefined))
      return new SignJWT(present)
        .setProtectedHeader({ alg: signer.alg, kid: signer.kid, typ: 'at+jwt', ...header })
        .sign(signer.privateKey)
    },
    stop,
    restart() {
      server = createServer(listener)
      return listen(port)
    },
    close: stop,
  }
}
