import type { KindOf } from './kinds.js'
import { type Given, refuse } from './values.js'

/** 32 bytes in either alphabet of RFC 4648 (§5, §4), padded or not. A Fernet key is in the first, padded. */
const KEY = /^(?:[A-Za-z0-9_-]{43}|[A-Za-z0-9+/]{43})=?$/
const ADVICE = 'make one with `npx mcp-nextcloud-auth keygen`'

/**
 * The keys that stored values are sealed with, the first one, and opened with, all of them. They are read when they are asked for,
 * because some modes seal nothing and ignore the variable. No error shows any part of a key.
 */
export const encryptionKeys: KindOf<() => readonly Uint8Array[], string | readonly string[]> = {
  check: (given) => () => {
    const list: unknown = typeof given.value === 'string' ? given.value.split(',') : given.value
    if (!Array.isArray(list) || list.length === 0) {
      refuse(given, `must be a key, or a list of keys, of 32 bytes in base64url or base64; ${ADVICE}`)
    }
    const which = (index: number): string => (list.length === 1 ? '' : ` (key ${index + 1} of the list)`)
    return Object.freeze(list.map((item: unknown, index) => readKey(given, item, which(index))))
  },
}

function readKey(given: Given, item: unknown, which: string): Uint8Array {
  const text = typeof item === 'string' ? item.trim() : ''
  if (!KEY.test(text)) refuse(given, `must be 32 bytes in base64url or base64${which}; ${ADVICE}`)
  // A copy, because a small Buffer is a window on memory that others use too.
  const bytes = new Uint8Array(Buffer.from(text, 'base64'))
  // A placeholder such as AAAA… comes to this.
  if (bytes.every((byte) => byte === bytes[0]))
    refuse(given, `must be random, not one byte over and over${which}; ${ADVICE}`)
  return bytes
}
