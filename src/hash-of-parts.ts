import { hash } from 'node:crypto'

/** The encoding in which secrets and identities are hashed: UTF-8 would make one character of every lone surrogate. */
export const LOSSLESS = 'utf16le'

/**
 * Returns the SHA-256 of all parts, as 43 characters of base64url. Each part goes in behind its length and each list behind its
 * count, so that no two different inputs share a hash: that would be one user's token in another's hands.
 */
export function hashOfParts(parts: readonly string[], lists: readonly (readonly string[])[] = []): string {
  let text = ''
  for (const part of parts) text += `${part.length}:${part}`
  for (const list of lists) {
    text += `${list.length};`
    for (const item of list) text += `${item.length}:${item}`
  }
  return hash('sha256', Buffer.from(text, LOSSLESS), 'base64url')
}
