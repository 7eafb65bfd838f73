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

/** Short texts out of what the encoding itself writes, so that one part can imitate the border to the next. */
const part = fc
  .array(fc.constantFrom('a', '0', '1', '2', ':', ';', '1:a', '0:', '1;', '\ud83d', '\ude00', '\ufffd', 'é', '\0'), {
    maxLength: 4,
  })
  .map((pieces) => pieces.join(''))
const list = fc.array(part, { maxLength: 3 })
const identity: fc.Arbitrary<TokenIdentity> = fc.record({
  issuer: part,
  subject: part,
  mode: part,
  tokenEndpoint: part,
  clientId: part,
  audience: list,
  resource: list,
  scopes: list,
  mcpToken: part,
})

const sameIdentity = (a: TokenIdentity, b: TokenIdentity): boolean =>
  JSON.stringify(fields(a)) === JSON.stringify(fields(b))
const fields = (value: TokenIdentity): unknown[] => [
  value.issuer,
  value.subject,
  value.mode,
  value.tokenEndpoint,
  value.clientId,
  value.mcpToken,
  value.audience,
  value.resource,
  value.scopes,
]

describe('cacheKey', () => {
  it('is the same for the same identity, and a short text', () => {
    fc.assert(
      fc.property(identity, (value) => {
        expect(cacheKey(structuredClone(value))).toBe(cacheKey(value))
        expect(cacheKey(value)).toMatch(/^[\w-]{43}$/)
      }),
    )
  })

  it('differs for any two different identities', () => {
    fc.assert(
      fc.property(identity, identity, (a, b) => {
        expect(cacheKey(a) === cacheKey(b)).toBe(sameIdentity(a, b))
      }),
      { numRuns: 1_000 },
    )
  })

  it('differs for neighbours whose texts are cut at other places', () => {
    const cuts = fc.array(fc.nat(12), { minLength: 5, maxLength: 5 })
    fc.assert(
      fc.property(fc.array(part, { maxLength: 4 }), cuts, cuts, (pieces, first, second) => {
        const text = pieces.join('')
        const [a, b] = [cutParts(text, first), cutParts(text, second)]
        expect(cacheKey(a) === cacheKey(b)).toBe(sameIdentity(a, b))
      }),
      { numRuns: 1_000 },
    )
  })

  it('differs for neighbours whose list items are in other lists, split, joined or cut at another place', () => {
    const cuts = fc.array(fc.nat(5), { minLength: 2, maxLength: 2 })
    fc.assert(
      fc.property(fc.array(part, { maxLength: 5 }), cuts, cuts, fc.nat(3), (items, first, second, joint) => {
        const [left = '', right = ''] = items.slice(joint, joint + 2)
        const joined = items.toSpliced(joint, 2, left + right)
        const moved = items.toSpliced(joint, 2, left + right.slice(0, 1), right.slice(1))
        const identities = [items, joined, moved].map((list) => cutLists(list, first)).concat(cutLists(items, second))
        for (const a of identities) {
          for (const b of identities) expect(cacheKey(a) === cacheKey(b)).toBe(sameIdentity(a, b))
        }
      }),
      { numRuns: 1_000 },
    )
  })

  it('differs for all of 64,000 identities of empty, short and look-alike parts', () => {
    const parts = ['', 'a']
    const lists = [[], [''], ['a'], ['', ''], ['a', ''], ['', 'a'], ['aa'], ['1:a'], ['a', 'a'], ['\ud800']]
    const keys = new Set<string>()
    for (const [issuer, subject, mode, tokenEndpoint, clientId, mcpToken] of tuples(parts, 6)) {
      for (const [audience, resource, scopes] of tuples(lists, 3)) {
        keys.add(
          cacheKey({
            issuer: issuer!,
            subject: subject!,
            mode: mode!,
            tokenEndpoint: tokenEndpoint!,
            clientId: clientId!,
            mcpToken: mcpToken!,
            audience: audience!,
            resource: resource!,
            scopes: scopes!,
          }),
        )
      }
    }
    expect(keys.size).toBe(2 ** 6 * 10 ** 3)
  })

  it.each(Object.keys(IDENTITY) as (keyof TokenIdentity)[])('changes with %s alone', (field) => {
    const value = IDENTITY[field]
    const other = typeof value === 'string' ? `${value}x` : [...value, 'x']
    expect(cacheKey({ ...IDENTITY, [field]: other })).not.toBe(cacheKey(IDENTITY))
  })

  it.each(['audience', 'resource', 'scopes'] as const)('tells no %s from an empty one', (field) => {
    expect(cacheKey({ ...IDENTITY, [field]: [] })).not.toBe(cacheKey({ ...IDENTITY, [field]: [''] }))
    expect(cacheKey({ ...IDENTITY, [field]: [''] })).not.toBe(cacheKey({ ...IDENTITY, [field]: ['', ''] }))
  })

  it('tells subjects apart that differ in a lone surrogate', () => {
    const keys = ['\ud800', '\ud801', '\udc00', '\ufffd'].map((subject) => cacheKey({ ...IDENTITY, subject }))
    expect(new Set(keys).size).toBe(4)
  })
})

function cutParts(text: string, cuts: readonly number[]): TokenIdentity {
  const [a, b, c, d, e] = [...cuts].sort((x, y) => x - y)
  return {
    issuer: text.slice(0, a),
    subject: text.slice(a, b),
    mode: text.slice(b, c),
    tokenEndpoint: text.slice(c, d),
    clientId: text.slice(d, e),
    mcpToken: text.slice(e),
    audience: [],
    resource: [],
    scopes: [],
  }
}

function cutLists(items: readonly string[], cuts: readonly number[]): TokenIdentity {
  const [a, b] = [...cuts].sort((x, y) => x - y)
  return { ...IDENTITY, audience: items.slice(0, a), resource: items.slice(a, b), scopes: items.slice(b) }
}

function tuples<T>(values: readonly T[], length: number): T[][] {
  if (length === 0) return [[]]
  return tuples(values, length - 1).flatMap((start) => values.map((value) => [...start, value]))
}

describe('tokenEntry', () => {
  const secret = { scheme: 'Bearer' as const, token: 'token' }
  const answer = (expiresIn: number | undefined, sentAt = 0) => ({ secret, expiresIn, sentAt, source: 'idp' as const })
  const life = (expiresIn: number | undefined, renewBefore: number, margin: number, subjectEndsAt: number) => {
    const entry = tokenEntry(answer(expiresIn), { renewBefore, margin }, subjectEndsAt)
    return entry && [entry.renewAt, entry.deadAt]
  }

  it('holds the secret, its basis and its life, counted from the request', () => {
    const basis = { version: '1', clients: [], checkedAt: 0 }
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

  it('keeps nothing with 0 entries', () => {
    const cache = createTokenCache(0, () => undefined)
    cache.set('first', entry)
    expect([cache.get('first'), cache.size]).toEqual([undefined, 0])
  })
})
