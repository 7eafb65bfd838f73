import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidTokenError, type InvalidTokenReason } from '../../src/errors/errors.js'
import {
  checkIntrospectedClaims,
  checkIssuedAt,
  readAccessTokenClaims,
  type AccessTokenClaims,
  type Claims,
  type Expectations,
} from '../../src/verify/claims.js'

const RESOURCE = 'https://mcp.example.com/mcp'
const CLIENT_ID = 'mcp-server'
const EXPECTED: Expectations = {
  audience: [RESOURCE, CLIENT_ID],
  resource: RESOURCE,
  allowedClients: undefined,
  missingAudience: 'reject',
  idTokenLookalikes: 'refuse',
  client: { id: CLIENT_ID, hasCredentials: true } as Expectations['client'],
  dpop: 'off',
}
const GOOD = { sub: 'alice', exp: 2_000_000_000, aud: RESOURCE, client_id: 'mcp-client', scope: 'notes:read' }

/** The claims of a good token, but for these; those of undefined are left out. */
function goodBut(changes: Claims): Claims {
  const claims: Claims = { ...GOOD, ...changes }
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined))
}

function read(claims: Claims, tokenType?: string, expected: Partial<Expectations> = {}): AccessTokenClaims {
  return readAccessTokenClaims(claims, { ...EXPECTED, ...expected }, tokenType)
}

/** Why the claims are refused, or undefined when they are not. */
function refusal(act: () => unknown): InvalidTokenReason | undefined {
  try {
    act()
    return undefined
  } catch (error) {
    if (error instanceof InvalidTokenError) return error.reason
    throw error
  }
}

it('the claims of an access token are read', () => {
  expect(read(goodBut({}))).toEqual({
    subject: 'alice',
    clientId: 'mcp-client',
    scopes: ['notes:read'],
    expiresAt: 2_000_000_000,
    audience: [RESOURCE],
  })
})

it.each([
  ['sub', undefined],
  ['sub', ''],
  ['sub', 42],
  ['sub', null],
  ['sub', ['alice']],
  ['exp', undefined],
  ['exp', '2000000000'],
  ['exp', null],
  ['exp', Infinity],
  ['exp', -Infinity],
  ['exp', NaN],
  ['aud', undefined],
  ['aud', ''],
  ['aud', []],
  ['aud', ['']],
  ['aud', [42, null, [RESOURCE]]],
  ['aud', { value: RESOURCE }],
  ['aud', null],
])('a token whose %s is %o is refused for a missing claim', (claim, value) => {
  expect(refusal(() => read(goodBut({ [claim]: value })))).toBe('missing_claim')
})

