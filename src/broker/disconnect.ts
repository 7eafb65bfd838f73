import type { AuthorizationServerClient } from '../authorization-server/client.js'
import type { Events } from '../events.js'
import type { Grant, Identity } from '../grants/grant.js'
import type { Grants } from '../grants/open-grants.js'
import type { AppPasswords } from '../nextcloud/app-passwords.js'
import type { Broker } from './broker.js'

/** The end of the refresh token at the authorization server, or of the app password at Nextcloud. */
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

/** The rooms that disconnecting needs. */
export interface DisconnectRooms {
  readonly grants: Pick<Grants, 'store' | 'rotations'>
  readonly client: Pick<AuthorizationServerClient, 'revoke'>
  readonly appPasswords: Pick<AppPasswords, 'remove'>
  readonly broker: Pick<Broker, 'forget'>
  readonly events: Events
}

export function createDisconnect(rooms: DisconnectRooms): Disconnect {
  const { store, rotations } = rooms.grants
  return async (identity, clientId) => {
    const outcome = await store.disconnect(identity, clientId)
    rooms.broker.forget(identity)
    if (outcome?.remains === true) return { revoked: false }
    // A rotated token that is not stored yet is the one that lives.
    const unwritten = rotations.drop(store.keyOf(identity))
    const revoked = await revoke(rooms, unwritten ?? outcome?.grant)
    if (outcome !== undefined) rooms.events.emit({ type: 'grant.revoked', ...identity, revoked })
    return { revoked }
  }
}

/** Revokes the credential of a grant, of whichever mode it is. */
async function revoke(
  { client, appPasswords }: DisconnectRooms,
  grant: Grant | undefined,
): Promise<Revocation['revoked']> {
  if (grant?.refreshToken !== undefined) return client.revoke(grant.refreshToken)
  return grant?.appPassword !== undefined && appPasswords.remove(grant.appPassword)
}
