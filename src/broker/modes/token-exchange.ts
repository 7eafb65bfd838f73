import { decodeJwt } from 'jose/jwt/decode'
import type { AuthorizationServerClient } from '../../authorization-server/client.js'
import { sameUri } from '../../config/values.js'
import { TokenRequestError } from '../../errors/errors.js'
import type { Exchange } from './mode.js'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

/**
 * RFC 8693: the MCP token is the subject token; the new one is for Nextcloud's audience, and the user stays the same.
 *
 * @param own the audiences of tokens for this MCP server
 */
export function tokenExchange(
  client: AuthorizationServerClient,
  extra: Readonly<Record<string, string>>,
  own: readonly string[],
): Exchange {
  return async ({ token }, { audience, resource, scopes }) => {
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
    const answer = await client.exchange('urn:ietf:params:oauth:grant-type:token-exchange', token, parameters)
    refuseOwnAudience(answer.accessToken, own, [...audience, ...resource])
    return answer
  }
}

/**
 * A server that ignores `audience` issues another token for this MCP server. Like the first one, it must not go to Nextcloud.
 *
 * @throws {TokenRequestError} the token is for this server alone
 */
function refuseOwnAudience(token: string, own: readonly string[], wanted: readonly string[]): void {
  let audience: unknown[]
  try {
    audience = [decodeJwt(token).aud ?? []].flat()
  } catch {
    return // Not a JWT: only the two servers know its audience.
  }
  const isFor = (names: readonly string[]) =>
    audience.some((value) => typeof value === 'string' && names.some((name) => sameUri(value, name)))
  if (isFor(own) && !isFor(wanted)) {
    throw new TokenRequestError('The exchanged token is for this MCP server again, and not for Nextcloud', {
      hint: 'The authorization server ignored audience: check nextcloud.audience, and what supplies that audience there.',
    })
  }
}
