import type { NextcloudConfig } from '../config/config.js'
import { UpstreamUnavailableError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import type { Transport } from '../transport/transport.js'
import { authorizationOf, type Secret } from './credential.js'
import { isOcsDone } from './refusal.js'
import { userIn, type NextcloudUser } from './users.js'

/** The credentials that Nextcloud has just given, before they are stored. */
export interface FreshCredentials {
  /**
   * The account that a credential opens, asked of Nextcloud with that credential. `refused`: Nextcloud does not take it. Undefined: there
   * is no usable answer.
   */
  readonly accountOf: (secret: Secret) => Promise<NextcloudUser | 'refused' | undefined>
  /** Has Nextcloud end an access token of its app `oauth2`, with session and refresh token. Resolves to whether it did. */
  readonly endToken: (token: string) => Promise<boolean>
}

interface Rooms {
  readonly nextcloud: Pick<NextcloudConfig, 'base'>
  readonly transport: Pick<Transport, 'askNextcloud'>
}

export function createFreshCredentials(rooms: Rooms): FreshCredentials {
  return {
    async accountOf(secret) {
      const response = await askAs(rooms, secret, 'GET', 'ocs/v2.php/cloud/user?format=json')
      if (response?.status === 401) return 'refused'
      return response?.status === 200 ? userIn(new Uint8Array(await response.arrayBuffer())) : undefined
    },
    async endToken(token) {
      const path = 'ocs/v2.php/core/apppassword?format=json'
      const response = await askAs(rooms, { scheme: 'Bearer', token }, 'DELETE', path)
      // The page of a proxy is no word of Nextcloud's.
      return response?.status === 200 && isOcsDone(await response.json().catch(() => undefined))
    },
  }
}

/** Undefined: there is no answer. */
function askAs({ nextcloud, transport }: Rooms, secret: Secret, method: string, path: string) {
  const headers = { authorization: authorizationOf(secret), 'ocs-apirequest': 'true', accept: 'application/json' }
  return transport
    .askNextcloud(nextcloud.base + path, { method, headers })
    .catch(ifError(UpstreamUnavailableError, () => undefined))
}
