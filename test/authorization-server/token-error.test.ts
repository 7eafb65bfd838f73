import { describe, expect, it } from 'vitest'
import { hintFor } from '../../src/authorization-server/hints.js'
import { readTokenEndpointAnswer, type TokenErrorAnswer } from '../../src/authorization-server/token-answer.js'
import { classifyExchangeError, classifyGrantError } from '../../src/authorization-server/token-error.js'
import { SubjectTokenRejectedError, TokenRequestError, UpstreamUnavailableError } from '../../src/errors/errors.js'
import { CLIENT_SECRET } from '../support/scripted-authorization-server.js'
import { world } from '../support/world.js'

const INVALID_REQUEST = (description: string): [string, string] => ['invalid_request', description]
const OPAQUE = 'short-opaque-token'
const JWT = `eyJhbGciOiJFUzI1NiJ9.${'A'.repeat(20)}.AAAA`
/** Returns the refusal in an answer to a request with these secrets. */
const refusalOf = (text: string, status = 400): TokenErrorAnswer | undefined =>
  readTokenEndpointAnswer({ status, body: new TextEncoder().encode(text) }, [CLIENT_SECRET, OPAQUE]).refusal

const MENDS = /nextcloud\.parameters/
const KEYCLOAK_AUDIENCE =
  /^In Keycloak: .*"Included Client Audience" is nextcloud\.audience.*"Always use lightweight access token"/

describe('a refused exchange', () => {
  it.each<[error: string, description: string, hint: RegExp | undefined, more?: Partial<TokenErrorAnswer>]>([
    ['invalid_client', 'because', /clientSecret/],
    ['unauthorized_client', 'because', /switch token exchange on/],
    // RFC 6749 §5.2: the credentials are wrong, whatever the error is called.
    ['unauthorized_client', 'because', /clientSecret/, { httpStatus: 401 }],
    ['unsupported_grant_type', 'because', /nextcloud\.mode/],
    ['invalid_target', 'because', /nextcloud\.audience and nextcloud\.resource/],
    ['invalid_scope', 'because', /nextcloud\.scopes/],
    ['access_denied', 'because', /aud of the MCP token/],
    ['consent_required', 'because', /consent/],
    ['invalid_grant', 'because', /consent/, { suberror: 'consent_required' }],
    ['invalid_grant', 'Invalid grant_type provided.', /nextcloud\.mode/],
    ['unsupported_token_type', 'because', undefined],
    ['something_else', 'because', undefined],
    ['constructor', 'because', undefined],
    ['invalid_request', 'Missing parameter: subject_token', MENDS],
    ['invalid_request', 'subject_token_type is required', MENDS],
    ['invalid_request', 'Invalid token type', MENDS],
    ['invalid_request', 'unsupported subject_token_type', MENDS],
    ['invalid_request', 'Parameter requested_token_type not supported', MENDS],
    ['invalid_request', '', MENDS],
  ])('%s that says %j is for the operator to mend, 502: %s', (error, description, hint, more) => {
    const failure = classifyExchangeError({ error, description, httpStatus: 403, ...more })

    expect(failure).toBeInstanceOf(TokenRequestError)
    expect(failure).toMatchObject({
      status: 502,
      code: 'ERR_TOKEN_REQUEST',
      error,
      errorDescription: description,
      httpStatus: more?.httpStatus ?? 403,
      hint: hint && (expect.stringMatching(hint) as string),
      body: {
        error: 'nextcloud_token_refused',
        error_description: 'The authorization server refused a token for Nextcloud',
      },
    })
  })

  it.each<[error: string, description: string | undefined]>([
    ['invalid_grant', 'Session not active'],
    ['invalid_token', 'Session not active'],
    ['interaction_required', 'Session not active'],
    ['invalid_grant', 'Invalid grant.'],
    ['login_required', 'by grant_type'],
    ...['Invalid token', 'invalid token', 'invalid subject token', 'The subject token is invalid'].map(INVALID_REQUEST),
    ...['Token is not active', 'token is not valid', 'token expired', 'unknown access token'].map(INVALID_REQUEST),
    ...['The provided token has expired', 'The token was revoked', 'subject token inactive'].map(INVALID_REQUEST),
    ['invalid_request', undefined],
  ])('%s that says %j is the MCP client’s to mend by another token, 401', (error, errorDescription) => {
    const failure = classifyExchangeError({ error, description: errorDescription, httpStatus: 400 })

    expect(failure).toBeInstanceOf(SubjectTokenRejectedError)
    expect(failure).toMatchObject({
      status: 401,
      code: 'ERR_SUBJECT_TOKEN_REJECTED',
      rejection: { error, errorDescription },
      message: 'The access token is no longer accepted',
      body: { error: 'invalid_token', error_description: 'The access token is no longer accepted' },
    })
  })
})