describe('the audience', () => {
  it.each([
    ['the resource', RESOURCE],
    ['the resource with one more slash', `${RESOURCE}/`],
    ["this server's client id", CLIENT_ID],
    ['a list that holds the resource', ['https://other.example.com', RESOURCE]],
    ['a list that holds it among nonsense', [42, RESOURCE, null]],
  ])('of %s is accepted', (_name, aud) => {
    expect(refusal(() => read(goodBut({ aud })))).toBeUndefined()
  })

  it('may lack the one slash that the configured one ends with', () => {
    const expected = { audience: [`${RESOURCE}/`] }

    expect(refusal(() => read(goodBut({ aud: RESOURCE }), undefined, expected))).toBeUndefined()
    expect(refusal(() => read(goodBut({ aud: `${RESOURCE}/` }), undefined, expected))).toBeUndefined()
  })

  it.each([
    ['another server', 'https://other.example.com/mcp'],
    ['two more slashes', `${RESOURCE}//`],
    ['a path below', `${RESOURCE}/tools`],
    ['a path above', 'https://mcp.example.com'],
    ['other upper and lower case', RESOURCE.toUpperCase()],
    ['a query', `${RESOURCE}?a=b`],
    ['the resource after a space', ` ${RESOURCE}`],
    ['the resource inside a space separated string', `${RESOURCE} https://other.example.com`],
    ['several others', ['nextcloud', 'account']],
  ])('of %s is refused', (_name, aud) => {
    expect(refusal(() => read(goodBut({ aud })))).toBe('audience')
  })

  it('is never accepted unless it is a configured one, give or take one slash', () => {
    const accepted = [RESOURCE, `${RESOURCE}/`, CLIENT_ID, `${CLIENT_ID}/`]
    const mutations = fc.tuple(fc.constantFrom(...accepted), fc.string()).map(([value, tail]) => value + tail)
    fc.assert(
      fc.property(fc.oneof(fc.webUrl(), fc.string({ minLength: 1 }), mutations), (aud) => {
        expect(refusal(() => read(goodBut({ aud })))).toBe(accepted.includes(aud) ? undefined : 'audience')
      }),
    )
  })

  it('is checked before the kind of the token, and that before its client', () => {
    const id = { typ: 'ID' }
    const expected = { allowedClients: new Set(['another']) }

    expect(refusal(() => read(goodBut({ ...id, aud: 'other' }), undefined, expected))).toBe('audience')
    expect(refusal(() => read(goodBut(id), undefined, expected))).toBe('token_type')
    expect(refusal(() => read(goodBut({}), undefined, expected))).toBe('client')
  })
})

describe('a token whose client has an id that is too long to be kept beside others', () => {
  it.each(['client_id', 'azp', 'cid', 'appid'])('is refused, whoever lets it in: %s', (claim) => {
    const withId = (id: string) => () =>
      read(goodBut({ client_id: undefined, [claim]: id }), undefined, { allowedClients: new Set([id]) })
    const detail = expect.stringContaining(
      `${claim} has more than 512 bytes: give the MCP client a shorter id`,
    ) as string

    expect(withId('x'.repeat(513))).toThrow(expect.objectContaining({ reason: 'client', detail }))
    expect([refusal(withId('x'.repeat(512))), refusal(withId('ü'.repeat(257)))]).toEqual([undefined, 'client'])
  })
})

describe('a token without an audience', () => {
  const client = { missingAudience: 'client' } as const
  const none = [{ aud: undefined }, { aud: [] }]
  const listed = { ...client, audience: ['mcp-client'] }
  const allowed = { ...client, allowedClients: new Set(['mcp-client']) }

  it.each(none)('passes as %j where its client is an audience or an allowed client', (aud) => {
    expect([listed, allowed].map((expected) => read(goodBut(aud), 'JWT', expected))).toEqual(
      [listed, allowed].map(() => expect.objectContaining({ clientId: 'mcp-client', audience: [] }) as object),
    )
  })

  it.each(['client_id', 'azp', 'cid', 'appid'])('passes by its client in %s', (claim) => {
    const claims = { aud: undefined, client_id: undefined, [claim]: 'mcp-client' }

    expect(refusal(() => read(goodBut(claims), undefined, allowed))).toBeUndefined()
    expect(refusal(() => read(goodBut({ ...claims, [claim]: 'another' }), undefined, allowed))).toBe('missing_claim')
  })

  it.each<[string, Claims, Partial<Expectations>]>([
    ['another client', { client_id: 'another' }, allowed],
    ['another client, and a good one in a later claim', { client_id: 'another', azp: 'mcp-client' }, allowed],
    ['a client with one more slash', { client_id: 'mcp-client/' }, listed],
    ['no client', { client_id: undefined }, client],
    [
      'no client, where the name that stands for it is listed',
      { client_id: undefined },
      { ...client, audience: ['unknown'] },
    ],
    ['an audience that is null', { aud: null }, allowed],
    ['an audience that is empty', { aud: '' }, allowed],
    ['an audience of nothing', { aud: [''] }, allowed],
    ['an audience of another type', { aud: 7 }, allowed],
  ])('is refused with %s', (_name, changes, expected) => {
    expect(refusal(() => read(goodBut({ aud: undefined, ...changes }), undefined, expected))).toBe('missing_claim')
  })

  it('is one of the allowed clients as well', () => {
    const expected = { ...listed, allowedClients: new Set(['other']) }

    expect(refusal(() => read(goodBut({ aud: undefined }), undefined, expected))).toBe('client')
  })

  it('that has another audience is judged by it, whatever the rule', () => {
    for (const missingAudience of ['client', () => true] as const) {
      expect(refusal(() => read(goodBut({ aud: 'other' }), undefined, { ...allowed, missingAudience }))).toBe(
        'audience',
      )
    }
  })

  it('has to say that it is an access token', () => {
    const idToken = { aud: undefined, client_id: undefined, scope: undefined, azp: 'mcp-client' }

    expect(refusal(() => read(goodBut(idToken), 'JWT', allowed))).toBe('token_type')
    expect(refusal(() => read(goodBut({ aud: undefined, nonce: 'n' }), 'JWT', allowed))).toBe('token_type')
  })
})

