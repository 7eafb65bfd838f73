import * as oauth from 'oauth4webapi'
import type { ClientConfig, ConnectConfig } from '../config/config.js'
import type { Quirks } from '../presets.js'

/** The values that tie an authorization request to its answer. */
export interface AuthorizationSecrets {
  readonly state: string
  readonly nonce: string
  /** PKCE `code_verifier` (RFC 7636 §4.1). */
  readonly verifier: string
}

/** The part of an authorization request that is the same for each user. */
export interface SignIn {
  readonly client: ClientConfig
  readonly connect: ConnectConfig
  /** `nextcloud.resource`. */
  readonly resources: readonly string[]
  readonly quirks: Quirks
  /** Whether a grant that lasts is wanted, and not only the name of the user. */
  readonly lasting: boolean
}

export function authorizationSecrets(): AuthorizationSecrets {
  return {
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    verifier: oauth.generateRandomCodeVerifier(),
  }
}

/** Returns the redirect URI for a server with this metadata. */
export function redirectUriFor(
  as: oauth.AuthorizationServer,
  { redirectUri, ownRedirectUri }: Pick<ConnectConfig, 'redirectUri' | 'ownRedirectUri'>,
): string {
  return as.authorization_response_iss_parameter_supported === true ? redirectUri : (ownRedirectUri ?? redirectUri)
}

/** Returns the scopes to ask for: `openid`, unless the server has no ID tokens, and `offline_access`, if it lists that, included. */
export function requestedScopes(as: oauth.AuthorizationServer, { connect, quirks, lasting }: SignIn): string[] {
  // Servers that do not list it give refresh tokens without it, and some refuse a scope that they do not know.
  const offline = lasting && as.scopes_supported?.includes('offline_access') === true ? ['offline_access'] : []
  return [...new Set([...(quirks.idToken ? ['openid'] : []), ...connect.scopes, ...offline])]
}

/** See `CodeGrant.authorizationUrl`. */
export async function authorizationUrl(
  as: oauth.AuthorizationServer,
  signIn: SignIn,
  { state, nonce, verifier }: AuthorizationSecrets,
  selectAccount: boolean,
): Promise<URL> {
  const { client, connect, resources, quirks } = signIn
  // RFC 6749 §3.1: the endpoint may have a query, which stays.
  const url = new URL(String(as.authorization_endpoint))
  const { searchParams } = url
  const scopes = requestedScopes(as, signIn)
  // OIDC Core §11: the server must ignore offline_access without it, unless other conditions allow it.
  if (scopes.includes('offline_access')) searchParams.set('prompt', 'consent')
  for (const resource of resources) searchParams.append('resource', resource)
  for (const [name, value] of Object.entries(connect.authorizationParameters)) searchParams.set(name, value)
  if (selectAccount) searchParams.set('prompt', withAccountSelection(searchParams.get('prompt'), as, quirks))
  const own = {
    response_type: 'code',
    client_id: client.id,
    redirect_uri: redirectUriFor(as, connect),
    ...(scopes.length > 0 && { scope: scopes.join(' ') }),
    state,
    ...(quirks.idToken && { nonce }),
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  }
  for (const [name, value] of Object.entries(own)) searchParams.set(name, value)
  return url
}

/** Adds `select_account`, or `login` if the server lists only that (OIDC Core §3.1.2.1): signing in again serves as well. */
function withAccountSelection(
  prompt: string | null,
  as: oauth.AuthorizationServer,
  { selectsAccount }: Quirks,
): string {
  const listed: unknown = as['prompt_values_supported']
  const supported: readonly unknown[] = Array.isArray(listed) ? listed : []
  const onlyLogin = !supported.includes('select_account') && supported.includes('login')
  const selection = onlyLogin || !selectsAccount ? 'login' : 'select_account'
  const others = (prompt ?? '').split(' ').filter((value) => !['', 'none', selection].includes(value))
  return [selection, ...others].join(' ')
}
