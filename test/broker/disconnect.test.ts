import { describe, expect, it } from 'vitest'
import { ConfigurationError, StorageError } from '../../src/errors/errors.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import type { StorageAdapter } from '../../src/storage-adapter.js'
import { failureOf, turn, until } from '../support/promises.js'
import type { ScriptedAuthorizationServer } from '../support/scripted-authorization-server.js'
import { holdTokenRequests, tokenAnswer } from '../support/token-endpoint.js'
import { setUpConnected } from '../support/connected-user.js'
import { watchedStorage } from '../support/storages.js'
import { world } from '../support/world.js'

const ALICE = { subject: 'alice' }

/** Alice is connected, and the authorization server revokes tokens at an endpoint that its metadata give under this name. */
async function setUpRevocation(name = 'revocation_endpoint') {
  const setup = await setUpConnected({}, { http: { retries: 0 } })
  setup.as.metadata[name] = `${setup.as.issuer}/revoke`
  setup.as.script('/revoke', { status: 200 })
  return setup
}

/** The refresh token that has come for the first one is not in the store, which works again: this instance alone has it. */
async function setUpUnstored() {
  const setup = await setUpRevocation()
  const { as, auth, clock, failing, refreshTokens } = setup
  const answered = as.received('/token').length
  as.script('/token', (request, res) => {
    failing.add('put')
    refreshTokens.answer(request, res)
  })
  const ended = { yet: false }
  const waiting = failureOf(auth.getNextcloudToken(ALICE)).finally(() => (ended.yet = true))
  await until(() => as.received('/token').length > answered)
  for (let steps = 0; steps < 2_000 && !ended.yet; steps += 1) {
    clock.advance(10)
    await turn()
  }
  expect(await waiting).toBeInstanceOf(StorageError)
  failing.clear()
  return setup
}

