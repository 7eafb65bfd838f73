import { describe, expect, it } from 'vitest'
import { ConfigurationError, StorageError } from '../../src/errors/errors.js'
import { failureOf, until } from '../support/promises.js'
import { holdTokenRequests, tokenAnswer } from '../support/token-endpoint.js'
import { setUpConnected } from '../support/connected-user.js'
import { world } from '../support/world.js'

const ALICE = { subject: 'alice' }

/** Alice is connected, and the authorization server revokes tokens at an endpoint that its metadata give under this name. */
async function setUpRevocation(name = 'revocation_endpoint') {
  const setup = await setUpConnected({}, { http: { retries: 0 } })
  setup.as.metadata[name] = `${setup.as.issuer}/revoke`
  setup.as.script('/revoke', { status: 200 })
  return setup
}

describe('revoke()', () => {
  it('ends the grant here, and asks the server to revoke its refresh token with this client’s credentials, once', async () => {
    const { as, auth, clock, events, first, stored } = await setUpRevocation()

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })

    const [request] = as.received('/revoke')
    expect(Object.fromEntries(request!.form)).toEqual({ token: first, token_type_hint: 'refresh_token' })
    expect(request!.headers.authorization).toMatch(/^Basic /)
    const left = await stored()
    expect(left).toMatchObject({ state: 'disconnected', generation: 2, clients: [] })
    expect(JSON.stringify(left)).not.toContain(first)
    const told = [{ type: 'grant.revoked', issuer: as.issuer, ...ALICE, revoked: true, at: clock.now() }]
    expect(events).toEqual(told)

    for (const who of [ALICE, { subject: 'bob' }]) expect(await auth.revoke(who)).toEqual({ revoked: false })
    expect(as.received('/revoke')).toHaveLength(1)
    expect(events).toEqual(told)
  })

  it.each([
    ['refuses', 'revocation_endpoint', { status: 400, json: { error: 'unsupported_token_type' } }, false],
    ['is broken', 'revocation_endpoint', { status: 500 }, 'pending'],
    ['turns requests away', 'revocation_endpoint', { status: 429 }, 'pending'],
    ['does not know this client', 'revocation_endpoint', { status: 401, json: { error: 'invalid_client' } }, 'pending'],
    ['has no endpoint for it', 'no_endpoint', {}, 'unsupported'],
  ] as const)('deletes the grant also when the server %s', async (_, name, answer, revoked) => {
    const { as, auth } = await setUpRevocation(name)
    as.script('/revoke', answer)

    expect(await auth.revoke(ALICE)).toEqual({ revoked })
    expect(await auth.isProvisioned(ALICE)).toBe(false)
  })

  it('finds the endpoint that is configured', async () => {
    const { as, open } = await setUpConnected()
    as.script('/other', { status: 200 })
    const auth = open({ authorizationServer: { revocationEndpoint: `${as.issuer}/other` } })

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })
  })

  it('rejects when the store fails, and has revoked nothing', async () => {
    const { as, auth, failing, stored } = await setUpRevocation()
    failing.add('put')

    expect(await failureOf(auth.revoke(ALICE))).toBeInstanceOf(StorageError)
    expect(as.received('/revoke')).toEqual([])
    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it('is not undone by a refresh under way, and no caller gets its token', async () => {
    const { as, auth, stored } = await setUpConnected()
    const held = holdTokenRequests(as)
    const waiting = auth.getNextcloudToken(ALICE)
    await held.arrival()

    await auth.revoke(ALICE)
    held.answer(tokenAnswer('late', { refresh_token: 'late too' }))

    expect(await failureOf(waiting)).toMatchObject({ code: 'ERR_NOT_PROVISIONED', reason: 'revoked' })
    expect(await stored()).toMatchObject({ state: 'disconnected' })
    expect(JSON.stringify(await stored())).not.toContain('late')
  })

  it('is seen by the next caller although a look into the store had begun before it', async () => {
    const { auth, open, storage } = await setUpConnected()
    const token = await auth.getNextcloudToken(ALICE)
    let letGo = (): void => undefined
    const gate = new Promise<void>((resolve) => (letGo = resolve))
    let looks = 0
    const late = open({
      storage: {
        ...storage,
        async get(key) {
          const entry = await storage.get(key)
          looks += 1
          if (looks === 1) await gate
          return entry
        },
      },
    })
    const first = late.getNextcloudToken(ALICE)
    await until(() => looks > 0)
    await late.revoke(ALICE)
    letGo()

    expect(await first).toBe(token)
    expect(await failureOf(late.getNextcloudToken(ALICE))).toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
  })
})

it('isProvisioned() is true from the connection to the disconnection, for the clients that the user agreed to', async () => {
  const { auth, connect, open, signIn } = await world({ mode: 'refresh-token' })
  const [mine, other] = [await signIn(), await signIn({ client_id: 'other' })]
  const answers = () => Promise.all([ALICE, mine, other, { subject: 'bob' }].map((who) => auth.isProvisioned(who)))

  expect(await answers()).toEqual([false, false, false, false])
  await connect()
  expect(await answers()).toEqual([true, true, false, false])
  expect(await open({ connect: { consent: 'per-user' } }).isProvisioned(other)).toBe(true)
  await auth.revoke(mine)
  expect(await answers()).toEqual([false, false, false, false])
})

describe('rotate()', () => {
  it('renews the grant although its access token lives, once however many ask for it, and the new one is served', async () => {
    const { auth, first, refreshTokens } = await setUpConnected()
    const before = await auth.getNextcloudToken(ALICE)

    await Promise.all(Array.from({ length: 20 }, () => auth.rotate(ALICE)))

    expect(refreshTokens.familyOf(first).tokens).toHaveLength(3)
    expect(await auth.getNextcloudToken(ALICE)).not.toBe(before)
    expect(refreshTokens.presented).toHaveLength(2)
  })

  it('rejects as getNextcloudToken() does', async () => {
    const { open } = await world({ mode: 'refresh-token' })
    expect(await failureOf(open().rotate(ALICE))).toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
  })
})

describe('the user of a grant', () => {
  it('may be named with an issuer, or is of the configured one', async () => {
    const { as, auth } = await setUpConnected()

    expect(await auth.isProvisioned({ issuer: as.issuer, ...ALICE })).toBe(true)
    expect(await auth.isProvisioned({ issuer: 'https://other.example.com', ...ALICE })).toBe(false)
  })

  it.each([undefined, {}, { subject: '' }, { subject: 5 }, { issuer: 'x' }, { subject: 'alice', issuer: 1 }])(
    'must be named: %j',
    async (who) => {
      const auth = (await world({ mode: 'refresh-token' })).open()
      for (const call of ['isProvisioned', 'rotate', 'revoke', 'createConnectUrl', 'getNextcloudToken'] as const) {
        expect(await failureOf(auth[call](who as typeof ALICE))).toBeInstanceOf(TypeError)
      }
    },
  )
})

it('in any other mode there are no grants, as each call says', async () => {
  const { auth, signIn } = await world()
  const info = await signIn()
  for (const who of [info, undefined]) {
    for (const call of ['isProvisioned', 'rotate', 'revoke', 'createConnectUrl'] as const) {
      expect(await failureOf(auth[call](who))).toBeInstanceOf(ConfigurationError)
    }
    expect(await auth.waitForConnection(who, 1)).toBe(false)
  }
  expect(await failureOf(auth.getNextcloudToken(ALICE))).toBeInstanceOf(TypeError)
})
