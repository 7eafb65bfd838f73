import type { AuthorizationServerClient } from '../authorization-server/client.js'
import type { GetFreshToken } from './mode.js'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

/** RFC 8693: the MCP token is the subject token; the new one is for Nextcloud's audience, and the user stays the same. */
export function tokenExchange(
  client: AuthorizationServerClient,
  extra: Readonly<Record<string, string>>,
): GetFreshToken {
  return ({ token }, { audience, resource, scopes }) => {
    const parameters = new URLSearchParams({
      subject_token_type: ACCESS_TOKEN,
      // Optional in RFC 8693 §2.1, required by Auth0.
      requested_token_type: ACCESS_TOKEN,
      ...extra,
      subject_token: token,
    })
    for (const value of audience) parameters.append('audience', value)
    for (const value of resource) parameters.append('resource', value)
    if (scopes.length > 0) parameters.set('scope', scopes.join(' '))
    return client.exchange('urn:ietf:params:oauth:grant-type:token-exchange', token, parameters)
  }
}
