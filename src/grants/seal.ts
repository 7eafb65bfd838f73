import { createHmac, hkdfSync } from 'node:crypto'
import type { CompactJWEHeaderParameters, CryptoKey } from 'jose'
import { compactDecrypt } from 'jose/jwe/compact/decrypt'
import { CompactEncrypt } from 'jose/jwe/compact/encrypt'
import { named } from '../config/declarations.js'
import { InternalError, SealedValueError } from '../errors/errors.js'
import { LOSSLESS } from '../hash-of-parts.js'
import { parseObject } from '../json.js'

/**
 * Seals stored values, so that the store sees no token and cannot change a value or move it to another record unnoticed. An older
 * value of the same record still opens: the store must be trusted to give the latest.
 */
export interface Sealer {
  /**
   * The text to store for `value` under `recordKey`: a compact JWE (RFC 7516), sealed with the first key.
   *
   * @throws {TypeError} when JSON cannot hold the value
   */
  readonly seal: (recordKey: string, value: unknown) => Promise<string>
  /**
   * Opens a value that was sealed for `recordKey`.
   *
   * @throws {SealedValueError} when it was sealed with none of the keys, was sealed for another record, or was changed
   */
  readonly open: (recordKey: string, sealed: string) => Promise<unknown>
  /** Whether a value says that it was sealed for `recordKey` with one of the keys. */
  readonly mayOpen: (recordKey: string, sealed: string) => boolean
  /**
   * 16 characters of base64url that stand for a secret, always the same ones, and tell nothing of it without the key. They are
   * made with the last key of the list: so they stay the same while a new key is put first, whether an instance has it yet or
   * not, and change once, when the last key is taken out.
   */
  readonly fingerprint: (secret: string) => string
}

interface RingKey {
  readonly id: string
  readonly bytes: Uint8Array
  /** The key as jose needs it. Imported once: an import costs more than sealing does. */
  readonly imported: () => Promise<CryptoKey>
}

const KEY_LENGTH = 32
/** 96 bits: 16 characters of base64url. */
const FINGERPRINT_LENGTH = 12
const MOST_KID = 16
const OPEN_OPTIONS = {
  keyManagementAlgorithms: ['dir'],
  contentEncryptionAlgorithms: ['A256GCM'],
  maxDecompressedLength: 0,
}
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/**
 * A sealer with a ring of keys, of 32 bytes each: the first one seals, each of them opens. GCM's random nonces are safe for 2³²
 * values per key (NIST SP 800-38D §8.3), which is years of writes.
 */
export function createSealer(keys: readonly Uint8Array[]): Sealer {
  if (keys.some((bytes) => bytes.length !== KEY_LENGTH)) throw new InternalError('A sealing key is not of 32 bytes')
  const ring = keys.map(ringKey)
  const [first] = ring
  const last = ring.at(-1)
  if (first === undefined || last === undefined) throw new InternalError('There is no sealing key')
  const fingerprintKey = derive(last.bytes, 'fingerprint', KEY_LENGTH)

  return {
    async seal(recordKey, value) {
      const text = JSON.stringify(value) as string | undefined
      if (text === undefined) throw new TypeError('The value has no form in JSON')
      return new CompactEncrypt(encoder.encode(text))
        .setProtectedHeader(header(first, recordKey))
        .encrypt(await first.imported())
    },
    async open(recordKey, sealed) {
      const key = ring.find((candidate) => hasHeader(sealed, candidate, recordKey))
      if (key === undefined || !isCanonical(sealed)) throw new SealedValueError(named('encryptionKey'))
      const imported = await key.imported()
      try {
        const { plaintext } = await compactDecrypt(sealed, imported, OPEN_OPTIONS)
        return JSON.parse(decoder.decode(plaintext)) as unknown
      } catch {
        // Without the cause, because JSON.parse quotes the text that it refuses.
        throw new SealedValueError(named('encryptionKey'))
      }
    },
    mayOpen: (recordKey, sealed) => ring.some((key) => hasHeader(sealed, key, recordKey)),
    fingerprint: (secret) =>
      createHmac('sha256', fingerprintKey)
        .update(secret, LOSSLESS)
        .digest()
        .subarray(0, FINGERPRINT_LENGTH)
        .toString('base64url'),
  }
}

function ringKey(bytes: Uint8Array): RingKey {
  let imported: Promise<CryptoKey> | undefined
  return {
    id: derive(bytes, 'kid', FINGERPRINT_LENGTH).toString('base64url'),
    bytes,
    imported: () => (imported ??= crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt'])),
  }
}

/** A key for another purpose than sealing, derived under a name of its own (RFC 5869 §3.2). It does not lead back to `bytes`. */
function derive(bytes: Uint8Array, purpose: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', bytes, '', `mcp-nextcloud-auth ${purpose}`, length))
}

/** The record is in the protected header, which is authenticated (RFC 7516 §5.1, step 14): a value opens only under its record. */
function header(key: RingKey, recordKey: string): CompactJWEHeaderParameters {
  return { alg: 'dir', enc: 'A256GCM', kid: key.id, record: recordKey }
}

/**
 * Whether the header is, byte for byte, the one of this key and record. So no foreign header is ever read: no other `alg` or
 * `enc`, no `zip`, no `crit`, no name twice.
 */
function hasHeader(sealed: string, key: RingKey, recordKey: string): boolean {
  return sealed.startsWith(`${Buffer.from(JSON.stringify(header(key, recordKey))).toString('base64url')}.`)
}

/** Returns the id of the key that a value says it was sealed with; empty if it says none. */
export function sealingKeyOf(sealed: string): string {
  const header = parseObject(Buffer.from(sealed.slice(0, Math.max(0, sealed.indexOf('.'))), 'base64url').toString())
  const kid = header?.['kid']
  return typeof kid === 'string' && kid.length <= MOST_KID ? kid : ''
}

/** Base64url has several texts for the same bytes where bits are left over at the end. Only one of them is the sealed one. */
function isCanonical(sealed: string): boolean {
  return sealed.split('.').every((part) => Buffer.from(part, 'base64url').toString('base64url') === part)
}
