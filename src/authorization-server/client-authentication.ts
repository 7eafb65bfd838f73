import * as oauth from 'oauth4webapi'
import type { ClientConfig } from '../config/config.js'
import type { Quirks } from '../presets.js'

/** Returns the first arguments of each request of oauth4webapi: the server, this client, and the proof of being that client. */
export function introduction(
  client: ClientConfig,
  as: oauth.AuthorizationServer,
  quirks: Pick<Quirks, 'secretIn'>,
): [oauth.AuthorizationServer, oauth.Client, oauth.ClientAuth] {
  return [as, { client_id: client.id }, clientAuthentication(client, as, quirks)]
}

/**
 * Returns the proof: the operator's function, else the secret by `client_secret_basic`, or by `client_secret_post` if the metadata
 * lists that and not basic (RFC 8414 §2).
 */
function clientAuthentication(
  { auth, secret }: ClientConfig,
  as: oauth.AuthorizationServer,
  { secretIn }: Pick<Quirks, 'secretIn'>,
): oauth.ClientAuth {
  if (auth !== undefined) return auth
  if (secret === undefined) return oauth.None()
  const methods = as.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
  const onlyInBody = !methods.includes('client_secret_basic') && methods.includes('client_secret_post')
  return secretIn === 'body' || onlyInBody ? oauth.ClientSecretPost(secret) : clientSecretBasic(secret)
}

/**
 * RFC 6749 §2.3.1. oauth4webapi's own also percent-encodes `-`, `_` and `.`, which the standard allows and which breaks at
 * servers that never decode the header; the form encoding of the URL standard leaves them alone.
 */
function clientSecretBasic(secret: string): oauth.ClientAuth {
  return (_as, client, _body, headers) => {
    const credentials = Buffer.from(`${formEncoded(client.client_id)}:${formEncoded(secret)}`).toString('base64')
    headers.set('authorization', `Basic ${credentials}`)
  }
}

function formEncoded(text: string): string {
  return new URLSearchParams([['', text]]).toString().slice(1)
}
