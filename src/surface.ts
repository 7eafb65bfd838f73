import { variableOf } from './config/declarations.js'
import type { NextcloudCredential, NextcloudTokenOptions } from './auth-info.js'
import type { Broker, BrokerSession } from './broker/broker.js'
import type { Connect } from './connect/connect.js'
import {
  asMcpAuthError,
  ConfigurationError,
  McpAuthError,
  NotProvisionedError,
  SubjectTokenRejectedError,
} from './errors/errors.js'
import { reportFailure, type Events } from './events.js'
import { addChallenge, type ChallengeContext } from './http/challenge.js'
import { MODES, type NextcloudMode } from './modes.js'
import { credentialOf, type Secret } from './nextcloud/credential.js'
import type { NextcloudFetch } from './nextcloud/nextcloud-fetch.js'
import type { NextcloudUser } from './nextcloud/users.js'
import { abortable } from './single-flight.js'

/** The edge: every failure that goes out passes here. */
export interface Surface {
  /** Adds the challenge that the HTTP answer of a failure needs. An error of another kind stays as it is. */
  readonly dressed: (error: unknown) => Error
  /** The same for an error of any kind, which it reports as well. */
  readonly reported: (error: unknown) => McpAuthError
}

/** Nextcloud for callers. Each failure comes dressed, and with a link if the user must connect first. */
export interface NextcloudAccess {
  readonly getToken: (session: BrokerSession, options?: NextcloudTokenOptions) => Promise<string>
  readonly getCredential: (session: BrokerSession, options?: NextcloudTokenOptions) => Promise<NextcloudCredential>
  /** Checks a request, and returns the function that sends it for a user. */
  readonly fetch: (
    ...request: Parameters<NextcloudFetch<BrokerSession>>
  ) => (session: BrokerSession) => Promise<Response>
  readonly user: (session: BrokerSession) => Promise<NextcloudUser>
  readonly rotate: (session: BrokerSession) => Promise<void>
  /** Tokens in the cache. */
  readonly size: () => number
}

/** The rooms that lead to Nextcloud. */
export interface AccessRooms {
  readonly mode: NextcloudMode
  /** Whether signing in to this server is what connects Nextcloud. */
  readonly signInConnects: boolean
  readonly broker: Broker
  readonly fetch: NextcloudFetch<BrokerSession>
  readonly user: NextcloudAccess['user']
  readonly pages: Pick<Connect, 'withLink'>
  readonly surface: Surface
  readonly events: Events
}

export function createSurface(context: ChallengeContext, events: Events): Surface {
  return {
    dressed: (error) => (error instanceof McpAuthError ? forCallers(error, context) : (error as Error)),
    reported: (error) => {
      const failure = forCallers(asMcpAuthError(error), context)
      reportFailure(events, failure)
      return failure
    },
  }
}

/** Returns a failure as it goes out: with its challenge, and with nothing in its message that is for the operator. */
function forCallers(error: McpAuthError, context: ChallengeContext): McpAuthError {
  return addChallenge(error instanceof ConfigurationError ? error.concealed() : error, context)
}

export function createNextcloudAccess(rooms: AccessRooms): NextcloudAccess {
  const { mode, broker, fetch, user } = rooms
  return {
    getToken:
      MODES[mode].scheme === 'Bearer'
        ? (session, options) => getToken(rooms, session, options)
        : () => Promise.reject(noTokens()),
    getCredential: async (session, options) => {
      const getSecret = async (): Promise<Secret> => broker.getSecret(session, options)
      return credentialOf(await outgoing(rooms, session, getSecret(), options?.signal))
    },
    fetch: (path, init) => {
      const { send, signal } = fetch(path, init)
      return (session) => outgoing(rooms, session, send(session), signal)
    },
    user: (session) => outgoing(rooms, session, user(session)),
    rotate: (session) => outgoing(rooms, session, broker.rotate(session)),
    size: broker.size,
  }
}

/** Nextcloud is not configured: every method rejects with the same error. */
export function noNextcloud({ reported }: Surface): NextcloudAccess {
  const missing = (): Promise<never> =>
    Promise.reject(
      reported(
        new ConfigurationError(
          `nextcloud.url is not set (environment variable ${variableOf('nextcloud.url')})`,
          'nextcloud.url',
        ),
      ),
    )
  return {
    getToken: missing,
    getCredential: missing,
    fetch: () => missing,
    user: missing,
    rotate: missing,
    size: () => 0,
  }
}

/** A cached token takes one promise and no more. */
function getToken(rooms: AccessRooms, session: BrokerSession, options?: NextcloudTokenOptions): Promise<string> {
  const { broker, mode, surface, events } = rooms
  if (options === undefined && session.pending !== undefined) {
    events.counters.nextcloudCacheMisses += 1
    return session.pending
  }
  let secret: Secret | Promise<Secret>
  try {
    secret = broker.getSecret(session, options)
  } catch (error) {
    return Promise.reject(surface.dressed(error))
  }
  if (!(secret instanceof Promise)) return Promise.resolve(tokenOf(secret))
  const token = outgoing(rooms, session, secret.then(tokenOf), options?.signal)
  // A token from a grant is for the clients that the user agreed to: each call is checked by itself.
  if (options === undefined && MODES[mode].keeps === undefined) sharePending(session, token)
  return token
}

function tokenOf(secret: Secret): string {
  if (secret.scheme === 'Bearer') return secret.token
  throw noTokens()
}

function sharePending(session: BrokerSession, token: Promise<string>): void {
  session.pending = token
  const ended = (): void => void (session.pending = undefined)
  token.then(ended, ended)
}

/** The same promise; it rejects with what goes out. */
async function outgoing<T>(
  rooms: AccessRooms,
  session: BrokerSession,
  work: Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const { pages, surface, mode } = rooms
  try {
    return await abortable(pages.withLink(session.caller, whereSignInConnects(rooms, session, work)), signal)
  } catch (error) {
    // A grant stands or falls without the MCP token: it is refused because of what the user has taken back.
    if (error instanceof SubjectTokenRejectedError && MODES[mode].keeps !== undefined) session.isOver = true
    throw surface.dressed(error)
  }
}

/**
 * Where signing in connects, whoever must connect Nextcloud again signs in again: a link would leave the app with a token of before, which the new
 * connection refuses.
 */
function whereSignInConnects<T>(
  { signInConnects }: AccessRooms,
  { caller }: BrokerSession,
  work: Promise<T>,
): Promise<T> {
  if (!signInConnects || caller.token === '') return work
  return work.catch((error: unknown) => {
    throw error instanceof NotProvisionedError ? new SubjectTokenRejectedError() : error
  })
}

function noTokens(): ConfigurationError {
  return new ConfigurationError(
    'There are no Nextcloud tokens in app-password mode: use nextcloudFetch or getNextcloudCredential',
    'nextcloud.mode',
  )
}
