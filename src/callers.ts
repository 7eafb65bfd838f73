import type { GetNextcloudToken, McpAuthInfo, NextcloudTokenOptions } from './auth-info.js'
import type { BrokerSession } from './broker/broker.js'
import type { Config } from './config/config.js'
import { isScopeToken } from './config/values.js'
import { asMcpAuthError, ConfigurationError } from './errors/errors.js'
import type { VerifiedToken } from './verify/verifier.js'

/**
 * On whose behalf: `req.mcpAuth`, the MCP SDK's `authInfo`, or anything else that holds the MCP token. In refresh-token mode also a
 * user by name, for background work: without an issuer it is the configured one, and without a client it is the operator's own
 * work, which needs no consent per client. Never build it from request data.
 */
export type Who =
  | (Pick<McpAuthInfo, 'token'> & Partial<Pick<McpAuthInfo, 'subject' | 'issuer'>>)
  | (Pick<McpAuthInfo, 'subject'> & Partial<Pick<McpAuthInfo, 'issuer' | 'clientId'>>)

/**
 * A caller with an MCP token. What a request needs is here and not behind `info`: where thousands take turns, each object that is
 * looked into for one of them comes from memory that no cache has.
 */
export interface Session extends BrokerSession {
  /** What the token says, as the app gets it. */
  readonly info: McpAuthInfo
  readonly getNextcloudToken: GetNextcloudToken
}

/** What stands for callers outside, and what the broker knows of them. */
export interface Sessions {
  readonly present: (verified: VerifiedToken) => Session
  /**
   * The session of `who`. A copy, which some frameworks make, is taken at its token's word alone: what else it says of itself
   * must not pick the user.
   *
   * Rejects with {@link TypeError} when `who` holds no token, where one is needed, or not the subject it claims.
   */
  readonly sessionOf: (who: Who | undefined) => Promise<BrokerSession>
}

/** What sessions are made with. */
export interface SessionParts {
  readonly config: Config
  readonly issuer: () => string | Promise<string>
  /** Whether a user can be named without any MCP token. */
  readonly hasGrants: boolean
  readonly verify: (token: string) => Promise<McpAuthInfo>
  readonly getToken: (session: BrokerSession, options?: NextcloudTokenOptions) => ReturnType<GetNextcloudToken>
}

export function createSessions({
  config,
  issuer: configuredIssuer,
  hasGrants,
  verify,
  getToken,
}: SessionParts): Sessions {
  const { nextcloud } = config
  /** By the object that stands for the caller outside. */
  const sessions = new WeakMap<object, Session>()
  const fixedScopes = nextcloud?.fixedScopes ?? []
  const scopesForAll = (): readonly string[] => fixedScopes

  /**
   * A URL can be changed, and what it is part of serves every request with the token: so each look at it makes another. One
   * descriptor for all, since a getter written into each object would cost it a kilobyte.
   */
  const resource: PropertyDescriptor = { get: () => new URL(config.resource), enumerable: true }

  function present(caller: VerifiedToken): Session {
    const { token, subject, issuer, clientId, scopes, expiresAt, audience, claims } = caller
    const getNextcloudToken: GetNextcloudToken = (options) => getToken(session, options)
    const info = {
      token,
      subject,
      issuer,
      clientId,
      scopes,
      expiresAt,
      audience,
      resourceMetadataUrl: config.resourceMetadataUrl,
      claims,
      extra: Object.freeze({ subject, issuer, getNextcloudToken }),
    }
    Object.defineProperty(info, 'resource', resource)
    const complete = Object.freeze(info) as typeof info & Pick<McpAuthInfo, 'resource'>
    const session: Session = { info: complete, getNextcloudToken, caller, scopes: scopesFor(complete) }
    sessions.set(complete, session)
    return session
  }

  function scopesFor(info: McpAuthInfo): () => readonly string[] {
    const choose = nextcloud?.scopes
    if (typeof choose !== 'function') return scopesForAll
    let chosen: readonly string[] | undefined
    return () => (chosen ??= chooseScopes(choose, info))
  }

  async function sessionOf(who: Who | undefined): Promise<BrokerSession> {
    const session = isObject(who) ? sessions.get(who) : undefined
    if (session !== undefined) return session
    if (!isObject(who) || !('token' in who)) return namedSession(who)
    if (typeof who.token !== 'string') throw new TypeError('who must hold the MCP token as a string')
    const info = await verify(who.token)
    if ((who.subject ?? info.subject) !== info.subject || (who.issuer ?? info.issuer) !== info.issuer) {
      throw new TypeError('who names another user than its token')
    }
    return sessions.get(info) as Session
  }

  /** The session of somebody whom the app names, without any MCP token. */
  async function namedSession(who: Partial<McpAuthInfo> | undefined): Promise<BrokerSession> {
    if (!hasGrants) throw new TypeError('who must hold the MCP token: without one there is nothing to exchange')
    const { subject, issuer = await configuredIssuer(), clientId } = who ?? {}
    const names = [subject, issuer, clientId ?? 'none']
    if (!names.every((name) => typeof name === 'string' && name !== '') || subject === undefined) {
      throw new TypeError('who must hold an MCP token or name a subject')
    }
    const caller = { token: '', issuer, subject, clientId, audience: [], expiresAt: Infinity }
    return { caller, scopes: scopesForAll }
  }

  return { present, sessionOf }
}

/** What `nextcloud.scopes` chooses, which goes into a request and a cache key. */
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

/** Whatever its type says: it comes from the app. */
function isObject(who: unknown): who is object {
  return typeof who === 'object' && who !== null
}
