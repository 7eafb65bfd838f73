import type { Config } from '../config/config.js'
import { InsufficientScopeError } from '../errors/errors.js'

type ScopeRules = Pick<Config, 'requiredScopes' | 'scopeSatisfies'>

/**
 * Checks that a verified token has every scope of an operation.
 *
 * @throws {InsufficientScopeError} one is not satisfied
 */
export function checkScopes(
  rules: ScopeRules,
  info: { readonly scopes: readonly string[] },
  scopes: readonly string[],
): void {
  const refusal = scopeRefusal(rules, info.scopes, scopes)
  if (refusal !== undefined) throw refusal
}

/**
 * Returns the refusal of an operation for which a scope is missing. It names all of them, those of every request included: a client that
 * asks for just the missing ones would lose the others (MCP 2026-07-28, authorization).
 */
export function scopeRefusal(
  rules: ScopeRules,
  granted: readonly string[],
  scopes: readonly string[],
): InsufficientScopeError | undefined {
  for (const scope of scopes) {
    const verdict: unknown = rules.scopeSatisfies(granted, scope)
    // Only true counts: a promise, which an async function returns, is not a verdict. One that rejects must not end the process.
    if (verdict instanceof Promise) verdict.catch(() => undefined)
    if (verdict !== true) {
      return new InsufficientScopeError([...new Set([...rules.requiredScopes, ...scopes])], granted)
    }
  }
  return undefined
}
