import { describe, expect, it } from 'vitest'
import {
  algorithms,
  commaStrings,
  type Kind,
  number,
  oneOf,
  parameters,
  path,
  scopes,
  scopesOrFunction,
  strings,
  text,
  truth,
  url,
} from '../../src/config/kinds.js'
import { readOptions } from '../../src/config/read-options.js'

const given = (value: unknown) => ({ value, name: 'it', option: 'it' })
const refusalsOf = (kind: Kind<unknown>, values: readonly unknown[]) =>
  values.map((value) => {
    try {
      return kind.check(given(value))
    } catch (error) {
      return (error as Error).message.replace('it ', '')
    }
  })

const NO_SCOPES = 'must be a list of scopes, each without spaces, quotes or backslashes (RFC 6749 section 3.3)'
const NO_STRINGS = 'must be a list of strings, with no empty list and no empty string'
const NO_PATH = 'must be a path such as /nextcloud: with a slash at its start, none at its end, and nothing encoded'
const NO_OBJECT = 'must be an object of strings'
const noList = [5, true, null, {}, [], [''], ['a', ''], ['a', 5], [null]]

describe('a kind of value refuses', () => {
  it.each<[kind: string, Kind<unknown>, message: string, wrong: readonly unknown[]]>([
    ['text', text, 'must be a string that is not empty', [5, true, null, [], {}, new URL('https://h'), '']],
    ['strings', strings, NO_STRINGS, [...noList, '']],
    ['commaStrings', commaStrings, NO_STRINGS, [...noList, '', 'one,,two', 'one,']],
    ['scopes', scopes, NO_SCOPES, ['notes', 5, null, {}, [''], ['a b'], ['a"'], ['a\\'], ['ä'], ['a\n'], ['a', null]]],
    ['scopesOrFunction', scopesOrFunction, NO_SCOPES, ['notes', null, {}, ['a b']]],
    [
      'oneOf',
      oneOf('one', 'two', false),
      "must be 'one', 'two' or false",
      [true, 'One', '', null, 0, ['one'], 'false'],
    ],
    ['path', path, NO_PATH, ['nextcloud', '/', '/nextcloud/', '/a//b', '/a/../b', '/a/.b', '/a?b', '/a%20b', '/ä']],
    ['parameters', parameters([]), NO_OBJECT, ['text', 5, null, [], true, new URL('https://h')]],
    [
      'parameters',
      parameters([]),
      `${NO_OBJECT}, which hint is not`,
      [5, null, ['a'], true, undefined].map((hint) => ({ good: '', hint })),
    ],
    [
      'parameters',
      parameters(['a', 'b']),
      'must not hold b, which has an option of its own or is set here',
      [{ c: '', b: '' }],
    ],
  ])('%s: %#', (_name, kind, message, wrong) => {
    expect(refusalsOf(kind, wrong)).toEqual(wrong.map(() => message))
  })

  it('a number of another unit, form or size', () => {
    const whole = number({ unit: 'bytes', least: 1, most: 9 })
    const any = number({ unit: 'seconds', whole: false })
    const wrong = [0, 10, 1.5, NaN, Infinity, '5', null, true, [], {}, 5n]

    expect(refusalsOf(whole, wrong)).toEqual(wrong.map(() => 'must be a whole number of bytes from 1 to 9'))
    expect(refusalsOf(any, [-1, 2 ** 31])).toEqual(Array(2).fill('must be a number of seconds from 0 to 2147483647'))
    expect(refusalsOf(any, [0, 1.5, 2 ** 31 - 1])).toEqual([0, 1.5, 2 ** 31 - 1])
    expect(refusalsOf(whole, [1, 9])).toEqual([1, 9])
  })

  it.each([
    [
      'must be an absolute URL',
      ['idp.example.com', '/path', '//h', 'https://', 'https://h:port', '', 5, null, {}, true],
    ],
    ['must be an http or https URL', ['ftp://h', 'mailto:a@b', 'file:///etc/passwd', 'javascript:alert(1)']],
    ['must not hold a user name or password', ['https://user@h', 'https://user:hunter2@h', 'https://:hunter2@h']],
    ['must not have a fragment', ['https://h/#part', 'https://h/#']],
  ])('a URL that %s', (message, wrong) => {
    expect(refusalsOf(url, wrong)).toEqual(wrong.map(() => message))
  })

  it.each(['none', 'None', 'HS256', 'HS384', 'HS512', 'RS1', 'ES256K', 'rs256', 'A256GCM', '*'])(
    'the algorithm %s, alone or among good ones',
    (algorithm) => {
      const accepted =
        'RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, Ed25519, EdDSA, ML-DSA-44, ML-DSA-65, ML-DSA-87'
      const message = `must list asymmetric JWS algorithms only (${accepted}), not ${algorithm}`

      expect(refusalsOf(algorithms, [[algorithm], ['RS256', algorithm]])).toEqual([message, message])
    },
  )
})

it('a value that is accepted is a copy, which the caller can no longer change', () => {
  const [list, names, scopeList] = [['a'], { p: '1' }, ['a', 'b', 'a']]
  const address = new URL('https://h/path')
  const read = [strings.check(given(list)), parameters([]).check(given(names)), scopes.check(given(scopeList))]
  const readAddress = url.check(given(address))
  list.push('x')
  names.p = '2'
  address.host = 'evil.example'

  expect([...read, readAddress.href]).toEqual([['a'], { p: '1' }, ['a', 'b'], 'https://h/path'])
  expect(read.map((value) => Object.isFrozen(value))).toEqual([true, true, true])
})

it('a single string is a list of one, or is split at its commas', () => {
  expect(strings.check(given('a,b'))).toEqual(['a,b'])
  expect(commaStrings.check(given('one, two ,three'))).toEqual(['one', 'two', 'three'])
  expect(commaStrings.check(given(['with, comma']))).toEqual(['with, comma'])
})

it('a command line or a variable gives text, which is read by its kind', () => {
  expect(['true', 'false', 'yes'].map((word) => truth.fromText?.(word))).toEqual([true, false, 'yes'])
  expect(number({ unit: 'ms' }).fromText?.('5')).toBe(5)
  expect(number({ unit: 'ms' }).fromText?.(' ')).toBeNaN()
  expect(['one', 'false', 'three'].map((word) => oneOf('one', false).fromText?.(word))).toEqual(['one', false, 'three'])
  expect(strings.fromTexts?.(['a, b', 'c'])).toEqual(['a', 'b', 'c'])
  expect(parameters([]).fromTexts?.(['a=b=c', 'd='])).toEqual({ a: 'b=c', d: '' })
})

it.each([
  ['7', 7],
  ['seven', /^wait \(environment variable WAIT\) must be a whole number of ms from 0 to /],
])('a number may come from a variable of the environment: %s', (text, wanted) => {
  const declared = { wait: { kind: number({ unit: 'ms' }), default: 1, environment: 'WAIT' } }
  const read = () => readOptions(declared, {}, { WAIT: text }).values.wait
  if (typeof wanted === 'number') expect(read()).toBe(wanted)
  else expect(read).toThrow(wanted)
})
