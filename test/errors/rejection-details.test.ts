import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { InvalidDpopProofError, InvalidTokenError, UpstreamUnavailableError } from '../../src/errors/errors.js'
import {
  isoTime,
  printableJson,
  readRejectionDetails,
  type RejectionDetails,
} from '../../src/errors/rejection-details.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE, signingKey } from '../support/scripted-authorization-server.js'
import { world, type World } from '../support/world.js'

/** Shows a value of a claim. */
function shown(found: unknown, token?: string): RejectionDetails {
  return readRejectionDetails({ found, sentence: (words) => `x is ${words}` }, token)
}

describe('a value that is shown', () => {
  it.each(['eyJ', 'eyJ.', 'eyJaaaaaa ', 'eyJaaaaaa.', 'a', '.', '-'])(
    'takes no time by the square of its length: %s',
    (part) => {
      const before = performance.now()

      const { message } = shown(part.repeat(200_000))

      expect(message.length).toBeLessThan(300)
      // By the square it would be minutes.
      expect(performance.now() - before).toBeLessThan(5_000)
    },
  )

  it.each([
    ['text', '"text"'],
    ['it "quotes"', '"it \\"quotes\\""'],
    [7, '7'],
    [1e300, '1e+300'],
    [true, 'true'],
    [null, 'null'],
  ])('is what it was: %j', (value, words) => {
    expect(shown(value)).toEqual({ found: [value], message: `x is ${words}` })
  })

  it.each([
    [{ a: 1 }, '[an object]'],
    [[['a']], '[a list]'],
    [[{ a: 1 }], '[an object]'],
    [Infinity, 'Infinity'],
    [NaN, 'NaN'],
  ])('is only named if it is neither text nor a number of JSON: %j', (value, name) => {
    expect(shown(value).found).toEqual([name])
  })

  it.each([
    ['a line', 'a\nb'],
    ['a carriage return', 'a\rb'],
    ['an escape', 'a\u001bb'],
    ['a null', 'a\0b'],
    ['a C1 control', 'a\u009bb'],
    ['a line separator', 'a\u2028b'],
    ['a paragraph separator', 'a\u2029b'],
    ['a turn to the left', 'a\u202eb'],
    ['a space without width', 'a\u200bb'],
    ['half of a character', 'a\ud800b'],
  ])('cannot forge a log by %s', (_name, value) => {
    expect(shown(value)).toEqual({ found: ['a\uFFFDb'], message: 'x is "a\uFFFDb"' })
  })

  it('is cut at 200 characters, and never in the middle of one', () => {
    expect(shown('a'.repeat(200)).found).toEqual(['a'.repeat(200)])
    expect(shown('a'.repeat(201)).found).toEqual([`${'a'.repeat(199)}…`])
    expect(shown(`${'a'.repeat(198)}😀b😀`).found).toEqual([`${'a'.repeat(198)}\uFFFD…`])
  })

  it('is one of ten at most, and the rest are counted', () => {
    const many = Array.from({ length: 12 }, (_, index) => index)
    const message = 'x is [0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more]'
    expect(shown(many)).toEqual({ found: many.slice(0, 10), message })
  })

  it.each([
    ['the token', 'a.token.of.its.own', 'a.token.of.its.own'],
    ['its signature', 'head.body.the-signature-of-it', 'the-signature-of-it'],
    ['any other token', undefined, 'eyJhbGciOiJFUzI1NiJ9.e30.AAAA'],
    ['the beginning of any other token', undefined, `eyJhbGciOiJFUzI1NiJ9.${'A'.repeat(400)}`],
    ['an encrypted token', undefined, 'eyJhbGciOiJkaXIifQ..iv.text.tag'],
  ])('is not %s', (_name, token, value) => {
    expect(shown(`see ${value}`, token).found).toEqual(['see [token]'])
  })

  it('may hold what is a token of a few characters, as words are', () => {
    expect(shown('account', 'acc').found).toEqual(['account'])
  })
})

it.each([
  [0, '1970-01-01T00:00:00Z'],
  [1_767_225_600.5, '2026-01-01T00:00:00.500Z'],
  [1e300, 1e300],
  [-1e300, -1e300],
  ['soon', 'soon'],
  [undefined, undefined],
])('the time of %j is %j', (seconds, time) => {
  expect(isoTime(seconds)).toBe(time)
})

