import { describe, expect, it } from 'vitest'
import { ConfigurationError, StorageError } from '../../src/errors/errors.js'
import { failureOf, holdTokenRequests, setUp, tokenAnswer } from '../support/broker-setup.js'
import { MCP_CLIENT, setUpGrants, type GrantSetup } from '../support/grant-setup.js'
import { watchedStorage } from '../support/storages.js'

const ALICE = { subject: 'alice' }

async function withRevocation(ways?: Parameters<typeof setUpGrants>[0]): Promise<GrantSetup> {
  const setup = await setUpGrants(ways)
  setup.as.metadata['revocation_endpoint'] = `${setup.as.issuer}/revoke`
  setup.as.script('/revoke', { status: 200 })
  return setup
}

describe('revoke()', () => {
  it('ends the grant here, and asks the server to revoke its refresh token with this client’s credentials', async () => {
    const setup = await withRevocation()
    const refreshToken = await setup.connect()

    expect(await setup.open().revoke(ALICE)).toEqual({ revoked: true })

    const [request] = setup.as.received('/revoke')
    expect(Object.fromEntries(request!.form)).toEqual({ token: refreshToken, token_type_hint: 'refresh_token' })
    expect(request!.headers.authorization).toMatch(/^Basic /)
    const left = await setup.stored()
    expect(left).toMatchObject({ state: 'disconnected', generation: 2, clients: [] })
    expect(JSON.stringify(left)).not.toContain(refreshToken)
    expect(setup.events).toEqual([
      { type: 'grant.revoked', issuer: setup.as.issuer, ...ALICE, revoked: true, at: setup.clock.now() },
    ])
  })

  it.each([
    ['refuses', { status: 400, json: { error: 'unsupported_token_type' } }],
    ['is broken', { status: 500 }],
  ])('deletes the grant also when the server %s', async (_, answer) => {
    const setup = await withRevocation()
    setup.as.script('/revoke', answer)
    await setup.connect()
    const auth = setup.open({ http: { retries: 0 } })

    expect(await auth.revoke(ALICE)).toEqual({ revoked: false })
    expect(await auth.isProvisioned(ALICE)).toBe(false)
  })

  it('says that it is unsupported where the server has no endpoint for it', async () => {
    const setup = await setUpGrants()
    await setup.connect()
    const auth = setup.open()

    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'unsupported' })
    expect(await auth.isProvisioned(ALICE)).toBe(false)
  })

  it('finds the endpoint that is configured', async () => {
    const setup = await setUpGrants()
    setup.as.script('/other', { status: 200 })
    await setup.connect()

    const auth = setup.open({ authorizationServer: { revocationEndpoint: `${setup.as.issuer}/other` } })

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })
  })

  it('has nothing to do where there is no grant, or none any more', async () => {
    const setup = await withRevocation()
    const auth = setup.open()
    expect(await auth.revoke(ALICE)).toEqual({ revoked: false })

    await setup.connect()
    await auth.revoke(ALICE)
    expect(await auth.revoke(ALICE)).toEqual({ revoked: false })

    expect(setup.as.received('/revoke')).toHaveLength(1)
    expect(setup.events.filter(({ type }) => type === 'grant.revoked')).toHaveLength(1)
  })

  it('rejects when the store fails, and has revoked nothing', async () => {
    const { storage, failing } = watchedStorage()
    const setup = await withRevocation({ storage })
    await setup.connect()
    failing.add('put')
    const auth = setup.open()

    expect(await failureOf(auth.revoke(ALICE))).toBeInstanceOf(StorageError)
    expect(setup.as.received('/revoke')).toEqual([])
    expect(await setup.stored()).toMatchObject({ state: 'active' })
  })

  it('is not undone by a refresh under way, and nobody gets its token', async () => {
    const setup = await setUpGrants()
    const held = holdTokenRequests(setup.as)
    const auth = setup.open()
    await setup.connect()
    const waiting = auth.getNextcloudToken(ALICE)
    await held.arrival()

    await auth.revoke(ALICE)
    held.answer(tokenAnswer('late', { refresh_token: 'late too' }))

    expect(await failureOf(waiting)).toMatchObject({ code: 'ERR_NOT_PROVISIONED', reason: 'revoked' })
    expect(await setup.stored()).toMatchObject({ state: 'disconnected' })
    expect(JSON.stringify(await setup.stored())).not.toContain('late')
  })

  it('does not touch a connection that was made during a refresh, nor does the refresh', async () => {
    const setup = await setUpGrants()
    const held = holdTokenRequests(setup.as)
    const auth = setup.open()
    await setup.connect()
    const waiting = auth.getNextcloudToken(ALICE)
    await held.arrival()

    const newer = await setup.connect()
    setup.as.script('/token', setup.refreshTokens.answer)
    held.answer(tokenAnswer('late', { refresh_token: 'late too' }))

    expect(await waiting).toBe(setup.refreshTokens.accessTokens[0])
    expect(setup.refreshTokens.presented).toEqual([newer])
    expect(await setup.stored()).toMatchObject({ generation: 2, state: 'active' })
  })
})

