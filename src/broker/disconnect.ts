import type { AuthorizationServerClient } from '../authorization-server/client.js'
import type { Events } from '../events.js'
import type { Identity } from '../grants/grant.js'
import type { Grants } from '../grants/grants.js'
import type { Broker } from './broker.js'

/** What became of the refresh token at the authorization server. */
export interface Revocation {
  /**
   * `true`: the server revoked it; `false`: it did not, or there was nothing to revoke, or other MCP clients still need it;
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
  client: AuthorizationServerClient,
  broker: Pick<Broker, 'forget'>,
  events: Events,
): Disconnect {
  return async (identity, clientId) => {
    const outcome = await store.disconnect(identity, clientId)
    broker.forget(identity)
    if (outcome?.remains === true) return { revoked: false }
    // What could not be stored yet is the token that lives.
    const unwritten = rotations.drop(store.keyOf(identity))
    const refreshToken = unwritten?.refreshToken ?? outcome?.grant.refreshToken
    const revoked = refreshToken === undefined ? false : await client.revoke(refreshToken)
    if (outcome !== undefined) {
      const { issuer, subject } = identity
      events.emit({ type: 'grant.revoked', issuer, subject, revoked })
    }
    return { revoked }
  }
}
