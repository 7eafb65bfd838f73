import { extractWWWAuthenticateParams as extractV2 } from '@modelcontextprotocol/client'
import { extractWWWAuthenticateParams as extractV1 } from '@modelcontextprotocol/sdk/client/auth.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  AudienceMismatchError,
  ConfigurationError,
  InsufficientScopeError,
  InternalError,
  InvalidDpopProofError,
  InvalidRequestError,
  InvalidTokenError,
  SealedValueError,
  StorageError,
  SubjectTokenRejectedError,
  TokenRequestError,
  UnauthorizedError,
  UpstreamUnavailableError,
  type McpAuthError,
} from '../../src/errors/errors.js'
import {
  DPOP_PROOF_DESCRIPTIONS,
  INVALID_TOKEN_DESCRIPTIONS,
  type DpopProofFault,
  type InvalidTokenReason,
} from '../../src/errors/rejection-details.js'
import { addChallenge, writeChallenge, type ChallengeParameters } from '../../src/http/challenge.js'
import { METADATA_URL } from '../support/answers.js'

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom(
    '"',
    '\\',
    '\r\nSet-Cookie: a=b',
    'scope="admin"',
    'a, resource_metadata="https://evil.example"',
    '\0',
  ),
)

const anyParameters: fc.Arbitrary<ChallengeParameters> = fc.record(
  {
    realm: anyText,
    error: anyText,
    resourceMetadataUrl: anyText,
    scopes: fc.array(anyText, { maxLength: 4 }),
    description: anyText,
  },
  { requiredKeys: ['resourceMetadataUrl', 'scopes'] },
)

/** What may stand in a header, in a quoted string, without a backslash before it. */
const plain = (value: string) =>
  Array.from(value)
    .filter((character) => character >= ' ' && character <= '~' && !'"\\'.includes(character))
    .join('')

describe('writeChallenge', () => {
  it('writes one line of ASCII that begins with "Bearer " for any values', () => {
    fc.assert(
      fc.property(anyParameters, (parameters) => {
        expect(writeChallenge(parameters)).toMatch(/^Bearer [\x20-\x7E]*$/)
      }),
    )
  })

  it('writes what a strict parser reads back, in one order, and nothing besides', () => {
    fc.assert(
      fc.property(anyParameters, (parameters) => {
        const { realm, error, resourceMetadataUrl, scopes, description } = parameters
        const given: [string, string | undefined][] = [
          ['realm', realm],
          ['error', error],
          ['resource_metadata', resourceMetadataUrl],
          ['scope', scopes.join(' ')],
          ['error_description', description],
        ]

        expect(parseChallenge(writeChallenge(parameters))).toEqual(
          given.flatMap(([name, value]) => (value === undefined || value === '' ? [] : [[name, plain(value)]])),
        )
      }),
      { numRuns: 1_000 },
    )
  })

  it.each([
    ['https://idp.example.com/authorize', ', authorization_uri="https://idp.example.com/authorize"'],
    ['https://idp.example.com/authorize?scope=x', ''],
    [undefined, ''],
  ])('says where the user can be sent unless that has a query: %s', (authorizationUri, told) => {
    expect(
      writeChallenge({
        resourceMetadataUrl: 'https://a.example',
        scopes: [],
        claims: { claims: 'e30', authorizationUri },
      }),
    ).toBe(`Bearer resource_metadata="https://a.example"${told}, claims="e30"`)
  })

  const scopeTokens = fc.array(
    fc.string({ unit: fc.constantFrom(...'abcXYZ019:/._-!#[]~=(,'.split('')), minLength: 1, maxLength: 12 }),
    { minLength: 1, maxLength: 4 },
  )
  describe.each([
    ['v1', extractV1],
    ['v2', extractV2],
  ])('is read by the MCP SDK client %s', (_version, extract) => {
    const read = (challenge: string) =>
      extract(new Response(null, { status: 401, headers: { 'WWW-Authenticate': challenge } }))

    it('as it was meant, whatever the description tries', () => {
      fc.assert(
        fc.property(scopeTokens, fc.webPath(), anyText, (scopes, path, description) => {
          const resourceMetadataUrl = `https://mcp.example.com/.well-known/oauth-protected-resource${path}`
          const error = 'insufficient_scope'
          const found = read(writeChallenge({ realm: 'mcp', error, resourceMetadataUrl, scopes, description }))

          expect(found).toMatchObject({ error, scope: scopes.join(' ') })
          expect(found.resourceMetadataUrl?.href).toBe(new URL(resourceMetadataUrl).href)
        }),
      )
    })

    it('also without scopes and error', () => {
      expect(read(writeChallenge({ realm: 'mcp', resourceMetadataUrl: METADATA_URL, scopes: [] }))).toEqual({
        resourceMetadataUrl: new URL(METADATA_URL),
        scope: undefined,
        error: undefined,
      })
    })
  })
})

