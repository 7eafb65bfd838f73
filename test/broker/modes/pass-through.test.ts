import { describe, expect, it } from 'vitest'
import { passThrough } from '../../../src/broker/modes/pass-through.js'
import { AudienceMismatchError, SubjectTokenRejectedError, type McpAuthError } from '../../../src/index.js'
import { RESOURCE } from '../../support/scripted-authorization-server.js'
import { failureOf } from '../../support/promises.js'
import { world } from '../../support/world.js'

const nextcloud = { mode: 'pass-through' } as const

it.each<[aud: string[], wanted: string[], taken: boolean]>([
  [[RESOURCE, 'nextcloud'], ['nextcloud'], true],
  [[RESOURCE], ['nextcloud'], false],
  [[RESOURCE, 'nextcloud2', 'next', 'NEXTCLOUD', 'nextcloud/'], ['nextcloud'], false],
  [['files', RESOURCE, 'nextcloud'], ['nextcloud', 'files'], true],
  [[RESOURCE, 'nextcloud'], ['nextcloud', 'files'], false],
])('a token for %j, where Nextcloud is %j, is handed on: %j', (audience, wanted, taken) => {
  const attempt = () => passThrough({ token: 'mcp-token', audience }, wanted)
  if (taken) expect(attempt()).toBe('mcp-token')
  else expect(attempt).toThrow(AudienceMismatchError)
})

describe('pass-through', () => {
  it('hands on the MCP token without credentials, token endpoint or request', async () => {
    const { as, auth, signIn } = await world({ options: { nextcloud, clientAuth: () => undefined } })
    delete as.metadata['token_endpoint']
    const info = await signIn({ aud: [RESOURCE, 'nextcloud'] })
    expect(await info.extra.getNextcloudToken()).toBe(info.token)
    expect(await auth.getNextcloudToken(info, { forceRefresh: true })).toBe(info.token)
    expect(as.received('/token')).toEqual([])
    expect(auth.stats().sizes.nextcloudTokens).toBe(0)
  })

  it('refuses a token that is for this server alone: 403 without a challenge', async () => {
    const { signIn } = await world({ options: { nextcloud } })
    const failure = (await failureOf((await signIn()).extra.getNextcloudToken())) as McpAuthError
    expect(failure).toMatchObject({ code: 'ERR_AUDIENCE', status: 403, statusCode: 403, expose: true })
    expect(failure.headers).toEqual({ 'Cache-Control': 'no-store' })
    expect(failure.body).toEqual({
      error: 'nextcloud_audience',
      error_description: 'The access token is not also meant for Nextcloud',
    })
  })

  it('wants the audience of the call besides the configured one', async () => {
    const { signIn } = await world({ options: { nextcloud } })
    const info = await signIn({ aud: [RESOURCE, 'nextcloud', 'files'] })
    expect(await info.extra.getNextcloudToken({ audience: ['nextcloud', 'files'] })).toBe(info.token)
    expect(await failureOf(info.extra.getNextcloudToken({ audience: 'talk' }))).toBeInstanceOf(AudienceMismatchError)

    const { getNextcloudToken } = (await signIn({ aud: [RESOURCE, 'files'] })).extra
    for (const audience of ['files', RESOURCE])
      expect(await failureOf(getNextcloudToken({ audience }))).toBeInstanceOf(AudienceMismatchError)
  })

  it('never hands on an expired token: 401', async () => {
    const { clock, signIn } = await world({ options: { nextcloud, clockTolerance: 5 } })
    const info = await signIn({ aud: [RESOURCE, 'nextcloud'] })
    clock.advance(3_604_999)
    expect(await info.extra.getNextcloudToken()).toBe(info.token)
    clock.advance(1)
    const failure = await failureOf(info.extra.getNextcloudToken())
    expect(failure).toBeInstanceOf(SubjectTokenRejectedError)
    expect((failure as McpAuthError).headers['WWW-Authenticate']).toMatch(/^Bearer realm="mcp", error="invalid_token"/)
  })

  it('rejects for a signal that is aborted already', async () => {
    const { signIn } = await world({ options: { nextcloud } })
    const info = await signIn({ aud: [RESOURCE, 'nextcloud'] })
    const reason = new Error('gone')
    expect(await failureOf(info.extra.getNextcloudToken({ signal: AbortSignal.abort(reason) }))).toBe(reason)
  })
})
