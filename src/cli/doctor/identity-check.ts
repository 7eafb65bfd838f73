import { claimOfRule, expectedUserId, nameOfRule } from '../../config/identity-rule.js'
import type { IdentityRule } from '../../options.js'
import { waysToGive } from './words.js'
import { failed, leftOut, passed, type Verdict } from './check.js'
import type { Examination } from './examination.js'

/**
 * Compares the account that the credential of a user opens with the one that `connect.identity` expects of that user.
 *
 * @returns undefined where there is no such rule, or it lets anyone in
 */
export function judgeByRule(
  { config, secrets, verified, subject }: Pick<Examination, 'config' | 'secrets' | 'verified' | 'subject'>,
  userId: string,
): Verdict | undefined {
  const rule = config.grants?.connect?.identity
  if (rule === undefined || rule === 'anyone') return undefined
  const { quote } = secrets
  const who = { claims: {}, ...(verified ?? { subject: subject ?? '' }) }
  if (typeof rule === 'function') {
    return passed(
      `the account is ${quote(userId)}; whether it is this user's, only the app can tell`,
      fitting(who, userId),
    )
  }
  const expected = expectedUserId(rule, who)
  if (expected === undefined) return noClaim(String(claimOfRule(rule)), verified !== undefined)
  const byRule = `by the rule ${nameOfRule(rule)}`
  if (expected === userId) return passed(`${byRule}, the account ${quote(userId)} is this user's`)
  return failed(
    `${byRule}, this user's account is ${quote(expected)}, and the credential opens ${quote(userId)}`,
    `${fitting(who, userId) ?? 'see the user ids in occ user:list'}: set the rule by ${waysToGive('connect.identity')}. If it is right, this is another person's account: disconnect it`,
  )
}

function noClaim(claim: string, hasToken: boolean): Verdict {
  if (!hasToken) return leftOut(`connect.identity compares the claim ${claim}: give an MCP token by --token-file`)
  return failed(
    `connect.identity compares the claim ${claim}, which the MCP token does not have as a string`,
    'let the provider add it to the tokens: to the ID token, where users sign in there on the way',
  )
}

/** Claims that user ids are made of, and ids of providers in user_oidc that are tried. */
const CLAIMS = ['sub', 'preferred_username', 'email']
const MOST_PROVIDERS = 50

/** Returns the rule that fits this user, if there is one. */
function fitting(who: Parameters<typeof expectedUserId>[1], userId: string): string | undefined {
  const plain = CLAIMS.map((claim): IdentityRule => (claim === 'sub' ? 'sub' : { claim }))
  const hashed = Array.from({ length: MOST_PROVIDERS }, (_, index) => index + 1).flatMap((providerId) =>
    CLAIMS.map((claim): IdentityRule => ({ userOidc: { providerId, claim } })),
  )
  const rule = [...plain, ...hashed].find((each) => expectedUserId(each, who) === userId)
  return rule && `the rule ${nameOfRule(rule)} fits this user`
}