const challenged: [name: string, error: McpAuthError, code: string, scope: string, description: string][] = [
  ['InvalidTokenError', new InvalidTokenError('expired'), 'invalid_token', 'notes:read', 'The access token has expired'], // prettier-ignore
  ['InvalidRequestError', new InvalidRequestError(), 'invalid_request', 'notes:read', 'The Authorization header must hold one access token and nothing else'], // prettier-ignore
  ['SubjectTokenRejectedError', new SubjectTokenRejectedError(), 'invalid_token', 'notes:read', 'The access token is no longer accepted'], // prettier-ignore
  ['InsufficientScopeError', new InsufficientScopeError(['notes:read', 'notes:write']), 'insufficient_scope', 'notes:read notes:write', 'The access token lacks a scope that this operation needs'], // prettier-ignore
]

describe('addChallenge', () => {
  const context = {
    resourceMetadataUrl: METADATA_URL,
    challengeScopes: ['notes:read'],
    dpop: 'off' as const,
    algorithms: ['ES256', 'PS256'],
  }
  const exposed = (challenge: string) => ({
    'Cache-Control': 'no-store',
    'WWW-Authenticate': `Bearer realm="mcp", ${challenge}`,
    'Access-Control-Expose-Headers': 'WWW-Authenticate',
  })

  it('gives UnauthorizedError a challenge without an error (RFC 6750 section 3.1)', () => {
    const { headers } = addChallenge(new UnauthorizedError(), context)

    expect(headers).toEqual(exposed(`resource_metadata="${METADATA_URL}", scope="notes:read"`))
  })

  it.each(challenged)('gives %s its challenge, exposed to browsers', (_name, error, code, scope, description) => {
    expect(addChallenge(error, context)).toBe(error)
    expect(error.headers).toEqual(
      exposed(
        `error="${code}", resource_metadata="${METADATA_URL}", scope="${scope}", error_description="${description}"`,
      ),
    )
  })

  const REST = `resource_metadata="${METADATA_URL}", scope="notes:read"`
  const ALGS = 'algs="ES256 PS256"'
  it.each<[error: McpAuthError, bearer: string, dpop: string]>([
    [new UnauthorizedError(), `Bearer realm="mcp", ${REST}`, `DPoP ${ALGS}, realm="mcp", ${REST}`],
    [
      new InvalidTokenError('expired'),
      `Bearer realm="mcp", error="invalid_token", ${REST}, error_description="The access token has expired"`,
      `DPoP ${ALGS}, realm="mcp", error="invalid_token", ${REST}, error_description="The access token has expired"`,
    ],
    [
      new InvalidDpopProofError('htu'),
      `Bearer realm="mcp", ${REST}`,
      `DPoP ${ALGS}, realm="mcp", error="invalid_dpop_proof", ${REST}, error_description="The DPoP proof is for another URL"`,
    ],
  ])(
    'gives %s a challenge for each scheme that is let in, Bearer first (RFC 9449 section 7.2)',
    (error, bearer, dpop) => {
      const challengeOf = (mode: 'allowed' | 'required') =>
        addChallenge(error, { ...context, dpop: mode }).headers['WWW-Authenticate']

      expect(challengeOf('allowed')).toBe(`${bearer}, ${dpop}`)
      expect(challengeOf('required')).toBe(dpop)
    },
  )

  it.each([
    ['v1', extractV1],
    ['v2', extractV2],
  ])('writes the two so that the MCP SDK client %s reads the first', (_version, extract) => {
    const error = addChallenge(new InvalidTokenError('expired'), { ...context, dpop: 'allowed' })

    expect(extract(new Response(null, { status: 401, headers: error.headers }))).toMatchObject({
      resourceMetadataUrl: new URL(METADATA_URL),
      scope: 'notes:read',
      error: 'invalid_token',
    })
  })

  const unchallenged: [name: string, error: McpAuthError, headers: Record<string, string>][] = [
    ['ConfigurationError', new ConfigurationError('message'), {}],
    ['InternalError', new InternalError('message'), {}],
    ['TokenRequestError', new TokenRequestError('message'), {}],
    ['AudienceMismatchError', new AudienceMismatchError(), {}],
    ['SealedValueError', new SealedValueError(), {}],
    ['StorageError', new StorageError('message', undefined, 2.1), { 'Retry-After': '3' }],
    ['UpstreamUnavailableError', new UpstreamUnavailableError('message', { retryAfter: 2.1 }), { 'Retry-After': '3' }],
  ]
  it.each(unchallenged)('gives %s no challenge: a client must not sign in again over it', (_name, error, headers) => {
    expect(addChallenge(error, context).headers).toEqual({ 'Cache-Control': 'no-store', ...headers })
  })
})

