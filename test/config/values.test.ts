import { describe, expect, it } from 'vitest'
import { isSecure, nearName } from '../../src/config/values.js'

it('only http is harmless on loopback', () => {
  const harmless = [
    'https://h',
    'http://localhost',
    'http://127.1.2.3',
    'http://[::1]',
    'http://x.localhost',
    'http://a.b.localhost:1',
  ]
  const not = [
    ...['http://h', 'http://10.0.0.1', 'http://0.0.0.0', 'http://[::]', 'http://128.0.0.1'],
    ...[
      'http://localhost.example.com',
      'http://xlocalhost',
      'http://127.0.0.1.example.com',
      'ftp://localhost',
      'ws://127.0.0.1',
    ],
  ]

  expect(harmless.filter((url) => !isSecure(new URL(url)))).toEqual([])
  expect(not.filter((url) => isSecure(new URL(url)))).toEqual([])
})

const OPTION_NAMES = ['audience', 'issuer', 'jwksUri', 'clientId', 'clientSecret', 'clientAuth', 'scopes', 'path']

describe('the name that was meant', () => {
  it.each([
    ['audince', 'audience'],
    ['audiences', 'audience'],
    ['adience', 'audience'],
    ['audiance', 'audience'],
    ['uadience', 'audience'],
    ['Issuer', 'issuer'],
    ['jwks_uri', 'jwksUri'],
    ['clientID', 'clientId'],
    ['client-secret', 'clientSecret'],
    ['scope', 'scopes'],
    ['paths', 'path'],
  ])('by %s is %s', (given, meant) => {
    expect(nearName(given, OPTION_NAMES)).toBe(meant)
  })

  it('is the nearest, wherever it stands, and of several the first', () => {
    expect(nearName('clientIds', ['clientAdd', 'clientId', 'clientOdd'])).toBe('clientId')
    expect(nearName('clientIds', ['clientId', 'clientAdd'])).toBe('clientId')
    expect(nearName('clientIds', ['clientIda', 'clientIdb'])).toBe('clientIda')
  })

  it.each(['resource', 'toString', '__proto__', '', 'id', 'pa', 'th', 'scoring', 'issuerUrlOfKeys'])(
    'is missing if it could be any: %j',
    (given) => {
      expect(nearName(given, OPTION_NAMES)).toBeUndefined()
    },
  )

  it('is not looked for behind what is too long for an option', () => {
    const long = 'o'.repeat(41)
    expect(nearName(long, [long])).toBeUndefined()
    expect(nearName(long.slice(1), [long.slice(1)])).toBe(long.slice(1))
  })
})
