import { describe, expect, it } from 'vitest'
import { InvalidTokenError, SubjectTokenRejectedError, type McpAuthError, type McpAuthInfo } from '../src/index.js'
import type { Who } from '../src/mcp-auth.js'
import { failureOf } from './support/promises.js'
import { world } from './support/world.js'

const setUpWithAlice = async () => {
  const setup = await world()
  const alice = await setup.signIn()
  return { ...setup, alice, token: await alice.extra.getNextcloudToken() }
}

describe('in a mode that knows users by name', () => {
  it.each<[string, (alice: McpAuthInfo) => object]>([
    ['a spread copy', (alice) => ({ ...alice })],
    ['a copy by JSON', (alice) => JSON.parse(JSON.stringify(alice)) as object],
    ['a copy with an empty place for the token', (alice) => ({ ...alice, token: undefined })],
    [
      'the rest of a copy',
      ({ subject, issuer, clientId, claims, extra }) => ({ subject, issuer, clientId, claims, extra }),
    ],
    ['claims and a subject', ({ subject, claims }) => ({ subject, claims })],
    ['an end and a subject', ({ subject, expiresAt }) => ({ subject, expiresAt })],
    ['a spread copy of authInfo.extra', ({ extra }) => ({ ...extra })],
  ])('%s is no user by name, and not the operator’s own work: TypeError', async (_name, copy) => {
    const { auth, connect, signIn } = await world({ mode: 'refresh-token' })
    await connect()
    const who = copy(await signIn()) as Who

    const failure = await failureOf(auth.getNextcloudToken(who))
    expect(failure).toBeInstanceOf(TypeError)
    expect(failure).toMatchObject({
      message: expect.stringMatching(/Pass req\.mcpAuth or authInfo itself|as a string$/) as string,
    })
    expect(await failureOf(auth.revoke(who))).toBeInstanceOf(TypeError)
    expect(await auth.isProvisioned({ subject: 'alice' })).toBe(true)
  })
})

it('what tools get as authInfo.extra stands for its caller and their MCP client, and is no user by name', async () => {
  const { auth, connect, signIn } = await world({ mode: 'refresh-token' })
  await connect()
  const { extra } = await signIn()
  expect(await auth.getNextcloudToken(extra)).toBe(await extra.getNextcloudToken())

  const other = await signIn({ client_id: 'one that nobody has agreed to' })
  expect(await failureOf(auth.getNextcloudToken(other.extra))).toMatchObject({ reason: 'consent' })
})

describe('auth.getNextcloudToken(who)', () => {
  it('takes req.mcpAuth itself', async () => {
    const { alice, auth, exchanges, token } = await setUpWithAlice()
    expect(await auth.getNextcloudToken(alice)).toBe(token)
    expect(exchanges()).toBe(1)
  })

  it.each<[string, (alice: McpAuthInfo) => Who]>([
    ['a copy with the token', (alice) => ({ ...alice, token: alice.token })],
    ['an object with the MCP token alone', ({ token }) => ({ token })],
    ['an object with token, subject and issuer', ({ token, subject, issuer }) => ({ token, subject, issuer })],
  ])('takes %s, at its token', async (_name, copy) => {
    const { alice, auth, exchanges, token } = await setUpWithAlice()
    expect(await auth.getNextcloudToken(copy(alice))).toBe(token)
    expect(exchanges()).toBe(1)
  })

  it.each<[string, (alice: McpAuthInfo) => unknown]>([
    ['a spread copy', (alice) => ({ ...alice })],
    ['a copy by JSON', (alice) => JSON.parse(JSON.stringify(alice)) as unknown],
    ['a copy with another subject', (alice) => ({ ...alice, token: alice.token, subject: 'bob' })],
    ['a copy with an empty subject', (alice) => ({ ...alice, token: alice.token, subject: '' })],
    ['a copy with another issuer', (alice) => ({ ...alice, token: alice.token, issuer: 'https://evil.example.com' })],
    ['a subject without a token', () => ({ subject: 'alice' })],
    ['an issuer and a subject without a token', ({ issuer, subject }) => ({ issuer, subject })],
    ['a token that is no text', (alice) => ({ ...alice, token: 42 })],
    ['a text', ({ token }) => token],
    ['nothing', () => undefined],
    ['null', () => null],
  ])('refuses %s with a TypeError, and asks nobody', async (_name, make) => {
    const { alice, auth, exchanges } = await setUpWithAlice()
    const who = make(alice) as Who
    expect(await failureOf(auth.getNextcloudToken(who))).toBeInstanceOf(TypeError)
    expect(await failureOf(auth.getNextcloudToken(who, { forceRefresh: true }))).toBeInstanceOf(TypeError)
    expect(await failureOf(auth.nextcloudFetch(who, '/status.php'))).toBeInstanceOf(TypeError)
    expect(exchanges()).toBe(1)
  })

  it('gives the user of the token, whatever else a copy says of itself', async () => {
    const { alice, as, auth, signIn } = await setUpWithAlice()
    const bob = await signIn({ sub: 'bob' })
    const forged = { ...alice, subject: 'bob', token: bob.token, clientId: 'other', claims: alice.claims }
    await auth.getNextcloudToken(forged)
    expect(as.received('/token').map(({ form }) => form.get('subject_token'))).toEqual([alice.token, bob.token])
  })

  it('rejects a token that nobody has verified and that is not good', async () => {
    const { as, auth, exchanges } = await setUpWithAlice()
    const stranger = await as.mint({ aud: 'https://other.example.com' })
    expect(await failureOf(auth.getNextcloudToken({ token: stranger }))).toBeInstanceOf(InvalidTokenError)
    expect(await failureOf(auth.getNextcloudToken({ token: 'a.b.c' }))).toBeInstanceOf(InvalidTokenError)
    expect(exchanges()).toBe(1)
  })

  it('rejects an expired token, as it is and in a copy: 401', async () => {
    const { alice, auth, clock, exchanges } = await setUpWithAlice()
    clock.advance(3_605_000)
    expect(await failureOf(auth.getNextcloudToken(alice))).toBeInstanceOf(SubjectTokenRejectedError)
    expect(await failureOf(auth.getNextcloudToken({ token: alice.token }))).toMatchObject({
      status: 401,
      reason: 'expired',
    })
    expect(exchanges()).toBe(1)
  })

  it('gives the error for a token that is no longer good the challenge it is to be answered with', async () => {
    const { alice, auth, clock } = await setUpWithAlice()
    clock.advance(3_605_000)
    for (const who of [alice, { token: alice.token }]) {
      const { headers } = (await failureOf(auth.getNextcloudToken(who))) as McpAuthError
      expect(headers['WWW-Authenticate']).toMatch(/^Bearer realm="mcp", error="invalid_token", resource_metadata="/)
    }
  })
})
