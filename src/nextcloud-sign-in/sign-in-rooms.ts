import type { IncomingMessage } from 'node:http'
import type { Provider } from 'oidc-provider'
import type { CodeGrant } from '../authorization-server/code-grant.js'
import type { Deletions } from '../broker/deletions.js'
import type { Clock } from '../clock.js'
import type { Config, ConnectConfig, NextcloudConfig } from '../config/config.js'
import type { ClientName } from '../connect/client-names.js'
import type { FlowCookies } from '../connect/cookies.js'
import type { OneTimeRecords } from '../connect/one-time.js'
import type { Pages } from '../connect/pages/pages.js'
import type { Events } from '../events.js'
import type { Grants } from '../grants/open-grants.js'
import type { CodeShares } from '../local-options.js'
import type { FreshCredentials } from '../nextcloud/fresh-credentials.js'
import type { AddressShares } from '../http/address-shares.js'
import type { UnderWay } from '../under-way.js'
import type { QuestionCookies } from './question-cookies.js'
import type { SignInPages } from './sign-in-pages.js'
import type { UnusedClients } from './unused-clients.js'

/** An authorization request of an MCP client. */
export interface ForClient {
  /** Names the authorization request. */
  readonly interaction: string
  readonly clientId: string
  /** The person who was signed in here at the yes, with `GrantStore.withdrawals` at that moment. Undefined: nobody was. */
  readonly before?: { readonly user: string; readonly withdrawals: number } | undefined
}

/** What a person signs in for: an authorization request of an MCP client, or to see the page of connections. */
export type PurposeOfSignIn = ForClient | { readonly visit: true }

/** A person on the way to Nextcloud. */
export type PendingSignIn = PurposeOfSignIn & {
  readonly verifier: string
  /** Hash of the cookie of the browser that agreed. */
  readonly cookieHash: string
}

/**
 * The end of that way, which waits for the browser to fetch it: the user's id in Nextcloud and `GrantStore.withdrawals` at the sign-in, or
 * a no.
 */
export type SignInResult = { readonly user: string; readonly withdrawals: number } | { readonly denied: true }

/** The same, for the browser that went that way. */
export type BoundResult = SignInResult & {
  /** Name of its flow. */
  readonly flow: string
  readonly cookieHash: string
}

/** What Nextcloud says of a connection. `untold`: something in front of it has answered, or it does not say who the user is. */
export type Standing = 'taken' | 'refused' | 'untold'

/** The rooms that a sign-in needs. */
export interface SignInRooms {
  readonly config: Config
  readonly nextcloud: NextcloudConfig
  readonly connect: ConnectConfig
  readonly issuer: URL
  /** Scope → a sentence for the person. */
  readonly scopes: ReadonlyMap<string, string>
  readonly provider: () => Promise<Provider>
  /** Names an MCP client for a person. `req` is the request whose address is counted if a host must be asked. */
  readonly nameOf: (
    clientId: string,
    req: IncomingMessage,
  ) => Promise<{ readonly client: ClientName; readonly callsItself: string | undefined }>
  readonly codeGrant: CodeGrant
  readonly freshCredentials: FreshCredentials
  readonly deletions: Deletions
  readonly grants: Grants
  /** What Nextcloud says of a person's connection. Rejects with {@link UpstreamUnavailableError}. */
  readonly standingOf: (subject: string) => Promise<Standing>
  readonly pending: OneTimeRecords<PendingSignIn>
  readonly cookies: FlowCookies
  readonly questions: QuestionCookies
  readonly pages: Pages
  readonly signInPages: SignInPages
  readonly events: Events
  readonly clock: Clock
  readonly underWay: UnderWay
  readonly unusedClients: UnusedClients
  /** What each address may register. */
  readonly registrations: AddressShares
  /** The sign-ins that each address may begin, because each leaves a record in the store. */
  readonly authorizations: AddressShares
  /** The codes that each address may have sent to Nextcloud. */
  readonly codes: CodeShares
}
