import type { AuthorizationServerClient } from '../authorization-server/client.js'
import type { AppPasswords } from '../nextcloud/app-passwords.js'
import type { Events } from '../events.js'
import type { Grant, Identity } from '../grants/grant.js'
import type { Grants } from '../grants/open-grants.js'
import type { Broker } from './broker.js'

/** What became of the refresh token at the authorization server, or of the app password at Nextcloud. */
export interface Revocation {
  /**
   * `true`: the server revoked or deleted it; `false`: it did not, or there was nothing to revoke, or other MCP clients still need it;
   * `'unsupported'`: it has no endpoint for it (RFC 7009).
   */
  readonly revoked: boolean | 'unsupported'
}

/**
 * Ends a user's connection: in the store first, so that a refresh under way cannot bring it back, then at the authorization
 * server. With a client, only that MCP client's consent is taken away while others have theirs.
 */
export type Disconnect = (identity: Identity, clientId?: string) => Promise<Revocation>

export function createDisconnect(
  { store, rotations }: Pick<Grants, 'store' | 'rotations'>,
  client: Pick<AuthorizationServerClient, 'revoke'>,
  appPasswords: Pick<AppPasswords, 'remove'> | undefined,
  broker: Pick<Broker, 'forget'>,
  events: Events,
): Disconnect {
  /** Also what another mode left there. */
  async function end(grant: Grant | undefined): Promise<boolean | 'unsupported'> {
    if (grant?.refreshToken !== undefined) return client.revoke(grant.refreshToken)
    if (grant?.appPassword === undefined) return false
    return appPasswords === undefined ? 'unsupported' : appPasswords.remove(grant.appPassword)
  }

  return async (identity, clientId) => {
    const outcome = await store.disconnect(identity, clientId)
    broker.forget(identity)
    if (outcome?.remains === true) return { revoked: false }
    // What could not be stored yet is the token that lives.
    const unwritten = rotations.drop(store.keyOf(identity))
    const revoked = await end(unwritten ?? outcome?.grant)
    if (outcome !== undefined) {
      const { issuer, subject } = identity
      events.emit({ type: 'grant.revoked', issuer, subject, revoked })
    }
    return { revoked }
  }
}
