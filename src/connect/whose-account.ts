import { afterPatience, sleepThrough, type Clock } from '../clock.js'
import type { ConnectConfig, NextcloudConfig } from '../config/config.js'
import { claimOfRule, expectedUserId, nameOfRule } from '../config/identity-rule.js'
import type { OfPerson } from '../events.js'
import type { FreshCredentials } from '../nextcloud/fresh-credentials.js'
import type { SignIns } from '../nextcloud/sign-ins.js'
import type { Secret } from '../nextcloud/credential.js'
import type { NextcloudUser } from '../nextcloud/users.js'
import type { ConnectedAccount, ConnectingUser, IdentityRule } from '../options.js'
import type { Purpose } from './tickets.js'

/** A credential that Nextcloud has just given, and what came with it. */
export interface FreshCredential {
  readonly secret: Secret
  /** Login name of an app password. */
  readonly loginName?: string
  /** The address that Nextcloud gives itself. */
  readonly server?: string
  /** `user_id` beside an access token, if there is one. Nextcloud must say the same when it is asked. */
  readonly userId?: unknown
}

/** The rooms that the question needs. */
export interface AccountRooms {
  readonly connect: Pick<ConnectConfig, 'identity'>
  readonly nextcloud: Pick<NextcloudConfig, 'url'>
  readonly freshCredentials: Pick<FreshCredentials, 'accountOf'>
  readonly signIns: Pick<SignIns, 'refused' | 'isBarred'>
  readonly clock: Clock
}

/** Milliseconds for which Nextcloud is asked, and for which the app's function may think. */
const PATIENCE = 10_000
const PAUSE = 500

/**
 * Asks Nextcloud whose account a fresh credential opens, and the rule (`connect.identity`) whether that is the MCP user's. It never
 * rejects: without a clear yes, the answer is no.
 *
 * @returns what the operator is told of a no; undefined for a yes, and where there is no rule
 */
export async function whyNotTheirs(
  rooms: AccountRooms,
  credential: FreshCredential,
  purpose: Purpose,
): Promise<(OfPerson & { readonly hint: string }) | undefined> {
  const rule = rooms.connect.identity
  if (rule === undefined || rule === 'anyone') return undefined
  const { identity, clientId } = purpose
  const who = Object.freeze({ ...identity, clientId, claims: Object.freeze({ ...purpose.claims }) })
  const user = await askFor(rooms, credential.secret, identity)
  const { loginName, userId } = credential
  const found = { ...identity, clientId, rule: nameOfRule(rule), ...(loginName !== undefined && { loginName }) }
  if (typeof user === 'string') return { ...found, hint: NO_ACCOUNT[user] }
  const isTwo = userId !== undefined && userId !== user.id
  const hint = isTwo ? TWO_ACCOUNTS : await whyNot(rooms, rule, accountOf(rooms, user, credential), who)
  return hint === undefined ? undefined : { ...found, userId: user.id, hint }
}

const NO_ACCOUNT = {
  refused: 'Nextcloud does not take the credential that it has just given: is the account disabled?',
  barred:
    'Nextcloud refused so many app passwords of this user within 30 minutes that it is not asked about another one: one more, and it may turn all users away.',
  unavailable: 'Nextcloud does not say whose account it is (/ocs/v2.php/cloud/user), asked for 10 seconds.',
}
const TWO_ACCOUNTS = 'Nextcloud names one account with the token and another when it is asked with that token.'

/** Asks until there is an answer, as long as there is time. */
async function askFor(
  { freshCredentials, signIns, clock }: AccountRooms,
  secret: Secret,
  identity: Purpose['identity'],
): Promise<NextcloudUser | keyof typeof NO_ACCOUNT> {
  if (secret.scheme === 'Basic' && signIns.isBarred(identity)) return 'barred'
  let until = clock.monotonic() + PATIENCE
  for (let left = PATIENCE; left > 0; left = until - clock.monotonic()) {
    const answer = await within(clock, left, freshCredentials.accountOf(secret))
    // Asking again would be one more wrong password, and too many lock this server out.
    if (answer === 'refused' && secret.scheme === 'Basic') signIns.refused(identity)
    if (answer !== undefined) return answer
    until += await sleepThrough(clock, Math.max(1, Math.min(PAUSE, until - clock.monotonic())))
  }
  return 'unavailable'
}

/** Returns what the operator is told of a no; undefined for a yes. */
async function whyNot(
  { clock }: AccountRooms,
  rule: Exclude<IdentityRule, 'anyone'>,
  account: ConnectedAccount,
  who: ConnectingUser,
): Promise<string | undefined> {
  if (typeof rule === 'function') {
    try {
      // Only true is a yes: an async function may forget to return anything.
      const answer = await within<unknown>(clock, PATIENCE, Promise.resolve(rule(account, who)))
      return answer === true ? undefined : 'connect.identity did not say true within 10 seconds.'
    } catch (error) {
      return `connect.identity failed: ${error instanceof Error ? error.message : 'no Error was thrown'}`
    }
  }
  const expected = expectedUserId(rule, who)
  if (expected === undefined) return noClaim(String(claimOfRule(rule)))
  // To the letter: Nextcloud takes user ids in any case at a sign-in, and names them in the one spelling that it stores.
  return expected === account.userId ? undefined : OTHER_ACCOUNT
}

const OTHER_ACCOUNT =
  'The user id in Nextcloud is not the one that connect.identity expects of this user: somebody else agreed, or the rule is not the one by which user ids come about there.'

const noClaim = (name: string): string =>
  `connect.identity compares the claim ${name}, which is missing, empty, no string or not verified (email_verified is not true) in the ID token (or, without a sign-in on the way, in the MCP token of the link): have the authorization server add it.`

function accountOf(
  { nextcloud }: AccountRooms,
  { id, email, displayName }: NextcloudUser,
  { loginName = id, server = '' }: FreshCredential,
): ConnectedAccount {
  return Object.freeze({
    userId: id,
    loginName,
    server: server === '' ? nextcloud.url.href : server,
    displayName,
    ...(email !== undefined && { email }),
  })
}

/** The outcome of work, or undefined when it takes longer than so many milliseconds. */
function within<T>(clock: Clock, ms: number, work: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const stop = afterPatience(clock, ms, () => resolve(undefined))
    work.then(resolve, reject).finally(stop)
  })
}
