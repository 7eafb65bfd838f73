import { createState as createCore } from '../../../src/testing/nextcloud/state.js'
import type { Account, NextcloudState as Core, Settings as CoreSettings } from '../../../src/testing/nextcloud/state.js'
import { oidcAppAccount } from './oidc-rows.js'

export {
  ACCOUNT_PASSWORD,
  accountOf,
  addAccount,
  addProvider,
  addToken,
  rememberPassword,
  removeToken,
} from '../../../src/testing/nextcloud/state.js'
export type { Account, AuthToken, OidcProvider } from '../../../src/testing/nextcloud/state.js'

/** A browser. */
export interface Session {
  readonly id: string
  readonly requestToken: string
  uid: string | undefined
  loginName: string
  /** What flows and apps keep in it. */
  readonly kept: Map<string, string>
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
export interface Settings extends CoreSettings {
  maintenance: boolean
  upgradeDue: boolean
  /** Undefined: any. */
  trustedDomains: readonly string[] | undefined
  /** Patterns of `core.login_flow_v2.allowed_user_agents`. */
  allowedUserAgents: readonly RegExp[]
  oidcProviderBearerValidation: boolean
  dynamicRegistration: boolean
}

/** What the published fake answers from, and what sign-ins and their apps do. */
export interface NextcloudState extends Core {
  readonly settings: Settings
  readonly sessions: Map<string, Session>
  readonly oidcClients: OAuthClient[]
  readonly oauth2Clients: OAuthClient[]
}

const COOKIE = /(?:^|; )nc_session_id=([^;]+)/

/** Finds the browser of a `Cookie` header. */
export const sessionOfCookie = ({ sessions }: Pick<NextcloudState, 'sessions'>, cookie = ''): Session | undefined =>
  sessions.get(COOKIE.exec(cookie)?.[1] ?? '')

export function createState(now: () => number, welcome?: (account: Account) => void): NextcloudState {
  const core = createCore(now, welcome)
  for (const app of ['oauth2', 'oidc']) core.settings.apps.add(app)
  const state: NextcloudState = {
    ...core,
    settings: {
      ...core.settings,
      maintenance: false,
      upgradeDue: false,
      trustedDomains: undefined,
      allowedUserAgents: [],
      oidcProviderBearerValidation: false,
      dynamicRegistration: false,
    },
    sessions: new Map(),
    oidcClients: [],
    oauth2Clients: [],
    ownToken: (bearer) => (state.settings.oidcProviderBearerValidation ? oidcAppAccount(state, bearer) : undefined),
    signedInBy: (cookie) => state.accounts.get(sessionOfCookie(state, cookie)?.uid ?? ''),
  }
  return state
}
