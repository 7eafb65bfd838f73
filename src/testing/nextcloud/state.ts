import { fresh } from './exchange.js'
import { createFolder, type Folder } from './files.js'

/** A note of the app Notes. */
export interface Note {
  readonly id: number
  title: string
  content: string
  category: string
  modified: number
}

export interface Account {
  readonly uid: string
  password: string
  displayName: string
  email: string | null
  enabled: boolean
  /** `Database` or `user_oidc`. */
  readonly backend: string
  readonly groups: Set<string>
  readonly files: Folder
  /** Chunked uploads by their names. */
  readonly uploads: Folder
  readonly notes: Note[]
  /** Bytes. */
  quota: number | undefined
}

/** What signs an account in without its password: an app password, or an access token of the core app `oauth2`. */
export interface AuthToken {
  readonly id: number
  readonly kind: 'app-password' | 'oauth2'
  readonly uid: string
  readonly loginName: string
  password: string
  /** The name of the client, as among the devices and sessions of the account. */
  readonly name: string
  /** The account's password when it was made; undefined where Nextcloud did not learn it. */
  accountPassword: string | undefined
  /** Milliseconds since the epoch. */
  checkedAt: number
  /** Whether the account's password has changed since. */
  refused: boolean
  /** Milliseconds since the epoch; undefined: no end. */
  endsAt: number | undefined
}

/** The provider that `user_oidc` takes tokens of. */
export interface OidcProvider {
  readonly id: number
  readonly name: string
  clientId: string
  discoveryUri: string
  checkBearer: boolean
  bearerProvisioning: boolean
  mappingUid: string
  uniqueUid: boolean
}

/** Settings of an operator. */
export interface Settings {
  twoFactor: 'nobody' | 'everybody' | readonly string[]
  autoProvision: boolean
  readonly apps: Set<string>
}

/** A wrong sign-in. */
export interface Attempt {
  readonly action: string
  readonly address: string
  readonly name: string
  readonly at: number
}

/** What WebDAV, OCS and Notes answer from. */
export interface NextcloudState {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly settings: Settings
  readonly accounts: Map<string, Account>
  readonly tokens: AuthToken[]
  readonly providers: OidcProvider[]
  attempts: Attempt[]
  /** Paths of files that another request holds, as `uid/path`. */
  readonly locked: Set<string>
  readonly nextId: () => number
  /** What a new account has at first. */
  readonly welcome: (account: Account) => void
  /** Returns the account of a bearer token that Nextcloud issued itself. */
  readonly ownToken: (bearer: string) => Account | undefined
  /** Returns the account that a browser is signed in with. */
  readonly signedInBy: (cookie: string) => Account | undefined
}

/** The password of an account that a test did not give one. */
export const ACCOUNT_PASSWORD = 'wonderland-for-tests'

export function createState(
  now: () => number = Date.now,
  welcome: NextcloudState['welcome'] = () => undefined,
): NextcloudState {
  let id = 100
  return {
    now,
    settings: { twoFactor: 'nobody', autoProvision: true, apps: new Set(['notes', 'user_oidc']) },
    accounts: new Map(),
    tokens: [],
    providers: [],
    attempts: [],
    locked: new Set(),
    nextId: () => ++id,
    welcome,
    ownToken: () => undefined,
    signedInBy: () => undefined,
  }
}

/** Adds the provider whose tokens `user_oidc` takes. */
export function addProvider(
  state: NextcloudState,
  {
    issuer,
    clientId,
    uid = 'sub',
  }: { readonly issuer: string; readonly clientId: string; readonly uid?: string | undefined },
): void {
  state.providers.push({
    id: 1,
    name: 'provider',
    clientId,
    discoveryUri: `${issuer}/.well-known/openid-configuration`,
    checkBearer: true,
    bearerProvisioning: false,
    mappingUid: uid,
    uniqueUid: false,
  })
}

/** Adds an account, or changes the one that is there. */
export function addAccount(
  state: NextcloudState,
  uid: string,
  given: Partial<Pick<Account, 'password' | 'displayName' | 'email' | 'backend'>> = {},
): Account {
  const known = state.accounts.get(uid)
  const account: Account = known ?? {
    uid,
    password: ACCOUNT_PASSWORD,
    displayName: uid,
    email: null,
    enabled: true,
    backend: 'Database',
    groups: new Set(),
    files: createFolder(),
    uploads: createFolder(),
    notes: [],
    quota: undefined,
  }
  Object.assign(account, given)
  state.accounts.set(uid, account)
  if (known === undefined) state.welcome(account)
  return account
}

/** Makes what signs an account in. */
export function addToken(
  state: NextcloudState,
  given: Pick<AuthToken, 'kind' | 'uid' | 'name'> & Partial<AuthToken>,
): AuthToken {
  const token: AuthToken = {
    id: state.nextId(),
    loginName: given.uid,
    password: fresh(72),
    accountPassword: state.accounts.get(given.uid)?.password,
    checkedAt: state.now(),
    refused: false,
    endsAt: undefined,
    ...given,
  }
  state.tokens.push(token)
  return token
}

export function removeToken(state: NextcloudState, token: AuthToken): void {
  const at = state.tokens.indexOf(token)
  if (at !== -1) state.tokens.splice(at, 1)
}

/** Whether an account must take a second step that it cannot take by a request. */
export function needsSecondFactor({ settings: { twoFactor } }: NextcloudState, { groups }: Account): boolean {
  if (typeof twoFactor === 'string') return twoFactor === 'everybody'
  return twoFactor.some((group) => groups.has(group))
}

/** Finds the account of a login name, which may be its e-mail address. */
export const accountOf = (state: NextcloudState, name: string): Account | undefined =>
  state.accounts.get(name) ?? [...state.accounts.values()].find(({ email }) => email !== null && email === name)

/** A sign-in with the password makes the app passwords of the account good again. */
export function rememberPassword({ tokens, now }: NextcloudState, { uid, password }: Account): void {
  for (const token of tokens.filter((token) => token.uid === uid && token.accountPassword !== undefined))
    Object.assign(token, { accountPassword: password, refused: false, checkedAt: now() })
}
