import { byToken, type Attack, type Refused, type TokenRow } from './attack.js'
import type { Forge } from './forge.js'

/** Claims that a server has signed: for others, of others, at other times, of other kinds. */

type Row = readonly [name: string, claims: (forge: Forge) => object, refused?: Refused]

const rows = (rule: string, given: readonly Row[]): TokenRow[] =>
  given.map(([name, claims, ...refused]) => [name, rule, (forge) => forge.jwt({ claims: claims(forge) }), ...refused])

const AUD = 'RFC 8725 §3.9, RFC 8707 §2 (audience)'
const ofResource = (name: string, change: (resource: string) => unknown): Row => [
  name,
  ({ resource }) => ({ aud: change(resource) }),
]

const audiences = rows(AUD, [
  ofResource('another server', () => 'https://evil.example/mcp'),
  ofResource('a beginning of ours', (resource) => resource.slice(0, -1)),
  ofResource('ours with more behind it', (resource) => `${resource}2`),
  ofResource('a path below ours', (resource) => `${resource}/evil`),
  ofResource('two slashes behind ours', (resource) => `${resource}//`),
  ofResource('our origin', (resource) => new URL(resource).origin),
  ofResource('our host alone', (resource) => new URL(resource).host),
  ofResource('the host in capitals', (resource) => resource.replace('mcp.example.com', 'MCP.EXAMPLE.COM')),
  ofResource('the path in capitals', (resource) => resource.replace(/\/mcp$/, '/MCP')),
  ofResource('http in place of https', (resource) => resource.replace('https:', 'http:')),
  ofResource('with the port of https', (resource) => resource.replace('.com/', '.com:443/')),
  ofResource('with a dot behind the host', (resource) => resource.replace('.com/', '.com./')),
  ofResource('with a query', (resource) => `${resource}?x`),
  ofResource('with a fragment', (resource) => `${resource}#x`),
  ofResource('ours as the user of another host', (resource) => `${resource.replace('/mcp', '')}@evil.example/mcp`),
  ofResource('ours in the query of another', (resource) => `https://evil.example/?${resource}`),
  ofResource('with an escape in it', (resource) => resource.replace(/\/mcp$/, '/%6Dcp')),
  ofResource('with dots in its path', (resource) => resource.replace(/\/mcp$/, '/x/../mcp')),
  ofResource('with a Cyrillic letter', (resource) => resource.replace('mcp.', 'mcр.')),
  ofResource('in Punycode of a Cyrillic letter', (resource) => resource.replace('mcp.', 'xn--mc-tmc.')),
  ofResource('in full-width letters', (resource) => resource.replace('mcp.', 'ｍｃｐ.')),
  ofResource('with a zero-width space', (resource) => `${resource}\u200B`),
  ofResource('with a space before it', (resource) => ` ${resource}`),
  ofResource('with a line break behind it', (resource) => `${resource}\n`),
  ofResource('with a null byte behind it', (resource) => `${resource}\0`),
  ofResource('two in one text', (resource) => `https://evil.example ${resource}`),
  ofResource('two in one text with a comma', (resource) => `${resource},https://evil.example`),
]).concat(
  rows(AUD, [
    ['none', () => ({ aud: undefined }), 'missing_claim'],
    [
      'none, of a client that is called as this server is',
      ({ resource }) => ({ aud: undefined, client_id: resource }),
      'missing_claim',
    ],
    ['in __proto__', ({ resource }) => ({ aud: undefined, ['__proto__']: { aud: resource } }), 'missing_claim'],
    ['null', () => ({ aud: null }), 'missing_claim'],
    ['empty', () => ({ aud: '' }), 'missing_claim'],
    ['an empty list', () => ({ aud: [] }), 'missing_claim'],
    ['a list of an empty text', () => ({ aud: [''] }), 'missing_claim'],
    ['a list in a list', ({ resource }) => ({ aud: [[resource]] }), 'missing_claim'],
    ['an object', ({ resource }) => ({ aud: { 0: resource, length: 1 } }), 'missing_claim'],
    ['a list of an object', ({ resource }) => ({ aud: [{ toString: resource }] }), 'missing_claim'],
    ['true', () => ({ aud: true }), 'missing_claim'],
    ['a list of others', () => ({ aud: ['https://evil.example/mcp', 'account'] })],
  ]),
)

