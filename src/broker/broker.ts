import type { NextcloudTokenOptions } from '../auth-info.js'
import type { AuthorizationServerClient } from '../authorization-server/client.js'
import type { Clock } from '../clock.js'
import type { Config, NextcloudConfig } from '../config/config.js'
import { InternalError, McpAuthError, NotProvisionedError, SubjectTokenRejectedError } from '../errors/errors.js'
import type { Events } from '../events.js'
import type { Identity } from '../grants/grant.js'
import type { AppPasswords } from '../nextcloud/app-passwords.js'
import { abortable } from '../single-flight.js'
import { appPasswordMode } from './modes/app-password.js'
import { jwtBearer } from './modes/jwt-bearer.js'
import type { BrokerSession, Caller, FreshToken, Mode, Present, Standing } from './modes/mode.js'
import { passThrough } from './modes/pass-through.js'
import { refreshTokenMode } from './modes/refresh-token.js'
import type { GrantParts } from './modes/refresh-token-parts.js'
import { createTokenCache, type TokenEntry } from './token-cache.js'
import { audienceOf, createTokenKeys } from './token-keys.js'
import { checkTokenOptions } from './token-options.js'
import { createTokenReports } from './token-reports.js'
import { createTokenRequests, type TokenRequest } from './token-requests.js'
import { tokenExchange } from './modes/token-exchange.js'

export type { BrokerSession } from './modes/mode.js'

/** Gets Nextcloud tokens: from the cache, from a request under way, from the authorization server, in this order. */
export interface Broker {
  /**
   * Rejects with {@link TypeError} for options that the mode has no use for, and as `GetNextcloudToken` says.
   */
  readonly getToken: (session: BrokerSession, options?: NextcloudTokenOptions) => Promise<string>
  /** Another token than `refused`, which Nextcloud did not take; undefined when there can be none. */
  readonly replaceToken: (session: BrokerSession, refused: string, signal?: AbortSignal) => Promise<string | undefined>
  /** Nextcloud took the token. */
  readonly tokenWorked: (session: BrokerSession, token: string) => void
  /**
   * Gets another token now, in refresh-token mode with another refresh token where the server rotates. In app-password mode there is
   * nothing to renew: it looks whether there is a usable grant.
   */
  readonly rotate: (session: BrokerSession) => Promise<void>
  /** Forgets the tokens of a user whose grant has changed. */
  readonly forget: (identity: Identity) => void
  readonly size: () => number
  /** Resolves when the requests under way have ended. */
  readonly settle: () => Promise<void>
}

/** The rooms that the broker needs. */
export interface BrokerParts {
  readonly config: Config
  readonly nextcloud: NextcloudConfig
  readonly client: AuthorizationServerClient
  /** What the modes with grants work with. */
  readonly grants?: GrantParts | undefined
  readonly appPasswords?: Pick<AppPasswords, 'isRefused'> | undefined
  readonly clock: Clock
  readonly events: Events
  /** Completes an error with what its HTTP answer needs. */
  readonly withChallenge: (error: McpAuthError) => McpAuthError
}

export function createBroker(parts: BrokerParts): Broker {
  return parts.nextcloud.mode === 'pass-through' ? createPassThroughBroker(parts) : createTokenBroker(parts)
}

