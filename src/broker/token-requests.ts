import type { Clock } from '../clock.js'
import { NotProvisionedError, SubjectTokenRejectedError } from '../errors/errors.js'
import { createSingleFlight } from '../single-flight.js'
import { createCoolDowns, type CoolDowns } from '../transport/cool-down.js'
import { hasExpired, type Caller, type FreshToken, type Have, type Mode, type Target } from './modes/mode.js'
import { tokenEntry, type TokenCache } from './token-cache.js'
import type { TokenReports } from './token-reports.js'

/** One request: for whom, for what, and under which cache key. */
export interface TokenRequest {
  readonly key: string
  readonly caller: Caller
  readonly target: Target
  readonly have: Have
}

/** Requests for fresh tokens: at most one for a key at a time, put off after a failure, kept and reported when it ends. */
export interface TokenRequests {
  /** Joins the request under way for the key, or begins one. It goes on when a caller stops waiting. */
  readonly fetch: (request: TokenRequest) => Promise<FreshToken>
  /** Sends a request of its own: one under way may end with the token that the store has. */
  readonly fetchAnother: (request: TokenRequest) => Promise<FreshToken>
  readonly keep: (key: string, caller: Caller, fresh: FreshToken) => void
  readonly isCoolingDown: (key: string) => boolean
  /** Whether the caller's MCP token has expired and the Nextcloud token is bound to it. A grant serves on, because it is the user's consent. */
  readonly isExpired: (caller: Caller) => boolean
  /** Notes that a grant has changed: the token under way is checked again before it is served. */
  readonly doubt: () => void
  readonly settle: () => Promise<void>
}

interface Requesting {
  readonly mode: Mode
  readonly entries: TokenCache
  readonly reports: TokenReports
  readonly coolDowns: CoolDowns
  /** Seconds. */
  readonly clockTolerance: number
  readonly clock: Clock
  doubts: number
}

/** Keys whose failures are remembered at one time. */
const COOL_DOWNS = 10_000

export function createTokenRequests(rooms: Omit<Requesting, 'coolDowns' | 'doubts'>): TokenRequests {
  const requesting: Requesting = { ...rooms, coolDowns: createCoolDowns(rooms.clock, COOL_DOWNS), doubts: 0 }
  const flights = createSingleFlight<FreshToken>()
  return {
    fetch: (request) => flights.join(request.key, () => sendAndKeep(requesting, request)),
    fetchAnother: (request) => flights.join(`another ${request.key}`, () => sendAndKeep(requesting, request)),
    keep: (key, caller, fresh) => keep(requesting, key, caller, fresh),
    isCoolingDown: requesting.coolDowns.active,
    isExpired: (caller) => isExpired(requesting, caller),
    doubt: () => void (requesting.doubts += 1),
    settle: flights.settle,
  }
}

function isExpired({ mode, clock, clockTolerance }: Requesting, caller: Caller): boolean {
  return mode.boundToMcpToken && hasExpired(caller, clockTolerance, clock)
}

async function sendAndKeep(requesting: Requesting, request: TokenRequest): Promise<FreshToken> {
  const { entries, reports, clock, doubts } = requesting
  const { key, caller, have } = request
  const startedAt = clock.monotonic()
  try {
    const fresh = await send(requesting, request)
    if (requesting.doubts !== doubts && fresh.basis !== undefined) fresh.basis.checkedAt = -Infinity
    keep(requesting, key, caller, fresh)
    reports.got(caller, fresh.source, clock.monotonic() - startedAt)
    return fresh
  } catch (error) {
    // The next caller must not get the refused token either.
    if (error instanceof NotProvisionedError && have.force === true) entries.delete(key)
    throw reports.failed(error, caller)
  }
}

async function send(requesting: Requesting, { key, caller, target, have }: TokenRequest): Promise<FreshToken> {
  const { mode, coolDowns } = requesting
  if (mode.boundToMcpToken) coolDowns.check(key)
  if (isExpired(requesting, caller)) throw new SubjectTokenRejectedError()
  try {
    const fresh = await mode.getFreshToken(caller, target, have)
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
