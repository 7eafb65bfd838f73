import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { McpAuthEvent } from '../../src/index.js'
import { CLIENT_SECRET, RESOURCE } from '../support/scripted-authorization-server.js'
import { failureOf } from '../support/promises.js'
import { holdTokenRequests, tokenAnswer, tokenError } from '../support/token-endpoint.js'
import { world } from '../support/world.js'

describe('nextcloud.token', () => {
  it('is one for the request that got the token, with its duration, and one for each use of the cache', async () => {
    const { as, clock, events, signIn } = await world()
    const requests = holdTokenRequests(as)
    const info = await signIn()
    const { issuer, subject } = info
    const calls = Promise.all([info.extra.getNextcloudToken(), info.extra.getNextcloudToken()])
    await requests.arrival()
    clock.advance(250)
    requests.answer(tokenAnswer('token'))
    await calls
    clock.advance(1_000)
    await info.extra.getNextcloudToken()

    const common = { type: 'nextcloud.token', mode: 'token-exchange', issuer, subject }
    const at = clock.now()
    expect(events).toEqual([
      { ...common, source: 'idp', durationMs: 250, at: at - 1_000 },
      { ...common, source: 'cache', durationMs: 0, at },
    ])
  })
})

describe('nextcloud.failed', () => {
  it('holds the words of a refusal, and a hint for the operator', async () => {
    const { as, events, signIn } = await world({ options: { nextcloud: { mode: 'jwt-bearer' } } })
    as.script('/token', tokenError('invalid_client', 'no such client', 401))
    const info = await signIn()
    await failureOf(info.extra.getNextcloudToken())
    expect(events).toEqual([
      {
        type: 'nextcloud.failed',
        mode: 'jwt-bearer',
        code: 'ERR_TOKEN_REQUEST',
        issuer: info.issuer,
        subject: 'alice',
        error: 'invalid_client',
        errorDescription: 'no such client',
        hint: "The authorization server does not take this server's own client: compare clientId (OIDC_CLIENT_ID) and clientSecret (OIDC_CLIENT_SECRET) with what is registered there. If they are right, the client is registered there for a key or a certificate: set clientAuth, such as PrivateKeyJwt(key) of oauth4webapi.",
        at: expect.any(Number) as number,
      },
    ])
  })

  it('is one for a request, not for each caller who waits for it', async () => {
    const { as, events, signIn } = await world()
    as.script('/token', tokenError('invalid_grant'))
    const { getNextcloudToken } = (await signIn()).extra
    await Promise.all(Array.from({ length: 5 }, () => failureOf(getNextcloudToken())))
    expect(events).toMatchObject([{ type: 'nextcloud.failed', code: 'ERR_SUBJECT_TOKEN_REJECTED' }])
  })

  it('comes after idp.unavailable when that is the reason', async () => {
    const { as, events, signIn } = await world()
    as.script('/token', { status: 503 })
    await failureOf((await signIn()).extra.getNextcloudToken())
    expect(events).toMatchObject([
      { type: 'idp.unavailable', operation: 'token', httpStatus: 503 },
      { type: 'nextcloud.failed', code: 'ERR_UPSTREAM_UNAVAILABLE' },
    ])
  })

  it('has no error and no hint if the authorization server has not refused', async () => {
    const { events, signIn } = await world({ options: { nextcloud: { mode: 'pass-through' } } })
    const { issuer, extra } = await signIn()
    await failureOf(extra.getNextcloudToken())
    await (await signIn({ aud: [RESOURCE, 'nextcloud'] })).extra.getNextcloudToken()
    const at = expect.any(Number) as number
    const common = { mode: 'pass-through', issuer, subject: 'alice', at }
    expect(events).toEqual([
      { ...common, type: 'nextcloud.failed', code: 'ERR_AUDIENCE' },
      { ...common, type: 'nextcloud.token', source: 'cache', durationMs: 0 },
    ])
  })
})

it('no event, error or counter holds a token or a secret, whatever the answer is', async () => {
  const { as, auth, clock, events, signIn } = await world({ options: { http: { retries: 0 } } })
  const published: unknown[] = []
  const listener = (message: unknown): void => void published.push(message)
  subscribe('mcp-nextcloud-auth', listener)
  onTestFinished(() => {
    unsubscribe('mcp-nextcloud-auth', listener)
  })
  const info = await signIn()
  const echo = (status: number, more: object) => ({ status, json: { access_token: 'granted-token', ...more } })
  as.script(
    '/token',
    tokenAnswer('granted-token'),
    echo(500, {}),
    echo(400, { error: info.token, error_description: `${info.token} ${CLIENT_SECRET}` }),
    echo(200, { token_type: 'DPoP' }),
    tokenAnswer(info.token),
    tokenAnswer('granted-token', { issued_token_type: 'urn:ietf:params:oauth:token-type:id_token' }),
    (_request, res) => res.destroy(),
  )

  const failures: unknown[] = []
  await info.extra.getNextcloudToken()
  await info.extra.getNextcloudToken()
  for (let count = 0; count < 6; count += 1) {
    failures.push(await failureOf(info.extra.getNextcloudToken({ forceRefresh: true })))
    clock.advance(30_000)
  }

  const codes = events.filter((event) => event.type === 'nextcloud.failed').map(({ code }) => code)
  expect(codes).toEqual([
    'ERR_UPSTREAM_UNAVAILABLE',
    ...Array<string>(4).fill('ERR_TOKEN_REQUEST'),
    'ERR_UPSTREAM_UNAVAILABLE',
  ])
  expect(published).toEqual(events satisfies McpAuthEvent[])
  const errors = failures.map((failure) => [failure, (failure as Error).stack])
  const written = JSON.stringify([events, errors, auth.stats()])
  const [, payload, signature] = info.token.split('.')
  for (const secret of [payload!, signature!, 'granted-token']) expect(written).not.toContain(secret)
})