function createTokenBroker(parts: BrokerParts): Broker {
  const { config, nextcloud, clock, events, withChallenge } = parts
  const { counters } = events
  const mode = modeOf(parts)
  const keys = createTokenKeys(config, nextcloud, mode)
  const entries = createTokenCache(config.cache.nextcloudTokens, () => (counters.evictions += 1))
  const reports = createTokenReports(nextcloud.mode, events, withChallenge)
  const requests = createTokenRequests(mode, entries, reports, clock, config.clockTolerance)
  /** One promise for all who call without options while it is pending: a chain for each of a thousand callers costs too much. */
  const shared = new Map<string, Promise<string>>()

  function getToken(session: BrokerSession, options?: NextcloudTokenOptions): Promise<string> {
    const pending = options === undefined ? shared.get(session.defaultKey ?? '') : undefined
    if (pending === undefined) return getTokenAlone(session, options)
    counters.nextcloudCacheMisses += 1
    return pending
  }

  async function getTokenAlone(session: BrokerSession, options?: NextcloudTokenOptions): Promise<string> {
    if (options !== undefined) checkTokenOptions(options, nextcloud.mode)
    options?.signal?.throwIfAborted()
    const key = keys.key(session, options)
    const entry = living(key, session, options)
    // With forceRefresh, a token that was handed out counts as refused; one that was renewed since does not.
    const force = options?.forceRefresh === true && (entry === undefined || entry.handedOut)
    if (entry !== undefined && !force) {
      const good = entry.standing === undefined ? entry : await confirmed(key, session.caller, entry, options?.signal)
      if (good !== undefined) return handOut(good, session)
    }
    counters.nextcloudCacheMisses += 1
    const present = force ? { force, notThis: entry?.token } : {}
    const token = fetchFor(session, requestOf(key, session, options, present), options?.signal)
    if (options === undefined && mode.permits === undefined) shareWhilePending(key, token)
    return token
  }

  function requestOf(
    key: string,
    session: BrokerSession,
    options: NextcloudTokenOptions | undefined,
    present: Present,
  ): TokenRequest {
    return { key, caller: session.caller, target: keys.target(session, options), present }
  }

  /** The cached token, while it lives. Near its end it is renewed in the background. */
  function living(key: string, session: BrokerSession, options?: NextcloudTokenOptions): TokenEntry | undefined {
    const entry = entries?.get(key)
    const now = clock.monotonic()
    // The monotonic clock stops while a machine sleeps; the end of the MCP token is judged by the wall clock.
    if (entry === undefined || now >= entry.deadAt || requests.isExpired(session.caller)) return undefined
    if (now >= entry.renewAt && !requests.isCoolingDown(key)) {
      requests.fetch(requestOf(key, session, options, { notThis: entry.token, ahead: true })).catch(() => undefined)
    }
    return entry
  }

  /** The entry, if the grant that it comes from still stands; or the one that has replaced it. */
  async function confirmed(
    key: string,
    caller: Caller,
    entry: TokenEntry,
    signal: AbortSignal | undefined,
  ): Promise<TokenEntry | undefined> {
    const verdict = (entry.standing && mode.check?.(caller, entry.token, entry.standing)) ?? true
    if (verdict === true) return entry
    const outcome = await abortable(verdict, signal).catch((error: unknown) => {
      throw error instanceof McpAuthError ? reports.failed(error, caller) : error
    })
    if (typeof outcome === 'boolean') return outcome ? entry : undefined
    requests.keep(key, caller, outcome)
    return entries?.get(key)
  }

  function handOut(entry: TokenEntry, { caller }: BrokerSession): string {
    entry.handedOut = true
    counters.nextcloudCacheHits += 1
    reports.got(caller, 'cache', 0)
    return entry.token
  }

  /** A fresh token for one of the callers who wait for it, each of whom must be entitled to it. */
  async function fetchFor(session: BrokerSession, request: TokenRequest, signal?: AbortSignal): Promise<string> {
    const { accessToken, standing }: FreshToken = await abortable(requests.fetch(request), signal)
    checkPermission(session.caller, standing)
    const entry = entries?.get(request.key)
    if (entry?.token === accessToken) entry.handedOut = true
    return accessToken
  }

  /** @throws {NotProvisionedError} the user has not agreed to this MCP client, or no longer does */
  function checkPermission(caller: Caller, standing: Standing | undefined): void {
    if (mode.permits?.(caller, standing) === false) throw reports.failed(new NotProvisionedError('consent'), caller)
  }

  function shareWhilePending(key: string, token: Promise<string>): void {
    shared.set(key, token)
    const ended = (): boolean => shared.delete(key)
    token.then(ended, ended)
  }

  async function replaceToken(session: BrokerSession, refused: string, signal?: AbortSignal) {
    const key = keys.key(session)
    const entry = entries?.get(key)
    if (entry !== undefined && clock.monotonic() < entry.deadAt) {
      if (entry.token !== refused) {
        checkPermission(session.caller, entry.standing)
        return entry.token
      }
      if (entry.unproven && mode.provesRefusals !== true) return undefined
    }
    const request = requestOf(key, session, undefined, { force: true, notThis: refused })
    const token = await fetchFor(session, request, signal)
    const fresh = entries?.get(key)
    if (fresh?.token === token) fresh.unproven = true
    return token === refused ? undefined : token
  }

  return {
    getToken,
    replaceToken,
    tokenWorked(session, token) {
      const entry = entries?.get(session.defaultKey ?? '')
      if (entry?.token === token) entry.unproven = false
    },
    async rotate(session) {
      await requests.fetchAnother(requestOf(keys.key(session), session, undefined, { force: true }))
    },
    forget(identity) {
      requests.doubt()
      entries?.delete(keys.keyOfGrant(identity))
    },
    size: () => entries?.size ?? 0,
    settle: requests.settle,
  }
}

/** Nothing is asked for, kept or replaced: the MCP token is the Nextcloud token, as long as it lives. */
function createPassThroughBroker({ config, nextcloud, clock, events, withChallenge }: BrokerParts): Broker {
  const reports = createTokenReports('pass-through', events, withChallenge)

  // eslint-disable-next-line @typescript-eslint/require-await -- what it throws is a rejection
  async function getToken({ caller }: BrokerSession, options?: NextcloudTokenOptions): Promise<string> {
    if (options !== undefined) checkTokenOptions(options, 'pass-through')
    options?.signal?.throwIfAborted()
    try {
      if (clock.now() >= (caller.expiresAt + config.clockTolerance) * 1_000) throw new SubjectTokenRejectedError()
      const token = passThrough(caller, [...nextcloud.audience, ...audienceOf(nextcloud, options)])
      reports.got(caller, 'cache', 0)
      return token
    } catch (error) {
      throw reports.failed(error, caller)
    }
  }

  return {
    getToken,
    replaceToken: () => Promise.resolve(undefined),
    tokenWorked: () => undefined,
    rotate: () => Promise.resolve(),
    forget: () => undefined,
    size: () => 0,
    settle: () => Promise.resolve(),
  }
}

function modeOf({ config, nextcloud, client, clock, events, grants, appPasswords }: BrokerParts): Mode {
  const { renewBefore } = config.cache
  if (nextcloud.mode === 'refresh-token') {
    if (grants === undefined) throw new InternalError('There are no grants in refresh-token mode')
    return refreshTokenMode({ config, nextcloud, client, clock, events, grants })
  }
  if (nextcloud.mode === 'app-password') {
    if (grants === undefined || appPasswords === undefined) throw new InternalError('There are no app passwords')
    return appPasswordMode({ config, clock, events, grants, appPasswords })
  }
  const getFreshToken =
    nextcloud.mode === 'jwt-bearer'
      ? jwtBearer(client, nextcloud.parameters)
      : tokenExchange(client, nextcloud.parameters, config.resource)
  return { getFreshToken, boundToMcpToken: true, renewBefore, margin: 0 }
}
