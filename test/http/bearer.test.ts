import fc from 'fast-check'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { InvalidRequestError, UnauthorizedError } from '../../src/errors/errors.js'
import { parseToken, readAuthorization } from '../../src/http/bearer.js'

const parseBearer = (header: string) => parseToken(header, 'bearer ')

/** A request with these header lines, as Node would have read it. */
function requestWith(...lines: [name: string, value: string][]): IncomingMessage {
  const req = new IncomingMessage(new Socket())
  req.rawHeaders = lines.flat()
  const first = lines.find(([name]) => name.toLowerCase() === 'authorization')
  if (first !== undefined) req.headers.authorization = first[1]
  return req
}

const B64_CHARACTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/'.split('')

/** RFC 6750 §2.1: 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=" */
const b64token = fc
  .tuple(
    fc.string({ unit: fc.constantFrom(...B64_CHARACTERS), minLength: 1, maxLength: 200 }),
    fc.string({ unit: fc.constant('='), maxLength: 3 }),
  )
  .map((parts) => parts.join(''))

const scheme = fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }).map((upper) =>
  'bearer'
    .split('')
    .map((letter, index) => (upper[index] === true ? letter.toUpperCase() : letter))
    .join(''),
)

const optionalSpace = fc.string({ unit: fc.constantFrom(' ', '\t'), maxLength: 3 })

/** Any text, and much that is nearly right. */
const anyHeader = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .tuple(scheme, fc.constantFrom(' ', '  ', '\t', ',', ''), fc.string({ unit: 'binary' }))
    .map((parts) => parts.join('')),
  fc
    .tuple(scheme, fc.constant(' '), b64token, fc.string({ unit: 'grapheme', maxLength: 4 }))
    .map((parts) => parts.join('')),
)

describe('parseToken', () => {
  it('gives back any token, whatever the case of the scheme and the space round it', () => {
    fc.assert(
      fc.property(
        optionalSpace,
        scheme,
        optionalSpace,
        b64token,
        optionalSpace,
        (before, name, space, token, after) => {
          expect(parseBearer(`${before}${name} ${space}${token}${after}`)).toBe(token)
        },
      ),
    )
  })

  it('gives a token that stands in the header, nothing or an error, for any text at all', () => {
    fc.assert(
      fc.property(anyHeader, (header) => {
        const outcome = outcomeOf(() => parseBearer(header))
        if (typeof outcome === 'string') {
          expect(header).toContain(outcome)
          expect(outcome).toMatch(/^[^ \t,]+$/)
        } else {
          expect([undefined, InvalidRequestError]).toContain(outcome)
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it('never takes a token that something follows', () => {
    const separator = fc.constantFrom(' ', '\t', ',', ', ', '  ', ' ,')
    const junk = fc.string({ unit: fc.constantFrom(...B64_CHARACTERS, ',', '"', '=', ';'), minLength: 1 })
    fc.assert(
      fc.property(b64token, separator, junk, (token, between, rest) => {
        expect(outcomeOf(() => parseBearer(`Bearer ${token}${between}${rest}`))).toBe(InvalidRequestError)
      }),
    )
  })

  it.each(['', ' ', 'Bearer', 'bearer ', 'Basic abc', 'Bearerabc', 'Bearer\tabc', 'DPoP abc', 'abc', '"Bearer abc"'])(
    'finds another scheme than Bearer in %j',
    (header) => {
      expect(outcomeOf(() => parseBearer(header))).toBeUndefined()
    },
  )

  it.each(['DPoP abc', 'dpop abc', ' DPOP  abc '])('reads a token of the scheme DPoP from %j', (header) => {
    expect(parseToken(header, 'dpop ')).toBe('abc')
  })

  it.each(['Bearer abc', 'DPoP', 'DPoPabc', 'DPoP\tabc'])('finds another scheme than DPoP in %j', (header) => {
    expect(parseToken(header, 'dpop ')).toBeUndefined()
  })

  it.each([
    'Bearer a b',
    'Bearer a\tb',
    'Bearer a,b',
    'Bearer a,',
    'Bearer ,a',
    'Bearer a, Bearer b',
    'Bearer a="b" c',
  ])('calls %j malformed credentials', (header) => {
    expect(outcomeOf(() => parseBearer(header))).toBe(InvalidRequestError)
  })

  it('takes its time in proportion to the header, also for one that nearly matches', () => {
    const token = `${'a'.repeat(100_000)}${'='.repeat(100_000)}`

    expect(parseBearer(`Bearer ${token}`)).toBe(token)
    expect(outcomeOf(() => parseBearer(`Bearer ${token} !`))).toBe(InvalidRequestError)
  })
})

describe('readAuthorization', () => {
  it('finds no credentials in a request without an Authorization header', () => {
    expect(outcomeOf(() => readAuthorization(requestWith(['Accept', '*/*'])))).toBe(UnauthorizedError)
  })

  it('reads the one Authorization header, and is not misled by others or by values that are called like it', () => {
    const req = requestWith(['X-Authorization', 'Bearer b'], ['X-A', 'authorization'], ['AUTHORIZATION', 'Bearer a'])

    expect(readAuthorization(req)).toBe('Bearer a')
  })

  it('refuses two Authorization headers, wherever they stand, however they are spelt and whatever they hold', () => {
    const spelling = fc.constantFrom('Authorization', 'authorization', 'AUTHORIZATION', 'authorizatioN')
    const credentials = fc.oneof(
      b64token.map((token) => `Bearer ${token}`),
      fc.constantFrom('', 'Basic abc'),
    )
    const authorization = fc.tuple(spelling, credentials)
    const others = fc.array(fc.tuple(fc.constantFrom('Accept', 'X-Authorization', 'Proxy-Authorize'), fc.string()))
    fc.assert(
      fc.property(others, authorization, others, authorization, others, (before, one, between, two, after) => {
        const req = requestWith(...before, one, ...between, two, ...after)

        expect(outcomeOf(() => readAuthorization(req))).toBe(InvalidRequestError)
      }),
    )
  })
})

/** What a function returns, or the class of what it throws. */
function outcomeOf(read: () => string | undefined): unknown {
  try {
    return read()
  } catch (error) {
    return (error as Error).constructor
  }
}
