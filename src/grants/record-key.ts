import { hash } from 'node:crypto'

/** What kinds of records there are. */
export type RecordKind = 'grant' | 'lease' | 'ticket' | 'ticket-of' | 'authorization' | 'disconnection' | 'login'

/** This server, as far as its records are its own: another client or resource on the same store has others. */
export interface RecordOwner {
  readonly clientId: string
  readonly resource: string
}

/**
 * The key of a record: a hash, so that the store learns nothing of the user, over every part behind its length, so that no two
 * records share a key. 46 characters.
 */
export function recordKey(kind: RecordKind, owner: RecordOwner, ...parts: readonly string[]): string {
  let text = ''
  for (const part of [kind, owner.clientId, owner.resource, ...parts]) text += `${part.length}:${part}`
  // UTF-16, since UTF-8 would make one character of every lone surrogate.
  return `v1:${hash('sha256', Buffer.from(text, 'utf16le'), 'base64url')}`
}
