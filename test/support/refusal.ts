import { ConfigurationError } from '../../src/errors/errors.js'
import type { Config } from '../../src/config/config.js'
import { readConfig } from '../../src/config/read-config.js'
import type { Environment } from '../../src/options.js'

/** What a user has to give at least. */
export const LEAST = { issuer: 'https://idp.example.com', resource: 'https://mcp.example.com/mcp' }

/** A client that can prove who it is. */
export const CLIENT = { clientId: 'mcp-server', clientSecret: 'secret' }

/** Names no scope for MCP clients to ask for, on purpose, so that there is no warning of it. */
export const NO_SCOPES = { challengeScopes: [] }

/** The warnings that options come with. */
export const warningsOf = (options: object, environment: Environment = {}): Config['warnings'] =>
  readConfig({ ...NO_SCOPES, ...options }, environment).warnings

/** What is wrong with options. */
export interface Refusal {
  readonly kind: unknown
  readonly code: string
  readonly status: number
  readonly option: string | undefined
  readonly message: string
}

/** How options are refused; undefined when they are not. */
export function refusalOf(options: unknown, environment: Environment = {}): Refusal | undefined {
  try {
    readConfig(options, environment)
    return undefined
  } catch (error) {
    const { constructor: kind, code, status, option, message } = error as ConfigurationError
    return { kind, code, status, option, message }
  }
}

/** The refusal of an option, which its message names first and gives the reason for. */
export function refused(option: string, reason: string, variable?: string): Refusal {
  const source = variable === undefined ? '' : ` (environment variable ${variable})`
  return {
    kind: ConfigurationError,
    code: 'ERR_CONFIGURATION',
    status: 500,
    option,
    message: `${option}${source} ${reason}`,
  }
}

/** Options in which one, given as a path such as `http.timeout`, has this value. */
export function withOption(path: string, value: unknown, others: object = { ...LEAST, ...CLIENT }): object {
  const [name = '', ...rest] = path.split('.')
  if (rest.length === 0) return { ...others, [name]: value }
  const base = name === 'nextcloud' ? { url: 'https://cloud.example.com' } : {}
  return { ...others, [name]: withOption(rest.join('.'), value, base) }
}
