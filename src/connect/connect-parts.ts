import type { CodeGrant } from '../authorization-server/code-grant.js'
import type { Broker } from '../broker/broker.js'
import type { Disconnect } from '../broker/disconnect.js'
import type { Clock } from '../clock.js'
import type { Config, ConnectConfig, NextcloudConfig } from '../config/config.js'
import { InternalError } from '../errors/errors.js'
import type { ConnectFailureReason, Events } from '../events.js'
import type { Identity } from '../grants/grant.js'
import type { Grants } from '../grants/open-grants.js'
import type { AppPasswords } from '../nextcloud/app-passwords.js'
import type { VerifyIdToken } from '../verify/id-token.js'
import type { Allowance } from './allowance.js'
import type { FlowCookies } from './cookies.js'
import type { Logins } from './login-flow.js'
import type { OneTimeRecords } from './one-time.js'
import type { Pages } from './pages/pages.js'
import type { Tickets } from './tickets.js'

/** The rooms that connecting needs. */
export interface ConnectRooms {
  readonly config: Config
  readonly nextcloud: NextcloudConfig
  readonly connect: ConnectConfig
  readonly grants: Grants
  /** Undefined where nobody signs in at the authorization server. */
  readonly codeGrant: CodeGrant | undefined
  readonly appPasswords: AppPasswords
  readonly verifyIdToken: VerifyIdToken
  /** Fetches the keys that ID tokens are verified with, unless they are there. */
  readonly loadKeys: () => Promise<void>
  readonly broker: Pick<Broker, 'forget'>
  readonly disconnect: Disconnect
  readonly events: Events
  readonly clock: Clock
  /** Called when a user has connected, so that whoever waits for that goes on. */
  readonly onConnected: (identity: Identity) => void
}

/** A user on the way to the authorization server. */
export interface PendingAuthorization {
  readonly identity: Identity
  readonly clientId: string
  readonly nonce: string
  /** PKCE `code_verifier`. */
  readonly verifier: string
  /** Of the cookie of the browser that agreed. */
  readonly cookieHash: string
}

/** The offer to disconnect, on the page that says "Connected". */
export interface DisconnectOffer {
  readonly identity: Identity
  /** Undefined where consent is per user. */
  readonly clientId: string | undefined
  readonly cookieHash: string
}

/** What the handlers of the pages work with. */
export interface ConnectParts extends ConnectRooms {
  /** Of `resource`, where the pages are. */
  readonly origin: string
  readonly tickets: Tickets
  readonly allowance: Allowance
  readonly pending: OneTimeRecords<PendingAuthorization>
  readonly offers: OneTimeRecords<DisconnectOffer>
  readonly cookies: FlowCookies
  /** In app-password mode. */
  readonly logins: Logins | undefined
  readonly pages: Pages
  readonly failed: (reason: ConnectFailureReason, details?: ProviderRefusal) => void
}

/** The code grant, on the paths that there are only with it. */
export function needCodeGrant({ codeGrant }: Pick<ConnectRooms, 'codeGrant'>): CodeGrant {
  if (codeGrant === undefined) throw new InternalError('Nobody signs in at the authorization server')
  return codeGrant
}

/** What the authorization server said. */
export interface ProviderRefusal {
  readonly error?: string | undefined
  readonly errorDescription?: string | undefined
  readonly hint?: string | undefined
}
