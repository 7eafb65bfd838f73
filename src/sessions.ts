import type { GetNextcloudToken, McpAuthInfo, NextcloudTokenOptions } from './auth-info.js'
import type { BrokerSession } from './broker/broker.js'
import type { Config } from './config/config.js'
import { isScopeToken } from './config/values.js'
import { asMcpAuthError, ConfigurationError } from './errors.js'
import type { VerifiedToken } from './verify/verifier.js'

/**
 * On whose behalf: `req.mcpAuth`, the MCP SDK's `authInfo`, or anything else that holds the MCP token. In refresh-token mode also a
 * user by name, for background work: without an issuer it is the configured one, and without a client it is the operator's own
 * work, which needs no consent per client. Never build it from request data.
 */
export type Who =
  | (Pick<McpAuthInfo, 'token'> & Partial<Pick<McpAuthInfo, 'subject' | 'issuer'>>)
  | (Pick<McpAuthInfo, 'subject'> & Partial<Pick<McpAuthInfo, 'issuer' | 'clientId'>>)

/** What stands for callers outside, and what the broker knows of them. */
export interface Sessions {
  /** What a verified token says, as the app gets it. */
  readonly present: (verified: VerifiedToken) => McpAuthInfo
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
  const sessions = new WeakMap<object, BrokerSession>()

  /**
   * A URL can be changed, and what it is part of serves every request with the token: so each look at it makes another. One
   * descriptor for all, since a getter written into each object would cost it a kilobyte.
   */
  const resource: PropertyDescriptor = { get: () => new URL(config.resource), enumerable: true }

  function present(verified: VerifiedToken): McpAuthInfo {
    const { token, subject, issuer, clientId, scopes, expiresAt, audience, claims } = verified
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
      extra: Object.freeze({
        subject,
        issuer,
        getNextcloudToken: (options?: NextcloudTokenOptions) => getToken(session, options),
      }),
    }
    Object.defineProperty(info, 'resource', resource)
    const complete = Object.freeze(info) as typeof info & Pick<McpAuthInfo, 'resource'>
    const session = createSession(verified, complete)
    sessions.set(complete, session)
    return complete
  }

  function createSession(caller: VerifiedToken, info: McpAuthInfo): BrokerSession {
    const scopes = nextcloud?.scopes ?? []
    if (typeof scopes !== 'function') return { caller, scopes: () => scopes }
    let chosen: readonly string[] | undefined
    return { caller, scopes: () => (chosen ??= chooseScopes(scopes, info)) }
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
    return sessions.get(info) as BrokerSession
  }

  /** The session of somebody whom the app names, without any MCP token. */
  async function namedSession(who: Partial<McpAuthInfo> | undefined): Promise<BrokerSession> {
    if (!hasGrants) throw new TypeError('who must hold the MCP token: without one there is nothing to exchange')
    const { subject, issuer = await configuredIssuer(), clientId } = who ?? {}
    const names = [subject, issuer, clientId ?? 'none']
    if (!names.every((name) => typeof name === 'string' && name !== '') || subject === undefined) {
      throw new TypeError('who must hold an MCP token or name a subject')
    }
    const caller = { token: '', tokenHash: '', issuer, subject, clientId, audience: [], expiresAt: Infinity }
    const scopes = nextcloud?.scopes
    return { caller, scopes: () => (typeof scopes === 'function' ? [] : (scopes ?? [])) }
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
