import type { Events } from '../events.js'
import { credentialIn, type Credential, type Grant, type Identity } from '../grants/grant.js'
import type { Disconnected } from '../grants/grant-store.js'
import type { Grants } from '../grants/open-grants.js'
import type { Rotation } from '../grants/rotations.js'
import type { Broker } from './broker.js'
import type { Deletions, Revocation } from './deletions.js'

export type { Revocation } from './deletions.js'

/**
 * Ends a user's connection: in the store first, so that a refresh under way cannot bring it back, then at the authorization
 * server. With a client, only that MCP client's consent is taken away while others have theirs.
 */
export type Disconnect = (identity: Identity, clientId?: string) => Promise<Revocation>

/** The rooms that disconnecting needs. */
export interface DisconnectRooms {
  readonly grants: Pick<Grants, 'store' | 'rotations'>
  readonly deletions: Pick<Deletions, 'end' | 'discard' | 'forget'>
  readonly broker: Pick<Broker, 'forget'>
  readonly events: Events
}

export function createDisconnect(rooms: DisconnectRooms): Disconnect {
  const { store } = rooms.grants
  return async (identity, clientId) => {
    const told = await store.disconnect(identity, clientId)
    const outcome = told === 'sealed' ? undefined : told
    rooms.broker.forget(identity)
    if (outcome?.remains === true) return { revoked: false }
    const unwritten = outcome === undefined ? [] : unwrittenOf(rooms, store.keyOf(identity), outcome.grant)
    const ends = await endEach(rooms, identity, outcome, unwritten)
    // Whoever has the key ends what is in it.
    const revoked = told === 'sealed' ? 'pending' : endOfAll(ends)
    // What is pending is kept elsewhere too, as soon as the store takes it.
    if (outcome?.noted === false && revoked !== 'pending')
      await store.settle(identity, credentialsOf(outcome)).catch(() => undefined)
    if (told !== undefined) rooms.events.emit({ type: 'grant.revoked', ...identity, revoked })
    return { revoked }
  }
}

/** What is told of several: `true` only if all have ended. */
function endOfAll(ends: readonly Revocation['revoked'][]): Revocation['revoked'] {
  const [left = ends.length > 0] = ends.includes('pending') ? ['pending' as const] : ends.filter((end) => end !== true)
  return left
}

/** Takes over the rotations of a grant that has ended which are not in the store. */
function unwrittenOf({ grants }: DisconnectRooms, key: string, ended: Grant): readonly Rotation[] {
  const dropped = grants.rotations.drop(key, ended.generation)
  // A write that seemed to fail may have been carried out.
  return dropped.filter(({ grant }) => grant.fingerprint !== ended.fingerprint)
}

function credentialsOf({ retired, replaced }: Disconnected): readonly Credential[] {
  return [...(retired === undefined ? [] : [retired.credential]), ...replaced]
}

/** Ends the credentials of a grant, of whichever mode it is, and the rotated ones that could not be stored. */
async function endEach(
  { deletions }: DisconnectRooms,
  identity: Identity,
  outcome: Disconnected | undefined,
  unwritten: readonly Rotation[],
): Promise<readonly Revocation['revoked'][]> {
  const retired = outcome?.retired
  // A rotated token that is not stored yet is the one that lives, unless it is of a connection before.
  const isSpent = unwritten.some(({ spent }) => spent === outcome?.grant.fingerprint)
  if (isSpent && retired !== undefined) await deletions.forget(retired.credential)
  return Promise.all([
    ...(retired === undefined || isSpent ? [] : [deletions.end(identity, retired.credential, retired.dead)]),
    ...unwritten
      .flatMap(({ grant }) => credentialIn(grant) ?? [])
      .map((rotated) => deletions.discard(identity, rotated)),
    ...(outcome?.replaced ?? []).map((credential) => deletions.end(identity, credential)),
  ])
}
