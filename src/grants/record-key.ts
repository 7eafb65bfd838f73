import { hashOfParts } from '../hash-of-parts.js'

/** The kinds of records. */
export type RecordKind =
  'grant' | 'lease' | 'ticket' | 'ticket-of' | 'authorization' | 'disconnection' | 'login' | 'sign-in'

/** The server that records belong to: another client or resource on the same store has records of its own. */
export interface RecordOwner {
  readonly clientId: string
  readonly resource: string
}

/** The key of a record, of 46 characters: a hash, so that the store learns nothing of the user. */
export function recordKey(kind: RecordKind, owner: RecordOwner, ...parts: readonly string[]): string {
  return `v1:${hashOfParts([kind, owner.clientId, owner.resource, ...parts])}`
}