it.each<[error: string, description: string, httpStatus: number, hint: RegExp]>([
  ['invalid_request', 'Standard token exchange is not enabled for the requested client', 400, /"Standard Token Exch/],
  ['invalid_request', 'Requested audience not available: nextcloud', 400, KEYCLOAK_AUDIENCE],
  ['access_denied', 'Client is not within the token audience', 403, /"Included Client Audience" is clientId/],
  ['invalid_client', 'Audience not found', 400, /no client whose Client ID is nextcloud\.audience/],
  ['invalid_client', 'Client disabled', 400, /nextcloud\.audience: switch it to "Enabled"/],
  ['invalid_client', 'Public client is not allowed to exchange token', 400, /"Client authentication" on/],
  ['invalid_client', 'Invalid client or Invalid client credentials', 401, /Credentials, "Client Secret"/],
  ['unauthorized_client', 'Invalid client or Invalid client credentials', 401, /Credentials, "Client Secret"/],
  ['not_allowed', 'Offline tokens not allowed for the user or client', 400, /realm role offline_access/],
])("after %s that says %j, the hint is in the words of Keycloak's console", (error, description, httpStatus, hint) => {
  const answer = { error, description, httpStatus }
  const failures = [
    classifyExchangeError(answer),
    ...(['refresh', 'code'] as const).map((grant) => classifyGrantError(answer, grant)),
  ]
  for (const failure of failures) {
    expect(failure).toMatchObject({ status: 502, error, hint: expect.stringMatching(hint) as string })
    expect(failure).toMatchObject({ hint: expect.stringMatching(/^In Keycloak: /) as string })
  }
})

it.each<[grant: 'refresh' | 'code', error: string, hint: RegExp]>([
  ['refresh', 'unauthorized_client', /switch refresh tokens on/],
  ['refresh', 'invalid_scope', /nextcloud\.scopes/],
  ['code', 'unauthorized_client', /switch the authorization code flow on/],
  ['code', 'invalid_grant', /auth\.connectRedirectUri/],
])('a refused %s is for the operator to mend, 502: %s', (grant, error, hint) => {
  const failure = classifyGrantError({ error, description: 'because', httpStatus: 400 }, grant)

  expect(failure).toMatchObject({ status: 502, error, hint: expect.stringMatching(hint) as string })
})

it.each(['temporarily_unavailable', 'server_error'])('it is an outage, 503, after %s under any status', (error) => {
  for (const httpStatus of [400, 401, 403, 200]) {
    const answer = { error, description: 'because', httpStatus }
    for (const failure of [classifyExchangeError(answer), classifyGrantError(answer, 'code')]) {
      expect(failure).toBeInstanceOf(UpstreamUnavailableError)
      expect(failure).toMatchObject({ status: 503, httpStatus })
    }
  }
})

describe('the hint, together with what was sent,', () => {
  it.each<[sent: string, error: string, description: string | undefined, hint: RegExp]>([
    ['audience=a&resource=b', 'invalid_target', undefined, /^Leave nextcloud\.resource out/],
    ['audience=a&audience=b', 'invalid_target', undefined, /^Name a single nextcloud\.audience/],
    ['audience=a', 'invalid_target', undefined, /^Check nextcloud\.audience: /],
    ['', 'invalid_target', undefined, /^Check nextcloud\.audience and nextcloud\.resource/],
    ['', 'invalid_scope', undefined, /^Set nextcloud\.scopes/],
    ['scope=a', 'invalid_scope', undefined, /^Check nextcloud\.scopes/],
    ['', 'invalid_request', "must contain the following parameter: 'scope'", /^Set nextcloud\.scopes/],
    ['scope=a', 'invalid_request', 'the scope is odd', /nextcloud\.parameters/],
    [
      '',
      'invalid_request',
      'requested_token_type not supported',
      /^Check requested_token_type in nextcloud\.parameters/,
    ],
    ['', 'invalid_request', undefined, /^The authorization server does not take the request/],
  ])('sent %j, %s, %j', (sent, error, description, hint) => {
    expect(hintFor({ error, description }, new URLSearchParams(sent))).toMatch(hint)
  })
})

describe('a refusal of the token endpoint', () => {
  it.each<[name: string, status: number, text: string]>([
    ['a page', 400, '<html>'],
    ['nothing', 400, ''],
    ['a list', 400, '["invalid_grant"]'],
    ['an error that is not a string', 400, '{"error":400}'],
    ['an empty error', 400, '{"error":""}'],
    ['an error without a name', 401, '{"error_description":"because"}'],
    ['a page, under 200', 200, '<html>'],
    ['a list, under 200', 200, '[]'],
  ])('that is %s is nonsense, 503', (_name, status, text) => {
    expect(() => refusalOf(text, status)).toThrow(UpstreamUnavailableError)
  })

  it.each<[name: string, answer: object, read: object]>([
    ['a description that is not a string', { error_description: ['x'] }, { description: undefined }],
    [
      'a long description',
      { error_description: 'so it is '.repeat(100) },
      { description: 'so it is '.repeat(34).slice(0, 300) },
    ],
    ['the token of the request', { error_description: `Cannot use ${OPAQUE}` }, { description: 'Cannot use …' }],
    [
      'what is as long as a token',
      { error: JWT, error_description: `"${JWT}", sekret_${'x'.repeat(26)}` },
      { error: '…', description: '"…", …' },
    ],
    [
      'a secret and no plain text',
      { error_description: `${CLIENT_SECRET} is not\r\nthe sécret` },
      { description: '… is not  the s cret' },
    ],
  ])('is read without %s', (_name, answer, read) => {
    expect(refusalOf(JSON.stringify({ error: 'invalid_scope', ...answer }))).toMatchObject({
      error: 'invalid_scope',
      ...read,
    })
  })

  it('under status 200 is one, unless there is an access token beside the error', () => {
    expect(refusalOf('{"error":"invalid_grant"}', 200)).toMatchObject({ error: 'invalid_grant', httpStatus: 200 })
    expect(refusalOf('{"error":"none","access_token":"token"}', 200)).toBeUndefined()
  })
})

it('an outage that the server tells under 400 is repeated', async () => {
  const { as, auth } = await world()
  as.script('/token', { status: 400, json: { error: 'server_error' } })

  await expect(auth.getNextcloudToken({ token: await as.mint() })).rejects.toMatchObject({
    status: 503,
    httpStatus: 400,
  })
  expect(as.received('/token')).toHaveLength(3)
})
