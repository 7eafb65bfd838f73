import type { NextcloudTokenOptions as Options } from '../auth-info.js'
import { InternalError, McpAuthError } from '../errors/errors.js'
import type { Events } from '../events.js'
import type { Identity } from '../grants/grant.js'
import type { NextcloudMode } from '../modes.js'
import { isSameSecret, type ReplaceOptions, type Secret, type TokenSource } from '../nextcloud/credential.js'
import { abortable } from '../single-flight.js'
import { appPasswordMode } from './modes/app-password.js'
import { exchangeMode } from './modes/exchange.js'
import type {
  Basis,
  BrokerSession,
  Caller,
  GrantModeRooms,
  Have,
  Look,
  Mode,
  ModeRooms,
  TokenRequest,
} from './modes/mode.js'
import { passThroughSecrets } from './modes/pass-through.js'
import { refreshTokenMode } from './modes/refresh-token.js'
import type { TokenCache, TokenEntry } from './token-cache.js'
import { createTokenKeys, type TokenKeys } from './token-keys.js'
import { checkTokenOptions } from './token-options.js'
import { createTokenReports, type TokenReports } from './token-reports.js'
import { createTokenRequests, type TokenRequests } from './token-requests.js'

export type { BrokerSession } from './modes/mode.js'

/** Gets secrets for Nextcloud: from the cache, from a request under way, from the authorization server, in this order. */
export interface Broker extends TokenSource<BrokerSession> {
  /**
   * Throws or rejects with {@link TypeError} for options of no use in the mode, and as `GetNextcloudToken` says.
   */
  readonly getSecret: (session: BrokerSession, options?: Options) => Secret | Promise<Secret>
  /**
   * Gets another token now, in refresh-token mode with another refresh token if the server rotates. In app-password mode there is
   * nothing to renew: it looks whether there is a usable grant.
   */
  readonly rotate: (session: BrokerSession) => Promise<void>
  /** Tries the app password of a dead grant again, if it is time. Resolves to whether the grant is good now. */
  readonly tryAgain: (caller: Pick<Caller, 'identity' | 'clientId'>) => Promise<boolean>
  /** Forgets the tokens of a user whose grant has changed. */
  readonly forget: (identity: Identity) => void
  readonly size: () => number
}

/** The rooms that a broker needs. */
export interface BrokerRooms extends ModeRooms {
  /** The cache of the tokens of all issuers. */
  readonly tokens: TokenCache
}

/** A broker that asks for tokens, with its state. */
interface TokenBroker extends Pick<ModeRooms, 'nextcloud' | 'clock'> {
  readonly mode: Mode
  readonly keys: TokenKeys
  readonly entries: TokenCache
  readonly reports: TokenReports
  readonly requests: TokenRequests
  readonly counters: Events['counters']
}

/** A broker that asks for nothing, keeps nothing and replaces nothing. */
const NOTHING_KEPT: Omit<Broker, 'getSecret'> = {
  replaceSecret: () => Promise.resolve(undefined),
  secretWorked: () => undefined,
  rotate: () => Promise.resolve(),
  tryAgain: () => Promise.resolve(false),
  forget: () => undefined,
  size: () => 0,
}

/** The broker of each mode. The compiler wants a row for every one. */
const BROKERS: Readonly<Record<NextcloudMode, (rooms: BrokerRooms) => Broker>> = {
  'token-exchange': (rooms) => createTokenBroker(rooms, exchangeMode(rooms)),
  'jwt-bearer': (rooms) => createTokenBroker(rooms, exchangeMode(rooms)),
  'refresh-token': (rooms) => createTokenBroker(rooms, refreshTokenMode(withGrants(rooms))),
  'app-password': (rooms) => createTokenBroker(rooms, appPasswordMode(withGrants(rooms))),
  'pass-through': (rooms) => ({ ...NOTHING_KEPT, getSecret: passThroughSecrets(rooms) }),
}

export const createBroker = (rooms: BrokerRooms): Broker => BROKERS[rooms.nextcloud.mode](rooms)

function withGrants(rooms: ModeRooms): GrantModeRooms {
  const { grants } = rooms
  if (grants === undefined) throw new InternalError('There are no grants in a mode that keeps some')
  return { ...rooms, grants }
}

