import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { cacheKey, createTokenCache, tokenEntry, type TokenIdentity } from '../../src/broker/token-cache.js'

const IDENTITY: TokenIdentity = {
  issuer: 'https://idp.example.com',
  subject: 'alice',
  mode: 'token-exchange',
  tokenEndpoint: 'https://idp.example.com/token',
  clientId: 'mcp-server',
  audience: ['nextcloud'],
  resource: ['https://cloud.example.com'],
  scopes: ['read', 'write'],
  mcpToken: 'mcp-token',
}

describe('cacheKey', () => {
  it.each(Object.keys(IDENTITY) as (keyof TokenIdentity)[])('changes with %s alone', (field) => {
    const value = IDENTITY[field]
    const other = typeof value === 'string' ? `${value}x` : [...value, 'x']
    expect(cacheKey({ ...IDENTITY, [field]: other })).not.toBe(cacheKey(IDENTITY))
  })
})

describe('tokenEntry', () => {
  const secret = { scheme: 'Bearer' as const, token: 'token' }
  const answer = (expiresIn: number | undefined, sentAt = 0) => ({ secret, expiresIn, sentAt, source: 'idp' as const })
  const life = (
    expiresIn: number | undefined,
    renewBefore: number | undefined,
    margin: number,
    subjectEndsAt: number,
  ) => {
    const entry = tokenEntry(answer(expiresIn), { renewBefore, margin }, subjectEndsAt)
    return entry && [entry.renewAt, entry.deadAt]
  }

  it('holds the secret, its basis and its life, counted from the request', () => {
    const basis = { version: '1', checkedAt: 0 }
    expect(tokenEntry({ ...answer(300, 7_000), basis }, { renewBefore: 60, margin: 0 }, Infinity)).toEqual({
      secret,
      renewAt: 247_000,
      deadAt: 307_000,
      unproven: false,
      handedOut: false,
      basis,
    })
  })

  it.each<[string, Parameters<typeof life>, [number, number] | undefined]>([
    ['a long life', [3_600, 60, 0, Infinity], [3_540_000, 3_600_000]],
    ['a lead of a fifth of its life', [300, 60, 0, Infinity], [240_000, 300_000]],
    ['a life for which the lead is more than a fifth', [299, 60, 0, Infinity], [239_200, 299_000]],
    ['no lead of its own, and a long life: 60 s', [3_600, undefined, 0, Infinity], [3_540_000, 3_600_000]],
    ['no lead of its own: a tenth of its life', [300, undefined, 0, Infinity], [270_000, 300_000]],
    ['less than a second', [0.5, 60, 0, Infinity], [400, 500]],
    ['no lead', [300, 0, 0, Infinity], [300_000, 300_000]],
    ['a lead beyond its life', [300, 10_000, 0, Infinity], [240_000, 300_000]],
    ['no stated life: 300 s', [undefined, 60, 0, Infinity], [240_000, 300_000]],
    ['no sensible life: it is not kept', [NaN, 60, 0, Infinity], undefined],
    ['a margin', [900, 0, 30, Infinity], [870_000, 870_000]],
    ['a margin of more than a fifth of its life', [100, 0, 30, Infinity], [80_000, 80_000]],
    ['an MCP token that ends first', [300, 60, 0, 299_999], [299_999, 299_999]],
    ['no end but that of the MCP token', [Infinity, 60, 0, 1_000], [1_000, 1_000]],
    ['an MCP token that outlives it by its lead', [300, 60, 0, 360_000], [240_000, 300_000]],
    ['an MCP token that leaves the next one less than its lead', [300, 60, 0, 359_999], [300_000, 300_000]],
  ])('is renewed and dies in time, with %s', (_name, given, expected) => {
    expect(life(...given)).toEqual(expected)
  })

  it('keeps to the formula for every life, lead, start and end', () => {
    const seconds = fc.integer({ min: 1, max: 100_000 })
    fc.assert(
      fc.property(seconds, fc.nat(10_000), fc.nat(1_000_000), fc.nat(200_000_000), (life, lead, sentAt, subjectEnd) => {
        const entry = tokenEntry(answer(life, sentAt), { renewBefore: lead, margin: 0 }, subjectEnd)!
        const ahead = Math.min(lead * 1_000, life * 1_000 * 0.2)
        const ownEnd = sentAt + life * 1_000
        expect(entry.deadAt).toBe(Math.min(ownEnd, subjectEnd))
        if (subjectEnd >= ownEnd + ahead) expect(entry.renewAt).toBe(ownEnd - ahead)
        if (subjectEnd <= ownEnd) expect(entry.renewAt).toBe(entry.deadAt)
        expect(entry.renewAt).toBeLessThanOrEqual(entry.deadAt)
      }),
    )
  })
})

describe('createTokenCache', () => {
  const secret = { scheme: 'Bearer' as const, token: 'token' }
  const entry = { secret, renewAt: 1, deadAt: 2, unproven: false, handedOut: false, basis: undefined }

  it('drops the entry used least recently, and counts that alone', () => {
    const onEviction = vi.fn()
    const cache = createTokenCache(2, onEviction)
    cache.set('first', entry)
    cache.set('second', entry)
    cache.set('second', { ...entry })
    cache.get('first')
    expect(onEviction).not.toHaveBeenCalled()

    cache.set('third', entry)

    expect(['first', 'second', 'third'].map((key) => cache.get(key))).toEqual([entry, undefined, entry])
    expect(onEviction).toHaveBeenCalledTimes(1)
  })
})
