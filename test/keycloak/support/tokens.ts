import { decodeJwt, type JWTPayload } from 'jose'
import * as oauth from 'oauth4webapi'
import { PLAIN_HTTP_IS_CHECKED } from '../../../src/authorization-server/request-options.js'
import { createPerson } from './person.js'
import type { Realm } from './realm.js'

/** Where the MCP client of these tests has the browser sent: a loopback address, on any port (RFC 8252 §7.3). */
export const REDIRECT_URI = 'http://127.0.0.1:45321/callback'

export interface SignInOptions {
  readonly username?: string
  readonly clientId?: string
  /** Beside `openid`. */
  readonly scope?: string
}

/** What Keycloak gives to the MCP client when a user signs in there. */
export interface SignedIn {
  readonly token: string
  readonly claims: JWTPayload
  readonly refreshToken: string
  readonly idToken: string
  /** A fresh access token for the refresh token. */
  readonly refresh: () => Promise<string>
}

/** Signs a user in at the MCP client: authorization code, PKCE, Keycloak's own form. */
export async function signIn(realm: Realm, options: SignInOptions = {}): Promise<SignedIn> {
  const { username = 'alice', clientId = 'mcp-client', scope = 'notes:read' } = options
  const issuer = new URL(realm.issuer)
  const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, PLAIN_HTTP_IS_CHECKED))
  const client = { client_id: clientId }
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const url = new URL(as.authorization_endpoint ?? '')
  const parameters = {
    ...{ response_type: 'code', client_id: clientId, redirect_uri: REDIRECT_URI, scope: `openid ${scope}`.trim() },
    ...{ state, code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' },
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  const callback = await createPerson({ username, password: realm.password }).open(url, REDIRECT_URI)
  const answer = oauth.validateAuthResponse(as, client, callback, state)
  const response = await oauth.authorizationCodeGrantRequest(
    ...([as, client, oauth.None(), answer, REDIRECT_URI, verifier, PLAIN_HTTP_IS_CHECKED] as const),
  )
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, response)
  return {
    token: tokens.access_token,
    claims: decodeJwt(tokens.access_token),
    refreshToken: tokens.refresh_token ?? '',
    idToken: tokens.id_token ?? '',
    async refresh() {
      const refreshed = await oauth.refreshTokenGrantRequest(
        ...([as, client, oauth.None(), tokens.refresh_token ?? '', PLAIN_HTTP_IS_CHECKED] as const),
      )
      return (await oauth.processRefreshTokenResponse(as, client, refreshed)).access_token
    },
  }
}
