import { describe, expect, it } from 'vitest'
import type { Grant, ReplacedToken } from '../../src/grants/grant.js'
import { replacedBy, replacedIn } from '../../src/grants/replaced-tokens.js'
import { BARE } from './opened.js'

const NOW = 1_000
const BEFORE: Grant = { ...BARE, refreshToken: 'first' }
const appPassword = { loginName: 'alice', password: 'app-password' }
const NEXT = { refreshToken: 'next' }
const tokens = (count: number, length = 1): readonly ReplacedToken[] =>
  Array.from({ length: count }, (_, at) => ({ refreshToken: `${at}`.padEnd(length, 'x') }))

describe('the tokens that a new connection keeps for its end', () => {
  it.each<[what: string, connection: Pick<Grant, 'refreshToken'>, before: Grant, kept: readonly ReplacedToken[]]>([
    ['the one that makes way', NEXT, BEFORE, [{ refreshToken: 'first' }]],
    ['it with its end', NEXT, { ...BEFORE, refreshEndsAt: 2_000 }, [{ refreshToken: 'first', endsAt: 2_000 }]],
    ['none that has ended by itself', NEXT, { ...BEFORE, refreshEndsAt: NOW }, []],
    [
      'one that ends a moment later',
      NEXT,
      { ...BEFORE, refreshEndsAt: 1_001 },
      [{ refreshToken: 'first', endsAt: 1_001 }],
    ],
    [
      'those that it kept, the oldest first',
      NEXT,
      { ...BEFORE, replaced: tokens(1) },
      [...tokens(1), { refreshToken: 'first' }],
    ],
    ['not its own', { refreshToken: 'first' }, BEFORE, []],
    ['no app password', NEXT, { ...BARE, appPassword }, []],
    ['none of a grant without', NEXT, BARE, []],
    ['what was kept, where an app password comes, and not the last', {}, { ...BEFORE, replaced: tokens(1) }, tokens(1)],
    [
      'eight at most, the last',
      NEXT,
      { ...BEFORE, replaced: tokens(8) },
      [...tokens(8).slice(1), { refreshToken: 'first' }],
    ],
    ['16,000 characters at most', NEXT, { ...BARE, replaced: tokens(3, 8_000) }, tokens(3, 8_000).slice(1)],
    ['16,000 characters and not one more', NEXT, { ...BARE, replaced: tokens(2, 8_001) }, tokens(2, 8_001).slice(1)],
  ])('are %s', (_what, connection, before, kept) => {
    expect(replacedBy(connection, before, false, NOW)).toEqual(kept.length === 0 ? undefined : kept)
  })

  it('are only those of before where a token ends alone', () => {
    expect(replacedBy(NEXT, BEFORE, true, NOW)).toBeUndefined()
    expect(replacedBy(NEXT, { ...BEFORE, replaced: tokens(1) }, true, NOW)).toEqual(tokens(1))
  })
})

it('the tokens to end with a grant are those that have not ended by themselves', () => {
  const replaced = [{ refreshToken: 'a' }, { refreshToken: 'b', endsAt: NOW }, { refreshToken: 'c', endsAt: NOW + 1 }]
  expect(replacedIn({ ...BEFORE, replaced }, NOW)).toEqual([{ refreshToken: 'a' }, { refreshToken: 'c' }])
  expect(replacedIn(BEFORE, NOW)).toEqual([])
})
