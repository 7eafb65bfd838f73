import { expect, it } from 'vitest'
import { essenceOf } from '../src/token-spelling.js'

it.each([
  ['a JWT is its header and payload', 'eyJhIjoxfQ.eyJiIjoyfQ.c2ln', 'eyJhIjoxfQ.eyJiIjoyfQ'],
  ['an opaque token with one dot is itself', 'eyJhIjoxfQ.secret', 'eyJhIjoxfQ.secret'],
  ['an encrypted token is itself', 'eyJhIjoxfQ.a.b.c.d', 'eyJhIjoxfQ.a.b.c.d'],
  ['a token without a dot is itself', 'eyJhIjoxfQ', 'eyJhIjoxfQ'],
  ['a token with dots that is no JWT is itself', 'a.b.c', 'a.b.c'],
])('%s', (_what, token, essence) => {
  expect(essenceOf(token)).toBe(essence)
})
