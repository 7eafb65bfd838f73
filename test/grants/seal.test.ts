import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { CompactEncrypt } from 'jose'
import { describe, expect, it, vi } from 'vitest'
import { InternalError, SealedValueError } from '../../src/errors/errors.js'
import { createSealer, sealingKeyOf, type Sealer } from '../../src/grants/seal.js'

const RECORD = 'v1:sT9GpRDnUDF8jCqu9ZcXxw'
const VALUE = { refreshToken: 'rt-secret', scopes: ['notes'], at: 1 }
const oldKey = randomBytes(32)
const newKey = randomBytes(32)
const sealer = createSealer([oldKey])

const MESSAGE =
  'A stored value cannot be opened: check that encryptionKey (environment variable TOKEN_ENCRYPTION_KEY) holds the ' +
  'key that it was sealed with, keep old keys in the list, behind the new one, after a rotation, and give a new key to every ' +
  'process before it is the first of any'

/** Expects that it does not open, and that the error says so and nothing else. */
async function expectRefusal(opened: Promise<unknown>): Promise<void> {
  const failure: unknown = await opened.then(
    (value) => `opened: ${JSON.stringify(value)}`,
    (error: unknown) => error,
  )
  expect(failure).toBeInstanceOf(SealedValueError)
  const { detail, cause, code, status, body, headers } = failure as SealedValueError
  expect({ detail, cause, code, status, body, headers }).toEqual({
    detail: MESSAGE,
    cause: undefined,
    code: 'ERR_STORAGE_SEALED',
    status: 500,
    body: { error: 'server_error', error_description: 'The server failed to handle the request' },
    headers: { 'Cache-Control': 'no-store' },
  })
}

function headerOf(sealed: string): Record<string, unknown> {
  const [text = ''] = sealed.split('.')
  return JSON.parse(Buffer.from(text, 'base64url').toString()) as Record<string, unknown>
}

const encoded = (header: string) => Buffer.from(header).toString('base64url')

/** A compact JWE made with AES-256-GCM of Node itself, whatever its header says. */
function jwe(key: Uint8Array, header: string, plaintext: string | Uint8Array, tagBytes = 16, ivBytes = 12): string {
  const iv = randomBytes(ivBytes)
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: tagBytes })
  cipher.setAAD(Buffer.from(encoded(header)))
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return [encoded(header), '', ...[iv, ciphertext, cipher.getAuthTag()].map((part) => part.toString('base64url'))].join(
    '.',
  )
}

/** The header that sealing gives, with some of it replaced. */
async function headerWith(changes: object): Promise<Record<string, unknown>> {
  return { ...headerOf(await sealer.seal(RECORD, VALUE)), ...changes }
}

describe('a sealed value', () => {
  it('is a JWE with dir and A256GCM that names its key and its record, and nothing else, in its header', async () => {
    const sealed = await sealer.seal(RECORD, VALUE)

    expect(sealed).toMatch(/^[\w-]+\.\.[\w-]{16}\.[\w-]+\.[\w-]{22}$/)
    expect(headerOf(sealed)).toEqual({
      alg: 'dir',
      enc: 'A256GCM',
      kid: expect.stringMatching(/^[\w-]{16}$/) as string,
      record: RECORD,
    })
  })

  it('is decrypted by another implementation of AES-GCM, the header being its additional data', async () => {
    const [header = '', , iv = '', ciphertext = '', tag = ''] = (await sealer.seal(RECORD, VALUE)).split('.')
    const decipher = createDecipheriv('aes-256-gcm', oldKey, Buffer.from(iv, 'base64url'), { authTagLength: 16 })
    decipher.setAAD(Buffer.from(header)).setAuthTag(Buffer.from(tag, 'base64url'))
    const plaintext = decipher.update(ciphertext, 'base64url', 'utf8') + decipher.final('utf8')

    expect(JSON.parse(plaintext)).toEqual(VALUE)
  })

  it('is another text each time', async () => {
    const texts = await Promise.all(Array.from({ length: 50 }, () => sealer.seal(RECORD, VALUE)))

    expect(new Set(texts.map((text) => text.split('.')[2])).size).toBe(50)
  })

  it('shows neither the value nor the key, and its key id is not the key', async () => {
    const sealed = await sealer.seal(RECORD, VALUE)
    const shown = sealed.split('.').map((part) => Buffer.from(part, 'base64url').toString('latin1'))

    expect(shown.join('\n')).not.toMatch(/secret|notes/)
    const { kid } = headerOf(sealed)
    expect(oldKey.toString('base64url')).not.toContain(String(kid).slice(0, 6))
    expect(String(kid).slice(0, 6)).not.toBe(sealer.fingerprint('').slice(0, 6))
  })

  it('holds what JSON holds: undefined, a function and a bigint are refused with a TypeError', async () => {
    await expect(sealer.seal(RECORD, undefined)).rejects.toThrow(TypeError)
    await expect(sealer.seal(RECORD, () => 1)).rejects.toThrow(TypeError)
    await expect(sealer.seal(RECORD, 1n)).rejects.toThrow(TypeError)
  })

  it('may be larger than the 64 KiB that every store takes', async () => {
    const large = 'x'.repeat(1 << 20)

    expect(await sealer.open(RECORD, await sealer.seal(RECORD, large))).toBe(large)
  })
})

