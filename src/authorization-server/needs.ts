import type { Config } from '../config/config.js'
import { MODES } from '../modes.js'
import { quirksOf } from '../presets.js'

/** What a configuration needs of the authorization server. Said once: for the server as it starts, and for the doctor. */
export interface Needs {
  readonly keys: boolean
  readonly introspection: boolean
  readonly tokenRequests: boolean
  readonly authorization: boolean
  /** Whether any of it has to be looked up in the metadata: what is configured by hand, or known by a preset, has not. */
  readonly metadata: boolean
}

export function needsOf({ issuer, endpoints, introspection, nextcloud, grants }: Config): Needs {
  const signIn = grants?.connect?.signIn === true
  const keys = introspection !== 'always'
  const tokenRequests = signIn || (nextcloud !== undefined && MODES[nextcloud.mode].asksAuthorizationServer)
  const knownByPreset = grants !== undefined && quirksOf(nextcloud?.preset).endpoints !== undefined
  return {
    keys,
    introspection: !keys,
    tokenRequests,
    authorization: signIn,
    metadata:
      issuer === undefined ||
      (keys ? endpoints.jwksUri : endpoints.introspectionEndpoint) === undefined ||
      (tokenRequests && !knownByPreset && endpoints.tokenEndpoint === undefined) ||
      (signIn && !knownByPreset && endpoints.authorizationEndpoint === undefined),
  }
}
