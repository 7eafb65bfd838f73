import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { encryptionKeys } from '../../src/config/encryption-keys.js'
import { readOptions } from '../../src/config/read-options.js'

const ADVICE = 'make one with `npx mcp-nextcloud-auth keygen`'
/** With both characters in which the two alphabets differ. */
const first = Buffer.from('fb'.repeat(16) + 'ff'.repeat(15) + '01', 'hex')
const second = randomBytes(32)
const url = (bytes: Buffer) => bytes.toString('base64url')

function read(encryptionKey: unknown, environment: Record<string, string> = {}): readonly Uint8Array[] {
  const declared = { encryptionKey: { kind: encryptionKeys, environment: 'TOKEN_ENCRYPTION_KEY' } }
  return readOptions(declared, { encryptionKey }, environment).values.encryptionKey?.() ?? []
}

const hex = (keys: readonly Uint8Array[]) => keys.map((bytes) => Buffer.from(bytes).toString('hex'))
const FIRST = first.toString('hex')
const SECOND = second.toString('hex')

/** The message for a value, which must not show any of it. */
function refusal(value: unknown, environment: Record<string, string> = {}): string {
  try {
    read(value, environment)
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_CONFIGURATION', option: 'encryptionKey' })
    const shown = inspect(error, { depth: 10, showHidden: true })
    for (const given of [value, ...Object.values(environment)].flat())
      for (const part of String(given).split(',')) if (part.length > 8) expect(shown).not.toContain(part.slice(0, 8))
    return (error as Error).message
  }
  throw new Error('It was not refused')
}

describe('a key is read', () => {
  it.each([
    ['base64url without padding, as keygen prints it', url(first)],
    ['base64url with padding, as Fernet has it', `${url(first)}=`],
    ['base64 with padding', first.toString('base64')],
    ['base64 without padding', first.toString('base64').replace('=', '')],
    ['with blanks and line ends round it', ` \t${url(first)}\r\n`],
  ])('in %s', (_form, text) => {
    for (const keys of [read(text), read([text]), read(undefined, { TOKEN_ENCRYPTION_KEY: text })])
      expect(hex(keys)).toEqual([FIRST])
  })

  it('as it was made for the Python server', () => {
    const fernet = 'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4='

    expect(hex(read(fernet))).toEqual(['730ff4c7af3d46923e8ed451ee813c87f790b0a226bc96a92de49b5e9c05e1ee'])
  })

  it('in memory of its own', () => {
    expect(read(url(first)).map(({ buffer }) => buffer.byteLength)).toEqual([32])
  })

  it.each([
    ['a list', [url(first), `${second.toString('base64')} `], [FIRST, SECOND]],
    ['a text with commas', `${url(first)},${url(second)}`, [FIRST, SECOND]],
    ['a text with commas, blanks and line ends', ` ${url(first)}= ,\n ${url(second)}=\n`, [FIRST, SECOND]],
    ['a list with the same key twice', [url(first), url(first)], [FIRST, FIRST]],
  ])('in its order from %s', (_form, value, keys) => {
    expect(hex(read(value))).toEqual(keys)
  })

  it('from the variable, unless the option is given', () => {
    const environment = { TOKEN_ENCRYPTION_KEY: `${url(first)}, ${url(second)}` }

    expect(hex(read(undefined, environment))).toEqual([FIRST, SECOND])
    expect(hex(read(url(second), environment))).toEqual([SECOND])
    expect(read(undefined, { TOKEN_ENCRYPTION_KEY: ' ' })).toEqual([])
  })
})

describe('a key is refused, without being shown,', () => {
  const badForm = (which = '') => `encryptionKey must be 32 bytes in base64url or base64${which}; ${ADVICE}`

  it.each([
    ...[16, 31, 33, 64].map((bytes) => [`${bytes} bytes`, url(randomBytes(bytes))]),
    ['32 bytes in hex', second.toString('hex')],
    ['32 characters of text', 'correct horse battery staple 123'],
    ['a character of no alphabet', `${url(second).slice(0, 42)}*`],
    ['both alphabets in one', `-_+/${url(randomBytes(32)).slice(4)}`],
    ['two signs of padding', `${url(second)}==`],
    ['padding in front', `=${url(second)}`],
    ['a blank inside', `${url(second).slice(0, 20)} ${url(second).slice(20)}`],
    ['quotes round it', `"${url(second)}"`],
    ['nothing', ''],
    ['a blank', ' '],
  ])('for its form: %s', (_what, text) => {
    expect([refusal(text), refusal([text])]).toEqual([badForm(), badForm()])
  })

  it.each([5, true, null, {}, [], second, new Uint8Array(second)])('for its type: case %#', (value) => {
    expect(refusal(value)).toBe(
      `encryptionKey must be a key, or a list of keys, of 32 bytes in base64url or base64; ${ADVICE}`,
    )
  })

  it.each([5, null, undefined, second, [url(second)]])('for the type of an item of the list: case %#', (item) => {
    expect(refusal([url(first), item])).toBe(badForm(' (key 2 of the list)'))
  })

  it.each([0, 1, 0x41, 0xff])('when each of its bytes is the same: %d', (byte) => {
    expect(refusal(url(Buffer.alloc(32, byte)))).toBe(
      `encryptionKey must be random, not one byte over and over; ${ADVICE}`,
    )
  })

  it('saying which of the list it is', () => {
    expect(refusal([url(first), url(second), 'short-or-mistyped'])).toBe(badForm(' (key 3 of the list)'))
    expect(refusal(`${url(first)},`)).toBe(badForm(' (key 2 of the list)'))
    expect(refusal([url(Buffer.alloc(32)), url(second)])).toContain(' (key 1 of the list)')
    expect(refusal([`${url(first)},${url(second)}`, url(second)])).toBe(badForm(' (key 1 of the list)'))
  })

  it('naming the variable where it came from there', () => {
    expect(refusal(undefined, { TOKEN_ENCRYPTION_KEY: 'short-or-mistyped' })).toBe(
      `encryptionKey (environment variable TOKEN_ENCRYPTION_KEY) must be 32 bytes in base64url or base64; ${ADVICE}`,
    )
  })
})
