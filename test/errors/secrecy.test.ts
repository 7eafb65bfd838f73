import { expect, it } from 'vitest'
import { inOneLine, isSecret, withoutSecrets } from '../../src/errors/secrecy.js'

it.each([
  [undefined, false],
  ['', false],
  ['short', false],
  ['longer', true],
])('takes %j as a secret: %s', (text, expected) => {
  expect(isSecret(text)).toBe(expected)
})

it('hides each whole secret wherever it stands, the longest first, and leaves a short one', () => {
  const secrets = ['secret', undefined, 'secret-and-more', 'is', '']
  expect(withoutSecrets('this secret-and-more is a secret, secret', secrets)).toBe('this … is a …, …')
  expect(withoutSecrets('a secret', secrets, '[token]')).toBe('a [token]')
})

it('puts a text into one line of printable ASCII', () => {
  expect(inOneLine('a\r\nb\u2028c\0é…')).toBe('a  b c  …')
})
