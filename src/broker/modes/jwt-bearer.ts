import type { AuthorizationServerClient } from '../../authorization-server/client.js'
import type { GetFreshToken } from './mode.js'

/** Entra's on-behalf-of flow over RFC 7523 §2.1: the target is told by `scope`, there is no `audience`. */
export function jwtBearer(client: AuthorizationServerClient, extra: Readonly<Record<string, string>>): GetFreshToken {
  return async ({ token }, { resource, scopes }) => {
    const parameters = new URLSearchParams({ requested_token_use: 'on_behalf_of', ...extra, assertion: token })
    for (const value of resource) parameters.append('resource', value)
    if (scopes.length > 0) parameters.set('scope', scopes.join(' '))
    const answer = await client.exchange('urn:ietf:params:oauth:grant-type:jwt-bearer', token, parameters)
    return { ...answer, source: 'idp' }
  }
}
