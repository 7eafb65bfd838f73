import { describe, expect, it, vi } from 'vitest'
import type { McpAuth } from '../../src/mcp-auth.js'
import { setUpConnected } from '../support/connected-user.js'
import { failureOf, turn } from '../support/promises.js'
import { holdTokenRequests, tokenError } from '../support/token-endpoint.js'
import { world } from '../support/world.js'

const ALICE = { subject: 'alice' }
const AGREED = { ...ALICE, clientId: 'agreed' }
const OTHER = { ...ALICE, clientId: 'other' }
const SECOND = 1_000
const CONSENT = expect.objectContaining({ code: 'ERR_NOT_PROVISIONED', reason: 'consent', status: 403 }) as unknown

type Act = (auth: McpAuth) => Promise<unknown>

/** Every way to a Nextcloud token, for a client that the user has not agreed to. */
const WAYS: readonly (readonly [name: string, act: Act])[] = [
  ['getNextcloudToken', (auth) => auth.getNextcloudToken(OTHER)],
  ['getNextcloudToken with forceRefresh', (auth) => auth.getNextcloudToken(OTHER, { forceRefresh: true })],
  ['getNextcloudCredential', (auth) => auth.getNextcloudCredential(OTHER)],
  ['getNextcloudCredential with forceRefresh', (auth) => auth.getNextcloudCredential(OTHER, { forceRefresh: true })],
  ['nextcloudFetch', (auth) => auth.nextcloudFetch(OTHER, '/status.php')],
  ['nextcloudUser', (auth) => auth.nextcloudUser(OTHER)],
  ['rotate', (auth) => auth.rotate(OTHER)],
]
const TOKENS = WAYS.filter(([name]) => name !== 'getNextcloudToken' && name !== 'getNextcloudToken with forceRefresh')

const setUpAgreed = () => setUpConnected({ clientId: AGREED.clientId })
const gets = (calls: readonly string[]) => calls.filter((call) => call === 'get').length

describe('a client that the user has not agreed to', () => {
  it.each(WAYS)('spends no refresh token by %s, and leaves no mark in the store', async (_name, act) => {
    const { auth, calls, as, stored } = await setUpAgreed()
    calls.length = 0

    expect(await failureOf(act(auth))).toEqual(CONSENT)

    expect(as.received('/token')).toEqual([])
    expect(calls.filter((call) => call === 'put')).toEqual(['put', 'put'])
    expect(await stored()).toMatchObject({ state: 'active' })
  })

  it.each(WAYS)('takes nothing from those who have consent by %s', async (_name, act) => {
    const { auth, as } = await setUpAgreed()
    const token = await auth.getNextcloudToken(AGREED)

    expect(await failureOf(act(auth))).toEqual(CONSENT)

    expect(await auth.getNextcloudToken(AGREED)).toBe(token)
    expect(as.received('/token')).toHaveLength(1)
  })

  it('begins no renewal ahead near the end of a token', async () => {
    const { auth, as, clock, fetched } = await setUpAgreed()
    await auth.getNextcloudToken(AGREED)
    clock.advance(290 * SECOND)

    expect(await failureOf(auth.getNextcloudToken(OTHER))).toEqual(CONSENT)
    await turn()
    expect(as.received('/token')).toHaveLength(1)

    await auth.getNextcloudToken(AGREED)
    await fetched(2)
    expect(as.received('/token')).toHaveLength(2)
  })

  it('is refused at once, first or last, where others wait for a request, and all share one look', async () => {
    const { auth, as, calls, refreshTokens } = await setUpAgreed()
    const held = holdTokenRequests(as)
    calls.length = 0

    const first = failureOf(auth.getNextcloudToken(OTHER))
    const waiting = Array.from({ length: 5 }, () => auth.getNextcloudToken(AGREED))
    expect(await first).toEqual(CONSENT)
    await held.arrival()
    waiting.push(auth.getNextcloudToken(AGREED))
    const reads = gets(calls)
    expect(await failureOf(auth.getNextcloudToken(OTHER))).toEqual(CONSENT)
    held.answer(refreshTokens.process(as.received('/token')[0]!.form))

    expect(new Set(await Promise.all(waiting))).toEqual(new Set([refreshTokens.accessTokens[0]]))
    expect(as.received('/token')).toHaveLength(1)
    // One for the link of the refused, which is not there yet, and the ticket that it leads to is not read.
    expect(reads).toBe(2)
  })

  it('is told of the consent while the authorization server is unavailable', async () => {
    const { auth, as } = await setUpAgreed()
    as.script('/token', tokenError('server_error', 'down', 500))

    const outcomes = await Promise.allSettled([OTHER, AGREED].map((user) => auth.getNextcloudToken(user)))

    expect(outcomes.map((outcome) => (outcome as { reason?: unknown }).reason)).toEqual([
      CONSENT,
      expect.objectContaining({ status: 503 }),
    ])
    expect(await failureOf(auth.getNextcloudToken(OTHER))).toEqual(CONSENT)
  })

  it('may use what the user agrees to while a look of before is under way', async () => {
    const { open, storage, connect } = await setUpAgreed()
    const get = storage.get.bind(storage)
    let go = (): void => undefined
    const gate = new Promise<void>((resolve) => (go = resolve))
    let held = true
    storage.get = async (key) => {
      const entry = await get(key)
      if (held) await gate
      return entry
    }
    const auth = open()
    const before = auth.getNextcloudToken(AGREED)
    await turn()
    held = false
    await connect('alice', OTHER)

    const agreed = auth.getNextcloudToken(OTHER)
    go()

    await expect(agreed).resolves.toBeTypeOf('string')
    await before.catch(() => undefined)
  })
})

