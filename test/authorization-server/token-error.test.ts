import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hintFor } from '../../src/authorization-server/hints.js'
import {
  classifyCodeError,
  classifyExchangeError,
  classifyRefreshError,
} from '../../src/authorization-server/token-error.js'
import { SubjectTokenRejectedError, TokenRequestError, UpstreamUnavailableError } from '../../src/errors/errors.js'
import type { McpAuthEvent } from '../../src/events.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE, type ScriptedAnswer } from '../support/scripted-authorization-server.js'
import { startTestBed, type TestBed } from '../support/test-bed.js'

const classify = (error: string, description?: string, httpStatus = 400) =>
  classifyExchangeError({ error, description, httpStatus })
const classifyRefresh = (error: string, description: string, httpStatus: number) =>
  classifyRefreshError({ error, description, httpStatus })
const classifyCode = (error: string, description: string, httpStatus: number) =>
  classifyCodeError({ error, description, httpStatus })

describe('the operator has to mend, 502,', () => {
  it.each<[error: string, hint: RegExp | undefined]>([
    ['invalid_client', /clientSecret/],
    ['unauthorized_client', /switch token exchange on/],
    ['unsupported_grant_type', /nextcloud\.mode/],
    ['invalid_target', /nextcloud\.audience and nextcloud\.resource/],
    ['invalid_scope', /nextcloud\.scopes/],
    ['access_denied', /aud of the MCP token/],
    ['consent_required', /consent/],
    ['unsupported_token_type', undefined],
    ['something_else', undefined],
    ['constructor', undefined],
  ])('%s, with a hint where one is known', (error, hint) => {
    const failure = classify(error, 'because', 403)

    expect(failure).toBeInstanceOf(TokenRequestError)
    expect(failure).toMatchObject({
      status: 502,
      code: 'ERR_TOKEN_REQUEST',
      error,
      errorDescription: 'because',
      httpStatus: 403,
      hint: hint === undefined ? undefined : (expect.stringMatching(hint) as string),
      body: {
        error: 'nextcloud_token_refused',
        error_description: 'The authorization server refused a token for Nextcloud',
      },
    })
  })

  it.each([
    'Missing parameter: subject_token',
    'subject_token_type is required',
    'Invalid token type',
    'unsupported subject_token_type',
    'Parameter requested_token_type not supported',
    '',
  ])('invalid_request that says %j', (description) => {
    expect(classify('invalid_request', description)).toMatchObject({
      status: 502,
      error: 'invalid_request',
      hint: expect.stringMatching(/nextcloud\.parameters/) as string,
    })
  })
})

