import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AuthorizationSecrets } from '../authorization-server/authorization-request.js'
import type { AuthorizationServerClient } from '../authorization-server/client.js'
import type { CodeGrant } from '../authorization-server/code-grant.js'
import type { Broker } from '../broker/broker.js'
import type { Deletions } from '../broker/deletions.js'
import type { Disconnect } from '../broker/disconnect.js'
import type { Clock } from '../clock.js'
import type { Config, ConnectConfig, NextcloudConfig } from '../config/config.js'
import type { NamedServers } from '../authorization-server/known-issuer.js'
import type { PerIssuer } from '../config/per-issuer.js'
import type { ConnectFailureReason, Events, OfPerson, OfRefusal } from '../events.js'
import type { Identity } from '../grants/grant.js'
import type { Grants } from '../grants/open-grants.js'
import type { CodeShares } from '../local-options.js'
import type { AppPasswords } from '../nextcloud/app-passwords.js'
import type { FreshCredentials } from '../nextcloud/fresh-credentials.js'
import type { SignIns } from '../nextcloud/sign-ins.js'
import type { FetchPublicDocument } from '../transport/public-document.js'
import type { VerifyIdToken } from '../verify/id-token.js'
import type { Allowance } from './allowance.js'
import type { Outcome, PageHandler } from './browser.js'
import type { ClientNames } from './client-names.js'
import type { FlowCookies } from './cookies.js'
import type { GivenAnswer, GivenAnswers } from './given-answers.js'
import type { OneTimeRecords } from './one-time.js'
import type { Page } from './pages/document.js'
import type { Pages } from './pages/pages.js'
import type { Purpose, Ticket, Tickets } from './tickets.js'

/** An authorization server at which users sign in, for one of two uses. */
export interface SignInServer {
  /** Undefined: its metadata names it. */
  readonly issuer: string | undefined
  readonly connection: CodeGrant
  /** For the page of connections: it asks who the user is, and for nothing else. */
  readonly identity: CodeGrant
  readonly client: Pick<AuthorizationServerClient, 'revoke'>
  readonly verifyIdToken: VerifyIdToken
  /** Fetches the keys that ID tokens are verified with, unless they are there. */
  readonly loadKeys: () => Promise<void>
}

/** The rooms that connecting needs. */
export interface ConnectRooms {
  readonly config: Config
  readonly providers: NamedServers
  readonly nextcloud: NextcloudConfig
  readonly connect: ConnectConfig
  readonly grants: Grants
  /** Undefined if no user signs in at an authorization server. */
  readonly servers: PerIssuer<SignInServer> | undefined
  readonly appPasswords: AppPasswords
  readonly freshCredentials: FreshCredentials
  readonly signIns: SignIns
  readonly deletions: Pick<Deletions, 'end' | 'discard' | 'leave' | 'expect' | 'forget' | 'stored'>
  /** The codes that each address may have sent to Nextcloud. */
  readonly codes: Pick<CodeShares, 'send'>
  readonly broker: Pick<Broker, 'forget' | 'tryAgain'>
  readonly disconnect: Disconnect
  readonly events: Events
  readonly clock: Clock
  /** Undefined where addresses cannot be checked. */
  readonly fetchDocument: FetchPublicDocument | undefined
  /** Called when a user has connected, so that whoever waits for that goes on. */
  readonly onConnected: (identity: Identity) => void
}

/** A person on the way to the authorization server. */
interface Pending extends Pick<AuthorizationSecrets, 'nonce' | 'verifier'> {
  /** Hash of the cookie of the browser that agreed. */
  readonly cookieHash: string
}

/** A user on the way to a connection. */
export interface PendingAuthorization extends Pending, Purpose {}

/** A person on the way to the page of connections, who may be anybody. */
export interface PendingVisit extends Pending {
  readonly visit: true
  /** The issuer at which the person signs in. Empty: the only one, whose metadata names it. */
  readonly issuer: string
}

/** The offer to disconnect, on the page that says "Connected". */
export interface DisconnectOffer {
  readonly identity: Identity
  /** Undefined where consent is per user. */
  readonly clientId: string | undefined
  readonly cookieHash: string
  /** `GrantStore.withdrawals` when it was made. */
  readonly withdrawals: number
}

/** A person who has signed in to see their connections. */
export interface SignedInVisitor {
  readonly identity: Identity
}

/** The rooms that the handlers of the pages need. Each names those that it uses. */
export interface PageRooms extends Omit<ConnectRooms, 'servers'> {
  /** Origin of `resource`, which serves the pages. */
  readonly origin: string
  readonly tickets: Tickets
  readonly allowance: Allowance
  readonly pending: OneTimeRecords<PendingAuthorization | PendingVisit>
  readonly offers: OneTimeRecords<DisconnectOffer>
  /** Those who have signed in to see their connections. */
  readonly visits: OneTimeRecords<SignedInVisitor>
  readonly cookies: FlowCookies
  /** Address of the page of connections; undefined where the resource itself has that path. */
  readonly overviewUrl: string | undefined
  readonly pages: Pages
  readonly clientNames: ClientNames
  readonly answers: GivenAnswers
  readonly report: Report
  /** Reports it, and returns the page that says so. */
  readonly failed: (reason: ConnectFailureReason, page: Page, details?: OfRefusal & OfPerson) => Outcome
}

/** Reports to the operator that nothing was connected, and what is known of the refusal or of the person. */
export type Report = (reason: ConnectFailureReason, details?: OfRefusal & OfPerson) => void

/** The way from a user's "yes" to a stored connection. */
export interface Way {
  /**
   * The scopes that the page with the question shows to a user.
   *
   * @throws {UpstreamUnavailableError} the authorization server cannot be asked for what it knows
   */
  readonly scopes: (purpose: Purpose) => Promise<readonly string[]>
  /** Prepares the first step. Whatever can fail comes here, before the ticket is spent, so that the user can simply try again. */
  readonly begin: (ticket: Ticket, req: IncomingMessage) => Promise<Beginning>
  /** Leads a browser on that has sent the same "yes" again: to the same login, or to the sign-in with a fresh state. */
  readonly again: (given: GivenAnswer, ticket: Ticket, visit: Visit) => Promise<Outcome>
  /** Ends the way of a "yes" that was withdrawn. */
  readonly abandon: (given: GivenAnswer) => Promise<void>
  /** Handlers of the pages to which the other servers lead back, by the last part of their path. */
  readonly handlers: { readonly callback?: PageHandler; readonly login?: PageHandler }
}

/** A request of a browser, and its answer. */
export interface Visit {
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

/** The first step, prepared. */
export type Beginning = Outcome & {
  readonly cookies: readonly string[]
  /** The secret of the login at Nextcloud that it has begun. */
  readonly login?: string
  /** Deletes what was stored for it, because another answer has spent the ticket. */
  readonly undo: () => Promise<void>
}