describe('isProvisioned()', () => {
  it('is true from the connection to the disconnection, for the clients that the user agreed to', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    const [mine, other] = await Promise.all(
      [MCP_CLIENT, 'other'].map(async (client_id) => auth.verify(await setup.as.mint({ client_id }))),
    )
    const answers = () => Promise.all([ALICE, mine, other, { subject: 'bob' }].map((who) => auth.isProvisioned(who)))

    expect(await answers()).toEqual([false, false, false, false])
    await setup.connect()
    expect(await answers()).toEqual([true, true, false, false])
    await auth.revoke(mine)
    expect(await answers()).toEqual([false, false, false, false])
  })

  it('is true for every client where consent is per user', async () => {
    const setup = await setUpGrants()
    const auth = setup.open({ connect: { consent: 'per-user' } })
    await setup.connect()

    expect(await auth.isProvisioned(await auth.verify(await setup.as.mint({ client_id: 'other' })))).toBe(true)
  })
})

describe('rotate()', () => {
  it('renews the grant although its access token lives, and the new one is served', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    const first = await setup.connect()
    const before = await auth.getNextcloudToken(ALICE)

    await auth.rotate(ALICE)

    expect(setup.refreshTokens.familyOf(first).tokens).toHaveLength(3)
    expect(await auth.getNextcloudToken(ALICE)).not.toBe(before)
    expect(setup.refreshTokens.presented).toHaveLength(2)
  })

  it('is one renewal however many ask for it at once', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    await setup.connect()
    await auth.getNextcloudToken(ALICE)

    await Promise.all(Array.from({ length: 20 }, () => auth.rotate(ALICE)))

    expect(setup.refreshTokens.presented).toHaveLength(2)
  })

  it('rejects as getNextcloudToken() does', async () => {
    const setup = await setUpGrants()
    expect(await failureOf(setup.open().rotate(ALICE))).toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
  })
})

describe('whose grant it is', () => {
  it('may be said with an issuer, or is that of the configured one', async () => {
    const setup = await setUpGrants()
    const auth = setup.open()
    await setup.connect()

    expect(await auth.isProvisioned({ issuer: setup.as.issuer, ...ALICE })).toBe(true)
    expect(await auth.isProvisioned({ issuer: 'https://other.example.com', ...ALICE })).toBe(false)
  })

  it.each([undefined, {}, { subject: '' }, { subject: 5 }, { issuer: 'x' }, { subject: 'alice', issuer: 1 }])(
    'has to be said: %j',
    async (who) => {
      const auth = (await setUpGrants()).open()
      for (const call of ['isProvisioned', 'rotate', 'revoke', 'getNextcloudToken'] as const) {
        expect(await failureOf(auth[call](who as typeof ALICE))).toBeInstanceOf(TypeError)
      }
    },
  )
})

it('in any other mode there are no grants, as each call says', async () => {
  const { auth, signIn } = await setUp()
  const info = await signIn()
  for (const call of ['isProvisioned', 'rotate', 'revoke'] as const) {
    expect(await failureOf(auth[call](info))).toBeInstanceOf(ConfigurationError)
  }
  expect(await failureOf(auth.getNextcloudToken(ALICE))).toBeInstanceOf(TypeError)
})
