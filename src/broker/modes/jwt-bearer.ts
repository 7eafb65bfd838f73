import type { AuthorizationServerClient } from '../../authorization-server/client.js'
import type { Exchange } from './mode.js'

/** Entra's on-behalf-of flow over RFC 7523 §2.1: `scope` names the target, there is no `audience`. */
export function jwtBearer(client: AuthorizationServerClient, extra: Readonly<Record<string, string>>): Exchange {
  return ({ token }, { resource, scopes }) => {
    const parameters = new URLSearchParams({ requested_token_use: 'on_behalf_of', ...extra, assertion: token })
    for (const value of resource) parameters.append('resource', value)
    if (scopes.length > 0) parameters.set('scope', scopes.join(' '))
    return client.exchange('urn:ietf:params:oauth:grant-type:jwt-bearer', token, parameters)
  }
}
