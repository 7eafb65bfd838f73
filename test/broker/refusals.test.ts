import { describe, expect, it } from 'vitest'
import type { McpAuthError, McpAuthOptions } from '../../src/index.js'
import { RESOURCE, type ScriptedAnswer } from '../support/scripted-authorization-server.js'
import { failureOf } from '../support/promises.js'
import { tokenAnswer, tokenError } from '../support/token-endpoint.js'
import { modesWhere, world } from '../support/world.js'

const METADATA_URL = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp'

async function refusal(answer: ScriptedAnswer, changes: McpAuthOptions = {}) {
  const { as, signIn } = await world({ options: changes })
  as.script('/token', answer)
  return (await failureOf((await signIn()).extra.getNextcloudToken())) as McpAuthError
}

it.each(modesWhere(({ credentialFrom }) => credentialFrom === 'exchange'))(
  'in %s mode a refusal of the MCP token is 401, with a challenge that names the scopes of every request',
  async (mode) => {
    const failure = await refusal(tokenError('invalid_grant'), {
      requiredScopes: ['notes:read'],
      nextcloud: { mode },
    })
    expect(failure).toMatchObject({ code: 'ERR_SUBJECT_TOKEN_REJECTED', status: 401, statusCode: 401, expose: true })
    expect(failure.headers).toEqual({
      'Cache-Control': 'no-store',
      'WWW-Authenticate': `Bearer realm="mcp", error="invalid_token", resource_metadata="${METADATA_URL}", scope="notes:read", error_description="The access token is no longer accepted"`,
      'Access-Control-Expose-Headers': 'WWW-Authenticate',
    })
    expect(failure.body).toEqual({
      error: 'invalid_token',
      error_description: 'The access token is no longer accepted',
    })
  },
)

it.each(modesWhere(({ credentialFrom }) => credentialFrom === 'exchange'))(
  'in %s mode any other refusal is for the operator: 502 without a challenge',
  async (mode) => {
    const failure = await refusal(tokenError('invalid_target', 'no such audience', 403), { nextcloud: { mode } })
    expect(failure).toMatchObject({
      code: 'ERR_TOKEN_REQUEST',
      status: 502,
      statusCode: 502,
      expose: false,
      error: 'invalid_target',
      errorDescription: 'no such audience',
      httpStatus: 403,
      detail: 'The authorization server refused the token request: invalid_target',
    })
    expect(failure.headers).toEqual({ 'Cache-Control': 'no-store' })
    expect(failure.body).toEqual({
      error: 'nextcloud_token_refused',
      error_description: 'The authorization server refused a token for Nextcloud',
    })
  },
)

it('the MCP token itself, in an answer, is refused with a hint: 502', async () => {
  const failure = await refusal(({ form }, res) =>
    res.end(JSON.stringify(tokenAnswer(form.get('subject_token') ?? '').json)),
  )
  expect(failure).toMatchObject({
    code: 'ERR_TOKEN_REQUEST',
    status: 502,
    detail: 'The token answer is the very token that was sent',
    hint: expect.stringContaining('nextcloud.audience') as string,
  })
})

describe('an exchanged token that is a JWT', () => {
  const exchangedFor = (aud: string | string[] | undefined): ScriptedAnswer => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    return tokenAnswer(`${part({ alg: 'none' })}.${part({ aud })}.${part({})}`)
  }

  it.each([[RESOURCE], [`${RESOURCE}/`], ['mcp-server'], [[RESOURCE, 'account']]])(
    'for %j is for this server again, and refused: 502',
    async (aud) => {
      expect(await refusal(exchangedFor(aud))).toMatchObject({
        code: 'ERR_TOKEN_REQUEST',
        status: 502,
        hint: expect.stringContaining('ignored audience') as string,
      })
    },
  )

  it.each<[string | string[] | undefined, McpAuthOptions['nextcloud']]>([
    ['nextcloud', {}],
    [['nextcloud', RESOURCE], {}],
    ['another name of Nextcloud', {}],
    [undefined, {}],
    [[RESOURCE, 'https://cloud.example.com/'], { resource: 'https://cloud.example.com' }],
    [[RESOURCE, 'files'], { audience: ['nextcloud', 'files'] }],
    // No audience is asked for there.
    [RESOURCE, { mode: 'jwt-bearer' }],
  ])('for %j is taken, with %j', async (aud, nextcloud) => {
    const { as, signIn } = await world({ options: { nextcloud: { ...nextcloud } } })
    as.script('/token', exchangedFor(aud))
    expect(await (await signIn()).extra.getNextcloudToken()).toMatch(/^eyJ/)
  })
})
