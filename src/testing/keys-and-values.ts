import { type Contract, freshKey } from './contract.js'

const SIZE = 64 * 1024

const VALUES: readonly (readonly [name: string, value: string])[] = [
  ['64 KiB', 'abcdefg\n'.repeat(SIZE / 8)],
  ['64 KiB of characters beyond ASCII', 'ж❄'.repeat(SIZE / 2)],
  ['the empty string', ''],
  ['blanks and line breaks at both ends', ' \t\r\n value \r\n\t '],
  ['quotes, backslashes and a statement', `'"\`\\ \\u0041 '); DELETE FROM x; -- $1 ?1 :a %s`],
  ['JSON', '{"a":[1,null,"\\u0000"]}'],
  ['the word null', 'null'],
  ['the word undefined', 'undefined'],
  ['digits with zeros at both ends', '0012.3400'],
  ['a date in JSON', '"2026-01-01T00:00:00.000Z"'],
  ['what URLs and forms encode', '%41%20+&a=b;#?/../'],
  ['a byte order mark in front', '\uFEFFvalue'],
  ['unicode: composed, decomposed, astral, right to left', 'é e\u0301 𝒗 👩‍👩‍👧 שלום \u202E \uFEFF'],
  ['control characters other than NUL', '\u0001\u0002\u001F\u007F'],
]

/** Keys that some stores take for one, each with its difference from `base`. */
const similar = (base: string): readonly (readonly [how: string, key: string])[] => [
  ['in upper case', base.toUpperCase()],
  ['in lower case', base.toLowerCase()],
  ['with a space behind', `${base} `],
  ['with a space in front', ` ${base}`],
  ['shorter by the last character', base.slice(0, -1)],
  ['with one more character', `${base}0`],
  ['ending in %', `${base.slice(0, -1)}%`],
  ['ending in _', `${base.slice(0, -1)}_`],
  ['ending in *', `${base.slice(0, -1)}*`],
  ['ending in ?', `${base.slice(0, -1)}?`],
]

/** Values that come back as they were put. */
export function describeValues({ describe, test, put, holds }: Contract): void {
  describe('a value', () => {
    for (const [name, value] of VALUES) {
      test(`comes back as it was put: ${name}`, async (adapter) => {
        const key = freshKey()
        const version = await put(adapter, key, value, null)
        await holds(adapter, key, value, version)
        await holds(adapter, key, `${value}!`, await put(adapter, key, `${value}!`, version))
      })
    }
  })
}

/** Values under their key and no other. */
export function describeKeys({ describe, test, put, remove, holds, isAbsent }: Contract): void {
  describe('a key', () => {
    const base = () => `v1:Key-${freshKey().slice(3, 40)}Z`
    for (const [index, [how]] of similar(base()).entries()) {
      test(`is another one ${how}`, async (adapter) => {
        const key = base()
        const other = similar(key)[index]?.[1] ?? ''
        const version = await put(adapter, key, 'one', null)
        await isAbsent(adapter, other)
        const second = await put(adapter, other, 'other', null)
        await holds(adapter, key, 'one', version)
        await holds(adapter, other, 'other', second)
        await remove(adapter, other, second)
        await isAbsent(adapter, other)
        await holds(adapter, key, 'one', version)
      })
    }
    test('may have 64 characters, of which each counts', async (adapter) => {
      const key = freshKey()
      const other = `${key.slice(0, -1)}y`
      const version = await put(adapter, key, 'one', null)
      await holds(adapter, other, 'other', await put(adapter, other, 'other', null))
      await holds(adapter, key, 'one', version)
    })
    test('that is a property of every JavaScript object is absent until it is written', async (adapter) => {
      // Not written, because the key is the same in every run.
      for (const key of ['__proto__', 'constructor', 'toString']) await isAbsent(adapter, key)
    })
  })
}
