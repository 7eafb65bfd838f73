import type { IncomingMessage, ServerResponse } from 'node:http'
import type { McpAuthEvent } from './events.js'
import type { McpAuthOptions } from './options.js'
import type { Watchers } from './watchers.js'

/** @internal Where options hold answers that this process itself has: of an authorization server in it. */
export const LOCAL_ANSWERS: unique symbol = Symbol('local answers')

/** @internal Where options hold the sign-in of an authorization server in this process. */
export const OWN_SIGN_IN: unique symbol = Symbol('own sign-in')

/** @internal Options of a server that is its own authorization server. */
export interface LocalOptions extends McpAuthOptions {
  readonly [LOCAL_ANSWERS]?: LocalAnswers | undefined
  readonly [OWN_SIGN_IN]?: OwnSignIn | undefined
}

/** The user whose code or refresh token is sent. The subject is empty where it is not known whose a code is. */
export interface Sender {
  readonly issuer: string
  readonly subject: string
}

/** Nothing was sent. */
export interface PutOff {
  /** Seconds until it may be sent. */
  readonly retryAfter: number
}

/**
 * Limits the codes and refresh tokens that are sent to Nextcloud's app `oauth2` and that it refuses: codes of each network and of all,
 * refresh tokens of each user. After more than ten of both it refuses all requests of this process for tokens, those of everybody who is
 * connected included. Here only new sign-ins wait, and whose own refresh tokens were refused.
 */
export interface CodeShares {
  /**
   * Sends a code, as soon as an answer to each code under way could be a refusal and still be within the shares.
   *
   * @returns the answer, or `too many`: nothing was sent
   */
  readonly send: <T>(req: IncomingMessage, redeem: () => Promise<T>, sender: Sender) => Promise<T | 'too many'>
  /** The same for a code whose answer was lost, with nobody at a browser. It leaves places to those who are. */
  readonly sendAgain: <T>(redeem: () => Promise<T>, sender: Sender) => Promise<T | 'too many'>
  /** Sends a refresh token whose user waits for the answer. `dead` counts as refused. */
  readonly refresh: <T extends object>(sender: Sender, send: () => Promise<T | 'dead'>) => Promise<T | 'dead' | PutOff>
  /** The same for one that is to end, with nobody who waits. It leaves a place to the user's own connection. */
  readonly refreshToEnd: CodeShares['refresh']
}

/** The sign-in of an authorization server in this process, as the page of connections uses it. */
export interface OwnSignIn {
  /** One set for all that is built here, so that who watches the middleware sees the sign-in, too. */
  readonly watchers: Watchers<McpAuthEvent>
  /** One count for all who send codes to the same Nextcloud. */
  readonly codes: CodeShares
  /** Begins a sign-in for the page: the address to send the browser to, and `Set-Cookie` values. */
  readonly begin: (req: IncomingMessage) => Promise<{ readonly url: string; readonly cookies: readonly string[] }>
  /** The browsers in which a person is signed in. */
  readonly sessions: (req: IncomingMessage, subject: string) => Promise<readonly OwnSession[]>
  /** Ends one of them, or all except the one that asks. */
  readonly end: (req: IncomingMessage, subject: string, which: { readonly id: string } | 'others') => Promise<void>
  /** Ends the session of this browser. */
  readonly signOut: (req: IncomingMessage, res: ServerResponse) => Promise<void>
  /** What an MCP client calls itself. Undefined: nothing, or nothing that can be shown. */
  readonly claimOf: (clientId: string) => Promise<string | undefined>
  /** `GrantStore.withdrawals` when the user agreed to what an access token came of, by its claims. */
  readonly withdrawalsOf: (claims: Readonly<Record<string, unknown>>) => number
  /** Whether a person's living connection is surely of the account that has the user id now, as Nextcloud says. */
  readonly isSameAccount: (subject: string) => Promise<boolean>
}

/** A browser in which a person is signed in. */
export interface OwnSession {
  readonly id: string
  /** Milliseconds since the epoch. */
  readonly since: number
  readonly lastUsed: number
  /** Whether it is the browser that asks. */
  readonly isHere: boolean
}

/** Returns the answer to a GET of a URL that this process serves. Undefined: it does not. */
export type LocalAnswers = (url: string) => Promise<Response> | undefined
