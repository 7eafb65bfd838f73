import type { Clock } from './clock.js'
import { printable } from './errors/rejection-details.js'

/** Warnings of the process, which an operator without a listener sees on stderr. */
export interface ProcessWarnings {
  /** Warns of each message once, up to a bound. */
  readonly once: (message: string, code: string) => void
  /** Whether a refusal of this reason would be warned of now. */
  readonly isDue: (reason: string) => boolean
  /** Warns of the first refusal of each reason in a minute. */
  readonly refused: (reason: string, message: string) => void
}

/** Distinct messages of one middleware. */
const MOST_MESSAGES = 20
/** Milliseconds between two warnings of one reason. */
const REFUSALS_APART = 60_000
/** Each MCP client comes once without credentials, which is nothing to mend. */
const USUAL = 'no_credentials'

export function createProcessWarnings(clock: Clock): ProcessWarnings {
  const warned = new Set<string>()
  const refusedAt = new Map<string, number>()
  const isDue = (reason: string): boolean =>
    reason !== USUAL && clock.monotonic() >= (refusedAt.get(reason) ?? -Infinity) + REFUSALS_APART
  return {
    once(message, code) {
      if (warned.has(message) || warned.size >= MOST_MESSAGES) return
      warned.add(message)
      warn(message, code)
    },
    isDue,
    refused(reason, message) {
      if (!isDue(reason)) return
      refusedAt.set(reason, clock.monotonic())
      warn(`A request was turned away (${reason}): ${message}`, 'ERR_REJECTED')
    },
  }
}

/** The app's own words in a message may have what a user wrote, and a terminal obeys some characters. */
function warn(message: string, code: string): void {
  process.emitWarning(printable(message), { type: 'McpAuthWarning', code })
}
