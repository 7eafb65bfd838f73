import type { Config } from '../config/config.js'
import { InsufficientScopeError } from '../errors/errors.js'

/**
 * Checks that a verified token has every scope of an operation. The error names them all, those of every request
 * included: a client that asks for just the missing ones would lose the others (MCP 2026-07-28, authorization).
 *
 * @throws {InsufficientScopeError} one is not satisfied
 */
export function checkScopes(
  rules: Pick<Config, 'requiredScopes' | 'scopeSatisfies'>,
  info: { readonly scopes: readonly string[] },
  scopes: readonly string[],
): void {
  for (const scope of scopes) {
    // Only true counts: a promise, which an async function returns, is not a verdict.
    if ((rules.scopeSatisfies(info.scopes, scope) as unknown) !== true) {
      throw new InsufficientScopeError([...new Set([...rules.requiredScopes, ...scopes])], info.scopes)
    }
  }
}
