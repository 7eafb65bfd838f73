import * as oauth from 'oauth4webapi'
import type { ClientConfig } from '../config/config.js'
import type { Quirks } from '../presets.js'

/**
 * How this server proves who it is at the authorization server: the operator's function, else the secret by
 * `client_secret_basic`, or by `client_secret_post` where the metadata lists that and not basic (RFC 8414 §2).
 */
export function clientAuthentication(
  client: ClientConfig,
  as: oauth.AuthorizationServer,
  quirks: Quirks,
): oauth.ClientAuth {
  if (client.auth !== undefined) return client.auth
  if (client.secret === undefined) return oauth.None()
  if (quirks.secretIn === 'body') return oauth.ClientSecretPost(client.secret)
  const methods = as.token_endpoint_auth_methods_supported
  if (methods !== undefined && !methods.includes('client_secret_basic') && methods.includes('client_secret_post')) {
    return oauth.ClientSecretPost(client.secret)
  }
  return clientSecretBasic(client.secret)
}

/**
 * RFC 6749 §2.3.1. oauth4webapi's own also percent-encodes `-`, `_` and `.`, which the standard allows and which breaks at
 * servers that never decode the header; the form encoding of the URL standard leaves them alone.
 */
function clientSecretBasic(secret: string): oauth.ClientAuth {
  const encode = (text: string): string => new URLSearchParams([['', text]]).toString().slice(1)
  return (_as, client, _body, headers) => {
    const credentials = Buffer.from(`${encode(client.client_id)}:${encode(secret)}`).toString('base64')
    headers.set('authorization', `Basic ${credentials}`)
  }
}
