import { generateKeyPairSync, KeyObject } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'
import { describe, expect, it } from 'vitest'
import { InvalidDpopProofError, InvalidTokenError, UpstreamUnavailableError } from '../../src/errors/errors.js'
import { createDpop, type MaybeBound } from '../../src/verify/dpop.js'
import { createSpentProofs, type GoodProof, type SpendElsewhere } from '../../src/verify/spent-proofs.js'
import { manualClock } from '../support/clock.js'
import { failureOf } from '../support/promises.js'

/** The request of RFC 9449, figures 12 and 13: token and proof. */
const RFC = {
  token: 'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU',
  proof: [
    'eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19',
    'eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9',
    '2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA',
  ].join('.'),
  iat: 1_562_262_618,
  /** Section 6.1. */
  thumbprint: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I',
}

const CONFIG = { algorithms: ['ES256'], resource: 'https://resource.example.org/mcp', clockTolerance: 5 }
const REQUEST = { method: 'GET', target: '/protectedresource' }
const BOUND: MaybeBound = {
  boundTo: RFC.thumbprint,
  caller: {
    token: RFC.token,
    identity: { issuer: 'https://server.example.com', subject: 'someone@example.com' },
    expiresAt: RFC.iat + 3_600,
  },
}

describe('the example of RFC 9449', () => {
  const check = async (
    changes: {
      proof?: string
      token?: string
      boundTo?: string | undefined
      method?: string
      target?: string
      at?: number
    } = {},
  ) => {
    const {
      proof = RFC.proof,
      token = RFC.token,
      method = 'GET',
      target = '/protectedresource',
      at = RFC.iat,
    } = changes
    const clock = manualClock(at * 1_000)
    const { check: checkProof } = createDpop({ config: CONFIG, clock, spent: createSpentProofs(clock, undefined) })
    const boundTo = 'boundTo' in changes ? changes.boundTo : RFC.thumbprint
    const bound = { boundTo, caller: { ...BOUND.caller, token } }
    return checkProof(proof, bound, { method, target, proof })
  }

  it('is good, for the request that it is for', async () => {
    await expect(check()).resolves.toBeUndefined()
    await expect(check({ target: '/protectedresource?query=1', at: RFC.iat + 300 })).resolves.toBeUndefined()
  })

  it.each([
    ['token', { token: 'other' }, 'ath'],
    ['method', { method: 'POST' }, 'htm'],
    ['path', { target: '/other' }, 'htu'],
    ['time', { at: RFC.iat + 301 }, 'iat'],
    ['payload', { proof: RFC.proof.replace('.eyJqdGki', '.eyJqdGkj') }, 'signature'],
  ])('is no good with another %s', async (_name, changes, fault) => {
    const failure = await failureOf(check(changes))
    expect(failure).toBeInstanceOf(InvalidDpopProofError)
    expect(failure).toMatchObject({ fault, status: 401, body: { error: 'invalid_dpop_proof' } })
  })

  it.each([
    ['another key', 'x'.repeat(43), 'sender_constrained'],
    ['no key', undefined, 'not_bound'],
  ])('is no good with a token that is bound to %s', async (_name, boundTo, reason) => {
    const failure = await failureOf(check({ boundTo }))
    expect(failure).toBeInstanceOf(InvalidTokenError)
    expect(failure).toMatchObject({ reason })
  })

  it('is no good where proofs as old are no longer remembered', async () => {
    const clock = manualClock(RFC.iat * 1_000)
    const spent = createSpentProofs(clock, undefined, { most: 1, mostOfUser: 1 })
    await spent.spend({ user: 'bob', key: 'key', jti: 'jti', iat: RFC.iat })
    const { check: checkProof } = createDpop({ config: CONFIG, clock, spent })

    const failure = await failureOf(checkProof(RFC.proof, BOUND, { ...REQUEST, proof: RFC.proof }))
    expect(failure).toMatchObject({ fault: 'iat' })
  })

  it('has the thumbprint of the key that it shows', async () => {
    const header = JSON.parse(Buffer.from(RFC.proof.split('.')[0] ?? '', 'base64url').toString()) as { jwk: object }
    expect(await calculateJwkThumbprint(header.jwk)).toBe(RFC.thumbprint)
  })
})

