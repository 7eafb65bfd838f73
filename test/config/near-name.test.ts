import { describe, expect, it } from 'vitest'
import { nearName } from '../../src/config/near-name.js'

const NAMES = ['audience', 'issuer', 'jwksUri', 'clientId', 'clientSecret', 'clientAuth', 'scopes', 'path']

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
    expect(nearName(given, NAMES)).toBe(meant)
  })

  it('is the nearest, wherever it stands', () => {
    expect(nearName('clientIds', ['clientAdd', 'clientId', 'clientOdd'])).toBe('clientId')
    expect(nearName('clientIds', ['clientId', 'clientAdd'])).toBe('clientId')
  })

  it.each(['resource', 'toString', '__proto__', '', 'id', 'pa', 'th', 'scoring', 'issuerUrlOfKeys'])(
    'is none where it could be any: %j',
    (given) => {
      expect(nearName(given, NAMES)).toBeUndefined()
    },
  )

  it('is not looked for behind what is too long for an option', () => {
    const long = 'o'.repeat(41)
    expect(nearName(long, [long])).toBeUndefined()
    expect(nearName(long.slice(1), [long.slice(1)])).toBe(long.slice(1))
  })
})
