import type { GetNextcloudToken, McpAuthExtra, McpAuthInfo, NextcloudTokenOptions } from './auth-info.js'
import { isConfigured, type NamedServers } from './authorization-server/known-issuer.js'
import type { BrokerSession } from './broker/broker.js'
import type { Config } from './config/config.js'
import { isScopeToken } from './config/values.js'
import { asMcpAuthError, ConfigurationError, SubjectTokenRejectedError } from './errors/errors.js'
import { MODES } from './modes.js'
import type { Surface } from './surface.js'
import { checkUnproven } from './verify/dpop.js'
import { checkScopes } from './verify/scopes.js'
import type { VerifiedToken, Verifier } from './verify/verifier.js'

/**
 * The user that a call is for: `req.mcpAuth`, the MCP SDK's `authInfo`, or anything else that holds the MCP token. In refresh-token
 * and app-password mode also a user by name, for background work: without an issuer it is the configured one (of several, name it), and without a client it
 * is the operator's own work, which needs no consent per client. Never build it from request data.
 */
export type Who =
  | (Pick<McpAuthInfo, 'token'> & Partial<Pick<McpAuthInfo, 'subject' | 'issuer'>>)
  | (Pick<McpAuthInfo, 'subject'> & Partial<Pick<McpAuthInfo, 'issuer' | 'clientId'>>)

/** A caller with an MCP token. Kept flat: with thousands of users, every extra object read on the hot path is a CPU cache miss. */
export interface Session extends BrokerSession {
  /** The claims of the token, as the app gets them. */
  readonly info: McpAuthInfo
  readonly getNextcloudToken: GetNextcloudToken
  /** Thumbprint of the key that each request has to prove. Undefined: the token is bound to none. */
  readonly boundTo: string | undefined
}

/** The callers whose tokens were verified. */
export interface Sessions {
  readonly present: (verified: VerifiedToken) => Session
  /** Returns the session of the very object that stands for a caller outside, or of the `extra` of one whose token is bound. */
  readonly of: (info: object) => Session | undefined
}

/**
 * Returns the session of `who`. A copy, which some frameworks make, is taken at its token's word alone: its other members
 * must not pick the user.
 *
 * Rejects with {@link TypeError} when `who` holds no token where one is needed, or names another user than its token.
 */
export type CallerOf = (who: Who | undefined) => Promise<BrokerSession>

/** From callers outside to their sessions. */
export interface Callers {
  /** Verifies a token as the middleware does, without an answer. */
  readonly verify: (token: string) => Promise<McpAuthInfo>
  readonly of: CallerOf
}

/** The rooms that callers need. */
export interface CallerRooms {
  readonly config: Config
  readonly providers: NamedServers
  readonly sessions: Sessions
  readonly verifier: Pick<Verifier<Session>, 'verify'>
  readonly surface: Surface
}

export function createSessions(
  config: Config,
  getToken: (session: BrokerSession, options?: NextcloudTokenOptions) => Promise<string>,
): Sessions {
  const sessions = new WeakMap<object, Session>()
  const { resourceMetadataUrl, ownSignIn } = config
  const scopesOf = createScopesOf(config)
  // A getter, because a URL can be changed, and one object serves every request with the token. One descriptor for all, because
  // a getter written into each object would cost it a kilobyte.
  const resource: PropertyDescriptor = { get: () => new URL(config.resource), enumerable: true }
  return {
    present: ({ token, subject, issuer, clientId, scopes, expiresAt, audience, boundTo, claims }) => {
      const getNextcloudToken: GetNextcloudToken = (options) => getToken(session, options)
      const extra = Object.freeze({ subject, issuer, getNextcloudToken })
      const shown = { subject, issuer, clientId, scopes, expiresAt, audience, resourceMetadataUrl, claims, extra }
      Object.defineProperty(shown, 'resource', resource)
      // Not enumerable, so that no log of the object, nor of a request or a context that holds it, shows the token.
      Object.defineProperty(shown, 'token', { value: token })
      const info = Object.freeze(shown) as typeof shown & Pick<McpAuthInfo, 'resource' | 'token'>
      const caller = {
        token,
        identity: { issuer, subject },
        clientId,
        audience,
        expiresAt,
        claims,
        withdrawals: ownSignIn?.withdrawalsOf(claims),
      }
      const session: Session = { info, getNextcloudToken, caller, boundTo, scopes: scopesOf(info) }
      sessions.set(info, session)
      // Alone, it would pass for a user whom the app names, without the end of the token and the client that it is for.
      sessions.set(extra, session)
      return session
    },
    of: (info) => sessions.get(info),
  }
}

/** Returns the scopes of each caller: the fixed ones, or those that `nextcloud.scopes` chooses once for each. */
function createScopesOf({ nextcloud }: Config): (info: McpAuthInfo) => () => readonly string[] {
  const fixed = fixedScopes(nextcloud)
  const choose = nextcloud?.scopes
  if (typeof choose !== 'function') return () => fixed
  return (info) => {
    let chosen: readonly string[] | undefined
    return () => (chosen ??= chooseScopes(choose, info))
  }
}