describe('a proof whose key cannot be used', () => {
  const proofWith = (alg: string, jwk: object) =>
    [{ typ: 'dpop+jwt', alg, jwk }, { jti: 'jti' }, 'signature']
      .map((part) => Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url'))
      .join('.')

  it.each<[string, string, KeyObject | object, string]>([
    ['is of a curve that is not known', 'ES256', { kty: 'EC', crv: 'P-999', x: 'AA', y: 'AA' }, 'jwk'],
    ['is not of its alg', 'ES256', { kty: 'RSA', n: 'AQAB', e: 'AQAB' }, 'jwk'],
    ['is too short', 'RS256', generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey, 'malformed'],
  ])('is refused where the key %s', async (_, alg, key, fault) => {
    const jwk = key instanceof KeyObject ? (key.export({ format: 'jwk' }) as object) : key
    const clock = manualClock(RFC.iat * 1_000)
    const config = { ...CONFIG, algorithms: ['ES256', 'RS256'] }
    const { check } = createDpop({ config, clock, spent: createSpentProofs(clock, undefined) })
    const proof = proofWith(alg, jwk)
    const bound = { ...BOUND, boundTo: await calculateJwkThumbprint(jwk) }

    expect(await failureOf(check(proof, bound, { ...REQUEST, proof }))).toMatchObject({ fault, status: 401 })
  })
})

describe('the memory of used proofs', () => {
  const open = (bounds = { most: 10, mostOfUser: 5 }, elsewhere?: SpendElsewhere) => {
    const clock = manualClock()
    const { spend } = createSpentProofs(clock, elsewhere, bounds)
    const now = () => Math.floor(clock.now() / 1_000)
    let count = 0
    const proof = (changes: Partial<GoodProof> = {}): GoodProof => ({
      ...{ user: 'alice', key: 'key', jti: `jti ${(count += 1)}`, iat: now() },
      ...changes,
    })
    return { clock, now, proof, spend }
  }

  it('knows a proof by its key and jti, whatever its time', async () => {
    const { now, proof, spend } = open()
    const one = proof()

    expect(await spend(one)).toBe('new')
    expect(await spend(one)).toBe('used')
    expect(await spend({ ...one, iat: now() + 1 })).toBe('used')
    expect(await spend({ ...one, user: 'bob' })).toBe('used')
    expect(await spend({ ...one, key: 'other' })).toBe('new')
    expect(await spend({ ...one, key: 'ke', jti: `y${one.jti}` })).toBe('new')
  })

  it('takes one of many that come at once', async () => {
    const { proof, spend } = open(undefined, () => Promise.resolve(true))
    const one = proof()

    const outcomes = await Promise.all(Array.from({ length: 20 }, () => spend(one)))
    expect(outcomes.filter((outcome) => outcome === 'new')).toHaveLength(1)
  })

  it('takes none again when its time has passed, though the clock is set back', async () => {
    const { clock, proof, spend } = open()
    const one = proof()
    await spend(one)
    clock.advance(301_000)
    expect(await spend(proof())).toBe('new')
    clock.advance(-301_000)

    expect(await spend(one)).toBe('old')
    expect(await spend(proof({ iat: one.iat + 1 }))).toBe('new')
  })

  it('forgets the second farthest from now when it is full, and takes none of it', async () => {
    const { now, proof, spend } = open()
    const first = proof({ user: 'bob', iat: now() - 20 })
    await spend(first)
    const second = proof({ user: 'bob', iat: now() - 10 })
    await spend(second)
    for (let count = 0; count < 8; count += 1) expect(await spend(proof({ user: `user ${count}` }))).toBe('new')

    expect(await spend(proof({ user: 'carol' }))).toBe('new')
    expect(await spend(first)).toBe('old')
    expect(await spend(proof({ iat: first.iat }))).toBe('old')
    expect(await spend(proof({ iat: first.iat + 0.9 }))).toBe('old')
    expect(await spend(second)).toBe('used')
    // One that is itself the farthest has no place.
    expect(await spend(proof({ iat: now() - 15 }))).toBe('old')
  })

  it.each([
    ['the future', 298],
    ['the past', -298],
    ['many seconds of the future', undefined],
  ])('takes the proofs of others where some users fill it with those of %s', async (_, ahead) => {
    const { clock, now, proof, spend } = open()
    const start = now()
    for (let count = 0; count < 10; count += 1) {
      await spend(proof({ user: `mallory ${count % 2}`, iat: start + (ahead ?? 298 - count) }))
    }

    for (let seconds = 0; seconds < 20; seconds += 1) {
      const one = proof({ user: 'bob' })
      expect([await spend(one), await spend(one)]).toEqual(['new', 'used'])
      await spend(proof({ user: 'mallory 0', iat: now() + (ahead ?? 298) })).catch(() => undefined)
      // Bob's own share is a part of the memory.
      clock.advance(300_000 / 4)
    }
  })

  it('takes none again of a second that it has forgotten, whatever comes after', async () => {
    const { clock, now, proof, spend } = open()
    const one = proof({ user: 'mallory', iat: now() + 290 })
    expect(await spend(one)).toBe('new')
    for (let count = 0; count < 10; count += 1) await spend(proof({ user: `user ${count}` }))
    for (let seconds = 0; seconds < 620; seconds += 31) {
      expect(await spend(one)).toBe('old')
      expect(await spend({ ...one, jti: 'other' })).toBe('old')
      clock.advance(31_000)
      await spend(proof({ user: `carol ${seconds}`, iat: now() }))
    }
  })

  it('lets no user take more than a share, until those end, and the others in', async () => {
    const { clock, now, proof, spend } = open()
    for (let count = 0; count < 5; count += 1) expect(await spend(proof({ iat: now() + 300 }))).toBe('new')

    const failure = await failureOf(spend(proof()))
    expect(failure).toBeInstanceOf(UpstreamUnavailableError)
    expect(failure).toMatchObject({ status: 503, retryAfter: 30 })
    expect(await spend(proof({ user: 'bob' }))).toBe('new')
    clock.advance(601_000)
    expect(await spend(proof())).toBe('new')
  })

  it('asks the store of all instances about what is new here, for as long as a proof is good and a minute', async () => {
    const asked: unknown[] = []
    const answers = [true, false]
    const { now, proof, spend } = open(undefined, (...call) => {
      asked.push(call)
      return Promise.resolve(answers.shift() ?? false)
    })
    const [one, two] = [proof({ iat: now() - 100 }), proof({ iat: now() + 300 })]

    expect([await spend(one), await spend(two)]).toEqual(['new', 'used'])
    expect(await spend(one)).toBe('used')
    expect(asked).toEqual([
      ['key', one.jti, 261_000],
      ['key', two.jti, 661_000],
    ])
  })
})