it('what an earlier version sealed and fingerprinted stays what it is', async () => {
  const { open, fingerprint } = createSealer([Uint8Array.from({ length: 32 }, (_, index) => index)])
  const sealed =
    'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoibkgxTFZmVXhFVXJhWnhncSIsInJlY29yZCI6InYxOnJlY29yZCJ9' +
    '..YOriEXsyAYY4ai8D.ThOFI8uEFdBbkOHtWG5sS-sXsv4w.OQkRBU1Tb7SIU5hz-YyIgw'

  expect(await open('v1:record', sealed)).toEqual({ refreshToken: 'rt' })
  expect(fingerprint('rt')).toBe('ggyhI2kdrLkhjKxt')
})

describe('whatever the value, the record and the key are,', () => {
  const key = fc.uint8Array({ minLength: 32, maxLength: 32 })
  const record = fc.string({ unit: 'binary', maxLength: 70 })

  it('opening gives what was sealed', () =>
    fc.assert(
      fc.asyncProperty(key, record, fc.jsonValue(), async (bytes, recordKey, value) => {
        const { seal, open } = createSealer([bytes])
        expect(await open(recordKey, await seal(recordKey, value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    ))

  it('one character changed, put in or left out makes it a SealedValueError', () => {
    const character = fc.oneof(
      fc.constantFrom(...Array.from('AQgwZz019-_.=+/ \n\u0000é')),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    )
    const edit = fc.constantFrom('change', 'insert', 'delete')
    return fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.nat(), character, edit, async (value, position, other, kind) => {
        const sealed = await sealer.seal(RECORD, value)
        const at = position % sealed.length
        const rest = sealed.slice(kind === 'insert' ? at : at + 1)
        const changed = sealed.slice(0, at) + (kind === 'delete' ? '' : other) + rest
        fc.pre(changed !== sealed)
        await expectRefusal(sealer.open(RECORD, changed))
      }),
      { numRuns: 500 },
    )
  })

  it('another record makes it a SealedValueError', () =>
    fc.assert(
      fc.asyncProperty(record, record, fc.jsonValue(), async (mine, another, value) => {
        fc.pre(mine !== another)
        await expectRefusal(sealer.open(another, await sealer.seal(mine, value)))
      }),
    ))

  it('another key makes it a SealedValueError', () =>
    fc.assert(
      fc.asyncProperty(key, key, fc.jsonValue(), async (mine, another, value) => {
        fc.pre(Buffer.compare(mine, another) !== 0)
        await expectRefusal(createSealer([another]).open(RECORD, await createSealer([mine]).seal(RECORD, value)))
      }),
    ))
})

describe('a value does not open', () => {
  it('when its record was written anew in the header', async () => {
    const { seal, open } = sealer
    const moved = (await seal('v1:mine', VALUE)).split('.')
    const [header = ''] = (await seal('v1:yours', VALUE)).split('.')

    await expectRefusal(open('v1:yours', [header, ...moved.slice(1)].join('.')))
  })

  it('when the key id of another key of the ring was written in the header', async () => {
    const ring = createSealer([newKey, oldKey])
    const mine = (await sealer.seal(RECORD, VALUE)).split('.')
    const [header = ''] = (await ring.seal(RECORD, VALUE)).split('.')

    await expectRefusal(ring.open(RECORD, [header, ...mine.slice(1)].join('.')))
  })

  const headers: [what: string, changes: object][] = [
    ['zip', { zip: 'DEF' }],
    ['crit', { crit: ['b64'], b64: true }],
    ['an empty crit', { crit: [] }],
    ['cty', { cty: 'JSON' }],
    ['an encoding that is not text', { enc: ['A256GCM'] }],
    ['enc in small letters', { enc: 'a256gcm' }],
    ['alg in capitals', { alg: 'DIR' }],
    ['no alg', { alg: undefined }],
    ['no enc', { enc: undefined }],
    ['no key id', { kid: undefined }],
    ['an empty key id', { kid: '' }],
    ['a key id that no key has', { kid: 'AAAAAAAAAAAAAAAA' }],
    ['a key id that every object has', { kid: '__proto__' }],
    ['no record', { record: undefined }],
    ['a record of another type', { record: [RECORD] }],
    ['the record with a blank', { record: `${RECORD} ` }],
  ]
  it.each(headers)('when whoever has the key put another header on it: %s', async (_what, changes) => {
    const header = JSON.stringify(await headerWith(changes))

    await expectRefusal(sealer.open(RECORD, jwe(oldKey, header, JSON.stringify(VALUE))))
  })

  it('when a name is twice in the header, in either order', async () => {
    const header = JSON.stringify(await headerWith({}))
    const another = '"record":"another"'

    for (const text of [header.replace('{', `{${another},`), header.replace('}', `,${another}}`)]) {
      await expectRefusal(sealer.open(RECORD, jwe(oldKey, text, JSON.stringify(VALUE))))
      await expectRefusal(sealer.open('another', jwe(oldKey, text, JSON.stringify(VALUE))))
    }
  })

  it.each(['v1:a', 'v1:ab', 'v1:abc'])(
    'when blanks follow in the header, whatever length it has: %s',
    async (record) => {
      const header = JSON.stringify(await headerWith({ record }))

      expect(await sealer.open(record, jwe(oldKey, header, '1'))).toBe(1)
      for (const blanks of [' ', '  ', '   '])
        await expectRefusal(sealer.open(record, jwe(oldKey, header + blanks, '1')))
    },
  )

  it('when it was encrypted in another way with the same key', async () => {
    for (const [alg, enc] of [
      ['A256KW', 'A256GCM'],
      ['A256GCMKW', 'A256GCM'],
      ['A256GCMKW', 'A128CBC-HS256'],
    ] as const) {
      const header = { ...(await headerWith({})), alg, enc }
      const text = await new CompactEncrypt(Buffer.from(JSON.stringify(VALUE)))
        .setProtectedHeader(header)
        .encrypt(oldKey)
      await expectRefusal(sealer.open(RECORD, text))
    }
  })

  it('when its tag or its nonce is of another length', async () => {
    const header = JSON.stringify(await headerWith({}))
    const text = JSON.stringify(VALUE)

    expect(await sealer.open(RECORD, jwe(oldKey, header, text, 16, 12))).toEqual(VALUE)
    for (const tag of [4, 8, 12, 15]) await expectRefusal(sealer.open(RECORD, jwe(oldKey, header, text, tag, 12)))
    for (const iv of [8, 16]) await expectRefusal(sealer.open(RECORD, jwe(oldKey, header, text, 16, iv)))
  })

  it('when what was sealed is not JSON, and no word of it is in the error', async () => {
    const header = JSON.stringify(await headerWith({}))
    const texts = ['', 'rt-secret', '{"refreshToken":"rt-secret"', '{"a":1}rt-secret']
    for (const plaintext of [...texts, Buffer.from([0x22, 0xff, 0xfe])]) {
      const opened = sealer.open(RECORD, jwe(oldKey, header, plaintext))
      await expectRefusal(opened)
      const error: unknown = await opened.catch((failure: unknown) => failure)
      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('rt-secret')
    }
  })

  it.each([
    ...['', '.', '....', 'a.b.c.d.e', '{}', 'null', 'v1', 'plain refresh token'],
    ...['\u0000', 'é....', ' '.repeat(70_000)],
  ])('when it is no JWE at all: %j', (text) => expectRefusal(sealer.open(RECORD, text)))
})

describe('a ring of keys', () => {
  const before = sealer
  const during = createSealer([newKey, oldKey])
  const after = createSealer([newKey])

  it('opens what the old key sealed, for as long as the old key is in it', async () => {
    const sealed = await before.seal(RECORD, VALUE)

    expect(await during.open(RECORD, sealed)).toEqual(VALUE)
    await expectRefusal(after.open(RECORD, sealed))
  })

  it('seals with the first key, so that the old one can go once everything was written anew', async () => {
    const resealed = await during.seal(RECORD, await during.open(RECORD, await before.seal(RECORD, VALUE)))

    expect(await after.open(RECORD, resealed)).toEqual(VALUE)
    await expectRefusal(before.open(RECORD, resealed))
  })

  it('may hold a key twice', async () => {
    const twice = createSealer([newKey, oldKey, newKey])

    expect(await twice.open(RECORD, await after.seal(RECORD, VALUE))).toEqual(VALUE)
    expect(await twice.open(RECORD, await before.seal(RECORD, VALUE))).toEqual(VALUE)
  })

  it('is refused when it is empty or holds a key of another length', () => {
    expect(() => createSealer([])).toThrow(InternalError)
    for (const length of [0, 16, 31, 33, 64])
      expect(() => createSealer([newKey, randomBytes(length)])).toThrow(InternalError)
  })

  it('imports each key once, however much it seals and opens', async () => {
    const imports = vi.spyOn(crypto.subtle, 'importKey')
    const { seal, open } = createSealer([randomBytes(32), oldKey])
    const theirs = await Promise.all([before.seal(RECORD, 1), before.seal(RECORD, 2)])
    imports.mockClear()
    const mine = await Promise.all([seal(RECORD, 3), seal(RECORD, 4)])
    await Promise.all([...theirs, ...mine].map((sealed) => open(RECORD, sealed)))

    expect(imports).toHaveBeenCalledTimes(2)
    imports.mockRestore()
  })
})

describe('the fingerprint of a secret', () => {
  const of = (keys: readonly Uint8Array[]): Sealer['fingerprint'] => createSealer(keys).fingerprint

  it('is 16 characters, the same ones each time, in every instance with the key', () => {
    expect(sealer.fingerprint('rt-secret')).toMatch(/^[\w-]{16}$/)
    expect(of([oldKey])('rt-secret')).toBe(sealer.fingerprint('rt-secret'))
  })

  it('is another one for another secret and under another key', () => {
    const all = ['rt-secret', 'rt-secre', 'rt-secrez', '', 'é', 'ä', '\uD800', '\uD801'].map(sealer.fingerprint)

    expect(new Set([...all, of([newKey])('rt-secret')]).size).toBe(9)
  })

  it('stays the same while a new key is put first, and changes when the last one is taken out', () => {
    expect(of([newKey, oldKey])('rt-secret')).toBe(of([oldKey])('rt-secret'))
    expect(of([newKey])('rt-secret')).not.toBe(of([oldKey])('rt-secret'))
  })
})

describe('the key that a value says it was sealed with', () => {
  const saying = (header: string) => `${Buffer.from(header).toString('base64url')}....`

  it('is told of a value that does not open here, the same for all values of one key', async () => {
    const ids = new Set<string>()
    for (const key of [oldKey, newKey])
      for (const value of [1, 2]) ids.add(sealingKeyOf(await createSealer([key]).seal(RECORD, value)))
    expect(ids.size).toBe(2)
    expect(ids).not.toContain('')
  })

  it.each([
    ['is no sealed value', 'text'],
    ['has no header that is JSON', saying('{')],
    ['has a header of another form', saying('["kid"]')],
    ['names none', saying('{"alg":"dir"}')],
    ['names none by a text', saying('{"kid":5}')],
    ['names one so long that it would fill a memory of keys', saying(JSON.stringify({ kid: 'k'.repeat(10_000) }))],
  ])('is empty where the value %s', (_, value) => expect(sealingKeyOf(value)).toBe(''))
})