describe("the hint is in the words of Keycloak's console after", () => {
  it.each<[error: string, description: string, httpStatus: number, hint: RegExp]>([
    ['invalid_request', 'Standard token exchange is not enabled for the requested client', 400, /"Standard Token Exch/],
    [
      'invalid_request',
      'Requested audience not available: nextcloud',
      400,
      /"Included Client Audience" is nextcloud\.aud/,
    ],
    ['access_denied', 'Client is not within the token audience', 403, /"Included Client Audience" is clientId/],
    ['invalid_client', 'Audience not found', 400, /no client whose Client ID is nextcloud\.audience/],
    ['invalid_client', 'Client disabled', 400, /nextcloud\.audience: switch it to "Enabled"/],
    ['invalid_client', 'Public client is not allowed to exchange token', 400, /"Client authentication" on/],
    ['invalid_client', 'Invalid client or Invalid client credentials', 401, /Credentials, "Client Secret"/],
    ['unauthorized_client', 'Invalid client or Invalid client credentials', 401, /Credentials, "Client Secret"/],
    ['not_allowed', 'Offline tokens not allowed for the user or client', 400, /realm role offline_access/],
  ])('%s that says %j', (error, description, httpStatus, hint) => {
    for (const failure of [classify, classifyRefresh, classifyCode].map((way) => way(error, description, httpStatus))) {
      const inKeycloak = new RegExp(`^In Keycloak: .*${hint.source}`)
      expect(failure).toMatchObject({ status: 502, error, hint: expect.stringMatching(inKeycloak) as string })
    }
  })
})

it('a client that is refused with status 401 has the wrong credentials, whatever the error is called', () => {
  expect(classify('unauthorized_client', 'because', 401)).toMatchObject({
    hint: expect.stringContaining('clientSecret') as string,
  })
})

describe('the MCP client needs another token, 401, after', () => {
  it.each(['invalid_grant', 'invalid_token', 'interaction_required', 'login_required'])('%s', (error) => {
    const failure = classify(error, 'Session not active')

    expect(failure).toBeInstanceOf(SubjectTokenRejectedError)
    expect(failure).toMatchObject({
      status: 401,
      code: 'ERR_SUBJECT_TOKEN_REJECTED',
      body: {
        error: 'invalid_token',
        error_description: 'The access token is no longer accepted',
      },
    })
  })

  it.each([
    undefined,
    'Invalid token',
    'invalid token',
    'invalid subject token',
    'The subject token is invalid',
    'Token is not active',
    'token is not valid',
    'token expired',
    'The provided token has expired',
    'The token was revoked',
    'unknown access token',
    'subject token inactive',
  ])('invalid_request that says %j', (description) => {
    expect(classify('invalid_request', description)).toBeInstanceOf(SubjectTokenRejectedError)
  })
})

it.each(['temporarily_unavailable', 'server_error'])('it is an outage, 503, after %s under any status', (error) => {
  for (const httpStatus of [400, 401, 403, 200]) {
    const failure = classify(error, 'because', httpStatus)
    expect(failure).toBeInstanceOf(UpstreamUnavailableError)
    expect(failure).toMatchObject({ status: 503, httpStatus })
  }
})

describe('through the middleware', () => {
  const MCP_TOKEN_PART = /eyJ[\w-]{20,}/
  let bed: TestBed
  let events: McpAuthEvent[]
  beforeEach(async () => {
    bed = await startTestBed()
    events = []
  })
  afterEach(() => bed.close())

  /** What an exchange fails with when the server answers like this. */
  async function failureOf(answer: ScriptedAnswer, mcpToken?: string): Promise<unknown> {
    const { as, open } = bed
    as.script('/token', answer)
    const auth = open({
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      nextcloud: { url: 'https://cloud.example.com' },
      onEvent: (event) => events.push(event),
    })
    return auth.getNextcloudToken({ token: mcpToken ?? (await as.mint()) }).then(
      () => expect.unreachable('it should have failed'),
      (error: unknown) => error,
    )
  }

  it('the error, its description and the hint are for the operator, the status is for the caller', async () => {
    const json = { error: 'invalid_scope', error_description: 'files:read is not known' }
    const failure = await failureOf({ status: 401, json })

    expect(failure).toMatchObject({
      status: 502,
      error: 'invalid_scope',
      errorDescription: 'files:read is not known',
      httpStatus: 401,
    })
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'nextcloud.failed', code: 'ERR_TOKEN_REQUEST', error: 'invalid_scope' }),
    )
    expect(bed.as.received('/token')).toHaveLength(1)
  })

  it('a rejected subject token is answered with a challenge, and not asked for again', async () => {
    expect(await failureOf({ status: 400, json: { error: 'invalid_grant' } })).toMatchObject({
      status: 401,
      headers: { 'WWW-Authenticate': expect.stringMatching(/^Bearer realm="mcp", error="invalid_token", /) as string },
    })
    expect(bed.as.received('/token')).toHaveLength(1)
  })

  it.each(['temporarily_unavailable', 'server_error'])(
    '%s under 400 is repeated, and then an outage',
    async (error) => {
      expect(await failureOf({ status: 400, json: { error } })).toMatchObject({ status: 503, httpStatus: 400 })
      expect(bed.as.received('/token')).toHaveLength(3)
    },
  )

  it.each<[name: string, answer: ScriptedAnswer]>([
    ['a page', { status: 400, text: '<html>' }],
    ['nothing', { status: 400, text: '' }],
    ['a list', { status: 400, json: ['invalid_grant'] }],
    ['an error that is no string', { status: 400, json: { error: 400 } }],
    ['an empty error', { status: 400, json: { error: '' } }],
    ['an error without a name', { status: 401, json: { error_description: 'because' } }],
    ['a page, under 200', { status: 200, text: '<html>' }],
    ['a list, under 200', { status: 200, json: [] }],
  ])('a refusal that is %s is nonsense, 503', async (_name, answer) => {
    expect(await failureOf(answer)).toMatchObject({ status: 503, code: 'ERR_UPSTREAM_UNAVAILABLE' })
  })

  it('a description that is no string is none', async () => {
    const failure = await failureOf({ status: 400, json: { error: 'invalid_scope', error_description: ['x'] } })

    expect(failure).toMatchObject({ status: 502, errorDescription: undefined })
  })

  it('what is as long as a token is cut out of what the server says, wherever it says it', async () => {
    const quoteRequest: ScriptedAnswer = ({ form }, res) => {
      const token = form.get('subject_token') ?? ''
      const answer = { error: token, error_description: `Cannot use "${token}", nor sekret_${'x'.repeat(26)}` }
      res.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    }

    const failure = await failureOf(quoteRequest)

    expect(failure).toMatchObject({ status: 502, error: '…', errorDescription: 'Cannot use "…", nor …' })
    expect(inspect([failure, events], { depth: 9 })).not.toMatch(MCP_TOKEN_PART)
  })

  it('an opaque MCP token is cut out of it, however short it is', async () => {
    const { as, clock } = bed
    const exp = clock.now() / 1_000 + 60
    as.script('/introspect', { json: { active: true, sub: 'alice', aud: RESOURCE, client_id: 'c', exp } })
    const json = { error: 'invalid_scope', error_description: 'Cannot use short-opaque-token' }

    const failure = await failureOf({ status: 400, json }, 'short-opaque-token')

    expect(failure).toMatchObject({ status: 502, errorDescription: expect.stringMatching(/^Cannot use /) as string })
    expect(inspect([failure, events], { depth: 9 })).not.toContain('short-opaque-token')
  })

  it('the secret of this server is cut out of it, and what is no plain text', async () => {
    const json = { error: 'invalid_client', error_description: `${CLIENT_SECRET} is not\r\nthe sécret` }

    expect(await failureOf({ status: 401, json })).toMatchObject({ errorDescription: '… is not  the s cret' })
  })

  it.each([
    [{ error: 'invalid_grant' }, 401],
    [{ error: 'invalid_scope' }, 502],
    [{ error: 'server_error' }, 503],
    [{ error: 'invalid_request', error_description: 'Invalid token' }, 401],
    [{ error: 'invalid_request', error_description: 'Requested audience not available: nextcloud' }, 502],
  ])('%o under status 200 is what it is under 400: %i', async (json, status) => {
    expect(await failureOf({ status: 200, json })).toMatchObject({ status })
  })

  it('a long description is cut', async () => {
    const json = { error: 'invalid_scope', error_description: 'so it is '.repeat(100) }
    const { errorDescription } = (await failureOf({ status: 400, json })) as TokenRequestError

    expect(errorDescription).toHaveLength(300)
  })
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

it('a consent that is missing is not the MCP token’s fault, whatever the error is called', () => {
  expect(
    classifyExchangeError({ error: 'invalid_grant', description: 'x', httpStatus: 400, suberror: 'consent_required' }),
  ).toMatchObject({
    code: 'ERR_TOKEN_REQUEST',
    error: 'invalid_grant',
    hint: expect.stringMatching(/consent/) as string,
  })
})

it('an invalid_grant that speaks of the grant type is not the MCP token’s fault', () => {
  expect(classify('invalid_grant', 'Invalid grant_type provided.')).toMatchObject({ code: 'ERR_TOKEN_REQUEST' })
  expect(classify('invalid_grant', 'Invalid grant.')).toBeInstanceOf(SubjectTokenRejectedError)
  expect(classify('login_required', 'by grant_type')).toBeInstanceOf(SubjectTokenRejectedError)
})

it('a refusal of the MCP token has the words of the server, for logs alone', () => {
  const failure = classify('invalid_grant', 'Session not active')

  expect(failure).toMatchObject({ rejection: { error: 'invalid_grant', errorDescription: 'Session not active' } })
  expect(JSON.stringify([failure.body, failure.message])).not.toContain('Session')
})
