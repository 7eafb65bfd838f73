import type { Clock } from '../../clock.js'
import type { Config } from '../../config/config.js'
import { claimOfRule, expectedUserId, nameOfRule } from '../../config/identity-rule.js'
import { createEvents } from '../../events.js'
import type { AppPassword, Identity } from '../../grants/grant.js'
import { createFreshCredentials } from '../../nextcloud/fresh-credentials.js'
import { createSignIns } from '../../nextcloud/sign-ins.js'
import type { IdentityRule } from '../../options.js'
import { createTransport } from '../../transport/transport.js'
import { Misuse } from '../command-line.js'
import type { Outcome } from './rows.js'

/** The accounts in Nextcloud that the users of an import are to have. */
export interface AccountRule {
  /** Its name in the report. */
  readonly name: string
  /** Whether any account will do. */
  readonly isAnyone: boolean
  /** The user id in Nextcloud; undefined: not known. */
  readonly expected: (subject: string) => string | undefined
}

/** A user whose app password opens another account than theirs. The ids are of Nextcloud. */
export interface Stranger {
  readonly subject: string
  readonly opens: string
  readonly expected: string
}

/** The question to Nextcloud whose account each app password opens. It ends where the answers do not come, or are not good. */
export interface Accounts {
  readonly rule: AccountRule
  /** Asks, and resolves to why a row is left; undefined: the account is the user's. */
  readonly whyNotTheirs: (user: Identity, appPassword: AppPassword) => Promise<Outcome | undefined>
  readonly strangers: readonly Stranger[]
  /** Why no more was asked, and the last user of whom it was; undefined: all were. */
  readonly stopped: () => { readonly why: 'refused' | 'full' | 'unasked'; readonly at: string } | undefined
  readonly close: () => void
}

/**
 * Returns the rule of the app. A store of the Python server has no claims, and a command line no functions.
 *
 * @throws {Misuse} the rule compares another claim than the subject
 */
export function accountRule(rule: IdentityRule | undefined): AccountRule {
  // A function stands here where the command line names no rule.
  const known = rule === undefined || typeof rule === 'function' ? 'sub' : rule
  const claim = claimOfRule(known)
  if (claim !== undefined && claim !== 'sub') {
    throw new Misuse(
      `the store of the Python server has no claim ${claim}, which connect.identity compares: name the accounts by --accounts`,
    )
  }
  return {
    name: nameOfRule(known),
    isAnyone: known === 'anyone',
    expected: (subject) => expectedUserId(known, { subject, claims: {} }),
  }
}

/**
 * Returns the rule of a list: lines `subject,userid`.
 *
 * @throws {Misuse} a line is something else, or names a subject again
 */
export function listedAccounts(text: string): AccountRule {
  const accounts = new Map<string, string>()
  for (const [index, line] of text.split('\n').entries()) {
    const [subject = '', userId = '', ...more] = line.split(',').map((part) => part.trim())
    if (subject === '' && userId === '') continue
    if (subject === '' || userId === '' || more.length > 0 || accounts.has(subject)) {
      throw new Misuse(`line ${index + 1} of --accounts is not subject,userid, or names its subject again`)
    }
    accounts.set(subject, userId)
  }
  return { name: '--accounts', isAnyone: false, expected: (subject) => accounts.get(subject) }
}

/** Failures of one kind without a success between, at which no more is asked. */
const MOST_IN_A_ROW = 3

/** Strangers named in the report. */
const MOST_NAMED = 1_000

export function createAccounts(rule: AccountRule, config: Config, clock: Clock): Accounts {
  const transport = createTransport(
    config.http,
    clock,
    createEvents(() => undefined, clock),
  )
  const signIns = createSignIns(clock)
  const nextcloud = { base: config.grants?.nextcloud ?? '' }
  const { accountOf } = createFreshCredentials({ nextcloud, transport })
  const inARow = { refused: 0, unasked: 0 }
  const strangers: Stranger[] = []
  let stopped: ReturnType<Accounts['stopped']>
  return {
    rule,
    async whyNotTheirs(identity, { loginName, password }) {
      const { subject } = identity
      const expected = rule.expected(subject)
      if (expected === undefined && !rule.isAnyone) return 'unlisted'
      if (stopped !== undefined) return 'unasked'
      const user = await accountOf({ scheme: 'Basic', loginName, password })
      if (user === undefined || user === 'refused') {
        const answer = user ?? 'unasked'
        inARow[answer] += 1
        if (answer === 'refused') signIns.refused(identity)
        // Nextcloud turns away good ones from here as well after more than 10.
        if (inARow[answer] >= MOST_IN_A_ROW) stopped = { why: answer, at: subject }
        else if (signIns.isFull(identity)) stopped = { why: 'full', at: subject }
        return answer
      }
      inARow.refused = inARow.unasked = 0
      // To the letter, as at a connection.
      if (expected === undefined || user.id === expected) return undefined
      if (strangers.length < MOST_NAMED) strangers.push({ subject, opens: user.id, expected })
      return 'stranger'
    },
    strangers,
    stopped: () => stopped,
    close: transport.close,
  }
}
