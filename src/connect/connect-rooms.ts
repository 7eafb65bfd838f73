import type { IncomingMessage } from 'node:http'
import type { AuthorizationSecrets } from '../authorization-server/authorization-request.js'
import type { CodeGrant } from '../authorization-server/code-grant.js'
import type { Broker } from '../broker/broker.js'
import type { Disconnect } from '../broker/disconnect.js'
import type { Clock } from '../clock.js'
import type { Config, ConnectConfig, NextcloudConfig } from '../config/config.js'
import type { ConnectFailureReason, Events, OfRefusal } from '../events.js'
import type { Identity } from '../grants/grant.js'
import type { Grants } from '../grants/open-grants.js'
import type { AppPasswords } from '../nextcloud/app-passwords.js'
import type { VerifyIdToken } from '../verify/id-token.js'
import type { Allowance } from './allowance.js'
import type { Outcome, PageHandler } from './browser.js'
import type { FlowCookies } from './cookies.js'
import type { OneTimeRecords } from './one-time.js'
import type { Page } from './pages/document.js'
import type { Pages } from './pages/pages.js'
import type { Purpose, Ticket, Tickets } from './tickets.js'

/** The rooms that connecting needs. */
export interface ConnectRooms {
  readonly config: Config
  readonly nextcloud: NextcloudConfig
  readonly connect: ConnectConfig
  readonly grants: Grants
  /** Undefined if no user signs in at the authorization server. */
  readonly codeGrant: CodeGrant | undefined
  readonly appPasswords: AppPasswords
  readonly verifyIdToken: VerifyIdToken
  /** Fetches the keys that ID tokens are verified with, unless they are there. */
  readonly loadKeys: () => Promise<void>
  readonly broker: Pick<Broker, 'forget' | 'tryAgain'>
  readonly disconnect: Disconnect
  readonly events: Events
  readonly clock: Clock
  /** Called when a user has connected, so that whoever waits for that goes on. */
  readonly onConnected: (identity: Identity) => void
}

/** A user on the way to the authorization server. */
export interface PendingAuthorization extends Purpose, Pick<AuthorizationSecrets, 'nonce' | 'verifier'> {
  /** Hash of the cookie of the browser that agreed. */
  readonly cookieHash: string
}

/** The offer to disconnect, on the page that says "Connected". */
export interface DisconnectOffer {
  readonly identity: Identity
  /** Undefined where consent is per user. */
  readonly clientId: string | undefined
  readonly cookieHash: string
}

/** The rooms that the handlers of the pages need. Each names those that it uses. */
export interface PageRooms extends Omit<ConnectRooms, 'codeGrant'> {
  /** Origin of `resource`, which serves the pages. */
  readonly origin: string
  readonly tickets: Tickets
  readonly allowance: Allowance
  readonly pending: OneTimeRecords<PendingAuthorization>
  readonly offers: OneTimeRecords<DisconnectOffer>
  readonly cookies: FlowCookies
  readonly pages: Pages
  readonly report: Report
  /** Reports it, and returns the page that says so. */
  readonly failed: (reason: ConnectFailureReason, page: Page, details?: OfRefusal) => Outcome
}

/** Reports to the operator that nothing was connected, and what the authorization server said if it refused. */
export type Report = (reason: ConnectFailureReason, details?: OfRefusal) => void

/** The way from a user's "yes" to a stored connection. */
export interface Way {
  /**
   * The scopes that the page with the question shows.
   *
   * @throws {UpstreamUnavailableError} the authorization server cannot be asked for what it knows
   */
  readonly scopes: () => Promise<readonly string[]>
  /** Prepares the first step. Whatever can fail comes here, before the ticket is spent, so that the user can simply try again. */
  readonly begin: (ticket: Ticket, req: IncomingMessage) => Promise<Beginning>
  /** Handlers of the pages to which the other servers lead back, by the last part of their path. */
  readonly handlers: { readonly callback?: PageHandler; readonly login?: PageHandler }
}

/** The first step, prepared. */
export type Beginning = Outcome & {
  /** Deletes what was stored for it, because another answer has spent the ticket. */
  readonly undo: () => Promise<void>
}
