import { describe, expect, it } from 'vitest'
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
  ['in base64', Buffer.from('a/b+c d').toString('base64')],
  ['as it is', 'a/b+c d'],
])('finds a secret as long as the text %s', (_where, text) => {
  expect(withoutSecrets(text, ['a/b+c d'])).toContain('…')
})

describe.each(['a', 'ab', 'abc', 'mcp-server'])('in the Basic credentials of %j', (name) => {
  it.each([
    ['s3cr3t-pw', 's3cr3t-pw'],
    ['a secret: with %, + and ö', 'a+secret%3A+with+%25%2C+%2B+and+%C3%B6'],
    ['no-form: %, + and ö', 'no-form: %, + and ö'],
    ['???>>>ÿþ~~~', '???>>>ÿþ~~~'],
  ])('finds the secret %j, sent as %j, and leaves the name', (secret, sent) => {
    for (const encoding of ['base64', 'base64url'] as const) {
      const header = Buffer.from(`${name}:${sent}`).toString(encoding)
      const [before = '', after = '', ...more] = withoutSecrets(`Basic ${header}`, [secret]).split('…')

      expect(more).toEqual([])
      expect(Buffer.from(before.slice('Basic '.length), 'base64').toString()).toBe(`${name}:`)
      // Of the last character of the secret, four bits at most.
      expect(after).toMatch(/^(?:\w={0,2})?$/)
    }
  })
})