describe('the kind of token', () => {
  const bare = { client_id: undefined, scope: undefined }
  const idToken = { ...bare, aud: CLIENT_ID, azp: CLIENT_ID, nonce: 'n', at_hash: 'h' }

  it.each<[name: string, header: string | undefined, changes: Claims]>([
    ['RFC 9068 header', 'at+jwt', bare],
    ['RFC 9068 header as a media type', 'application/at+jwt', bare],
    ['RFC 9068 header in capitals', 'AT+JWT', bare],
    ['RFC 9068 header, for the client, with a nonce', 'at+jwt', idToken],
    ['for this client, got by another one', 'JWT', { ...bare, aud: CLIENT_ID, azp: 'mcp-client', scope: 'notes:read' }],
    [
      'for several clients, got by one of the others',
      'JWT',
      { aud: ['mcp-client', CLIENT_ID], client_id: 'mcp-client' },
    ],
    ["authentik's access token, told by its uid", 'JWT', { ...bare, aud: CLIENT_ID, azp: CLIENT_ID, scope: 'openid', uid: 'u' }], // prettier-ignore
    ['for the client, told by its client_id alone', 'jwt', { ...bare, aud: CLIENT_ID, client_id: 'mcp-client' }],
    ["for the client, told by Okta's cid alone", 'JWT', { ...bare, aud: CLIENT_ID, cid: 'mcp-client' }],
    ['for the client, told by its scp alone', undefined, { ...bare, aud: CLIENT_ID, scp: ['notes:read'] }],
    ['no header type, and no claim that tells, for the resource', undefined, bare],
    ["Entra's access token of version 1.0, told by its appid alone", 'JWT', { ...bare, aud: CLIENT_ID, appid: 'a' }],
    ["Entra's access token, told by azpacr alone", 'JWT', { ...bare, aud: CLIENT_ID, azpacr: '0' }],
    ["Entra's access token, told by appidacr alone", 'JWT', { ...bare, aud: CLIENT_ID, appidacr: '0' }],
    ["Entra's app-only token, told by idtyp alone", 'JWT', { ...bare, aud: CLIENT_ID, idtyp: 'app' }],
    ["Keycloak's access token, for the client and with a nonce", 'JWT', { ...bare, aud: CLIENT_ID, typ: 'Bearer', nonce: 'n' }], // prettier-ignore
    ["Cognito's access token", undefined, { ...bare, aud: CLIENT_ID, token_use: 'access' }],
    ["Hydra's access token", undefined, { ...bare, aud: CLIENT_ID, token_use: 'access_token' }],
    ['for the resource, with a nonce and a scope', 'JWT', { client_id: undefined, nonce: 'n' }],
    ['for the resource, with a nonce and scp', 'JWT', { ...bare, nonce: 'n', scp: [] }],
    ['for the resource with one more slash', 'JWT', { ...bare, aud: `${RESOURCE}/` }],
    ['a typ claim that says nothing known', 'JWT', { typ: 'Custom' }],
    ['a typ claim that is no string', 'JWT', { typ: 7 }],
    ['a typ claim that only begins like one of the others', 'JWT', { typ: 'Identity' }],
  ])('is an access token: %s', (_name, header, changes) => {
    expect(refusal(() => read(goodBut(changes), header))).toBeUndefined()
  })

  it.each<[name: string, header: string | undefined, changes: Claims]>([
    ['an ID token for this server', 'JWT', idToken],
    ['an ID token for this server with nothing that tells', undefined, { ...bare, aud: CLIENT_ID }],
    ['an ID token told by at_hash alone', 'JWT', { at_hash: 'h' }],
    ['an ID token told by c_hash alone', 'JWT', { c_hash: 'h' }],
    ['an ID token told by s_hash alone', 'JWT', { s_hash: 'h' }],
    ['an ID token told by its nonce', 'JWT', { ...bare, nonce: 'n' }],
    ['an ID token for the resource with a client_id, told by its nonce', 'JWT', { scope: undefined, nonce: 'n' }],
    ['an ID token for the client with a scope, told by its nonce', 'JWT', { aud: CLIENT_ID, nonce: 'n' }],
    ["an ID token of Nextcloud's app oidc, with a scope and no at_hash", 'JWT', { ...bare, aud: CLIENT_ID, azp: CLIENT_ID, scope: 'openid profile' }], // prettier-ignore
    ['an ID token with a scope, which names no client but its audience', 'JWT', { ...bare, aud: CLIENT_ID, scope: 'openid' }], // prettier-ignore
    [
      'an ID token with the id of its client in client_id',
      undefined,
      { ...bare, aud: CLIENT_ID, client_id: CLIENT_ID },
    ],
    ['an ID token for two clients, got by this one', 'JWT', { aud: [CLIENT_ID, 'other'], client_id: undefined, azp: CLIENT_ID }], // prettier-ignore
    ['an ID token that says it in one of two places', 'JWT', { typ: 'Bearer', token_use: 'id' }],
    ['an ID token that says it in another of two places', 'JWT', { typ: 'ID', token_use: 'access' }],
    ['a kind of ID token', 'JWT', { typ: 'ID_token' }],
    ['a kind of refresh token', 'JWT', { token_use: 'refresh-token' }],
    ['an ID token that says in a list that it is none', 'JWT', { at_hash: 'h', token_use: ['access'] }],
    ["Keycloak's ID token", 'JWT', { typ: 'ID' }],
    ["Keycloak's refresh token", 'JWT', { typ: 'Refresh' }],
    ["Keycloak's offline token", 'JWT', { typ: 'Offline' }],
    ["Keycloak's logout token", 'JWT', { typ: 'Logout' }],
    ["Cognito's ID token", undefined, { token_use: 'id' }],
    ['a logout token told by its header', 'logout+jwt', {}],
    ['a logout token told by its events', 'JWT', { events: {} }],
    ['a security event', 'secevent+jwt', {}],
    ['a DPoP proof', 'dpop+jwt', {}],
    ['a header type that only ends as it should', 'that+jwt', {}],
    ['a header type of nothing', '', {}],
  ])('is refused: %s', (_name, header, changes) => {
    expect(refusal(() => read(goodBut(changes), header))).toBe('token_type')
  })

  it.each<[name: string, changes: Claims, accepted: boolean]>([
    ['an access token of Dex', { ...bare, aud: CLIENT_ID, at_hash: 'h' }, true],
    ['one for the client that got it', { ...bare, aud: CLIENT_ID, azp: CLIENT_ID, scope: 'openid' }, true],
    ['an access token of Cloudflare Access', { ...bare, aud: CLIENT_ID, nonce: 'n' }, true],
    ['one with nothing that tells', { ...bare, aud: CLIENT_ID }, true],
    ['one with c_hash and s_hash', { c_hash: 'h', s_hash: 'h' }, true],
    ['one that says that it is an ID token', { token_use: 'id' }, false],
    ['one that says that it is a refresh token', { typ: 'Refresh' }, false],
    ['a logout token', { events: {} }, false],
    ['one for another audience', { at_hash: 'h', aud: 'other' }, false],
  ])('may be one that cannot be told from an ID token, where that is accepted: %s', (_name, changes, accepted) => {
    const expected = { idTokenLookalikes: 'accept' } as const

    expect(refusal(() => read(goodBut(changes), 'JWT', expected)) === undefined).toBe(accepted)
    expect(refusal(() => read(goodBut({ ...bare, aud: CLIENT_ID }), 'logout+jwt', expected))).toBe('token_type')
  })

  it('for an audience that the operator chose is not for the client that got it, where that is the audience', () => {
    const expected = { audience: ['another-client'], client: undefined }
    const idToken = { ...bare, aud: 'another-client', azp: 'another-client', scope: 'openid' }

    expect(refusal(() => read(goodBut(idToken), 'JWT', expected))).toBe('token_type')
    expect(refusal(() => read(goodBut({ ...idToken, azp: 'mcp-client' }), 'JWT', expected))).toBeUndefined()
  })

  it('for an audience that the operator chose has to say that it is one', () => {
    const expected = { audience: ['api://mcp'] }
    const chosen = { ...bare, aud: 'api://mcp' }

    expect(refusal(() => read(goodBut(chosen), 'JWT', expected))).toBe('token_type')
    expect(refusal(() => read(goodBut({ ...chosen, scope: 'notes:read' }), 'JWT', expected))).toBeUndefined()
  })
})

