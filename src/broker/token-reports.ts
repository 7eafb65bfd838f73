import {
  asMcpAuthError,
  SubjectTokenRejectedError,
  TokenRequestError,
  UpstreamUnavailableError,
  type McpAuthError,
  type TokenRequestFailure,
} from '../errors/errors.js'
import type { Events, OfRefusal } from '../events.js'
import type { NextcloudMode } from '../modes.js'
import type { Caller, FreshToken } from './modes/mode.js'

/** Tells the operator how Nextcloud tokens were got, and why not. */
export type TokenReports = ReturnType<typeof createTokenReports>

export function createTokenReports(mode: NextcloudMode, events: Events) {
  return {
    got: ({ identity }: Caller, source: FreshToken['source'] | 'cache', durationMs: number): void => {
      if (events.active()) events.emit({ type: 'nextcloud.token', mode, source, ...identity, durationMs })
    },
    coolsDown: (): void => void (events.counters.coolDowns += 1),
    /** Reports a failure and returns it as an error of this package. */
    failed: (error: unknown, { identity }: Caller): McpAuthError => {
      const failure = asMcpAuthError(error)
      events.emit({ type: 'nextcloud.failed', mode, code: failure.code, ...identity, ...wordsOfRefusal(failure) })
      return failure
    },
  }
}

/** Returns what the authorization server said, if it refused. */
function wordsOfRefusal(failure: McpAuthError): OfRefusal {
  const { error, errorDescription, hint }: TokenRequestFailure =
    failure instanceof TokenRequestError || failure instanceof UpstreamUnavailableError
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