it('each description is a fixed text without quotes and signs', () => {
  const errors: McpAuthError[] = [
    ...Object.keys(INVALID_TOKEN_DESCRIPTIONS).map((reason) => new InvalidTokenError(reason as InvalidTokenReason)),
    ...Object.keys(DPOP_PROOF_DESCRIPTIONS).map((fault) => new InvalidDpopProofError(fault as DpopProofFault)),
    ...challenged.map(([, error]) => error),
    new AudienceMismatchError(),
    new SealedValueError(),
    new StorageError('message="quoted"'),
    new TokenRequestError('message', { error: 'x="y"', errorDescription: 'x="y"' }),
    new UpstreamUnavailableError('message="quoted"'),
    new ConfigurationError('message="quoted"'),
    new InternalError('message="quoted"'),
  ]

  for (const { body } of errors) expect(body.error_description).toMatch(/^[A-Z][A-Za-z ]+$/)
})

/**
 * RFC 9110 §11.6.1, one challenge: auth-scheme 1*SP #auth-param, each a token, "=" and a quoted-string, with no white space
 * round "=" and ", " in between. Throws for anything else.
 */
function parseChallenge(challenge: string): [name: string, value: string][] {
  const scheme = /^Bearer /.exec(challenge)
  if (scheme === null) throw new Error('another scheme')
  const parameter = /([!#$%&'*+\-.^_`|~\w]+)="((?:[\t \x21\x23-\x5B\x5D-\x7E\x80-\xFF]|\\[\t \x21-\x7E\x80-\xFF])*)"/y
  const found: [string, string][] = []
  let position = scheme[0].length
  while (position < challenge.length) {
    if (found.length > 0) {
      if (!challenge.startsWith(', ', position)) throw new Error(`no comma at ${position} of ${challenge}`)
      position += 2
    }
    parameter.lastIndex = position
    const [text, name = '', value = ''] = parameter.exec(challenge) ?? []
    if (text === undefined) throw new Error(`no auth-param at ${position} of ${challenge}`)
    if (found.some(([present]) => present === name)) throw new Error(`${name} comes twice`)
    found.push([name, value.replace(/\\(.)/g, '$1')])
    position += text.length
  }
  return found
}
