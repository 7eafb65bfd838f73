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

it('spells no secret that is longer than the text, so that a stranger’s long token costs nothing', () => {
  const token = 'a~'.repeat(2_000_000)
  /** Milliseconds, the least of three. */
  const costs = (text: string): number => {
    const runs = [1, 2, 3].map(() => {
      const begun = performance.now()
      withoutSecrets(text, [token])
      return performance.now() - begun
    })
    return Math.min(...runs)
  }
  expect(costs('a kid')).toBeLessThan(costs(`${token} `) / 4)
})

it.each([
  ['in a URL', encodeURIComponent('a/b+c d')],
  ['in JSON', JSON.stringify({ a: 'a/b+c d' })],
  ['in Basic credentials', Buffer.from('a/b+c d').toString('base64')],
  ['as it is', 'a/b+c d'],
])('finds a secret as long as the text %s', (_where, text) => {
  expect(withoutSecrets(text, ['a/b+c d'])).toContain('…')
})
