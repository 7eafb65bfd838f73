/** The character between the parts of a JWT. */
const DOT = 46
/** Characters of the signatures of ES256 (and EdDSA), ES384 and ES512. */
const ECDSA_LENGTHS = [86, 128, 176]
/** The last character of a part, by the characters left over of the fours before it: its unused bits must be 0 (RFC 4648 §3.5). */
const LAST_CHARACTERS = ['', undefined, 'AQgw', 'AEIMQUYcgkosw048']

/**
 * Whether the signature of a JWT is spelled as RFC 7515 §2 has it: base64url, without padding, and no bit set that means nothing.
 * Decoders forgive all three, and then one token would have many spellings. The other parts have one, because they are signed as text.
 */
export function hasCanonicalSignature(token: string): boolean {
  const signature = token.slice(token.lastIndexOf('.') + 1)
  const last = LAST_CHARACTERS[signature.length % 4]
  if (last === undefined || !/^[\w-]*$/.test(signature)) return false
  return last === '' || last.includes(signature.slice(-1))
}

/**
 * Returns the part of a token that stands for it: a JWT without its signature, which may be good in two forms (ECDSA: r and s, or r and
 * n−s), else the token.
 */
export function essenceOf(token: string): string {
  const end = token.lastIndexOf('.')
  const isJws = end > 0 && token.startsWith('eyJ') && token.indexOf('.', token.indexOf('.') + 1) === end
  return isJws ? token.slice(0, end) : token
}

/**
 * Returns so many characters of a JWT's signature that tell it apart from every other, and are the same in both forms of an ECDSA
 * signature: the first ones, which are of r. Searching for the dot before a signature of RSA would cost more than all the rest.
 */
export function signatureStart(token: string, characters: number): string {
  const { length } = token
  for (const most of ECDSA_LENGTHS) {
    if (token.charCodeAt(length - most - 1) === DOT) return token.slice(length - most, length - most + characters)
  }
  return token.slice(-characters)
}
