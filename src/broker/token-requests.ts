import type { Clock } from '../clock.js'
import { NotProvisionedError, SubjectTokenRejectedError } from '../errors/errors.js'
import { isSameSecret } from '../nextcloud/credential.js'
import { createSingleFlight, type SingleFlight } from '../single-flight.js'
import type { UnderWay } from '../under-way.js'
import type { StoredGrant } from '../grants/grant-store.js'
import { createCoolDowns, type CoolDowns } from '../transport/cool-down.js'
import {
  hasExpired,
  type Caller,
  type FreshToken,
  type GrantCheck,
  type Mode,
  type TokenRequest,
} from './modes/mode.js'
import { tokenEntry, type TokenCache } from './token-cache.js'
import type { TokenReports } from './token-reports.js'

/** Requests for fresh tokens: at most one for a key at a time, put off after a failure, kept and reported when it ends. */
export interface TokenRequests {
  /**
   * Joins the request under way for the key, or begins one. It goes on when a caller stops waiting.
   *
   * Rejects with {@link NotProvisionedError} before anything is sent if the user has not agreed to the caller's MCP client.
   */
  readonly fetch: (request: TokenRequest) => Promise<FreshToken>
  /** Sends a request of its own: one under way may end with the token that the store has. Rejects as `fetch` does. */
  readonly fetchAnother: (request: TokenRequest) => Promise<FreshToken>
  readonly keep: (key: string, caller: Caller, fresh: FreshToken) => void
  readonly isCoolingDown: (key: string) => boolean
  /** Whether the caller's MCP token has expired and the Nextcloud token is bound to it. A grant serves on, because it is the user's consent. */
  readonly isExpired: (caller: Caller) => boolean
  /** Notes that a grant has changed: the token under way is checked again before it is served. */
  readonly doubt: () => void
}

interface Requesting {
  readonly mode: Mode
  readonly entries: TokenCache
  readonly reports: TokenReports
  readonly coolDowns: CoolDowns
  /** Seconds. */
  readonly clockTolerance: number
  readonly clock: Clock
  /** Looks at grants, by the key of the token. Callers of all MCP clients share them, and each judges by itself. */
  readonly looks: SingleFlight<Found>
  readonly flights: SingleFlight<FreshToken>
  /** The grants with which the flights under way began, by the key of the flight. */
  readonly begun: Map<string, Found>
  doubts: number
}

/** The moment before a request, and the caller's grant at that moment. */
interface Found {
  /** Undefined if there is none, or the mode has no grants. */
  readonly stored: StoredGrant | undefined
  /** The doubts until then. */
  readonly doubts: number
  /** Monotonic milliseconds. */
  readonly startedAt: number
}

/** Keys whose failures are remembered at one time. */
const COOL_DOWNS = 10_000
/** Flights of other callers that a call may be disappointed by. */
const MOST_FLIGHTS = 10

export function createTokenRequests({
  underWay,
  ...rooms
}: Pick<Requesting, 'mode' | 'entries' | 'reports' | 'clockTolerance' | 'clock'> & {
  readonly underWay: UnderWay
}): TokenRequests {
  const requesting: Requesting = {
    ...rooms,
    coolDowns: createCoolDowns(rooms.clock, COOL_DOWNS, rooms.reports.coolsDown),
    looks: createSingleFlight(),
    flights: createSingleFlight(),
    begun: new Map(),
    doubts: 0,
  }
  return {
    fetch: (request) => underWay.track(fetch(requesting, request, request.key)),
    fetchAnother: (request) => underWay.track(fetch(requesting, request, `another ${request.key}`)),
    keep: (key, caller, fresh) => keep(requesting, key, caller, fresh),
    isCoolingDown: requesting.coolDowns.active,
    isExpired: (caller) => isExpired(requesting, caller),
    doubt: () => void (requesting.doubts += 1),
  }
}

/** Gets a fresh token for a caller who may have it, in the flight under way or in one that it begins. */
async function fetch(requesting: Requesting, request: TokenRequest, flightKey: string): Promise<FreshToken> {
  const { flights, begun } = requesting
  const { caller, have } = request
  for (let disappointments = 0; ; disappointments += 1) {
    const own = { flight: false }
    const underWay = begun.get(flightKey)
    const found = underWay && mayGoOn(requesting, caller, underWay) ? underWay : await find(requesting, request)
    const flight = flights.join(flightKey, () => {
      own.flight = true
      return sendAndKeep(requesting, request, { flightKey, found })
    })
    try {
      const fresh = await flight
      // One that began without knowing of the refused token may have found the very same in the store.
      if (own.flight || disappointments > 0 || !isSameSecret(fresh.secret, have.notThis)) return fresh
    } catch (error) {
      if (own.flight || disappointments >= MOST_FLIGHTS || !isOfOneCaller(requesting, error)) throw error
      // The caller who began it has lost the user's consent. This one may still have it.
    }
  }
}

