import { constants, createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'

/** The things that an attacker has in hand, and a server that signs whatever it is told: it stands for one that is misled. */
export interface Forge {
  readonly issuer: string
  readonly resource: string
  /** The address of the attacker's own server. Whoever asks it for anything has been misled. */
  readonly evil: string
  /** Seconds since 1970. */
  readonly now: number
  readonly keys: typeof KEYS
  /** Claims of a good token, with others in place of some; what is undefined is left out. */
  readonly claims: (others?: object) => object
  /** A token in which all is good that is not given. */
  readonly jwt: (parts?: Parts) => string
}

export interface Parts {
  /** Members in place of those of a good header, or its whole text. */
  readonly header?: object | string
  /** Claims in place of those of a good token, or the whole text of the payload. */
  readonly claims?: object | string
  /** Signs. Default: the published key. */
  readonly key?: Key
  /** Signs in place of what the algorithm of the key does. */
  readonly by?: (input: string) => Buffer
}

export interface Key {
  readonly alg: string
  readonly kid: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

/** The marker of an attacker's host, by which an answer that repeats it is known. */
export const EVIL_NAME = 'evil.example'

const rsa = (alg: string, kid: string, publicExponent = 0x10001): Key => ({
  alg,
  kid,
  ...generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent }),
})
const ec = (alg: string, kid: string, namedCurve: string): Key => ({
  alg,
  kid,
  ...generateKeyPairSync('ec', { namedCurve }),
})

const KEYS = {
  /** Those that the authorization server publishes. */
  rsa: rsa('RS256', 'rsa'),
  pss: rsa('PS256', 'pss'),
  /** With the exponent 3, for which a signature without a hash can be made up where padding is not looked at to its end. */
  cube: rsa('RS256', 'cube', 3),
  ec: ec('ES256', 'ec', 'P-256'),
  p384: ec('ES384', 'p384', 'P-384'),
  ed: { alg: 'EdDSA', kid: 'ed', ...generateKeyPairSync('ed25519') } satisfies Key as Key,
  /** For encryption, with `use`. */
  encryption: rsa('RS256', 'encryption'),
  /** For encryption, with `key_ops`. */
  wrapping: rsa('RS256', 'wrapping'),
  /** The attacker's own. */
  mallory: rsa('RS256', 'rsa'),
  malloryEc: ec('ES256', 'ec', 'P-256'),
}

/** The key set of the authorization server, beside what it has. */
export const PUBLISHED = [
  ...[KEYS.rsa, KEYS.pss, KEYS.cube, KEYS.ec, KEYS.p384, KEYS.ed].map((key) => ({ ...jwkOf(key), use: 'sig' })),
  { ...jwkOf(KEYS.encryption), use: 'enc' },
  { ...jwkOf(KEYS.wrapping), key_ops: ['wrapKey'] },
]

export function jwkOf({ alg, kid, publicKey }: Key): Record<string, unknown> {
  return { ...publicKey.export({ format: 'jwk' }), alg, kid }
}

export const base64url = (value: unknown): string =>
  (Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))).toString(
    'base64url',
  )

export function createForge(given: Pick<Forge, 'issuer' | 'resource' | 'evil' | 'now'>): Forge {
  const claims = (others: object = {}): object => ({
    iss: given.issuer,
    sub: 'alice',
    aud: given.resource,
    client_id: 'mcp-client',
    scope: 'notes:read',
    // Before the last look for new keys, so that an unknown key is the token's fault.
    iat: given.now - 60,
    exp: given.now + 3_600,
    jti: 'a-token',
    ...others,
  })
  return {
    ...given,
    keys: KEYS,
    claims,
    jwt({ header = {}, claims: payload = {}, key = KEYS.rsa, by = signatureOf(key) } = {}) {
      const { alg, kid } = key
      const head = typeof header === 'string' ? header : { alg, kid, typ: 'at+jwt', ...header }
      const input = `${base64url(head)}.${base64url(typeof payload === 'string' ? payload : claims(payload))}`
      return `${input}.${base64url(by(input))}`
    },
  }
}

/** Signs as the algorithm of a key has it. */
export function signatureOf({ alg, privateKey }: Pick<Key, 'alg' | 'privateKey'>): (input: string) => Buffer {
  const key = alg.startsWith('PS')
    ? { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
    : { key: privateKey, dsaEncoding: 'ieee-p1363' as const }
  const hash = alg === 'EdDSA' ? null : `sha${alg.slice(2)}`
  return (input) => sign(hash, Buffer.from(input), key)
}

/** Signs with a secret. */
export function macOf(secret: string | Buffer, hash = 'sha256'): (input: string) => Buffer {
  return (input) => createHmac(hash, secret).update(input).digest()
}