describe('a token of this server’s own client', () => {
  it.each<[name: string, header: string | undefined, changes: Claims]>([
    ['for the resource', 'JWT', { client_id: CLIENT_ID }],
    ['for the resource with one more slash', 'JWT', { aud: `${RESOURCE}/`, client_id: CLIENT_ID }],
    ['for the resource and another', 'JWT', { aud: [RESOURCE, 'nextcloud'], client_id: CLIENT_ID }],
    ['named by azp', 'JWT', { client_id: undefined, azp: CLIENT_ID }],
    ['named by cid', undefined, { client_id: undefined, cid: CLIENT_ID }],
    ['named by appid', 'JWT', { client_id: undefined, appid: CLIENT_ID }],
    ['with the header of RFC 9068', 'at+jwt', { client_id: CLIENT_ID }],
    ["with Keycloak's typ", 'JWT', { client_id: undefined, azp: CLIENT_ID, typ: 'Bearer' }],
  ])('is not one of an MCP client: %s', (_name, header, changes) => {
    for (const idTokenLookalikes of ['refuse', 'accept'] as const) {
      expect(refusal(() => read(goodBut(changes), header, { idTokenLookalikes }))).toBe('client')
    }
    const others = { allowedClients: new Set(['mcp-client']) }
    expect(refusal(() => read(goodBut(changes), header, others))).toBe('client')
  })

  it('is one where MCP clients share the client, as allowedClients says', () => {
    const shared = { allowedClients: new Set([CLIENT_ID]) }

    expect(read(goodBut({ client_id: CLIENT_ID }), 'JWT', shared).clientId).toBe(CLIENT_ID)
  })

  it('is none where this server has no client, or another one', () => {
    const named = goodBut({ client_id: CLIENT_ID })

    expect(refusal(() => read(named, 'JWT', { client: undefined }))).toBeUndefined()
    expect(refusal(() => read({ ...named, azp: 'mcp-client' }, 'JWT'))).toBe('client')
    expect(refusal(() => read({ ...named, client_id: 'mcp-client', azp: CLIENT_ID }, 'JWT'))).toBeUndefined()
  })
})

