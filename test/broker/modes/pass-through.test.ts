import { describe, expect, it } from 'vitest'
import { AudienceMismatchError, SubjectTokenRejectedError, type McpAuthError } from '../../../src/index.js'
import { failureOf, setUp } from '../../support/broker-setup.js'
import { RESOURCE } from '../../support/scripted-authorization-server.js'

const nextcloud = { mode: 'pass-through' } as const

describe('pass-through', () => {
  it('hands on the MCP token when its aud holds the Nextcloud audience, and asks nobody', async () => {
    const { as, auth, signIn } = await setUp({ nextcloud })
    const info = await signIn({ aud: [RESOURCE, 'nextcloud'] })
    expect(await info.extra.getNextcloudToken()).toBe(info.token)
    expect(await auth.getNextcloudToken(info, { forceRefresh: true })).toBe(info.token)
    expect(as.received('/token')).toEqual([])
    expect(auth.stats().sizes.nextcloudTokens).toBe(0)
  })

  it.each([
    ['is for this server alone', RESOURCE],
    ['is for an audience that only looks like it', [RESOURCE, 'nextcloud2', 'next', 'NEXTCLOUD', 'nextcloud/']],
  ])('refuses a token that %s: 403 without a challenge', async (_name, aud) => {
    const { as, signIn } = await setUp({ nextcloud })
    const failure = (await failureOf((await signIn({ aud })).extra.getNextcloudToken())) as McpAuthError
    expect(failure).toBeInstanceOf(AudienceMismatchError)
    expect(failure).toMatchObject({ code: 'ERR_AUDIENCE', status: 403, statusCode: 403, expose: true })
    expect(failure.headers).toEqual({ 'Cache-Control': 'no-store' })
    expect(failure.body).toEqual({
      error: 'nextcloud_audience',
      error_description: 'The access token is not also meant for Nextcloud',
    })
    expect(as.received('/token')).toEqual([])
  })

  it('wants every audience of nextcloud.audience', async () => {
    const { signIn } = await setUp({ nextcloud: { ...nextcloud, audience: ['nextcloud', 'files'] } })
    const both = await signIn({ aud: ['files', RESOURCE, 'nextcloud'] })
    expect(await both.extra.getNextcloudToken()).toBe(both.token)
    const one = await signIn({ aud: [RESOURCE, 'nextcloud'] })
    expect(await failureOf(one.extra.getNextcloudToken())).toBeInstanceOf(AudienceMismatchError)
  })

  it('wants the audience of the call besides the configured one', async () => {
    const { signIn } = await setUp({ nextcloud })
    const info = await signIn({ aud: [RESOURCE, 'nextcloud', 'files'] })
    expect(await info.extra.getNextcloudToken({ audience: ['nextcloud', 'files'] })).toBe(info.token)
    expect(await failureOf(info.extra.getNextcloudToken({ audience: 'talk' }))).toBeInstanceOf(AudienceMismatchError)

    const notForNextcloud = await signIn({ aud: [RESOURCE, 'files'] })
    for (const audience of ['files', RESOURCE]) {
      const failure = await failureOf(notForNextcloud.extra.getNextcloudToken({ audience }))
      expect(failure).toBeInstanceOf(AudienceMismatchError)
    }
  })

  it('needs no client credentials and no token endpoint', async () => {
    const { as, signIn } = await setUp({ nextcloud, clientAuth: () => undefined })
    delete as.metadata['token_endpoint']
    const info = await signIn({ aud: [RESOURCE, 'nextcloud'] })
    expect(await info.extra.getNextcloudToken()).toBe(info.token)
  })

  it('never hands on an expired token: 401', async () => {
    const { clock, signIn } = await setUp({ nextcloud, clockTolerance: 5 })
    const info = await signIn({ aud: [RESOURCE, 'nextcloud'] })
    clock.advance(3_604_999)
    expect(await info.extra.getNextcloudToken()).toBe(info.token)
    clock.advance(1)
    const failure = await failureOf(info.extra.getNextcloudToken())
    expect(failure).toBeInstanceOf(SubjectTokenRejectedError)
    expect((failure as McpAuthError).headers['WWW-Authenticate']).toMatch(/^Bearer realm="mcp", error="invalid_token"/)
  })

  it('rejects for a signal that is aborted already', async () => {
    const { signIn } = await setUp({ nextcloud })
    const info = await signIn({ aud: [RESOURCE, 'nextcloud'] })
    const reason = new Error('gone')
    expect(await failureOf(info.extra.getNextcloudToken({ signal: AbortSignal.abort(reason) }))).toBe(reason)
  })
})
