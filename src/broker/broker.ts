import { LRUCache } from 'lru-cache'
import type { AuthorizationServerClient } from '../authorization-server/client.js'
import { createCoolDown, type CoolDown } from '../authorization-server/cool-down.js'
import type { Clock } from '../clock.js'
import type { Config, NextcloudConfig } from '../config/config.js'
import {
  asMcpAuthError,
  InternalError,
  McpAuthError,
  NotProvisionedError,
  SubjectTokenRejectedError,
  TokenRequestError,
  type TokenRequestFailure,
} from '../errors.js'
import type { Events } from '../events.js'
import type { NextcloudTokenOptions } from '../auth-info.js'
import { abortable, createSingleFlight } from '../single-flight.js'
import type { Identity } from '../grants/grant.js'
import type { AppPasswords } from '../nextcloud/app-passwords.js'
import { appPasswordMode } from './app-password.js'
import { jwtBearer } from './jwt-bearer.js'
import type { Caller, FreshToken, Mode, Present, Standing, Target } from './mode.js'
import { passThrough } from './pass-through.js'
import { refreshTokenMode } from './refresh-token.js'
import type { GrantParts } from './refresh-token-parts.js'
import { cacheKey, createTokenCache, tokenEntry, type TokenEntry } from './token-cache.js'
import { checkTokenOptions } from './token-options.js'
import { tokenExchange } from './token-exchange.js'

/** A caller, with what the broker remembers about it between calls. */
export interface BrokerSession {
  readonly caller: Caller
  /** `nextcloud.scopes` for this caller. */
  readonly scopes: () => readonly string[]
  /** The cache key of calls without options, once it has been worked out. */
  defaultKey?: string
}

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

/** Keys whose failures are remembered at one time. */
const COOL_DOWNS = 10_000

