import type { Config } from '../config/config.js'
import { MODES } from '../modes.js'
import { quirksOf } from '../presets.js'

/** The parts of the authorization server that a configuration needs. The start, the doctor and its checks all ask this rule. */
export interface Needs {
  readonly keys: boolean
  readonly introspection: boolean
  readonly tokenRequests: boolean
  readonly authorization: boolean
  /** Whether the metadata must tell any of it: what the operator configured, or a preset knows, need not be told. */
  readonly metadata: boolean
}

export function needsOf({ issuer, endpoints, introspection, nextcloud, grants }: Config): Needs {
  const authorization = grants?.connect?.signIn === true
  const keys = introspection !== 'always'
  const tokenRequests = authorization || (nextcloud !== undefined && MODES[nextcloud.mode].asksAuthorizationServer)
  const knownByPreset = grants !== undefined && quirksOf(nextcloud?.preset).endpoints !== undefined
  return {
    keys,
    introspection: !keys,
    tokenRequests,
    authorization,
    metadata:
      issuer === undefined ||
      (keys ? endpoints.jwksUri : endpoints.introspectionEndpoint) === undefined ||
      (tokenRequests && !knownByPreset && endpoints.tokenEndpoint === undefined) ||
      (authorization && !knownByPreset && endpoints.authorizationEndpoint === undefined),
  }
}
