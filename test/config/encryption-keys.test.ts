import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { encryptionKeys } from '../../src/config/encryption-keys.js'
import { readOptions } from '../../src/config/read-options.js'
import { ConfigurationError } from '../../src/errors/errors.js'

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

/** The error for a value, which must not show any of it. */
function refusal(
  value: unknown,
  environment?: Record<string, string>,
): { option: string | undefined; message: string } {
  try {
    read(value, environment)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError)
    const { option, message } = error as ConfigurationError
    const shown = inspect(error, { depth: 10, showHidden: true })
    for (const given of [value, ...Object.values(environment ?? {})].flat())
      for (const part of String(given).split(',')) if (part.length > 8) expect(shown).not.toContain(part.slice(0, 8))
    return { option, message }
  }
  throw new Error('It was not refused')
}

describe('a key is read', () => {
  const forms: [form: string, text: string][] = [
    ['base64url without padding, as keygen prints it', url(first)],
    ['base64url with padding, as Fernet has it', `${url(first)}=`],
    ['base64 with padding', first.toString('base64')],
    ['base64 without padding', first.toString('base64').replace('=', '')],
    ['with blanks and line ends round it', ` \t${url(first)}\r\n`],
  ]
  it.each(forms)('in %s', (_form, text) => {
    expect(hex(read(text))).toEqual([FIRST])
    expect(hex(read([text]))).toEqual([FIRST])
    expect(hex(read(undefined, { TOKEN_ENCRYPTION_KEY: text }))).toEqual([FIRST])
  })

  it('as it was made for the Python server', () => {
    const fernet = 'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4='

    expect(hex(read(fernet))).toEqual(['730ff4c7af3d46923e8ed451ee813c87f790b0a226bc96a92de49b5e9c05e1ee'])
  })

  it('in memory of its own', () => {
    expect(read(url(first)).map(({ buffer }) => buffer.byteLength)).toEqual([32])
  })
})

describe('several keys are read in their order', () => {
  it.each([
    ['a list', [url(first), `${second.toString('base64')} `]],
    ['a text with commas', `${url(first)},${url(second)}`],
    ['a text with commas, blanks and line ends', ` ${url(first)}= ,\n ${url(second)}=\n`],
  ])('from %s', (_form, value) => {
    expect(hex(read(value))).toEqual([FIRST, SECOND])
  })

  it('from the variable, unless the option is given', () => {
    const environment = { TOKEN_ENCRYPTION_KEY: `${url(first)}, ${url(second)}` }

    expect(hex(read(undefined, environment))).toEqual([FIRST, SECOND])
    expect(hex(read(url(second), environment))).toEqual([SECOND])
  })

  it('and may be the same one twice', () => {
    expect(hex(read([url(first), url(first)]))).toEqual([FIRST, FIRST])
  })
})

it('there are no keys when none is given, or the variable is empty', () => {
  expect(read(undefined)).toEqual([])
  expect(read(undefined, { TOKEN_ENCRYPTION_KEY: ' ' })).toEqual([])
})

describe('a key is refused, without being shown,', () => {
  const notAKey: [what: string, text: unknown][] = [
    ['31 bytes', url(randomBytes(31))],
    ['33 bytes', url(randomBytes(33))],
    ['16 bytes', url(randomBytes(16))],
    ['64 bytes', url(randomBytes(64))],
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
  ]
  it.each(notAKey)('for its form: %s', (_what, text) => {
    const message = `encryptionKey must be 32 bytes in base64url or base64; ${ADVICE}`

    expect(refusal(text)).toEqual({ option: 'encryptionKey', message })
    expect(refusal([text])).toEqual({ option: 'encryptionKey', message })
  })

  it.each([5, true, null, {}, [], second, new Uint8Array(second)])('for its type: case %#', (value) => {
    expect(refusal(value)).toEqual({
      option: 'encryptionKey',
      message: `encryptionKey must be a key, or a list of keys, of 32 bytes in base64url or base64; ${ADVICE}`,
    })
  })

  it.each([5, null, undefined, second, [url(second)]])('for the type of an item of the list: case %#', (item) => {
    expect(refusal([url(first), item]).message).toBe(
      `encryptionKey must be 32 bytes in base64url or base64 (key 2 of the list); ${ADVICE}`,
    )
  })

  it.each([0, 1, 0x41, 0xff])('when each of its bytes is the same: %d', (byte) => {
    expect(refusal(url(Buffer.alloc(32, byte)))).toEqual({
      option: 'encryptionKey',
      message: `encryptionKey must be random, not one byte over and over; ${ADVICE}`,
    })
  })

  it('saying which of the list it is', () => {
    expect(refusal([url(first), url(second), 'short-or-mistyped']).message).toContain(' (key 3 of the list)')
    expect(refusal(`${url(first)},`).message).toContain(' (key 2 of the list)')
    expect(refusal([url(Buffer.alloc(32)), url(second)]).message).toContain(' (key 1 of the list)')
    expect(refusal([`${url(first)},${url(second)}`, url(second)]).message).toContain(' (key 1 of the list)')
  })

  it('naming the variable where it came from there', () => {
    expect(refusal(undefined, { TOKEN_ENCRYPTION_KEY: 'short-or-mistyped' })).toEqual({
      option: 'encryptionKey',
      message: `encryptionKey (environment variable TOKEN_ENCRYPTION_KEY) must be 32 bytes in base64url or base64; ${ADVICE}`,
    })
  })
})