const isWantOfConsent = (error: unknown): boolean => error instanceof NotProvisionedError && error.reason === 'consent'

/** Whether a flight for a grant has failed for the caller who began it, and not for the others who wait for it. */
const isOfOneCaller = ({ mode }: Requesting, error: unknown): boolean =>
  isWantOfConsent(error) || (!mode.boundToMcpToken && error instanceof SubjectTokenRejectedError)

function mayGoOn({ mode: { grants } }: Requesting, caller: Caller, { stored }: Found): boolean {
  return grants === undefined || grants.permits(caller, stored?.grant)
}

/**
 * Finds the grant that a request begins with.
 *
 * @throws {NotProvisionedError} it does not serve the caller's MCP client
 * @throws {SubjectTokenRejectedError} the user has taken back what the caller's MCP token came of
 */
async function find(requesting: Requesting, { key, caller }: TokenRequest): Promise<Found> {
  const { mode, looks, reports, clock, doubts } = requesting
  const { grants } = mode
  if (grants === undefined) return { stored: undefined, doubts, startedAt: clock.monotonic() }
  const own = { look: false }
  const begin = (): Promise<Found> => {
    own.look = true
    return look(requesting, caller, grants)
  }
  let found = await looks.join(key, begin)
  let refusal = grants.refusal(caller, found.stored?.grant)
  if (refusal !== undefined && !own.look) {
    // It began before this call, and may have missed that the user agreed.
    found = await looks.join(key, begin)
    refusal = grants.refusal(caller, found.stored?.grant)
  }
  if (refusal !== undefined) throw reports.failed(refusal, caller)
  return found
}

async function look({ reports, clock, doubts }: Requesting, caller: Caller, grants: GrantCheck): Promise<Found> {
  const startedAt = clock.monotonic()
  try {
    return { stored: await grants.read(caller.identity), doubts, startedAt }
  } catch (error) {
    throw reports.failed(error, caller)
  }
}

function isExpired({ mode, clock, clockTolerance }: Requesting, caller: Caller): boolean {
  return mode.boundToMcpToken && hasExpired(caller, clockTolerance, clock)
}

async function sendAndKeep(
  requesting: Requesting,
  request: TokenRequest,
  { flightKey, found }: { readonly flightKey: string; readonly found: Found },
): Promise<FreshToken> {
  const { entries, reports, begun, clock } = requesting
  const { key, caller } = request
  begun.set(flightKey, found)
  try {
    const fresh = await send(requesting, request, found.stored)
    if (requesting.doubts !== found.doubts && fresh.basis !== undefined) fresh.basis.checkedAt = -Infinity
    keep(requesting, key, caller, fresh)
    reports.got(caller, fresh.source, clock.monotonic() - found.startedAt)
    return fresh
  } catch (error) {
    // The token before it came from a grant that is gone.
    if (error instanceof NotProvisionedError && !isWantOfConsent(error)) entries.delete(key)
    throw reports.failed(error, caller)
  } finally {
    begun.delete(flightKey)
  }
}

async function send(
  requesting: Requesting,
  request: TokenRequest,
  found: StoredGrant | undefined,
): Promise<FreshToken> {
  const { mode, coolDowns } = requesting
  const { key, caller, have } = request
  if (mode.boundToMcpToken) coolDowns.check(key)
  if (isExpired(requesting, caller)) throw new SubjectTokenRejectedError()
  try {
    const fresh = await mode.getFreshToken(request, found)
    coolDowns.succeeded(key)
    return fresh
  } catch (error) {
    // Failures of a grant are tracked per refresh token, which reconnecting replaces. Here they only delay early renewal.
    if (!mode.boundToMcpToken && have.ahead !== true) throw error
    return coolDowns.failed(key, error)
  }
}

function keep({ mode, entries, clock }: Requesting, key: string, caller: Caller, fresh: FreshToken): void {
  const endOfMcpToken = clock.monotonic() + caller.expiresAt * 1_000 - clock.now()
  const entry = tokenEntry(fresh, mode, mode.boundToMcpToken ? endOfMcpToken : Infinity)
  // A token that must not be kept still replaces the one before it.
  if (entry !== undefined && clock.monotonic() < entry.deadAt) entries.set(key, entry)
  else entries.delete(key)
}
