import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { claimsForRule, expectedUserId, identityRule, nameOfRule } from '../../src/config/identity-rule.js'
import { readConfig } from '../../src/config/read-config.js'
import type { IdentityRule } from '../../src/index.js'
import { CLIENT, LEAST, refusalOf } from '../support/refusal.js'

const MODE = { nextcloud: { url: 'https://cloud.example.com', mode: 'app-password' } }
const given = (identity?: unknown) => ({ ...LEAST, ...CLIENT, ...MODE, connect: { identity } })
const fromVariable = (text: string) =>
  readConfig(given(), { NEXTCLOUD_IDENTITY: text }).grants?.connect?.identity as IdentityRule
const hashed = (value: string) => createHash('sha256').update(value).digest('hex')

describe('connect.identity', () => {
  it.each([
    ['sub', 'sub'],
    ['anyone', 'anyone'],
    ['claim:preferred_username', { claim: 'preferred_username' }],
    ['claim:https://example.com/uid', { claim: 'https://example.com/uid' }],
    ['user_oidc:1', { userOidc: { providerId: 1, claim: 'sub' } }],
    ['user_oidc:23:email', { userOidc: { providerId: 23, claim: 'email' } }],
  ])('from the environment: %s', (text, rule) => {
    expect(fromVariable(text)).toEqual(rule)
    expect(nameOfRule(fromVariable(text))).toBe(text)
  })

  it.each([
    'subject',
    'SUB',
    'claim:',
    'claim',
    'user_oidc',
    'user_oidc:',
    'user_oidc:one',
    'user_oidc:1:',
    'function',
  ])('is refused by the name of its variable: %s', (text) => {
    expect(refusalOf(given(), { NEXTCLOUD_IDENTITY: text })?.message).toMatch(
      /^connect\.identity \(environment variable NEXTCLOUD_IDENTITY\) must be 'sub', /,
    )
  })

  it.each([
    'preferred_username',
    '',
    true,
    {},
    { claim: '' },
    { claim: 1 },
    { claim: 'email', userOidc: { providerId: 1 } },
    { userOidc: {} },
    { userOidc: 1 },
    { userOidc: { providerId: '1' } },
    { userOidc: { providerId: 1.5 } },
    { userOidc: { providerId: -1 } },
    { userOidc: { providerId: 1, claim: '' } },
    { userOidc: { providerId: 1, uniqueUid: true } },
  ])('is no rule: %j', (wrong) => {
    expect(refusalOf(given(wrong))).toMatchObject({ option: 'connect.identity' })
  })

  it('that is a function is named so, and is taken as it is', () => {
    const rule = () => true
    const option = { value: rule, name: 'connect.identity', option: 'connect.identity' }
    expect([identityRule.check(option), nameOfRule(rule)]).toEqual([rule, 'function'])
  })
})

describe('the user id that a rule expects', () => {
  const claims = { preferred_username: 'alice', email: '', sub: 'of the ID token', groups: ['alice'] }
  const who = { subject: 'a1b2', claims }

  it.each<[string, IdentityRule, string | undefined]>([
    ['the subject', 'sub', 'a1b2'],
    ['the claim', { claim: 'preferred_username' }, 'alice'],
    ['the subject, as a claim', { claim: 'sub' }, 'a1b2'],
    ['the hash of provider and subject', { userOidc: { providerId: 7 } }, hashed('7_0_a1b2')],
    [
      'the hash of provider and claim',
      { userOidc: { providerId: 7, claim: 'preferred_username' } },
      hashed('7_0_alice'),
    ],
    ['none, where the claim is missing', { claim: 'nickname' }, undefined],
    ['none, where the claim is missing, hashed', { userOidc: { providerId: 7, claim: 'nickname' } }, undefined],
    ['none, where the claim is empty', { claim: 'email' }, undefined],
    ['none, where the claim is no string', { claim: 'groups' }, undefined],
    ['none, where it is a name of every object', { claim: 'constructor' }, undefined],
    ['none, of anyone', 'anyone', undefined],
  ])('is %s', (_what, rule, expected) => {
    expect(expectedUserId(rule, who)).toBe(expected)
  })
})

it.each<[object, string | undefined]>([
  [{}, 'bob@example.com'],
  [{ email_verified: true }, 'bob@example.com'],
  [{ email_verified: 'true' }, 'bob@example.com'],
  ...[false, 'false', 'False', 0, '0', null, 'no', [], ['true'], 1, 'yes'].map(
    (says) => [{ email_verified: says }, undefined] as [object, undefined],
  ),
  [{ phone_number_verified: false }, 'bob@example.com'],
])('an e-mail address counts where the provider says nothing of it, or that it is verified: %j', (more, expected) => {
  const claims = { email: 'bob@example.com', ...more }
  const rule = { claim: 'email' }

  expect(expectedUserId(rule, { subject: 'mallory', claims })).toBe(expected)
  expect(claimsForRule(rule, claims)).toEqual(expected === undefined ? undefined : { email: expected })
})

it.each<[IdentityRule, readonly string[]]>([
  [{ claim: 'preferred_username' }, ['profile']],
  [{ claim: 'email' }, ['email']],
  [{ userOidc: { providerId: 1, claim: 'preferred_username' } }, ['profile']],
  [{ claim: 'uid' }, []],
  [{ claim: 'constructor' }, []],
  [{ userOidc: { providerId: 1 } }, []],
  ['sub', []],
  ['anyone', []],
  [() => true, []],
])('the sign-in asks for the claim that the rule %j compares', (identity, scopes) => {
  expect(readConfig(given(identity), {}).grants?.connect?.scopes).toEqual(scopes)
})

it('the sign-in asks for other scopes where the rule reads claims, and is refused where it reads none', () => {
  const withScopes = (identity: unknown) => ({ ...given(), connect: { identity, scopes: ['profile', 'uid'] } })

  for (const identity of [{ claim: 'uid' }, { userOidc: { providerId: 1, claim: 'uid' } }, () => true])
    expect(readConfig(withScopes(identity), {}).grants?.connect?.scopes).toEqual(['profile', 'uid'])
  for (const identity of ['sub', 'anyone', { userOidc: { providerId: 1 } }])
    expect(refusalOf(withScopes(identity))).toMatchObject({ option: 'connect.scopes' })
})

it('of the claims of a token a rule keeps what it needs', () => {
  const claims = { preferred_username: 'alice', email: 'alice@example.com', sub: 'a1b2' }
  const kept = (rule: IdentityRule) => claimsForRule(rule, claims)

  expect(kept({ claim: 'email' })).toEqual({ email: 'alice@example.com' })
  expect(kept({ userOidc: { providerId: 1, claim: 'email' } })).toEqual({ email: 'alice@example.com' })
  expect(kept(() => true)).toEqual(claims)
  for (const rule of ['sub', 'anyone', { claim: 'nickname' }, { userOidc: { providerId: 1 } }] as const)
    expect(kept(rule)).toBeUndefined()
})