it.each([{ jkt: 'thumbprint' }, { 'x5t#S256': 'thumbprint' }, {}, '', false])(
  'a token that is bound to a key by %j is refused, whatever its kind (RFC 7800)',
  (cnf) => {
    expect(refusal(() => read(goodBut({ cnf }), 'at+jwt'))).toBe('sender_constrained')
    expect(refusal(() => read(goodBut({ cnf })))).toBe('sender_constrained')
  },
)

it.each(['off', 'allowed', 'required'] as const)('a cnf of null or none binds to nothing, with dpop %s', (dpop) => {
  expect(read(goodBut({ cnf: null }), 'at+jwt', { dpop }).boundTo).toBeUndefined()
  expect(read(goodBut({}), 'at+jwt', { dpop }).boundTo).toBeUndefined()
})

describe.each(['allowed', 'required'] as const)('with dpop %s', (dpop) => {
  it('a token is bound to the key that cnf names by its thumbprint (RFC 9449 section 6.1)', () => {
    expect(read(goodBut({ cnf: { jkt: 'thumbprint' } }), 'at+jwt', { dpop }).boundTo).toBe('thumbprint')
  })

  it.each([
    ...[{ 'x5t#S256': 'thumbprint' }, { jkt: 'thumbprint', 'x5t#S256': 'thumbprint' }, { jkt: 'thumbprint', kid: 'k' }],
    ...[
      { jkt: '' },
      { jkt: 7 },
      { jkt: ['thumbprint'] },
      { jkt: null },
      {},
      [],
      ['jkt'],
      '',
      'thumbprint',
      0,
      false,
      true,
    ],
  ])('a token that is bound by %j in a way that cannot be proved here is refused', (cnf) => {
    expect(refusal(() => read(goodBut({ cnf }), 'at+jwt', { dpop }))).toBe('sender_constrained')
  })
})