describe('whatever a token claims', () => {
  let bed: World
  let stranger: Awaited<ReturnType<typeof signingKey>>
  beforeAll(async () => {
    bed = await world({ mode: 'none' })
    stranger = await signingKey('first')
    return bed.close
  })

  const LINES = ['\r\nINFO all is well', '\u001b[2J', '\u2028', '\u202etxt', 'eyJhbGciOiJFUzI1NiJ9.e30.AAAA', '"', '\\']
  const HOSTILE = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'binary', minLength: 150, maxLength: 400 }),
    // JSON has no other numbers, and no token can be made with them.
    fc.double({ noDefaultInfinity: true, noNaN: true }),
    fc.boolean(),
    fc.constantFrom(null, 1e300, -1e300, 0, RESOURCE, CLIENT_ID, ...LINES),
  )
  const VALUE = fc.oneof(HOSTILE, fc.array(HOSTILE, { maxLength: 30 }), fc.jsonValue())
  const NAMES = 'iss sub aud exp nbf iat cnf typ token_use nonce client_id azp scope'.split(' ')
  const CLAIMS = fc.dictionary(fc.constantFrom(...NAMES), VALUE)

  /** Expects one line of bounded length, of typed and bounded values, that shows nothing of the token. */
  function expectHarmless(details: RejectionDetails, token: string): void {
    const { message, claim, verified, found = [], expected = [], ...others } = details
    expect(others).toEqual({})
    expect(verified).toBeTypeOf('boolean')
    if (claim !== undefined) expect(claim).toMatch(/^\w{2,16}$/)
    expect(found.length).toBeLessThanOrEqual(10)
    expect(message.length).toBeLessThan(8_000)
    for (const value of [...found, ...expected]) {
      expect(['string', 'number', 'boolean'].includes(typeof value) || value === null).toBe(true)
      if (typeof value === 'string') expect(value.length).toBeLessThanOrEqual(200)
    }
    const text = JSON.stringify(details)
    for (const line of [message, ...found.map(String)]) expect(line).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u)
    const [, payload = '', signature = ''] = token.split('.')
    for (const secret of [token, payload, signature].filter(Boolean)) expect(text).not.toContain(secret)
  }

  async function detailsOf(token: string): Promise<RejectionDetails | undefined> {
    const auth = bed.open({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, allowedClients: ['only-this'] })
    const error: unknown = await auth.verify(token).catch((reason: unknown) => reason)
    if (error instanceof InvalidTokenError) return error.details
    // An introspection answer that is nonsense says nothing of the token.
    if (error instanceof Error && !(error instanceof UpstreamUnavailableError)) throw error
    return undefined
  }

  it('is told in one line, whether it was verified or not', async () => {
    await fc.assert(
      fc.asyncProperty(CLAIMS, fc.boolean(), async (claims, signed) => {
        const token = await bed.as.mint({ client_id: 'another', ...claims }, signed ? {} : { key: stranger })
        const details = await detailsOf(token)
        if (details === undefined) return
        // A longer token is refused before its signature is looked at.
        expect(details.verified).toBe(signed && token.length <= 16_384)
        expectHarmless(details, token)
      }),
      { numRuns: 150 },
    )
  })

  it('is told in one line, whatever stands in its header, a signature included', async () => {
    const good = await bed.as.mint()
    const [, payload = '', signature = ''] = good.split('.')
    const own = fc.constantFrom(signature, payload, `${payload}.${signature}`)
    await fc.assert(
      fc.asyncProperty(fc.oneof(VALUE, own), fc.oneof(fc.constant('ES256'), VALUE), async (kid, alg) => {
        const header = Buffer.from(JSON.stringify({ alg, kid })).toString('base64url')
        const token = `${header}.${payload}.${signature}`
        const details = await detailsOf(token)
        if (details !== undefined) expectHarmless(details, token)
      }),
      { numRuns: 150 },
    )
  })

  it('is told in one line, whatever an introspection answer says', async () => {
    const own = fc.constantFrom('opaque-token-1', 'see opaque-token-1!', ['opaque-token-1'])
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom(...NAMES, 'token_type'), fc.oneof(VALUE, own)), async (claims) => {
        bed.as.script('/introspect', { json: { sub: 'a', aud: 'x', exp: 9e9, ...claims, active: true } })
        const details = await detailsOf('opaque-token-1')
        if (details !== undefined) expectHarmless(details, 'opaque-token-1')
      }),
      { numRuns: 100 },
    )
  })
})

it('a proof that is refused without particulars is described by its message', () => {
  const error = new InvalidDpopProofError('jwk')

  expect(error.details).toEqual({ message: error.message })
})

describe('JSON for a terminal', () => {
  it('has no character that a terminal obeys, and means the same', () => {
    const value = { a: '\u001b\n\u009b\u2028\u2029\u202e\u200b\ud800\u{e0001}', ä: ['"\\'] }
    const json = printableJson(value, 2)

    expect(json.replaceAll('\n', '')).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u)
    expect(json).toContain('\n  "ä": [')
    expect(JSON.parse(json)).toEqual(value)
  })
})