function createTokenBroker(rooms: BrokerRooms, mode: Mode): Broker {
  const { config, nextcloud, tokens: entries, clock, events, underWay } = rooms
  const { counters } = events
  const { clockTolerance } = config
  const keys = createTokenKeys(config, nextcloud, mode)
  const reports = createTokenReports(nextcloud.mode, events)
  const requests = createTokenRequests({ mode, entries, reports, clockTolerance, clock, underWay })
  const broker: TokenBroker = { nextcloud, mode, keys, entries, reports, requests, counters, clock }
  return {
    getSecret: (session, options) => getSecret(broker, session, options),
    replaceSecret: (session, refused, given) => replaceSecret(broker, session, refused, given),
    secretWorked: (session, secret) => {
      const entry = entries.get(keys.key(session))
      if (entry !== undefined && isSameSecret(entry.secret, secret)) entry.unproven = false
    },
    rotate: async (session) => {
      await requests.fetchAnother(requestOf(broker, session, { force: true }))
    },
    tryAgain: mode.tryAgain ?? NOTHING_KEPT.tryAgain,
    forget: (identity) => {
      requests.doubt()
      entries.delete(keys.keyOfGrant(identity))
    },
    size: () => entries.size,
  }
}

function requestOf({ keys }: TokenBroker, session: BrokerSession, have: Have, options?: Options): TokenRequest {
  return { key: keys.key(session, options), caller: session.caller, target: keys.target(session, options), have }
}

function getSecret(broker: TokenBroker, session: BrokerSession, options?: Options): Secret | Promise<Secret> {
  if (options !== undefined) checkTokenOptions(options, broker.nextcloud.mode)
  options?.signal?.throwIfAborted()
  const isFirst = session.defaultKey === undefined
  const entry = living(broker, session, options)
  // With forceRefresh, a token that was handed out counts as refused; one that was renewed since does not.
  const force = options?.forceRefresh === true && (entry === undefined || entry.handedOut)
  if (entry === undefined || force)
    return miss(broker, session, force ? { force, notThis: entry?.secret } : {}, options)
  // Once for each MCP token. Later calls note it when a look into the store is due.
  if (isFirst) broker.mode.grants?.used(session.caller, entry.basis?.consent)
  return serve(broker, session, { entry, have: {} }, options)
}

/** A cached secret, and what to ask with if it is gone. */
interface Cached {
  readonly entry: TokenEntry
  readonly have: Have
}

/** Hands out a cached entry, as soon as its grant is known to stand. */
function serve(
  broker: TokenBroker,
  session: BrokerSession,
  cached: Cached,
  options?: Options,
): Secret | Promise<Secret> {
  const { entry } = cached
  const verdict = (entry.basis && broker.mode.check?.(session.caller, entry.secret, entry.basis)) ?? true
  if (verdict === true) return handOut(broker, entry, session)
  broker.mode.grants?.used(session.caller, entry.basis?.consent)
  const key = broker.keys.key(session, options)
  const confirmed = follow(broker, { key, caller: session.caller, entry }, verdict.outcome)
  if (verdict.awaited) return confirm(broker, session, { ...cached, confirmed }, options)
  confirmed.catch(() => undefined)
  return handOut(broker, entry, session)
}

/** Returns the cached entry, while it lives. Near its end it is renewed in the background. */
function living(broker: TokenBroker, session: BrokerSession, options?: Options): TokenEntry | undefined {
  const { mode, keys, entries, requests, clock } = broker
  const key = keys.key(session, options)
  const entry = entries.get(key)
  if (entry === undefined || !isLiving(broker, session, entry)) return undefined
  const mayRenew = mode.grants?.permits(session.caller, entry.basis?.consent) !== false
  if (clock.monotonic() >= entry.renewAt && mayRenew && !requests.isCoolingDown(key)) {
    const request = requestOf(broker, session, { notThis: entry.secret, ahead: true }, options)
    requests.fetch(request).catch(() => undefined)
  }
  return entry
}

/** The monotonic clock stops while a machine sleeps; the end of the MCP token is judged by the wall clock. */
function isLiving({ requests, clock }: TokenBroker, { caller }: BrokerSession, { deadAt }: TokenEntry): boolean {
  return clock.monotonic() < deadAt && !requests.isExpired(caller)
}

function handOut({ counters, reports }: TokenBroker, entry: TokenEntry, { caller }: BrokerSession): Secret {
  entry.handedOut = true
  counters.nextcloudCacheHits += 1
  reports.got(caller, 'cache', 0)
  return entry.secret
}