const issuers = rows('RFC 8725 §3.8, RFC 9207 (issuer)', [
  ['another issuer', () => ({ iss: 'https://evil.example' })],
  ['with a slash behind it', ({ issuer }) => ({ iss: `${issuer}/` })],
  ['ours with more behind it', ({ issuer }) => ({ iss: `${issuer}.evil.example` })],
  ['a beginning of ours', ({ issuer }) => ({ iss: issuer.slice(0, -1) })],
  ['ours as the user of another host', ({ issuer }) => ({ iss: `${issuer}@evil.example` })],
  ['https in place of http', ({ issuer }) => ({ iss: issuer.replace('http:', 'https:') })],
  ['in capitals', ({ issuer }) => ({ iss: issuer.replace('http:', 'HTTP:') })],
  ['in a list', ({ issuer }) => ({ iss: [issuer] })],
  ['in an object', ({ issuer }) => ({ iss: { toString: issuer } })],
  ['with a space behind it', ({ issuer }) => ({ iss: `${issuer} ` })],
  ['none', () => ({ iss: undefined }), 'missing_claim'],
  ['null', () => ({ iss: null })],
  ['empty', () => ({ iss: '' })],
])

const times = rows('RFC 7519 §4.1.4 (exp)', [
  ['exp an hour ago', ({ now }) => ({ exp: now - 3_600 })],
  ['exp just past the tolerance', ({ now }) => ({ exp: now - 61 })],
  ['exp of zero', () => ({ exp: 0 })],
  ['a negative exp', ({ now }) => ({ exp: -now })],
  ['no exp', () => ({ exp: undefined }), 'missing_claim'],
  ['exp null', () => ({ exp: null }), 'missing_claim'],
  ['exp as text', ({ now }) => ({ exp: String(now + 3_600) }), 'missing_claim'],
  ['exp as a date', () => ({ exp: '2100-01-01T00:00:00Z' }), 'missing_claim'],
  ['exp in a list', ({ now }) => ({ exp: [now + 3_600] }), 'missing_claim'],
  ['exp true', () => ({ exp: true }), 'missing_claim'],
]).concat(
  [
    [
      'exp of 1e400',
      'RFC 8259 §6 (a number beyond all)',
      ({ jwt, claims }) => jwt({ claims: JSON.stringify(claims({ exp: 7 })).replace('"exp":7', '"exp":1e400') }),
      'missing_claim',
    ],
    [
      'exp NaN',
      'RFC 8259 §6 (NaN)',
      ({ jwt, claims }) => jwt({ claims: JSON.stringify(claims({ exp: 7 })).replace('"exp":7', '"exp":NaN') }),
      'malformed',
    ],
  ],
  rows('RFC 7519 §4.1.5 (nbf)', [
    ['nbf in an hour', ({ now }) => ({ nbf: now + 3_600 }), 'not_yet_valid'],
    ['nbf as text', ({ now }) => ({ nbf: String(now) }), 'missing_claim'],
    ['nbf null', () => ({ nbf: null }), 'missing_claim'],
  ]),
  rows('RFC 7519 §4.1.6 (iat)', [
    ['iat in an hour', ({ now }) => ({ iat: now + 3_600 }), 'not_yet_valid'],
    ['iat as text', ({ now }) => ({ iat: String(now) }), 'missing_claim'],
  ]),
)

const SUB = 'RFC 9068 §2.2 (sub)'
const CNF = 'RFC 7800 §3.1, RFC 9449 §7.2 (cnf)'
const subjects = rows(SUB, [
  ['no sub', () => ({ sub: undefined })],
  ['sub null', () => ({ sub: null })],
  ['an empty sub', () => ({ sub: '' })],
  ['sub a number', () => ({ sub: 0 })],
  ['sub true', () => ({ sub: true })],
  ['sub a list', () => ({ sub: ['alice'] })],
  ['sub an object', () => ({ sub: { toString: 'alice' } })],
]).concat(
  rows(CNF, [
    ['bound to a key by jkt, sent as Bearer', () => ({ cnf: { jkt: 'A'.repeat(43) } }), 'sender_constrained'],
    ['bound to a certificate', () => ({ cnf: { 'x5t#S256': 'A'.repeat(43) } }), 'sender_constrained'],
    ['bound to a jwk', () => ({ cnf: { jwk: { kty: 'EC' } } }), 'sender_constrained'],
    ['bound to a key by kid', () => ({ cnf: { kid: 'rsa' } }), 'sender_constrained'],
    ['bound by an empty object', () => ({ cnf: {} }), 'sender_constrained'],
    ['bound by a text', () => ({ cnf: 'A'.repeat(43) }), 'sender_constrained'],
  ]),
)