describe('the client', () => {
  it.each([
    [{ client_id: 'a', azp: 'b', cid: 'c' }, 'a'],
    [{ client_id: undefined, azp: 'b', cid: 'c' }, 'b'],
    [{ client_id: undefined, cid: 'c', appid: 'd' }, 'c'],
    [{ client_id: undefined, appid: 'd' }, 'd'],
    [{ client_id: '', azp: 'b' }, 'b'],
    [{ client_id: 7, azp: ['b'], cid: 'c' }, 'c'],
    [{ client_id: undefined }, 'unknown'],
  ])('of %j is %s', (changes, clientId) => {
    expect(read(goodBut(changes)).clientId).toBe(clientId)
  })

  it('is let in only when it is one of the allowed ones', () => {
    const expected = { allowedClients: new Set(['a', 'b']) }

    expect(refusal(() => read(goodBut({ client_id: 'b' }), undefined, expected))).toBeUndefined()
    expect(refusal(() => read(goodBut({ client_id: 'c', azp: 'a' }), undefined, expected))).toBe('client')
    expect(refusal(() => read(goodBut({ client_id: 'A' }), undefined, expected))).toBe('client')
  })

  it('that is not known is not let in under the name that stands for it', () => {
    const expected = { allowedClients: new Set(['unknown']) }

    expect(refusal(() => read(goodBut({ client_id: undefined }), undefined, expected))).toBe('client')
  })
})

