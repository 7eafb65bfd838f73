import { ConfigurationError, McpAuthError } from '../errors/errors.js'
import { runCommand, type Surroundings } from './command-line.js'
import { waysToGive } from './options.js'
import type { Secrets } from './secrets.js'
import { codeOf, StorageAdvice } from './stores.js'

/** A fault of what the command works on, in words that hold nothing secret. */
export class Failure extends Error {}

/** Runs a command that works on a store. Resolves to its exit status: 1 when the configuration or a store is at fault. */
export function runOnStore(
  name: string,
  secrets: Secrets,
  surroundings: Surroundings,
  run: () => Promise<number>,
): Promise<number> {
  return runCommand(name, surroundings, () =>
    run().catch((error: unknown) => {
      surroundings.complain(`mcp-nextcloud-auth ${name}: ${secrets.mask(explain(error))}\n`)
      return 1
    }),
  )
}

/** @throws whatever is no fault of a configuration or a store */
function explain(error: unknown): string {
  if (error instanceof Failure) return error.message
  if (error instanceof StorageAdvice) return `${error.message}; ${error.fix}`
  if (error instanceof ConfigurationError) {
    return error.option === undefined ? error.detail : `${error.detail}; set it by ${waysToGive(error.option)}`
  }
  if (error instanceof McpAuthError) return `${error.detail} (${codeOf(error)})`
  // The error of a driver has a code, and a message that may quote the URL.
  if (typeof (error as { code?: unknown } | null)?.code === 'string')
    return `the store cannot be used (${codeOf(error)})`
  throw error
}