function fixedScopes(nextcloud: Config['nextcloud']): () => readonly string[] {
  const scopes = nextcloud?.fixedScopes ?? []
  return () => scopes
}

/** Returns the scopes that `nextcloud.scopes` chooses, which go into a request and a cache key. */
function chooseScopes(choose: (info: McpAuthInfo) => unknown, info: McpAuthInfo): readonly string[] {
  let scopes: unknown
  try {
    scopes = choose(info)
  } catch (error) {
    throw asMcpAuthError(error)
  }
  if (!Array.isArray(scopes) || !scopes.every(isScopeToken)) {
    throw new ConfigurationError('nextcloud.scopes must return a list of scopes', 'nextcloud.scopes')
  }
  return scopes
}

export function createCallers(rooms: CallerRooms): Callers {
  return { verify: (token) => verify(rooms, token), of: (who) => callerOf(rooms, who) }
}

async function verify({ config, verifier, surface }: CallerRooms, token: string): Promise<McpAuthInfo> {
  try {
    const verified = await verifier.verify(token)
    checkUnproven(config, verified)
    if (verified.isOver === true) throw new SubjectTokenRejectedError()
    const { info } = verified
    checkScopes(config, info, config.requiredScopes)
    return info
  } catch (error) {
    throw surface.reported(error)
  }
}

async function callerOf(rooms: CallerRooms, who: Who | undefined): Promise<BrokerSession> {
  const { sessions } = rooms
  const session = isObject(who) ? sessions.of(who) : undefined
  if (session !== undefined) return session
  if (!isObject(who) || !('token' in who)) return namedSession(rooms, who)
  if (typeof who.token !== 'string') throw new TypeError('who must hold the MCP token as a string')
  const info = provenCopy(sessions, who)?.info ?? (await verify(rooms, who.token))
  if ((who.subject ?? info.subject) !== info.subject || (who.issuer ?? info.issuer) !== info.issuer) {
    throw new TypeError('who names another user than its token')
  }
  return sessions.of(info) as Session
}

/** A bound token proves nothing by itself. A copy that holds the `extra` of its caller is of one whose request had the proof. */
function provenCopy(sessions: Sessions, { token, extra }: Partial<McpAuthInfo>): Session | undefined {
  const session = isObject(extra) ? sessions.of(extra) : undefined
  return session?.boundTo !== undefined && session.info.token === token ? session : undefined
}

/** Two issuers may have users of one subject, who are not the same person. */
function onlyIssuer({ all }: CallerRooms['providers']): string | Promise<string> {
  if (all.length > 1) throw new TypeError('who must name its issuer, because there are several')
  return all[0].discovery.issuer()
}

/** Where one issuer is configured, the user is of another: nobody of whom anything can be provisioned. */
export class OtherIssuerError extends TypeError {}

/** What to do about a caller without a token. */
const PASS = 'Pass req.mcpAuth or authInfo itself, or { token }'

/**
 * Members of callers, and of what tools get as `extra`, that no app writes to name a user. A copy of `extra` by JSON has none of them: it
 * is what an app writes itself.
 */
const OF_CALLERS = ['claims', 'expiresAt', 'getNextcloudToken'] as const

/** Returns the session of a user whom the app names, without any MCP token. */
async function namedSession(
  { config: { nextcloud }, providers }: CallerRooms,
  who: (Partial<McpAuthInfo> & Partial<McpAuthExtra>) | undefined,
): Promise<BrokerSession> {
  // It stood for the caller of a request, and must not become the operator's own work.
  if (OF_CALLERS.some((member) => who?.[member] !== undefined)) {
    throw new TypeError(
      `who has members of a caller and no MCP token: a copy, made by a spread or by JSON, has none. ${PASS}`,
    )
  }
  if (nextcloud === undefined || MODES[nextcloud.mode].keeps === undefined) {
    throw new TypeError(
      `who must hold the MCP token. ${PASS}. Users are named without one only in a mode that keeps grants`,
    )
  }
  const { subject, issuer = await onlyIssuer(providers), clientId } = who ?? {}
  const names = [subject, issuer, clientId ?? 'none']
  if (!names.every((name) => typeof name === 'string' && name !== '') || subject === undefined) {
    throw new TypeError(`who must hold an MCP token or name a subject. ${PASS}, or { subject }`)
  }
  if (!(await isConfigured(providers, issuer))) {
    throw new (providers.all.length > 1 ? TypeError : OtherIssuerError)(
      'who must name one of the issuers that are configured',
    )
  }
  const caller = { token: '', identity: { issuer, subject }, clientId, audience: [], expiresAt: Infinity }
  return { caller, scopes: fixedScopes(nextcloud) }
}

/** Whether it is an object, whatever its type says: it comes from the app. */
function isObject(who: unknown): who is object {
  return typeof who === 'object' && who !== null
}
