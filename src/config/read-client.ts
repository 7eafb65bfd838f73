import type { ClientAuth } from 'oauth4webapi'
import type { ClientConfig } from './config.js'
import { type Given, optionalFunction, optionalString, refuse } from './values.js'

/** This server's client at the authorization server; undefined when it has none. */
export function readClient(id: Given, secret: Given, auth: Given): ClientConfig | undefined {
  const clientId = optionalString(id)
  const clientSecret = optionalString(secret)
  const clientAuth = optionalFunction(auth) as ClientAuth | undefined
  if (clientId === undefined) {
    if (secret.value !== undefined || auth.value !== undefined) {
      refuse(clientSecret === undefined ? auth : secret, 'needs clientId (environment variable OIDC_CLIENT_ID)')
    }
    return undefined
  }
  // A secret from the environment beside an explicit clientAuth is no contradiction: the option comes first.
  if (clientAuth !== undefined && secret.value !== undefined && secret.name === secret.option) {
    refuse(auth, 'contradicts clientSecret: give one of them')
  }
  return {
    id: clientId,
    secret: clientAuth === undefined ? clientSecret : undefined,
    auth: clientAuth,
    hasCredentials: clientAuth !== undefined || clientSecret !== undefined,
  }
}