export function createBroker(parts: BrokerParts): Broker {
  const { config, nextcloud, clock, events, withChallenge } = parts
  const { mode } = nextcloud
  const { counters } = events
  const way = wayOf(parts)
  const entries = createTokenCache(config.cache.nextcloudTokens, () => (counters.evictions += 1))
  const coolDowns = new LRUCache<string, CoolDown>({ max: COOL_DOWNS })
  const flights = createSingleFlight<FreshToken>()
  /**
   * What all callers of one key who ask for nothing in particular wait for, where each of them is entitled to it: one promise, and
   * not a chain of them for each of a thousand callers.
   */
  const waitingTogether = new Map<string, Promise<string>>()
  /** How often a user was forgotten. */
  let forgotten = 0
  /** Stands for the token endpoint in the cache key: known without discovery, and the same for every call. */
  const tokenEndpoint = (config.endpoints.tokenEndpoint ?? config.discoveryUrl ?? config.issuer ?? '').toString()

  function targetOf(session: Pick<BrokerSession, 'scopes'>, options?: NextcloudTokenOptions): Target {
    return {
      audience: audienceOf(options),
      resource: nextcloud.resource,
      scopes: options?.scopes ?? session.scopes(),
    }
  }

  function audienceOf(options: NextcloudTokenOptions | undefined): readonly string[] {
    if (options?.audience === undefined) return nextcloud.audience
    return typeof options.audience === 'string' ? [options.audience] : options.audience
  }

  function keyOf(caller: Pick<Caller, 'issuer' | 'subject' | 'token'>, target: Target): string {
    return cacheKey({
      issuer: caller.issuer,
      subject: caller.subject,
      mode,
      tokenEndpoint,
      clientId: config.client?.id ?? '',
      ...target,
      mcpToken: way.boundToMcpToken ? caller.token : '',
    })
  }

  /** The token in the cache, while it lives; one that is in use near its end is renewed meanwhile. */
  function cached(
    key: string,
    session: BrokerSession,
    options: NextcloudTokenOptions | undefined,
  ): TokenEntry | undefined {
    const entry = entries?.get(key)
    const now = clock.monotonic()
    // The wall clock too: the machine may have slept, which the monotonic one does not count.
    if (entry === undefined || now >= entry.deadAt || isExpired(session.caller)) return undefined
    if (now >= entry.renewAt && !coolDowns.get(key)?.active()) {
      const present = { notThis: entry.token, ahead: true }
      fly(key, session, targetOf(session, options), present).catch(() => undefined)
    }
    return entry
  }

  /** The one request for a key that is under way at a time, which outlives any one caller's patience. */
  function fly(key: string, session: BrokerSession, target: Target, present: Present): Promise<FreshToken> {
    return flights.join(key, () => fetchToken(key, session.caller, target, present))
  }

  async function fetchToken(key: string, caller: Caller, target: Target, present: Present): Promise<FreshToken> {
    const startedAt = clock.monotonic()
    const forgottenBefore = forgotten
    try {
      const fresh = await request(key, caller, target, present)
      // Somebody's grant has changed meanwhile, perhaps this one: the next caller has it looked at.
      if (forgotten !== forgottenBefore && fresh.standing !== undefined) fresh.standing.checkedAt = -Infinity
      keep(key, caller, fresh)
      reportToken(caller, fresh.source, clock.monotonic() - startedAt)
      return fresh
    } catch (error) {
      // What was refused, and cannot be replaced, is not for the next caller either.
      if (error instanceof NotProvisionedError && present.force === true) entries?.delete(key)
      throw reported(error, caller)
    }
  }

  function keep(key: string, caller: Caller, fresh: FreshToken): void {
    const entry = tokenEntry(fresh, way, way.boundToMcpToken ? monotonicEnd(caller) : Infinity)
    if (entry !== undefined && clock.monotonic() < entry.deadAt) entries?.set(key, entry)
    // What it was to replace must not come back in its place.
    else entries?.delete(key)
  }

  function reportToken({ issuer, subject }: Caller, source: FreshToken['source'] | 'cache', durationMs: number): void {
    if (events.active()) events.emit({ type: 'nextcloud.token', mode, source, issuer, subject, durationMs })
  }

  function reported(error: unknown, { issuer, subject }: Caller): McpAuthError {
    const failure = asMcpAuthError(error)
    events.emit({ type: 'nextcloud.failed', mode, code: failure.code, issuer, subject, ...wordsOfRefusal(failure) })
    return withChallenge(failure)
  }

  /** Where a token is got for the MCP token: a grant serves on, as the user's longer-lived consent. */
  const isExpired = ({ expiresAt }: Caller): boolean =>
    way.boundToMcpToken && clock.now() >= (expiresAt + config.clockTolerance) * 1_000

  async function request(key: string, caller: Caller, target: Target, present: Present): Promise<FreshToken> {
    const coolDown = coolDowns.get(key)
    if (way.boundToMcpToken) coolDown?.check()
    if (isExpired(caller)) throw new SubjectTokenRejectedError()
    try {
      const answer = await way.getFreshToken(caller, target, present)
      if (coolDown !== undefined) coolDowns.delete(key)
      return answer
    } catch (error) {
      // A grant's failures belong to its refresh token, which a reconnection replaces: here they only put off renewing ahead.
      if (!way.boundToMcpToken && present.ahead !== true) throw error
      const failed = coolDown ?? createCoolDown(clock)
      coolDowns.set(key, failed)
      return failed.failed(error)
    }
  }

  /** The `exp` of the MCP token on the monotonic clock. */
  function monotonicEnd(caller: Caller): number {
    return clock.monotonic() + caller.expiresAt * 1_000 - clock.now()
  }

  function getToken(session: BrokerSession, options?: NextcloudTokenOptions): Promise<string> {
    const waiting = options === undefined ? waitingTogether.get(session.defaultKey ?? '') : undefined
    if (waiting === undefined) return getTokenAlone(session, options)
    counters.nextcloudCacheMisses += 1
    return waiting
  }

  async function getTokenAlone(session: BrokerSession, options?: NextcloudTokenOptions): Promise<string> {
    if (options !== undefined) checkTokenOptions(options, mode)
    options?.signal?.throwIfAborted()
    if (mode === 'pass-through') return passOn(session, options)
    const key = keyForCall(session, options)
    let entry = cached(key, session, options)
    // With forceRefresh, what has been handed out is taken as bad; what was renewed since has not been.
    const force = options?.forceRefresh === true && (entry === undefined || entry.handedOut)
    if (entry?.standing !== undefined && !force) {
      const verdict = way.check?.(session.caller, entry.token, entry.standing) ?? true
      if (verdict !== true) entry = await checked(key, session.caller, entry, abortable(verdict, options?.signal))
    }
    if (entry !== undefined && !force) {
      entry.handedOut = true
      counters.nextcloudCacheHits += 1
      reportToken(session.caller, 'cache', 0)
      return entry.token
    }
    counters.nextcloudCacheMisses += 1
    const present = force ? { force, notThis: entry?.token } : {}
    const token = fetched(key, session, targetOf(session, options), present, options?.signal).then((accessToken) => {
      const fresh = entries?.get(key)
      if (fresh?.token === accessToken) fresh.handedOut = true
      return accessToken
    })
    if (options === undefined && way.permits === undefined) letWaitTogether(key, token)
    return token
  }

  function letWaitTogether(key: string, token: Promise<string>): void {
    waitingTogether.set(key, token)
    const ended = (): boolean => waitingTogether.delete(key)
    token.then(ended, ended)
  }

  /** A fresh token for one of the callers who wait for it, each of whom has to be entitled to it. */
  async function fetched(
    key: string,
    session: BrokerSession,
    target: Target,
    present: Present,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const { accessToken, standing } = await abortable(fly(key, session, target, present), signal)
    checkPermission(session.caller, standing)
    return accessToken
  }

  /** @throws {NotProvisionedError} the user has not agreed to this caller's MCP client, or no longer */
  function checkPermission(caller: Caller, standing: Standing | undefined): void {
    if (way.permits?.(caller, standing) === false) throw reported(new NotProvisionedError('consent'), caller)
  }

  /** A cached token, if what it stands on is still there; or what has replaced it there. */
  async function checked(
    key: string,
    caller: Caller,
    entry: TokenEntry,
    verdict: Promise<boolean | FreshToken>,
  ): Promise<TokenEntry | undefined> {
    const outcome = await verdict.catch((error: unknown) => {
      throw error instanceof McpAuthError ? reported(error, caller) : error
    })
    if (outcome === true) return entry
    if (outcome === false) return undefined
    keep(key, caller, outcome)
    return entries?.get(key)
  }

  function keyForCall(session: BrokerSession, options: NextcloudTokenOptions | undefined): string {
    if (options?.scopes !== undefined || options?.audience !== undefined)
      return keyOf(session.caller, targetOf(session, options))
    return (session.defaultKey ??= keyOf(session.caller, targetOf(session)))
  }

  function passOn({ caller }: BrokerSession, options: NextcloudTokenOptions | undefined): string {
    try {
      if (isExpired(caller)) throw new SubjectTokenRejectedError()
      const token = passThrough(caller, [...nextcloud.audience, ...audienceOf(options)])
      reportToken(caller, 'cache', 0)
      return token
    } catch (error) {
      throw reported(error, caller)
    }
  }

  return {
    getToken,
    async replaceToken(session, refused, signal) {
      if (mode === 'pass-through') return undefined
      const key = keyForCall(session, undefined)
      const present = entries?.get(key)
      if (present !== undefined && clock.monotonic() < present.deadAt) {
        if (present.token !== refused) {
          checkPermission(session.caller, present.standing)
          return present.token
        }
        if (present.unproven && way.provesRefusals !== true) return undefined
      }
      const token = await fetched(key, session, targetOf(session), { force: true, notThis: refused }, signal)
      const fresh = entries?.get(key)
      if (fresh?.token === token) Object.assign(fresh, { handedOut: true, unproven: true })
      return token === refused ? undefined : token
    },
    tokenWorked(session, token) {
      const entry = entries?.get(session.defaultKey ?? '')
      if (entry?.token === token) entry.unproven = false
    },
    async rotate(session) {
      const key = keyForCall(session, undefined)
      // A flight of its own: one that is under way may end with the token that the store has.
      const rotating = flights.join(`rotate ${key}`, () =>
        fetchToken(key, session.caller, targetOf(session), { force: true }),
      )
      await rotating
    },
    forget(identity) {
      forgotten += 1
      entries?.delete(keyOf({ ...identity, token: '' }, targetOf({ scopes: () => plainScopes(nextcloud) })))
    },
    size: () => entries?.size ?? 0,
    settle: flights.settle,
  }
}

function wayOf({ config, nextcloud, client, clock, events, grants, appPasswords }: BrokerParts): Mode {
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

/** In refresh-token mode, where they are a list. */
function plainScopes({ scopes }: NextcloudConfig): readonly string[] {
  return typeof scopes === 'function' ? [] : scopes
}

/** What the authorization server said, where it refused. */
function wordsOfRefusal(failure: McpAuthError): { error?: string; errorDescription?: string; hint?: string } {
  const { error, errorDescription, hint }: TokenRequestFailure =
    failure instanceof TokenRequestError
      ? failure
      : failure instanceof SubjectTokenRejectedError
        ? failure.rejection
        : {}
  return {
    ...(error !== undefined && { error }),
    ...(errorDescription !== undefined && { errorDescription }),
    ...(hint !== undefined && { hint }),
  }
}
