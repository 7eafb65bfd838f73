import type { LRUCache } from 'lru-cache'
import { createCoolDowns } from '../transport/cool-down.js'
import type { Clock } from '../clock.js'
import { NotProvisionedError, SubjectTokenRejectedError } from '../errors/errors.js'
import { createSingleFlight } from '../single-flight.js'
import type { Caller, FreshToken, Mode, Present, Target } from './modes/mode.js'
import { tokenEntry, type TokenEntry } from './token-cache.js'
import type { TokenReports } from './token-reports.js'

/** What is asked for, for whom, and under which cache key. */
export interface TokenRequest {
  readonly key: string
  readonly caller: Caller
  readonly target: Target
  readonly present: Present
}

/** Requests for fresh tokens: at most one for a key at a time, put off after a failure, kept and reported when it ends. */
export interface TokenRequests {
  /** Joins the request under way for the key, or begins one. It outlives any one caller's patience. */
  readonly fetch: (request: TokenRequest) => Promise<FreshToken>
  /** A request of its own: one under way may end with the token that the store has. */
  readonly fetchAnother: (request: TokenRequest) => Promise<FreshToken>
  readonly keep: (key: string, caller: Caller, fresh: FreshToken) => void
  readonly isCoolingDown: (key: string) => boolean
  /** Whether the MCP token has ended that a token is got for. A grant serves on, as the user's longer-lived consent. */
  readonly isExpired: (caller: Caller) => boolean
  /** Somebody's grant has changed: what is under way is not trusted without another look. */
  readonly doubt: () => void
  readonly settle: () => Promise<void>
}

/** Keys whose failures are remembered at one time. */
const COOL_DOWNS = 10_000

export function createTokenRequests(
  mode: Mode,
  entries: LRUCache<string, TokenEntry> | undefined,
  reports: TokenReports,
  clock: Clock,
  clockTolerance: number,
): TokenRequests {
  const coolDowns = createCoolDowns(clock, COOL_DOWNS)
  const flights = createSingleFlight<FreshToken>()
  let doubts = 0

  const isExpired = ({ expiresAt }: Caller): boolean =>
    mode.boundToMcpToken && clock.now() >= (expiresAt + clockTolerance) * 1_000

  async function send({ key, caller, target, present }: TokenRequest): Promise<FreshToken> {
    if (mode.boundToMcpToken) coolDowns.check(key)
    if (isExpired(caller)) throw new SubjectTokenRejectedError()
    try {
      const fresh = await mode.getFreshToken(caller, target, present)
      coolDowns.succeeded(key)
      return fresh
    } catch (error) {
      // A grant's failures are those of its refresh token, which a reconnection replaces. Here they only put off renewing ahead.
      if (!mode.boundToMcpToken && present.ahead !== true) throw error
      return coolDowns.failed(key, error)
    }
  }

  async function sendAndKeep(request: TokenRequest): Promise<FreshToken> {
    const { key, caller, present } = request
    const startedAt = clock.monotonic()
    const doubtsBefore = doubts
    try {
      const fresh = await send(request)
      if (doubts !== doubtsBefore && fresh.standing !== undefined) fresh.standing.checkedAt = -Infinity
      keep(key, caller, fresh)
      reports.got(caller, fresh.source, clock.monotonic() - startedAt)
      return fresh
    } catch (error) {
      // The next caller must not get the refused token either.
      if (error instanceof NotProvisionedError && present.force === true) entries?.delete(key)
      throw reports.failed(error, caller)
    }
  }

  function keep(key: string, caller: Caller, fresh: FreshToken): void {
    const endOfMcpToken = clock.monotonic() + caller.expiresAt * 1_000 - clock.now()
    const entry = tokenEntry(fresh, mode, mode.boundToMcpToken ? endOfMcpToken : Infinity)
    // A token that is not to be kept still replaces the one before it.
    if (entry !== undefined && clock.monotonic() < entry.deadAt) entries?.set(key, entry)
    else entries?.delete(key)
  }

  return {
    fetch: (request) => flights.join(request.key, () => sendAndKeep(request)),
    fetchAnother: (request) => flights.join(`another ${request.key}`, () => sendAndKeep(request)),
    keep,
    isCoolingDown: coolDowns.active,
    isExpired,
    doubt: () => void (doubts += 1),
    settle: flights.settle,
  }
}