const typed = (typ: string, rule: string): TokenRow => [`typ ${typ}`, rule, ({ jwt }) => jwt({ header: { typ } })]
const KINDS = 'RFC 8725 §3.11 (kinds of JWTs)'
/** A token with the header of any JWT, and these claims. */
const plain = (name: string, rule: string, claims: object): TokenRow => [
  name,
  rule,
  ({ jwt }) => jwt({ header: { typ: 'JWT' }, claims }),
]

const kinds: readonly TokenRow[] = [
  typed('logout+jwt', 'OpenID Back-Channel Logout §2.4'),
  typed('secevent+jwt', 'RFC 8417 §2.3 (security event tokens)'),
  typed('dpop+jwt', 'RFC 9449 §4.2'),
  typed('oauth-authz-req+jwt', 'RFC 9101 §10.8 (request objects)'),
  typed('token-introspection+jwt', 'RFC 9701 §5'),
  typed('client-authentication+jwt', KINDS),
  typed('JOSE', KINDS),
  typed('at+jwt2', KINDS),
  typed('text/at+jwt', KINDS),
  plain('typ ID in the claims (Keycloak)', KINDS, { typ: 'ID' }),
  plain('typ Refresh in the claims (Keycloak)', KINDS, { typ: 'Refresh' }),
  plain('typ Offline in the claims (Keycloak)', KINDS, { typ: 'Offline' }),
  plain('typ Logout in the claims (Keycloak)', KINDS, { typ: 'Logout' }),
  plain('token_use id (Cognito)', KINDS, { token_use: 'id' }),
  plain('token_use refresh', KINDS, { token_use: 'refresh_token' }),
  plain('a logout token by its events', 'OpenID Back-Channel Logout §2.4', {
    events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
  }),
  plain('an ID token by at_hash', 'OpenID Connect Core §3.1.3.6', {
    at_hash: 'AAAA',
    scope: undefined,
    client_id: undefined,
  }),
  plain('an ID token by c_hash', 'OpenID Connect Core §3.3.2.11', {
    c_hash: 'AAAA',
    scope: undefined,
    client_id: undefined,
  }),
  plain('an ID token by its nonce', 'OpenID Connect Core §2', { nonce: 'n', scope: undefined, client_id: undefined }),
]

const SCOPE = 'RFC 6750 §3.1, RFC 6749 §3.3 (scope)'
const scopes = rows(SCOPE, [
  ['none', () => ({ scope: undefined })],
  ['empty', () => ({ scope: '' })],
  ['another', () => ({ scope: 'notes:write' })],
  ['in capitals', () => ({ scope: 'NOTES:READ' })],
  ['with more behind it', () => ({ scope: 'notes:read:all notes:reader' })],
  ['a beginning', () => ({ scope: 'notes:rea notes' })],
  ['a star', () => ({ scope: '* notes:* .*' })],
  ['with a comma', () => ({ scope: 'notes:read,notes:write' })],
  ['with a tab', () => ({ scope: 'notes:write\tnotes:read' })],
  ['with a line break', () => ({ scope: 'notes:write\nnotes:read' })],
  ['with a no-break space', () => ({ scope: 'notes:write\u00A0notes:read' })],
  ['with a null byte', () => ({ scope: 'notes:read\0' })],
  ['in quotes', () => ({ scope: '"notes:read"' })],
  ['a list of one text with two', () => ({ scope: ['notes:write notes:read'] })],
  ['a list in a list', () => ({ scope: [['notes:read']] })],
  ['an object', () => ({ scope: { 'notes:read': true } })],
  ['true', () => ({ scope: true })],
  ['in __proto__', () => ({ scope: undefined, ['__proto__']: { scope: 'notes:read' } })],
  ['in constructor', () => ({ scope: undefined, constructor: { prototype: { scope: 'notes:read' } } })],
  ['with a letter that looks the same', () => ({ scope: 'nоtes:read' })],
  ['in a claim of another name', () => ({ scope: undefined, scopes: 'notes:read', permissions: ['notes:read'] })],
])

export const claimAttacks: readonly Attack[] = [
  ...byToken('audience', 'audience', audiences),
  ...byToken('issuer', 'issuer', issuers),
  ...byToken('time', 'expired', times),
  ...byToken('subject', 'missing_claim', subjects),
  ...byToken('kind', 'token_type', kinds),
  ...byToken('scope', 'scope', scopes),
]
