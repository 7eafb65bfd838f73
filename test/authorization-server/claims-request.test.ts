import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readClaimsRequest } from '../../src/authorization-server/claims-request.js'
import { writeChallenge } from '../../src/http/challenge.js'

const decoded = (claims: string | undefined): unknown =>
  claims === undefined ? undefined : JSON.parse(Buffer.from(claims, 'base64').toString())

describe('a claims request', () => {
  it.each([
    '{"access_token":{"polids":{"essential":true,"values":["9ab03e19-ed42-4168-b6b7-7001fb3e933a"]}}}',
    '{"access_token":{"acrs":{"essential":true,"value":"c1"},"xms_cc":{"values":["cp1"]}}}',
    '{"access_token":{"nbf":{"essential":true,"value":"1700000000"}},"id_token":{"auth_time":null}}',
    '{"access_token":{"name":{"value":"Zoë > ~ ? \\\\ \\" 😀"}}}',
  ])('is the same behind its base64: %s', (json) => {
    expect(decoded(readClaimsRequest(json, []))).toEqual(JSON.parse(json))
  })

  it.each([
    ...[undefined, 7, { access_token: { a: null } }],
    ...['', 'null', '[]', '"text"', 'essential', '[{"access_token":{}}]', '{}'],
    ...['{"access_token":null}', '{"access_token":[]}', '{"userinfo":{"a":null}}'],
    '{"access_token":{"a":null},"scope":"everything"}',
    '{"access_token":{"a":null},"redirect_uri":{"b":null}}',
    '{"access_token":{"__proto__":{"essential":true}}}',
    '{"access_token":{"a b":null}}',
    '{"access_token":{"":null}}',
    `{"access_token":{"a":{"value":"${'x'.repeat(501)}"}}}`,
    `{"access_token":{"a":{"values":[${Array.from({ length: 400 }, () => '"xyz"').join()}]}}}`,
    `{"access_token":{"a":{"value":"${'é'.repeat(400)}"}}}`,
    `{"access_token":${'{"a":'.repeat(6)}1${'}'.repeat(6)}}`,
    '{"access_token":{"a":{"values":[{"b":[{"c":{}}]}]}}}',
  ])('is not %j', (value) => {
    expect(readClaimsRequest(value, [])).toBeUndefined()
  })

  it('must not repeat what was in the request', () => {
    const json = '{"access_token":{"a":{"value":"see the-mcp-token!"}}}'

    expect(readClaimsRequest(json, ['the-mcp-token'])).toBeUndefined()
    expect(readClaimsRequest(json, [undefined, '', 'another'])).toBeDefined()
  })

  it('must not repeat it in Basic credentials', () => {
    const credentials = Buffer.from('mcp:s3cr3t-pw').toString('base64url')
    const json = JSON.stringify({ access_token: { a: { value: credentials } } })

    expect(readClaimsRequest(json, ['s3cr3t-pw'])).toBeUndefined()
  })
})

it('whatever a server says, it is letters and digits in a header, and no client can take it for another parameter', () => {
  const name = fc.stringMatching(/^[A-Za-z][\w.:/-]{0,20}$/)
  const wanted = fc.record({ value: fc.string({ unit: 'binary', maxLength: 60 }), essential: fc.boolean() })
  fc.assert(
    fc.property(fc.dictionary(name, fc.oneof(wanted, fc.constant(null))), (access_token) => {
      const claims = readClaimsRequest(JSON.stringify({ access_token }), [])
      if (claims === undefined) return
      expect(claims).toMatch(/^[A-Za-z0-9]+$/)
      expect(decoded(claims)).toEqual({ access_token })
      const challenge = writeChallenge({ resourceMetadataUrl: 'https://a.example', scopes: [], claims: { claims } })
      expect(challenge).toBe(`Bearer resource_metadata="https://a.example", claims="${claims}"`)
      expect(/scope=(?:"([^"]+)"|([^\s,]+))/.exec(challenge)).toBeNull()
    }),
  )
})

it.each(['>', '?', '~', '>>>>', '????', '~~~~', 'a>?~', 'ab>?~', 'é~'])(
  'the letters that base64 and base64url write differently are not needed: %s',
  (value) => {
    const claims = ['a', 'aa', 'aaa'].map((name) =>
      readClaimsRequest(JSON.stringify({ access_token: { [name]: { value } } }), []),
    )
    for (const written of claims) expect(written).toMatch(/^[A-Za-z0-9]+$/)
  },
)