/** Makes the cache follow a look into the store, whether or not a caller waits for it. Returns the entry that stands now. */
async function follow(
  { entries, requests }: TokenBroker,
  { key, caller, entry }: { readonly key: string; readonly caller: Caller; readonly entry: TokenEntry },
  outcome: Look['outcome'],
): Promise<TokenEntry | undefined> {
  const seen = await outcome
  if (seen === true) return entry
  // One that has come meanwhile stays: the look was not at it.
  if (entries.get(key) === entry) {
    if (seen === false) entries.delete(key)
    else requests.keep(key, caller, seen)
  }
  return entries.get(key)
}

/** Hands out the entry if its grant still stands, else the one that has replaced it, else a fresh one. */
async function confirm(
  broker: TokenBroker,
  session: BrokerSession,
  { entry: cached, confirmed, have }: Cached & { readonly confirmed: Promise<TokenEntry | undefined> },
  options?: Options,
): Promise<Secret> {
  const { mode, reports } = broker
  const { caller } = session
  const entry = await abortable(confirmed, options?.signal).catch((error: unknown) => {
    throw error instanceof McpAuthError ? reports.failed(error, caller) : error
  })
  // The look may have taken longer than the secret lived. Fetching again rejects with the reason.
  const serves =
    entry !== undefined &&
    isLiving(broker, session, entry) &&
    mode.grants?.permits(caller, entry.basis?.consent) !== false
  if (!serves) return miss(broker, session, have, options)
  // What has come meanwhile is not what was looked for.
  return entry === cached ? handOut(broker, entry, session) : serve(broker, session, { entry, have }, options)
}

function miss(broker: TokenBroker, session: BrokerSession, have: Have, options?: Options): Promise<Secret> {
  broker.counters.nextcloudCacheMisses += 1
  return fetchFor(broker, session, requestOf(broker, session, have, options), options)
}

/** Gets a fresh secret for one of the callers who wait for it, each of whom must be entitled to it. */
async function fetchFor(
  broker: TokenBroker,
  session: BrokerSession,
  request: TokenRequest,
  options?: Options,
): Promise<Secret> {
  const { mode, clock } = broker
  const { caller } = session
  const calledAt = clock.monotonic()
  const { secret, basis } = await abortable(broker.requests.fetch(request), options?.signal)
  checkPermission(broker, caller, basis)
  const cached = broker.entries.get(request.key)
  const entry = cached !== undefined && isSameSecret(cached.secret, secret) ? cached : undefined
  if (basis !== undefined && mode.grants?.isRecent(basis.checkedAt, calledAt) === false) {
    // Its grant may have ended before this call began.
    const unkept = { secret, basis, renewAt: Infinity, deadAt: Infinity, unproven: false, handedOut: false }
    return serve(broker, session, { entry: entry ?? unkept, have: { notThis: request.have.notThis } }, options)
  }
  mode.grants?.used(caller, basis?.consent)
  if (entry !== undefined) entry.handedOut = true
  return secret
}

/**
 * @throws {NotProvisionedError} the user has not agreed to this MCP client, or no longer does
 * @throws {SubjectTokenRejectedError} the user has taken back what the MCP token came of
 */
function checkPermission({ mode, reports }: TokenBroker, caller: Caller, basis: Basis | undefined): void {
  const denial = mode.grants?.denial(caller, basis?.consent)
  if (denial !== undefined) throw reports.failed(denial, caller)
}

async function replaceSecret(
  broker: TokenBroker,
  session: BrokerSession,
  refused: Secret,
  { proven }: ReplaceOptions = {},
): Promise<Secret | undefined> {
  const { mode, keys, entries, clock } = broker
  const key = keys.key(session)
  const entry = entries.get(key)
  if (entry !== undefined && clock.monotonic() < entry.deadAt) {
    if (!isSameSecret(entry.secret, refused)) return serve(broker, session, { entry, have: { notThis: refused } })
    if (entry.unproven && mode.provesRefusals !== true) return undefined
  }
  const request = requestOf(broker, session, { force: true, notThis: refused, proven })
  const secret = await fetchFor(broker, session, request)
  const fresh = entries.get(key)
  if (fresh !== undefined && isSameSecret(fresh.secret, secret)) fresh.unproven = true
  return isSameSecret(secret, refused) ? undefined : secret
}
