import { createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto'

/** Opens Fernet tokens (specification: github.com/fernet/spec, version 0x80). Undefined: none of the keys opens it. */
export type Fernet = (token: Uint8Array | string) => string | undefined

const VERSION = 0x80
/** Bytes: version and time, 1 and 8. */
const IV_AT = 9
const BLOCK = 16
const HMAC = 32
const TOKEN = /^[A-Za-z0-9_-]+={0,2}$/

/**
 * Returns what opens tokens with any of the keys, of 32 bytes each: 16 to sign with, then 16 to encrypt with. The time in a token is
 * not looked at, as its writer asks for none.
 */
export function createFernet(keys: readonly Uint8Array[]): Fernet {
  return (token) => {
    const text = typeof token === 'string' ? token : Buffer.from(token).toString('latin1')
    if (!TOKEN.test(text)) return undefined
    const bytes = Buffer.from(text, 'base64url')
    const key = keys.find((candidate) => isSignedWith(candidate, bytes))
    return key && decrypted(key, bytes)
  }
}

/** Whether the HMAC of a token of a possible length is that of this key. */
function isSignedWith(key: Uint8Array, token: Buffer): boolean {
  const end = token.length - HMAC
  if (token[0] !== VERSION || end < IV_AT + 2 * BLOCK || (end - IV_AT) % BLOCK !== 0) return false
  const expected = createHmac('sha256', key.subarray(0, 16)).update(token.subarray(0, end)).digest()
  return timingSafeEqual(expected, token.subarray(end))
}

function decrypted(key: Uint8Array, token: Buffer): string | undefined {
  const cipherAt = IV_AT + BLOCK
  const decipher = createDecipheriv('aes-128-cbc', key.subarray(16), token.subarray(IV_AT, cipherAt))
  try {
    const plain = Buffer.concat([decipher.update(token.subarray(cipherAt, token.length - HMAC)), decipher.final()])
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(plain)
  } catch {
    // The padding is wrong, or it is no text.
    return undefined
  }
}