const revoked = (as: ScriptedAuthorizationServer) => as.received('/revoke').map(({ form }) => form.get('token'))

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

  it('revokes the refresh token too that comes of a refresh under way', async () => {
    const { as, auth, events, first } = await setUpRevocation()
    const held = holdTokenRequests(as)
    const waiting = failureOf(auth.getNextcloudToken(ALICE))
    await held.arrival()

    await auth.revoke(ALICE)
    held.answer(tokenAnswer('late', { refresh_token: 'late too' }))
    await waiting
    await until(() => as.received('/revoke').length === 2)

    expect(revoked(as)).toEqual([first, 'late too'])
    await auth.close()
    expect(events.filter(({ type }) => type === 'grant.revoked')).toHaveLength(2)
  })

  it('leaves the refresh token that comes of a refresh under way alone once the user has connected again', async () => {
    const { as, auth, connect, first, stored } = await setUpRevocation()
    const held = holdTokenRequests(as)
    const waiting = auth.getNextcloudToken(ALICE).catch(() => undefined)
    await held.arrival()

    await auth.revoke(ALICE)
    await connect('alice', { refreshToken: 'again' })
    held.answer(tokenAnswer('late', { refresh_token: 'late too' }))
    await until(() => as.received('/token').length === 2)
    held.answer(tokenAnswer('fresh', { refresh_token: 'rotated' }))

    expect(await waiting).toBe('fresh')
    await auth.close()
    expect(revoked(as)).toEqual([first])
    expect(await stored()).toMatchObject({ refreshToken: 'rotated' })
  })

  it('at another instance has the refresh token revoked that this one could not store, once it can', async () => {
    const memory = new MemoryStorage()
    const watched = watchedStorage(memory)
    const setup = await world({
      mode: 'refresh-token',
      storage: watched.storage,
      options: { http: { retries: 0, timeout: 1_000 } },
    })
    const { as, auth, open, connect, clock, refreshTokens } = setup
    as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`
    as.script('/revoke', { status: 200 })
    const first = await connect('alice')
    const answered = as.received('/token').length
    as.script('/token', (request, res) => {
      watched.failing.add('put')
      refreshTokens.answer(request, res)
    })
    const waiting = failureOf(auth.getNextcloudToken(ALICE))
    await until(() => as.received('/token').length > answered)
    const ended = { yet: false }
    void waiting.then(() => (ended.yet = true))
    for (let steps = 0; steps < 2_000 && !ended.yet; steps += 1) {
      clock.advance(10)
      await turn()
    }
    expect(await waiting).toBeInstanceOf(StorageError)

    expect(await open({ storage: memory }).revoke(ALICE)).toEqual({ revoked: true })
    watched.failing.clear()
    await auth.close()

    expect(revoked(as)).toEqual([first, refreshTokens.familyOf(first).tokens.at(-1)])
  })

  it('has the refresh token revoked that could not be stored yet, and not the one that was spent for it', async () => {
    const { as, auth, refreshTokens, first, grants } = await setUpUnstored()

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })

    expect(await grants.deletions.list()).toEqual([])
    expect(revoked(as)).toEqual([refreshTokens.familyOf(first).tokens.at(-1)])
  })

  it('ends a refresh token once whose write was carried out, although it seemed to fail', async () => {
    const { as, clock, open, storage, refreshTokens, first } = await setUpRevocation()
    let isBroken = false
    const ended = { yet: false }
    const fail = (): never => {
      throw new Error('The connection is broken')
    }
    const auth = open({
      storage: {
        ...storage,
        get: (...of) => (isBroken ? fail() : storage.get(...of)),
        put: async (...of) => {
          const version = await storage.put(...of)
          isBroken ||= !ended.yet && refreshTokens.familyOf(first).tokens.length > 1
          return isBroken ? fail() : version
        },
      },
    })
    const waiting = failureOf(auth.getNextcloudToken(ALICE)).finally(() => (ended.yet = true))
    for (let steps = 0; steps < 2_000 && !ended.yet; steps += 1) {
      clock.advance(10)
      await turn()
    }
    expect(await waiting).toBeInstanceOf(StorageError)
    isBroken = false

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })

    expect(revoked(as)).toEqual([refreshTokens.familyOf(first).tokens.at(-1)])
  })

  it('ends the newer connection as well as a token of the one before that could not be stored', async () => {
    const { as, auth, open, connect, first, refreshTokens } = await setUpUnstored()
    const second = await connect('alice')

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })
    await open().close()

    expect(revoked(as).sort()).toEqual([first, refreshTokens.familyOf(first).tokens.at(-1), second].sort())
  })

  it.each([
    ['a first', false],
    ['a repeated', true],
  ])(
    'as %s one leaves a token that could not be stored yet to a connection made meanwhile',
    async (_which, repeated) => {
      const { storage: inner, calls, failing } = watchedStorage()
      const puts = () => calls.filter((call) => call === 'put').length
      const held = { key: '', goOn: undefined as (() => void) | undefined }
      const storage: StorageAdapter = {
        ...inner,
        async put(key, ...args) {
          const version = await inner.put(key, ...args)
          if (key !== held.key) return version
          held.key = ''
          await new Promise<void>((resolve) => (held.goOn = resolve))
          return version
        },
      }
      const setup = await world({ mode: 'refresh-token', storage, options: { http: { retries: 0, timeout: 1_000 } } })
      const { as, auth, clock, connect, grants, refreshTokens, stored } = setup
      as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`
      as.script('/revoke', { status: 200 })
      await connect('alice')
      if (repeated) await auth.revoke(ALICE)
      held.key = grants.store.keyOf({ issuer: as.issuer, ...ALICE })
      const ended = auth.revoke(ALICE)
      await until(() => held.goOn !== undefined)

      const second = await connect('alice')
      let before = Infinity
      as.script('/token', (request, res) => {
        failing.add('put')
        before = puts()
        refreshTokens.answer(request, res)
      })
      const waiting = { is: true }
      const failure = failureOf(auth.getNextcloudToken(ALICE)).finally(() => (waiting.is = false))
      await until(() => puts() > before)
      // For less than the store has for the answer that is held.
      for (let steps = 0; steps < 400 && waiting.is; steps += 1) {
        clock.advance(10)
        for (let turns = 0; turns < 10; turns += 1) await turn()
      }
      expect(await failure).toBeInstanceOf(StorageError)
      failing.clear()
      held.goOn?.()
      // The end of the first token is put off while the user is connected.
      expect(await ended).toEqual({ revoked: repeated ? false : 'pending' })
      await auth.close()

      expect(await stored()).toMatchObject({
        state: 'active',
        refreshToken: refreshTokens.familyOf(second).tokens.at(-1),
      })
      expect(revoked(as)).toHaveLength(repeated ? 1 : 0)
    },
  )

  it('that is pending is put off while the user is connected again, since some servers revoke all of a user', async () => {
    const { as, auth, clock, connect, first } = await setUpRevocation()
    as.script('/revoke', { status: 503 })
    expect(await auth.revoke(ALICE)).toEqual({ revoked: 'pending' })
    as.script('/revoke', { status: 200 })
    const again = await connect('alice')
    const before = as.received('/revoke').length
    const hours = async (count: number) => {
      for (let hour = 0; hour < count; hour += 1) {
        clock.advance(3_600_000)
        await auth.isProvisioned(ALICE)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    await hours(5)
    expect(as.received('/revoke')).toHaveLength(before)

    expect(await auth.revoke(ALICE)).toEqual({ revoked: true })
    for (let times = 0; times < 20 && as.received('/revoke').length < before + 2; times += 1) await hours(1)

    expect(revoked(as).slice(before)).toEqual([again, first])
  })

  it('is seen by all callers although a look into the store had begun before it', async () => {
    const { open, storage } = await setUpConnected()
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

    expect(await failureOf(first)).toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
    expect(await failureOf(late.getNextcloudToken(ALICE))).toMatchObject({ code: 'ERR_NOT_PROVISIONED' })
  })
})