describe('consent that ends while a request is under way', () => {
  it('ends the request of that client, and another client goes on with its own', async () => {
    const { auth, as, clock, grants, refreshTokens, connect } = await setUpAgreed()
    await connect('alice', OTHER)
    const identity = { issuer: as.issuer, subject: 'alice' }
    const lease = await grants.acquireLease(grants.store.keyOf(identity))
    const ended = failureOf(auth.getNextcloudToken(AGREED))
    await turn()
    const goesOn = auth.getNextcloudToken(OTHER)
    await turn()
    await grants.store.disconnect(identity, AGREED.clientId)
    await lease?.release()

    await vi.waitFor(async () => {
      clock.advance(500)
      await turn()
      expect(refreshTokens.presented).toHaveLength(1)
    })

    expect(await ended).toEqual(CONSENT)
    expect(await goesOn).toBe(refreshTokens.accessTokens[0])
  })

  it('leaves the refresh token unspent where nobody else waits for it', async () => {
    const { auth, as, clock, grants, refreshTokens, connect } = await setUpAgreed()
    await connect('alice', OTHER)
    const identity = { issuer: as.issuer, subject: 'alice' }
    const lease = await grants.acquireLease(grants.store.keyOf(identity))
    let refusal: unknown
    void failureOf(auth.getNextcloudToken(AGREED)).then((reason) => (refusal = reason))
    await turn()
    await grants.store.disconnect(identity, AGREED.clientId)
    await lease?.release()

    await vi.waitFor(async () => {
      clock.advance(500)
      await turn()
      expect(refusal).toEqual(CONSENT)
    })

    expect(refreshTokens.presented).toEqual([])
  })

  it('keeps the token that comes for it from that client, and gives it to another one', async () => {
    const { auth, as, grants, refreshTokens, connect } = await setUpAgreed()
    await connect('alice', OTHER)
    const held = holdTokenRequests(as)
    const ended = failureOf(auth.getNextcloudToken(AGREED))
    const goesOn = auth.getNextcloudToken(OTHER)
    await held.arrival()
    await grants.store.disconnect({ issuer: as.issuer, subject: 'alice' }, AGREED.clientId)
    held.answer(refreshTokens.process(as.received('/token')[0]!.form))

    expect(await ended).toEqual(CONSENT)
    expect(await goesOn).toBe(refreshTokens.accessTokens[0])
  })
})

describe('a client without consent for an app password', () => {
  it.each(TOKENS)('makes Nextcloud be asked nothing by %s', async (_name, act) => {
    const { auth, as, grants, nextcloud } = await world({ mode: 'app-password' })
    const password = { loginName: 'alice', password: 'secret', nextcloud: `${nextcloud.url}/` }
    const connection = { appPassword: password, fingerprint: 'f', clientId: 'agreed', scopes: [] }
    await grants.store.connect({ issuer: as.issuer, subject: 'alice' }, connection)
    await auth.getNextcloudCredential(AGREED)
    const before = nextcloud.received.length

    expect(await failureOf(act(auth))).toEqual(CONSENT)

    expect(nextcloud.received).toHaveLength(before)
  })
})