describe('the scopes', () => {
  it.each<[changes: Claims, scopes: string[]]>([
    [{ scope: 'notes:read notes:write' }, ['notes:read', 'notes:write']],
    [{ scope: ' notes:read   notes:write ' }, ['notes:read', 'notes:write']],
    [{ scope: '' }, []],
    [{ scope: undefined }, []],
    [{ scope: ['notes:read', 'notes:write'] }, ['notes:read', 'notes:write']],
    [{ scope: undefined, scp: 'notes:read notes:write' }, ['notes:read', 'notes:write']],
    [{ scope: undefined, scp: ['notes:read', 'notes:write'] }, ['notes:read', 'notes:write']],
    [{ scope: null, scp: ['notes:read'] }, ['notes:read']],
    [{ scope: 'notes:read', scp: ['notes:write'] }, ['notes:read']],
    [{ scope: ['notes:read', 7, null, '', ['notes:write']] }, ['notes:read']],
    [{ scope: 7 }, []],
    [{ scope: { 'notes:read': true } }, []],
  ])('of %j are %j', (changes, scopes) => {
    expect(read(goodBut(changes)).scopes).toEqual(scopes)
  })

  it('are the same as a string and as a list', () => {
    const scope = fc.stringMatching(/^[!#-[\]-~]+$/)
    fc.assert(
      fc.property(fc.array(scope), (list) => {
        const asString = read(goodBut({ scope: list.join(' ') })).scopes
        const asList = read(goodBut({ scope: undefined, scp: list })).scopes
        expect(asString).toEqual(list)
        expect(asList).toEqual(list)
      }),
    )
  })
})

it('any claims are either refused or read to the types that they should have', () => {
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom(RESOURCE, CLIENT_ID, [RESOURCE], 'Bearer', 2_000_000_000))
  const names = ['sub', 'exp', 'aud', 'scope', 'scp', 'client_id', 'azp', 'cid', 'typ', 'nonce', 'cnf', 'events']
  const changes = fc.dictionary(fc.constantFrom(...names), value)
  fc.assert(
    fc.property(changes, fc.option(fc.constantFrom('at+jwt', 'JWT', 'x'), { nil: undefined }), (claims, type) => {
      if (refusal(() => read({ ...GOOD, ...claims }, type)) !== undefined) return
      const { subject, clientId, scopes, expiresAt, audience } = read({ ...GOOD, ...claims }, type)
      expect([subject, clientId, ...scopes, ...audience].every((text) => typeof text === 'string' && text !== '')).toBe(
        true,
      )
      expect(expiresAt).toSatisfy(Number.isFinite)
      expect(audience).not.toEqual([])
    }),
  )
})

describe('an introspection answer', () => {
  const ISSUER = 'https://idp.example.com'
  const NOW = 1_000
  const TOLERANCE = 5

  it.each<[answer: Claims, reason: InvalidTokenReason | undefined]>([
    [{}, undefined],
    [{ iss: ISSUER }, undefined],
    [{ iss: `${ISSUER}/` }, 'issuer'],
    [{ iss: 'https://other.example.com' }, 'issuer'],
    [{ iss: null }, 'issuer'],
    [{ iss: [ISSUER] }, 'issuer'],
    [{ exp: NOW - TOLERANCE + 1 }, undefined],
    [{ exp: NOW - TOLERANCE }, 'expired'],
    [{ nbf: NOW + TOLERANCE }, undefined],
    [{ nbf: NOW + TOLERANCE + 1 }, 'not_yet_valid'],
    [{ nbf: '1' }, 'not_yet_valid'],
    [{ nbf: null }, 'not_yet_valid'],
    [{ nbf: Infinity }, 'not_yet_valid'],
  ])('with %o leads to %s', (answer, reason) => {
    expect(
      refusal(() => checkIntrospectedClaims(answer, { issuer: ISSUER, nowSeconds: NOW, clockTolerance: TOLERANCE })),
    ).toBe(reason)
  })
})

it.each<[iat: unknown, reason: InvalidTokenReason | undefined]>([
  [undefined, undefined],
  [0, undefined],
  [1_005, undefined],
  [1_006, 'not_yet_valid'],
  ['1', 'not_yet_valid'],
  [null, 'not_yet_valid'],
  [Infinity, 'not_yet_valid'],
])('with a tolerance of 5 s at second 1000, an iat of %o leads to %s', (iat, reason) => {
  expect(refusal(() => checkIssuedAt({ iat }, { nowSeconds: 1_000, clockTolerance: 5 }))).toBe(reason)
})
