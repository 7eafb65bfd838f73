import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cacheKey } from '../src/broker/token-cache.js'
import { formerKey, recordKey } from '../src/grants/record-key.js'
import { hashOfParts } from '../src/hash-of-parts.js'

type Input = [parts: string[], lists: string[][]]

/** Short texts out of what the encoding itself writes, so that one part can imitate the border to the next. */
const part = fc
  .array(fc.constantFrom('a', '0', '1', '2', ':', ';', '1:a', '0:', '1;', '\ud83d', '\ude00', '\ufffd', 'é', '\0'), {
    maxLength: 4,
  })
  .map((pieces) => pieces.join(''))
const input: fc.Arbitrary<Input> = fc.tuple(
  fc.array(part, { maxLength: 4 }),
  fc.array(fc.array(part, { maxLength: 3 }), { maxLength: 3 }),
)

function expectToDiffer(a: Input, b: Input): void {
  expect(hashOfParts(...a) === hashOfParts(...b)).toBe(JSON.stringify(a) === JSON.stringify(b))
}

function tuples<T>(values: readonly T[], length: number): T[][] {
  if (length === 0) return [[]]
  return tuples(values, length - 1).flatMap((start) => values.map((value) => [...start, value]))
}

describe('a hash of parts and lists', () => {
  it('is a short text, the same for the same ones', () => {
    fc.assert(
      fc.property(input, (given) => {
        expect(hashOfParts(...given)).toMatch(/^[\w-]{43}$/)
        expect(hashOfParts(...structuredClone(given))).toBe(hashOfParts(...given))
      }),
    )
  })

  it('differs for any two different ones', () => {
    fc.assert(fc.property(input, input, expectToDiffer), { numRuns: 1_000 })
  })

  it('differs for the same text cut at other places, into parts and into items', () => {
    const cuts = fc.array(fc.nat(12), { minLength: 3, maxLength: 3 }).map((places) => places.sort((a, b) => a - b))
    const cut = (text: string, [a, b, c]: number[]) => [
      text.slice(0, a),
      text.slice(a, b),
      text.slice(b, c),
      text.slice(c),
    ]
    fc.assert(
      fc.property(fc.array(part, { maxLength: 4 }), cuts, cuts, (pieces, first, second) => {
        const [one, other] = [cut(pieces.join(''), first), cut(pieces.join(''), second)]
        expectToDiffer([one, []], [other, []])
        expectToDiffer([[], [one]], [[], [other]])
      }),
      { numRuns: 1_000 },
    )
  })

  it('differs for all of 16,000 inputs of empty, short and look-alike parts', () => {
    const lists = [[], [''], ['a'], ['', ''], ['a', ''], ['', 'a'], ['aa'], ['1:a'], ['a', 'a'], ['\ud800']]
    const inputs = tuples(['', 'a'], 4).flatMap((parts) => tuples(lists, 3).map((three): Input => [parts, three]))
    expect(new Set(inputs.map((one) => hashOfParts(...one))).size).toBe(2 ** 4 * 10 ** 3)
  })

  it('differs for lone surrogates', () => {
    const hashes = ['\ud800', '\ud801', '\udc00', '\ufffd'].map((text) => hashOfParts([text]))
    expect(new Set(hashes).size).toBe(4)
  })
})

it('the key of a record never changes, because stored grants are found by it', () => {
  const owner = { clientId: 'client', resource: 'https://mcp.example.com', nextcloud: 'https://cloud.example.com/' }
  expect(recordKey('grant', owner, 'https://idp.example.com', 'alice')).toBe(
    'v1:Sl3SlwrpXWO9PJQPPT3n6oXW4Lap5PG9WSM0ozKptX4',
  )
  expect(formerKey('grant', owner, 'https://idp.example.com', 'alice')).toBe(
    'v1:yYdbw57YGeYOM3lKv_5Cw8Doc9ervIpNc4LEXbwn0Uc',
  )
})

it('the key of a cached token never changes', () => {
  const identity = {
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
  expect(cacheKey(identity)).toBe('K7gjanZ2LhpwoxBxSfcMgqlwxBkVRU0IfwSI_yN4OfY')
})
