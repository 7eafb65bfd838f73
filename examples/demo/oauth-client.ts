import { randomUUID } from 'node:crypto'
import type {
  OAuthClientProvider,
  OAuthDiscoveryState,
  StoredOAuthClientInformation,
  StoredOAuthTokens,
} from '@modelcontextprotocol/client'
import type { Browser } from './browser.js'

export interface OAuthClient {
  /** The provider that the SDK's transports ask for: it sends the browser on, and remembers the tokens. Fits SDK v1 and v2. */
  readonly provider: OAuthClientProvider
  /** The parameters that came back with the browser, for `transport.finishAuth`. */
  callback(): URLSearchParams
  /** The access token in hand. */
  accessToken(): string
}

/**
 * The OAuth side of an MCP client, which keeps everything in memory and gets its authorization code from a scripted
 * browser. A desktop client would open the system's browser and listen on the redirect URI instead.
 */
export function createOAuthClient(browser: Browser): OAuthClient {
  const redirectUrl = 'http://127.0.0.1/callback'
  let state: string | undefined
  let codeVerifier: string | undefined
  let clientInformation: StoredOAuthClientInformation | undefined
  let tokens: StoredOAuthTokens | undefined
  let discoveryState: OAuthDiscoveryState | undefined
  let callback: URL | undefined

  return {
    provider: {
      redirectUrl,
      clientMetadata: {
        client_name: 'Demo MCP client',
        redirect_uris: [redirectUrl],
        token_endpoint_auth_method: 'none',
      },
      state: () => (state = randomUUID()),
      clientInformation: () => clientInformation,
      saveClientInformation(information) {
        clientInformation = information
      },
      tokens: () => tokens,
      saveTokens(issued) {
        tokens = issued
      },
      // The SDK asks for it where the provider refuses a refresh token: without it, no sign-in would follow.
      invalidateCredentials(scope) {
        if (scope === 'tokens' || scope === 'all') tokens = undefined
        if (scope === 'client' || scope === 'all') clientInformation = undefined
      },
      codeVerifier: () => expected(codeVerifier, 'code verifier'),
      saveCodeVerifier(verifier) {
        codeVerifier = verifier
      },
      discoveryState: () => discoveryState,
      saveDiscoveryState(discovered) {
        discoveryState = discovered
      },
      async redirectToAuthorization(url) {
        callback = await browser.open(url, redirectUrl)
      },
    },
    callback() {
      const { searchParams } = expected(callback, 'callback')
      // The SDK leaves this check to the client: a callback with another state belongs to another user's sign-in.
      if (searchParams.get('state') !== state) throw new Error('The callback is not the answer to this sign-in')
      return searchParams
    },
    accessToken: () => expected(tokens, 'access token').access_token,
  }
}

function expected<Value>(value: Value | undefined, name: string): Value {
  if (value === undefined) throw new Error(`There is no ${name} yet`)
  return value
}
