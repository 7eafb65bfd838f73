import { createHash, randomBytes } from 'node:crypto'
import type { SignInServer } from './sign-in-server.js'
import type { Visitor } from './nextcloud/visitor.js'

export const REDIRECT_URI = 'https://client.example.com/callback'

/** An answer of the token endpoint. */
export interface TokenAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

/** A public client that has registered itself, as an MCP client does. */
export interface RegisteredClient {
  readonly clientId: string
  /** The address to send a browser to. */
  readonly authorizationUrl: (more?: Record<string, string>) => URL
  /** Signs somebody in; the parameters with which the browser comes back. */
  readonly authorize: (browser: Pick<Visitor, 'until'>, more?: Record<string, string>) => Promise<URLSearchParams>
  /** @param at the instance that is asked; default: the place of the client */
  readonly redeem: (code: string, more?: Record<string, string>, at?: string) => Promise<TokenAnswer>
  readonly refresh: (refreshToken: string, more?: Record<string, string>, at?: string) => Promise<TokenAnswer>
  /** All of it: the answer with the tokens. */
  readonly signIn: (browser: Pick<Visitor, 'until'>, more?: Record<string, string>) => Promise<TokenAnswer>
}

type Place = Pick<SignInServer, 'origin' | 'url'>

export async function register(
  origin: string,
  metadata: Record<string, unknown> = {},
): Promise<{ readonly status: number; readonly body: Record<string, unknown>; readonly headers: Headers }> {
  const response = await fetch(`${origin}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ redirect_uris: [REDIRECT_URI], client_name: 'Test client', ...metadata }),
  })
  const body = (await response.json()) as Record<string, unknown>
  return { status: response.status, body, headers: response.headers }
}

export async function registeredClient(
  place: Place,
  metadata: Record<string, unknown> = {},
): Promise<RegisteredClient> {
  const { body } = await register(place.origin, metadata)
  return clientOf(place, String(body['client_id']), [body['redirect_uris']].flat().map(String)[0] ?? REDIRECT_URI)
}

/** A client with this id at this place, which may be another instance. */
export function clientOf({ origin, url }: Place, clientId: string, redirectUri = REDIRECT_URI): RegisteredClient {
  const verifier = randomBytes(32).toString('base64url')
  const token = async (fields: Record<string, string>, at = origin): Promise<TokenAnswer> => {
    const form = new URLSearchParams({ client_id: clientId, ...fields })
    const response = await fetch(`${at}/oauth/token`, { method: 'POST', body: form })
    const { status, headers } = response
    return { status, headers, body: (await response.json()) as Record<string, unknown> }
  }
  const client: RegisteredClient = {
    clientId,
    authorizationUrl: (more = {}) => {
      const to = new URL(`${origin}/oauth/authorize`)
      const challenge = createHash('sha256').update(verifier).digest('base64url')
      const parameters = {
        response_type: 'code',
        client_id: clientId,
        redirect_uri: redirectUri,
        state: 'state-of-the-client',
        code_challenge: challenge,
        code_challenge_method: 'S256',
        resource: url,
        ...more,
      }
      to.search = String(new URLSearchParams(parameters))
      return to
    },
    authorize: async (browser, more) =>
      (await browser.until(client.authorizationUrl(more), more?.['redirect_uri'] ?? redirectUri)).searchParams,
    redeem(code, more, at) {
      const fields = { code, redirect_uri: redirectUri, code_verifier: verifier }
      return token({ grant_type: 'authorization_code', ...fields, ...more }, at)
    },
    refresh: (refreshToken, more, at) =>
      token({ grant_type: 'refresh_token', refresh_token: refreshToken, ...more }, at),
    signIn: async (browser, more) => {
      const answer = await client.authorize(browser, more)
      const code = answer.get('code')
      if (code === null) throw new Error(`There is no code: ${String(answer)}`)
      return client.redeem(code)
    },
  }
  return client
}
