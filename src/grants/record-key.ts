import { hashOfParts } from '../hash-of-parts.js'

/** The beginning of all keys of this package. */
export const BEGINNING = 'v1:'

/** The kinds of records. */
export type RecordKind =
  | 'grant'
  | 'lease'
  | 'ticket'
  | 'links'
  | 'authorization'
  | 'disconnection'
  | 'login'
  | 'visit'
  | 'use'
  | 'deletions'
  | 'sign-in'
  | 'answer'
  | 'proof'
  | 'token'
  | 'exchange'

/** The configuration that records belong to: another client, resource or Nextcloud on the same store has records of its own. */
export interface RecordOwner {
  readonly clientId: string
  readonly resource: string
  /** Base URL of the Nextcloud, with a slash at its end. */
  readonly nextcloud: string
}

/** The owners of the records of users: for each issuer the client there. */
export interface RecordOwners extends RecordOwner {
  /** Issuer → id of this server's client there, for those where it is another one. */
  readonly clientIds?: ReadonlyMap<string, string>
}

/** Returns the owner of the records of an issuer's users. */
export function ownerOf({ clientId, resource, nextcloud, clientIds }: RecordOwners, issuer: string): RecordOwner {
  return { clientId: clientIds?.get(issuer) ?? clientId, resource, nextcloud }
}

/** Whether a record is of the same configuration; false for one of a version before 0.4, which names none. */
export function isSameOwner(one: RecordOwner | undefined, other: RecordOwner): boolean {
  return one?.clientId === other.clientId && one.resource === other.resource && one.nextcloud === other.nextcloud
}

/** The key of a record, of 46 characters: a hash, so that the store shows no user. Who guesses one can try it, because there is no secret in it. */
export function recordKey(kind: RecordKind, owner: RecordOwner, ...parts: readonly string[]): string {
  return `${BEGINNING}${hashOfParts([kind, owner.clientId, owner.resource, owner.nextcloud, ...parts])}`
}

/** The key that the same record had in versions before 0.4, which named no Nextcloud. */
export function formerKey(kind: 'grant' | 'lease', owner: RecordOwner, ...parts: readonly string[]): string {
  return `${BEGINNING}${hashOfParts([kind, owner.clientId, owner.resource, ...parts])}`
}
