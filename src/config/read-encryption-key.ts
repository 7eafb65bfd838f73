import { type Given, refuse } from './values.js'

/** 32 bytes in either alphabet of RFC 4648 (§5, §4), padded or not. A Fernet key is the first, padded. */
const KEY = /^(?:[A-Za-z0-9_-]{43}|[A-Za-z0-9+/]{43})=?$/
const ADVICE = 'make one with `npx mcp-nextcloud-auth keygen`'

/**
 * The keys that stored values are sealed with, the first one, and opened with, all of them. Empty when the option is not given.
 * Nothing of a key is in an error.
 */
export function readEncryptionKeys(given: Given): readonly Uint8Array[] {
  if (given.value === undefined) return []
  const list: unknown = typeof given.value === 'string' ? given.value.split(',') : given.value
  if (!Array.isArray(list) || list.length === 0) {
    refuse(given, `must be a key, or a list of keys, of 32 bytes in base64url or base64; ${ADVICE}`)
  }
  return Object.freeze(
    list.map((item: unknown, index) =>
      readKey(given, item, list.length === 1 ? '' : ` (key ${index + 1} of the list)`),
    ),
  )
}

function readKey(given: Given, item: unknown, which: string): Uint8Array {
  const text = typeof item === 'string' ? item.trim() : ''
  if (!KEY.test(text)) refuse(given, `must be 32 bytes in base64url or base64${which}; ${ADVICE}`)
  // Of its own, since a small Buffer is a window on memory that others use too.
  const bytes = new Uint8Array(Buffer.from(text, 'base64'))
  // What a placeholder such as AAAA… comes to.
  if (bytes.every((byte) => byte === bytes[0]))
    refuse(given, `must be random, not one byte over and over${which}; ${ADVICE}`)
  return bytes
}
