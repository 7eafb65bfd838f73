import { systemClock } from './clock.js'
import { ConfigurationError } from './errors/errors.js'
import { lineOf } from './event-line.js'
import { tell, type McpAuthEvent } from './events.js'
import { createProcessWarnings } from './process-warnings.js'

const LEVELS = ['error', 'warn', 'info', 'debug'] as const

type Level = (typeof LEVELS)[number]

/** A logger: `console`, pino, winston, and any other with these methods. */
export type EventLogger = Readonly<Record<Level, (line: string) => unknown>>

/** Refusals that each MCP client brings about in passing. */
const USUAL_REASONS: Partial<Record<string, Level>> = { no_credentials: 'debug', expired: 'info', inactive: 'info' }
/** Ways in which a person does not connect that are no fault. */
const USUAL_ENDS: Partial<Record<string, Level>> = { declined: 'info', link: 'info' }
/** Failures that say something of one user and nothing of the server. */
const OF_A_USER: Partial<Record<string, Level>> = {
  ERR_NOT_PROVISIONED: 'info',
  ERR_SUBJECT_TOKEN_REJECTED: 'warn',
  ERR_AUDIENCE: 'warn',
}

const LEVEL_OF: {
  readonly [T in McpAuthEvent['type']]: Level | ((event: Extract<McpAuthEvent, { readonly type: T }>) => Level)
} = {
  'token.accepted': 'debug',
  'token.rejected': ({ reason }) => USUAL_REASONS[reason] ?? 'warn',
  'request.failed': ({ code }) => OF_A_USER[code] ?? 'error',
  'nextcloud.token': 'debug',
  'nextcloud.failed': ({ code }) => OF_A_USER[code] ?? 'error',
  'idp.unavailable': 'error',
  'grant.stored': 'info',
  'grant.rotated': 'debug',
  'grant.lost': 'error',
  'grant.revoked': ({ revoked, hint }) => (revoked === true && hint === undefined ? 'info' : 'warn'),
  'connect.failed': ({ reason }) => USUAL_ENDS[reason] ?? 'warn',
  'storage.failed': 'error',
  'config.warning': 'warn',
}

/**
 * Returns an `onEvent` that writes one line for each event: its type, its message where it has one, and all else as JSON. The levels are
 * - `error` for outages, a storage or a configuration that fails, and lost grants;
 * - `warn` for refusals that tell of a fault, and settings to look at;
 * - `info` for who connects and disconnects, and for tokens that have just expired;
 * - `debug` for what each request brings: tokens that are accepted, fetched and renewed, and requests without one.
 *
 * No line holds a token or a secret, or a character that breaks or turns it. A logger that fails disturbs no request: its first failure is a
 * process warning.
 *
 * @throws {ConfigurationError} the logger lacks one of these methods
 *
 * @example
 * const auth = mcpAuth({
 *   issuer: 'https://idp.example.com/realms/acme',
 *   resource: 'https://mcp.example.com/mcp',
 *   onEvent: logEvents(console),
 * })
 */
export function logEvents(logger: EventLogger): (event: McpAuthEvent) => void {
  if (!LEVELS.every((level) => typeof (logger as EventLogger | undefined)?.[level] === 'function')) {
    throw new ConfigurationError(`logEvents takes a logger with the methods ${LEVELS.join(', ')}`, 'onEvent')
  }
  const { once } = createProcessWarnings(systemClock)
  const write = (event: McpAuthEvent): unknown => logger[levelOf(event)](lineOf(event))
  return (event) => tell(write, event, once)
}

function levelOf(event: McpAuthEvent): Level {
  const level = LEVEL_OF[event.type] as Level | ((event: McpAuthEvent) => Level)
  return typeof level === 'string' ? level : level(event)
}
