import { describe, expect, it } from 'vitest'
import { SubjectTokenRejectedError, TokenRequestError, type McpAuthError } from '../../src/index.js'
import { failureOf, setUp, tokenAnswer, tokenError, type Changes } from '../support/broker-setup.js'
import { CLIENT_SECRET, RESOURCE, type ScriptedAnswer } from '../support/scripted-authorization-server.js'

const METADATA_URL = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp'

/** An error, with what only some of them have. */
type Failure = McpAuthError & { readonly errorDescription?: string; readonly hint?: string }

async function refusal(answer: ScriptedAnswer, changes: Changes = {}) {
  const { as, signIn } = await setUp(changes)
  as.script('/token', answer)
  const info = await signIn()
  return { failure: (await failureOf(info.extra.getNextcloudToken())) as Failure, info, as }
}

describe.each(['token-exchange', 'jwt-bearer'] as const)('in %s mode', (mode) => {
  const nextcloud = { mode }

  it.each([
    ['invalid_grant', undefined],
    ['invalid_grant', 'Session not active'],
    ['invalid_token', undefined],
    ['interaction_required', 'AADSTS50076: multi-factor authentication is required'],
    ['login_required', undefined],
    ['invalid_request', undefined],
    ['invalid_request', 'Invalid token'],
    ['invalid_request', 'The subject token has expired'],
    ['invalid_request', 'Token is not active'],
    ['invalid_request', 'Token was revoked'],
    ['invalid_request', 'unknown token'],
  ])('%s (%s) blames the MCP token: 401 with the whole challenge', async (error, description) => {
    const { failure } = await refusal(tokenError(error, description), { nextcloud })
    expect(failure).toBeInstanceOf(SubjectTokenRejectedError)
    expect(failure).toMatchObject({ code: 'ERR_SUBJECT_TOKEN_REJECTED', status: 401, statusCode: 401, expose: true })
    expect(failure.headers).toEqual({
      'Cache-Control': 'no-store',
      'WWW-Authenticate': `Bearer realm="mcp", error="invalid_token", resource_metadata="${METADATA_URL}", error_description="The access token is no longer accepted"`,
      'Access-Control-Expose-Headers': 'WWW-Authenticate',
    })
    expect(failure.body).toEqual({
      error: 'invalid_token',
      error_description: 'The access token is no longer accepted',
    })
  })

  it.each([
    ['invalid_client', 401, undefined, /clientSecret/],
    ['unauthorized_client', 400, 'no such grant for you', /switch token exchange on/],
    ['invalid_request', 400, 'Standard token exchange is not enabled for the requested client', /^In Keycloak: /],
    ['unsupported_grant_type', 400, undefined, /nextcloud\.mode/],
    ['invalid_target', 400, 'no such audience', /nextcloud\.audience/],
    ['invalid_scope', 400, undefined, /nextcloud\.scopes/],
    ['access_denied', 403, 'not for you', /aud of the MCP token/],
    ['access_denied', 403, 'Client is not within the token audience', /^In Keycloak: /],
    ['consent_required', 400, undefined, /consent/],
    ['invalid_request', 400, 'Requested audience not available: nextcloud', /^In Keycloak: /],
    ['invalid_request', 400, 'Missing parameter: subject_token_type', /nextcloud\.parameters/],
    ['invalid_request', 400, 'Invalid token type', /nextcloud\.parameters/],
    ['something_else', 400, 'never heard of', undefined],
  ])(
    '%s (%i, %s) is for the operator: 502 with a hint and no challenge',
    async (error, httpStatus, description, hint) => {
      const { failure } = await refusal(tokenError(error, description, httpStatus), { nextcloud })
      expect(failure).toBeInstanceOf(TokenRequestError)
      expect(failure).toMatchObject({
        code: 'ERR_TOKEN_REQUEST',
        status: 502,
        statusCode: 502,
        expose: false,
        error,
        httpStatus,
        message: `The authorization server refused the token request: ${error}`,
      })
      expect(failure.errorDescription).toBe(description)
      if (hint === undefined) expect(failure.hint).toBeUndefined()
      else expect(failure.hint).toMatch(hint)
      expect(failure.headers).toEqual({ 'Cache-Control': 'no-store' })
      expect(failure.body).toEqual({
        error: 'nextcloud_token_refused',
        error_description: 'The authorization server refused a token for Nextcloud',
      })
    },
  )

  it.each(['subject_token is invalid', 'Invalid subject_token', 'The subject_token has expired'])(
    'invalid_request (%s) blames the MCP token too: servers call it by the name of its parameter',
    async (description) => {
      const { failure } = await refusal(tokenError('invalid_request', description), { nextcloud })
      expect(failure).toBeInstanceOf(SubjectTokenRejectedError)
    },
  )

  it.each(['subject_token_type is invalid', 'Unknown subject_token_type', 'Invalid requested_token_type'])(
    'invalid_request (%s) does not blame the MCP token',
    async (description) => {
      const { failure } = await refusal(tokenError('invalid_request', description), { nextcloud })
      expect(failure).toBeInstanceOf(TokenRequestError)
    },
  )

  it.each(['temporarily_unavailable', 'server_error'])('%s is an outage under status 200 too', async (error) => {
    const { failure } = await refusal(tokenError(error, undefined, 200), { nextcloud })
    expect(failure).toMatchObject({ code: 'ERR_UPSTREAM_UNAVAILABLE', status: 503 })
  })

  it('a refusal under status 200 is judged like any other', async () => {
    const judged = async (error: string, description?: string) =>
      (await refusal(tokenError(error, description, 200), { nextcloud })).failure
    expect(await judged('invalid_grant')).toBeInstanceOf(SubjectTokenRejectedError)
    expect(await judged('invalid_client')).toMatchObject({ status: 502, error: 'invalid_client', httpStatus: 200 })
  })

  it('a refusal under status 200 is judged by its description too', async () => {
    const answer = tokenError('invalid_request', 'Requested audience not available: nextcloud', 200)
    const { failure } = await refusal(answer, { nextcloud })
    expect(failure).toMatchObject({ status: 502, errorDescription: 'Requested audience not available: nextcloud' })
  })

  it('a refusal stays one: no other grant, no other endpoint is tried, and the MCP token is not handed out', async () => {
    const { as } = await refusal(tokenError('unsupported_grant_type'), { nextcloud })
    expect(as.received().filter(({ method }) => method === 'POST')).toHaveLength(1)
  })

  it.each([
    ['no access_token', { access_token: undefined }],
    ['an empty access_token', { access_token: '' }],
    ['an access_token that is no text', { access_token: 42 }],
    ['an access_token that no header can hold', { access_token: 'the token of the answer\n' }],
    ['an access_token with letters beyond ASCII', { access_token: 'the token of the answer é' }],
    ['no token_type', { token_type: undefined }],
    ['a token_type that is no text', { token_type: ['Bearer'] }],
    ['token_type DPoP', { token_type: 'DPoP' }],
    ['token_type mac', { token_type: 'mac' }],
    ['an ID token', { issued_token_type: 'urn:ietf:params:oauth:token-type:id_token' }],
    ['a refresh token', { issued_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }],
    ['a SAML 1.1 assertion', { issued_token_type: 'urn:ietf:params:oauth:token-type:saml1' }],
    ['a SAML 2.0 assertion', { issued_token_type: 'urn:ietf:params:oauth:token-type:saml2' }],
  ])('an answer with %s is refused: 502', async (_name, more) => {
    const { failure } = await refusal(tokenAnswer('the token of the answer', more), { nextcloud })
    expect(failure).toBeInstanceOf(TokenRequestError)
    expect(failure).toMatchObject({ code: 'ERR_TOKEN_REQUEST', status: 502, httpStatus: 200, error: undefined })
    expect(JSON.stringify([failure.message, failure.body, failure])).not.toContain('the token of the answer')
  })

  it('the MCP token itself, in an answer, is refused with a hint: 502', async () => {
    const { failure } = await refusal(
      ({ form }, res) => {
        const token = form.get('subject_token') ?? form.get('assertion') ?? ''
        res.end(JSON.stringify(tokenAnswer(token).json))
      },
      { nextcloud },
    )
    expect(failure).toMatchObject({
      code: 'ERR_TOKEN_REQUEST',
      status: 502,
      message: 'The token answer is the very token that was sent',
      hint: expect.stringContaining('nextcloud.audience') as string,
    })
  })

  it.each([
    { token_type: 'bearer' },
    { token_type: 'BEARER' },
    { token_type: 'N_A' },
    { token_type: 'n_a' },
    { issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' },
    { issued_token_type: 'urn:ietf:params:oauth:token-type:jwt' },
    { issued_token_type: undefined },
  ])('an answer with %j is taken', async (more) => {
    const { as, signIn } = await setUp({ nextcloud })
    as.script('/token', tokenAnswer('good', more))
    expect(await (await signIn()).extra.getNextcloudToken()).toBe('good')
  })
})

it('a challenge of SubjectTokenRejectedError names the scopes that every request needs', async () => {
  const { failure } = await refusal(tokenError('invalid_grant'), { requiredScopes: ['notes:read'] })
  expect(failure.headers['WWW-Authenticate']).toBe(
    `Bearer realm="mcp", error="invalid_token", resource_metadata="${METADATA_URL}", scope="notes:read", error_description="The access token is no longer accepted"`,
  )
})

it('what a refusal quotes of the MCP token is left out of the error', async () => {
  const quote: ScriptedAnswer = ({ form }, res) => {
    const token = form.get('subject_token') ?? ''
    res.writeHead(400).end(JSON.stringify({ error: `bad ${token}`, error_description: `Look at ${token} and so on` }))
  }
  const { failure, info } = await refusal(quote)
  expect(failure).toMatchObject({ error: expect.stringMatching(/^bad …/) as string })
  expect(failure.errorDescription).toMatch(/^Look at … ?/)
  for (const piece of info.token.split('.')) {
    expect(JSON.stringify([failure.message, failure.stack, failure])).not.toContain(piece)
  }
})

it('what a refusal quotes of the client secret is left out of the error, and so is what no log should hold', async () => {
  const { failure } = await refusal(
    tokenError('invalid_client', `Not "${CLIENT_SECRET}"!\r\n\u001b[31mforged line`, 401),
  )
  expect(failure.errorDescription).toBe('Not "…"!   [31mforged line')
})

it('a description as long as a book is cut', async () => {
  const { failure } = await refusal(tokenError('invalid_client', 'no '.repeat(10_000)))
  expect(failure.errorDescription).toHaveLength(300)
})

describe('an exchanged token that is a JWT', () => {
  const exchangedFor = (aud: string | string[] | undefined): ScriptedAnswer => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    return tokenAnswer(`${part({ alg: 'none' })}.${part({ aud })}.${part({})}`)
  }
  const tokenFor = async (aud: string | string[] | undefined, changes: Changes = {}) => {
    const { as, signIn } = await setUp(changes)
    as.script('/token', exchangedFor(aud))
    return (await signIn()).extra.getNextcloudToken()
  }

  it.each([[RESOURCE], [[RESOURCE, 'account']]])(
    'for %j is one for this server again, and refused with a hint: 502',
    async (aud) => {
      const { failure } = await refusal(exchangedFor(aud))
      expect(failure).toMatchObject({
        code: 'ERR_TOKEN_REQUEST',
        status: 502,
        hint: expect.stringContaining('ignored audience') as string,
      })
    },
  )

  it.each([['nextcloud'], [['nextcloud', RESOURCE]], ['another name of Nextcloud'], [undefined]])(
    'for %j is taken',
    async (aud) => {
      expect(await tokenFor(aud)).toMatch(/^eyJ/)
    },
  )

  it('is taken when one of several audiences is in it', async () => {
    expect(await tokenFor([RESOURCE, 'files'], { nextcloud: { audience: ['nextcloud', 'files'] } })).toMatch(/^eyJ/)
  })

  it('is not looked into in jwt-bearer mode, where no audience is asked for', async () => {
    expect(await tokenFor(RESOURCE, { nextcloud: { mode: 'jwt-bearer' } })).toMatch(/^eyJ/)
  })
})