describe('a disconnection at another instance, while this one stands still', () => {
  /** Another instance, to which the store answers when it is told to. */
  async function setUpHeld() {
    const { auth, clock, open, storage } = await setUpConnected()
    await auth.getNextcloudToken(ALICE)
    const held = { get: 0, put: 0 }
    const letGo: (() => void)[] = []
    const gated = async <T>(operation: keyof typeof held, answer: Promise<T>): Promise<T> => {
      held[operation] -= 1
      if (held[operation] === 0) await new Promise<void>((resolve) => letGo.push(resolve))
      return answer
    }
    const still = open({
      storage: {
        ...storage,
        get: (...of) => gated('get', storage.get(...of)),
        put: (...of) => gated('put', storage.put(...of)),
      },
    })
    /** Begins a call, and holds back the answer to one of its questions, by its number. */
    const hold = async <T>(
      call: () => Promise<T>,
      operation: keyof typeof held,
      number: number,
    ): Promise<Promise<T>[]> => {
      const before = letGo.length
      held[operation] = number
      const called = call()
      await until(() => letGo.length > before)
      return [called]
    }
    return { auth, clock, still, hold, letGo }
  }
  const refused = { code: 'ERR_NOT_PROVISIONED' }

  it('ends the token of a call that joins what began before it', async () => {
    const { auth, clock, still, hold, letGo } = await setUpHeld()
    const [first] = await hold(() => still.getNextcloudToken(ALICE), 'get', 1)
    await auth.revoke(ALICE)
    clock.advance(10_001)
    const second = failureOf(still.getNextcloudToken(ALICE))
    letGo[0]?.()

    expect(await first).toEqual(expect.any(String))
    expect(await second).toMatchObject(refused)
  })

  it('ends a token that comes while another one is looked for', async () => {
    const { auth, clock, still, hold, letGo } = await setUpHeld()
    await still.getNextcloudToken(ALICE)
    const [rotation] = await hold(() => still.rotate(ALICE), 'put', 3)
    await auth.revoke(ALICE)
    clock.advance(10_000)
    const [call] = await hold(() => failureOf(still.getNextcloudToken(ALICE)), 'get', 1)
    letGo[0]?.()
    await rotation
    letGo[1]?.()

    expect(await call).toMatchObject(refused)
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
