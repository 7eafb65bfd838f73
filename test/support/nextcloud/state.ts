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

/** A browser. */
export interface Session {
  readonly id: string
  readonly requestToken: string
  uid: string | undefined
  loginName: string
  /** What flows and apps keep in it. */
  readonly kept: Map<string, string>
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

/** A client of the app `oidc`, or of the core app `oauth2`. */
export interface OAuthClient {
  readonly id: number
  readonly name: string
  readonly clientId: string
  readonly secret: string
  readonly redirectUris: readonly string[]
  readonly isPublic?: boolean
  readonly jwt?: boolean
  readonly resourceUrl?: string
  /** Milliseconds since the epoch, of one that registered itself. */
  readonly endsAt?: number
  readonly registrationToken?: string
}

/** Settings that a test or an operator changes. */
export interface Settings {
  maintenance: boolean
  upgradeDue: boolean
  /** Undefined: any. */
  trustedDomains: readonly string[] | undefined
  twoFactor: 'nobody' | 'everybody' | readonly string[]
  /** Patterns of `core.login_flow_v2.allowed_user_agents`. */
  allowedUserAgents: readonly RegExp[]
  autoProvision: boolean
  oidcProviderBearerValidation: boolean
  dynamicRegistration: boolean
  readonly apps: Set<string>
}

/** A wrong sign-in. */
export interface Attempt {
  readonly action: string
  readonly address: string
  readonly name: string
  readonly at: number
}

export interface NextcloudState {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly settings: Settings
  readonly accounts: Map<string, Account>
  readonly tokens: AuthToken[]
  readonly sessions: Map<string, Session>
  readonly providers: OidcProvider[]
  readonly oidcClients: OAuthClient[]
  readonly oauth2Clients: OAuthClient[]
  attempts: Attempt[]
  /** Paths of files that another request holds, as `uid/path`. */
  readonly locked: Set<string>
  readonly nextId: () => number
  /** What a new account has at first. */
  readonly welcome: (account: Account) => void
}

/** The password of an account that a test did not give one. */
export const ACCOUNT_PASSWORD = 'wonderland-for-tests'

export function createState(now: () => number, welcome: NextcloudState['welcome'] = () => undefined): NextcloudState {
  let id = 100
  return {
    now,
    settings: {
      maintenance: false,
      upgradeDue: false,
      trustedDomains: undefined,
      twoFactor: 'nobody',
      allowedUserAgents: [],
      autoProvision: true,
      oidcProviderBearerValidation: false,
      dynamicRegistration: false,
      apps: new Set(['notes', 'oauth2', 'oidc', 'user_oidc']),
    },
    accounts: new Map(),
    tokens: [],
    sessions: new Map(),
    providers: [],
    oidcClients: [],
    oauth2Clients: [],
    attempts: [],
    locked: new Set(),
    nextId: () => ++id,
    welcome,
  }
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
