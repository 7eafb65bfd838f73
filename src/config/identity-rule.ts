import { hash } from 'node:crypto'
import { deepFreeze } from '../freeze.js'
import type { ConnectingUser, IdentityRule } from '../options.js'
import type { KindOf } from './kinds.js'
import { isPlainObject, refuse } from './values.js'

const SHAPES =
  "must be 'sub', { claim: 'preferred_username' }, { userOidc: { providerId: 1 } }, a function, or 'anyone'; in text: sub, claim:preferred_username, user_oidc:1, user_oidc:1:claim, anyone"

/** The rule by which the account of a fresh credential is that of the MCP user. */
export const identityRule: KindOf<IdentityRule> = {
  check: (given) => readRule(given.value) ?? refuse(given, SHAPES),
  fromText: (text) => ruleOfText(text) ?? text,
  values: ["'sub'", '{ claim }', '{ userOidc: { providerId, claim } }', '(account, who)', "'anyone'"],
}

function readRule(value: unknown): IdentityRule | undefined {
  if (typeof value === 'function' || value === 'sub' || value === 'anyone') return value as IdentityRule
  if (!isPlainObject(value) || Object.keys(value).length !== 1) return undefined
  const { claim, userOidc } = value
  if (isName(claim)) return { claim }
  if (!isPlainObject(userOidc)) return undefined
  const { providerId, claim: hashed = 'sub', ...others } = userOidc
  const isProvider = typeof providerId === 'number' && Number.isSafeInteger(providerId) && providerId >= 0
  if (!isProvider || !isName(hashed) || Object.keys(others).length > 0) return undefined
  return { userOidc: { providerId, claim: hashed } }
}

const isName = (value: unknown): value is string => typeof value === 'string' && value !== ''

/** Reads `sub`, `anyone`, `claim:NAME`, `user_oidc:ID` and `user_oidc:ID:NAME`. The name of a claim may hold colons. */
function ruleOfText(text: string): unknown {
  const [, claim] = /^claim:(.+)$/.exec(text) ?? []
  if (claim !== undefined) return { claim }
  const [, id, hashed] = /^user_oidc:(\d{1,15})(?::(.+))?$/.exec(text) ?? []
  return id === undefined ? undefined : { userOidc: { providerId: Number(id), ...(hashed && { claim: hashed }) } }
}

/** Names a rule as the environment does, for messages. */
export function nameOfRule(rule: IdentityRule): string {
  if (typeof rule === 'string') return rule
  if (typeof rule === 'function') return 'function'
  if ('claim' in rule) return `claim:${rule.claim}`
  const { providerId, claim = 'sub' } = rule.userOidc
  return claim === 'sub' ? `user_oidc:${providerId}` : `user_oidc:${providerId}:${claim}`
}

/** Returns the name of the claim that a rule compares; undefined if it compares none. */
export function claimOfRule(rule: IdentityRule): string | undefined {
  if (rule === 'sub') return 'sub'
  if (typeof rule !== 'object') return undefined
  return 'claim' in rule ? rule.claim : (rule.userOidc.claim ?? 'sub')
}

/** Scopes that ask for claims (OIDC Core §5.4). */
const SCOPE_OF_CLAIM: Readonly<Record<string, string>> = {
  preferred_username: 'profile',
  nickname: 'profile',
  name: 'profile',
  email: 'email',
  phone_number: 'phone',
}

/** The scopes with which a sign-in asks for the claim that a rule compares. */
export function scopesOfRule(rule: IdentityRule | undefined): readonly string[] {
  const name = rule && claimOfRule(rule)
  const scope = name !== undefined && Object.hasOwn(SCOPE_OF_CLAIM, name) ? SCOPE_OF_CLAIM[name] : undefined
  return scope === undefined ? [] : [scope]
}

/** Whether a rule may look at other claims than the subject, so that a sign-in may have to ask for them. */
export const readsClaims = (rule: IdentityRule | undefined): boolean =>
  typeof rule === 'function' || (rule !== undefined && (claimOfRule(rule) ?? 'sub') !== 'sub')

/** The claims of a token that a rule needs: one for the rule that names it, all for a function. Undefined: none. */
export function claimsForRule(
  rule: IdentityRule | undefined,
  claims: Readonly<Record<string, unknown>> | undefined,
): Readonly<Record<string, unknown>> | undefined {
  if (rule === undefined || claims === undefined) return undefined
  if (typeof rule === 'function') return deepFreeze(claims)
  const name = claimOfRule(rule)
  // The subject is known without its claim.
  if (name === undefined || name === 'sub') return undefined
  const value = valueOf(claims, name)
  return value === undefined ? undefined : Object.freeze({ [name]: value })
}

/**
 * Returns a claim. An e-mail address or a telephone number that anybody may have typed in counts for none (OIDC Core §5.1,
 * `email_verified`): where the provider says whether it is verified, only a yes is one.
 */
function valueOf(claims: Readonly<Record<string, unknown>>, name: string): unknown {
  if (!Object.hasOwn(claims, name)) return undefined
  const says = `${name}_verified`
  const isVerified = !Object.hasOwn(claims, says) || claims[says] === true || claims[says] === 'true'
  return isVerified ? claims[name] : undefined
}

/**
 * Returns the user id in Nextcloud that a rule expects of an MCP user; undefined if the claim that it compares is missing, empty, no
 * string or not verified. It is for the rules that compare.
 */
export function expectedUserId(
  rule: IdentityRule,
  { subject, claims }: Pick<ConnectingUser, 'subject' | 'claims'>,
): string | undefined {
  const name = claimOfRule(rule)
  if (name === undefined) return undefined
  const value = name === 'sub' ? subject : valueOf(claims, name)
  if (!isName(value)) return undefined
  return typeof rule === 'object' && 'userOidc' in rule ? userOidcId(rule.userOidc.providerId, value) : value
}

/** The user id that the app `user_oidc` makes of a claim by default (`--unique-uid=1`): `0` says that it is no ID4me. */
const userOidcId = (providerId: number, value: string): string => hash('sha256', `${providerId}_0_${value}`)
