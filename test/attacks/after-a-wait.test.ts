import { describe, expect, it } from 'vitest'
import { createOneTimeRecords } from '../../src/connect/one-time.js'
import type { StorageAdapter } from '../../src/index.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { createDpop } from '../../src/verify/dpop.js'
import { createIdTokenVerifier } from '../../src/verify/id-token.js'
import { manualClock } from '../support/clock.js'
import { signProof, dpopKey } from '../support/dpop-client.js'
import { expectRefusal } from '../support/expect-refusal.js'
import { failureOf, turn } from '../support/promises.js'
import { CLIENT_ID, signingKey } from '../support/scripted-authorization-server.js'
import { registeredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'
import { world } from '../support/world.js'

// What was checked before a wait is checked again after it (CWE-367): the end of a token, the trust in a key, a consent.

describe('a token that ends', () => {
  it('while the keys are fetched is refused', async () => {
    const { as, auth, clock } = await world()
    const token = await as.mint({ exp: Math.floor(clock.now() / 1_000) + 10 })
    as.script('/jwks', (_request, res) => {
      clock.advance(20_000)
      res.end(JSON.stringify({ keys: as.keys }))
    })

    await expectRefusal(auth, token, 'expired')
  })

  it.each(['validateClaims', 'missingAudience'] as const)('while %s decides is refused', async (judge) => {
    const { as, clock, open } = await world()
    const auth = open({
      [judge]: () => {
        clock.advance(20_000)
        return Promise.resolve(true)
      },
    })
    const token = await as.mint({
      exp: Math.floor(clock.now() / 1_000) + 10,
      ...(judge === 'missingAudience' && { aud: undefined }),
    })

    await expectRefusal(auth, token, 'expired')
    expect(auth.stats().sizes.verifiedTokens).toBe(0)
  })
})

it('a token whose key is withdrawn while validateClaims decides is refused', async () => {
  const { as, open } = await world()
  const withdrawn = await signingKey('withdrawn')
  as.keys.push(withdrawn.publicJwk)
  const auth = open({
    async validateClaims() {
      const at = as.keys.indexOf(withdrawn.publicJwk)
      if (at >= 0) as.keys.splice(at, 1)
      await auth.refreshKeys()
      return true
    },
  })

  await expectRefusal(auth, await as.mint({}, { key: withdrawn }), 'key')
  expect((await auth.verify(await as.mint())).subject).toBe('alice')
})

describe('with a proof whose identifier is noted in a slow store', () => {
  const setUp = async (took: number, life: number) => {
    const clock = manualClock()
    const key = await dpopKey()
    const seconds = Math.floor(clock.now() / 1_000)
    const { check } = createDpop({
      config: { algorithms: ['ES256'], resource: 'https://mcp.example.com/mcp', clockTolerance: 5 },
      clock,
      spent: {
        spend() {
          clock.advance(took)
          return Promise.resolve('new' as const)
        },
      },
    })
    const identity = { issuer: 'https://idp.example.com', subject: 'alice' }
    const bound = { boundTo: key.thumbprint, caller: { token: 'token', identity, expiresAt: seconds + life } }
    const proof = await signProof(key, 'token', clock.now())
    return check(proof, bound, { method: 'POST', target: '/mcp', proof })
  }

  it('a token that ends meanwhile is refused', async () => {
    expect(await failureOf(setUp(20_000, 10))).toMatchObject({ status: 401, reason: 'expired' })
    await expect(setUp(14_000, 10)).resolves.toBeUndefined()
  })

  it('a proof that grows too old meanwhile is refused', async () => {
    expect(await failureOf(setUp(301_000, 3_600))).toMatchObject({ status: 401, fault: 'iat' })
    await expect(setUp(300_000, 3_600)).resolves.toBeUndefined()
  })
})

it('an ID token that ends while the keys are fetched names nobody', async () => {
  const { as, clock } = await world()
  const key = as.keys[0]
  const config = { client: { id: CLIENT_ID }, algorithms: ['ES256'], clockTolerance: 5 } as unknown as Parameters<
    typeof createIdTokenVerifier
  >[0]
  const seconds = Math.floor(clock.now() / 1_000)
  const personAfter = async (ms: number) => {
    const slow = async () => {
      clock.advance(ms)
      return crypto.subtle.importKey('jwk', key as { kty: string }, { name: 'ECDSA', namedCurve: 'P-256' }, true, [
        'verify',
      ])
    }
    const verify = createIdTokenVerifier(config, { key: slow, lookAgain: () => Promise.resolve(false) }, clock)
    const claims = { aud: CLIENT_ID, nonce: 'nonce', exp: seconds + 10 }
    return verify(await as.mint(claims), { issuer: as.issuer, nonce: 'nonce' })
  }

  expect(await personAfter(14_000)).toMatchObject({ subject: 'alice' })
  expect(await personAfter(6_000)).toBeUndefined()
})

it('a record for one use that ends while the store is asked is not taken', async () => {
  const { grants, clock } = await world({ mode: 'refresh-token' })
  const slow = {
    ...grants.records,
    async remove(...given: Parameters<typeof grants.records.remove>) {
      const removed = await grants.records.remove(...given)
      clock.advance(10_000)
      return removed
    },
  }
  const records = createOneTimeRecords('ticket', { records: slow, owner: grants.owner, clock })
  const taken = async (life: number) => {
    const { secret } = await records.create({})
    clock.advance(600_000 - life)
    const record = await records.read(secret)
    return record && records.spend(record)
  }

  expect(await taken(10_001)).toBe(true)
  expect(await taken(10_000)).toBe(false)
})

it('a Nextcloud token that ends while its grant is looked at is not handed out', async () => {
  const clock = manualClock()
  const kept = new MemoryStorage({}, clock)
  let took = 0
  const slow: StorageAdapter = {
    shared: false,
    get: (key) => {
      clock.advance(took)
      took = 0
      return kept.get(key)
    },
    put: kept.put.bind(kept),
    delete: kept.delete.bind(kept),
  }
  const { auth, connect, refreshTokens } = await world({
    mode: 'refresh-token',
    clock,
    storage: slow,
    options: { cache: { renewBefore: 0 } },
  })
  await connect()
  const first = await auth.getNextcloudToken({ subject: 'alice' })
  // Due to be looked at, and alive for 2 s more.
  clock.advance(298_000)
  for (let turns = 0; turns < 50; turns += 1) await turn()
  took = 3_000
  const second = await auth.getNextcloudToken({ subject: 'alice' })

  expect([first, second]).toEqual(refreshTokens.accessTokens)
  expect(second).not.toBe(first)
})

it('a person who disconnects while Nextcloud is asked about them gets no further tokens', async () => {
  const kept = new MemoryStorage()
  const USER = '/ocs/v2.php/cloud/user'
  const held: { server?: SignInServer } = {}
  let asked = Infinity
  const storage: StorageAdapter = {
    shared: true,
    async get(key) {
      const times = held.server?.nextcloud.requests.filter(({ path }) => path === USER).length ?? 0
      if (times > asked) {
        asked = Infinity
        await held.server?.auth.revoke({ subject: 'alice' })
      }
      return kept.get(key)
    },
    list: (page) => kept.list(page),
    put: kept.put.bind(kept),
    delete: kept.delete.bind(kept),
  }
  const server = (held.server = await startSignInServer({ storage }))
  const client = await registeredClient(server)
  const answer = await client.signIn(server.person('alice'))
  expect(answer.status).toBe(200)

  asked = server.nextcloud.requests.filter(({ path }) => path === USER).length
  const refreshed = await client.refresh(String(answer.body['refresh_token']))

  expect(asked).toBe(Infinity)
  expect(refreshed).toMatchObject({ status: 400, body: { error: 'invalid_grant' } })
})
