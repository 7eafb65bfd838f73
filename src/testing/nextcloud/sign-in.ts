import { basicOf, bearerOf, type Asked } from './exchange.js'
import { accountOf, addAccount, rememberPassword } from './state.js'
import type { Account, AuthToken, NextcloudState } from './state.js'
import { userOidcAccount } from './user-oidc.js'

/** Who asks, and by which credential. */
export type Caller =
  | { readonly is: 'nobody'; readonly bearer: boolean }
  /** A wrong name or password. */
  | { readonly is: 'wrong' }
  /** Too many of those came from this address. */
  | { readonly is: 'throttled' }
  | SignedIn

export interface SignedIn {
  readonly is: 'account'
  readonly account: Account
  readonly by: 'password' | 'app-password' | 'oauth2' | 'oidc-app' | 'user-oidc' | 'session'
  /** Whether it came as Basic: such requests need `OCS-APIRequest` at OCS. */
  readonly basic: boolean
  readonly token?: AuthToken
}

/** Wrong sign-ins of one address that are still answered, and how long each counts, in milliseconds. */
const MOST_WRONG = 10
const WRONG_LIFE = 30 * 60_000
/** Milliseconds after which the account's password is looked at again. */
const CHECKED_FOR = 5 * 60_000

/** Whether an address has made too many wrong attempts of a kind. */
export function isThrottled(state: NextcloudState, action: string, address: string): boolean {
  state.attempts = state.attempts.filter(({ at }) => state.now() < at + WRONG_LIFE)
  return (
    state.attempts.filter((attempt) => attempt.action === action && attempt.address === address).length > MOST_WRONG
  )
}

export async function callerOf(state: NextcloudState, asked: Asked): Promise<Caller> {
  const basic = basicOf(asked)
  if (basic !== undefined) return byBasic(state, asked, basic)
  const bearer = bearerOf(asked)
  if (bearer !== undefined) return (await byBearer(state, bearer)) ?? { is: 'nobody', bearer: true }
  return bySession(state, asked) ?? { is: 'nobody', bearer: false }
}

function byBasic(
  state: NextcloudState,
  { address }: Asked,
  { name, password }: { name: string; password: string },
): Caller {
  if (isThrottled(state, 'login', address)) return { is: 'throttled' }
  const found = byToken(state, password, name) ?? byPassword(state, name, password)
  if (found === undefined) state.attempts.push({ action: 'login', address, name, at: state.now() })
  else state.attempts = state.attempts.filter((attempt) => attempt.address !== address || attempt.name !== name)
  return found ?? { is: 'wrong' }
}

function byPassword(state: NextcloudState, name: string, password: string): SignedIn | undefined {
  const account = accountOf(state, name)
  if (account?.password !== password) return undefined
  rememberPassword(state, account)
  return { is: 'account', account, by: 'password', basic: true }
}

function byToken(state: NextcloudState, secret: string, name?: string): SignedIn | undefined {
  const token = state.tokens.find((each) => each.password === secret && (name === undefined || each.loginName === name))
  if (token === undefined || state.now() >= (token.endsAt ?? Infinity)) return undefined
  const account = state.accounts.get(token.uid) ?? addAccount(state, token.uid)
  if (state.now() >= token.checkedAt + CHECKED_FOR) {
    token.checkedAt = state.now()
    token.refused = token.accountPassword !== undefined && token.accountPassword !== account.password
  }
  if (token.refused) return undefined
  return { is: 'account', account, by: token.kind, basic: name !== undefined, token }
}

async function byBearer(state: NextcloudState, bearer: string): Promise<SignedIn | undefined> {
  const token = byToken(state, bearer)
  if (token !== undefined) return token
  if (!state.settings.apps.has('user_oidc')) return undefined
  const own = state.ownToken(bearer)
  if (own !== undefined) return { is: 'account', account: own, by: 'oidc-app', basic: false }
  const account = await userOidcAccount(state, bearer)
  return account && { is: 'account', account, by: 'user-oidc', basic: false }
}

function bySession(state: NextcloudState, asked: Asked): SignedIn | undefined {
  const account = state.signedInBy(asked.headers.cookie ?? '')
  return account && { is: 'account', account, by: 'session', basic: false }
}
