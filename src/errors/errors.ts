import { McpAuthError as Base } from './base.js'
import type * as caller from './caller.js'
import { InternalError } from './operator.js'
import type * as operator from './operator.js'
import type * as outside from './outside.js'

/** The error family, by who is at fault. */
export type { ErrorBody } from './base.js'
export * from './caller.js'
export * from './operator.js'
export * from './outside.js'
export type { DpopProofFault, InvalidTokenReason } from './rejection-details.js'

type ErrorsOf<Room> = {
  [Name in keyof Room]: Room[Name] extends { readonly code: string; readonly prototype: infer Each } ? Each : never
}[keyof Room]

/** Any error of this package. Its `code` says which one it is, so that `switch (error.code)` narrows it. */
export type McpAuthError = ErrorsOf<typeof caller> | ErrorsOf<typeof operator> | ErrorsOf<typeof outside>

/** The base of them all, for `error instanceof McpAuthError`. */
export const McpAuthError = Base as unknown as (abstract new (...facts: never) => McpAuthError) & {
  readonly prototype: McpAuthError
  // TypeScript takes what is no instance out of a union by this alone.
  [Symbol.hasInstance](error: unknown): error is McpAuthError
}

/** Returns the failure as one that can be answered: what is not an error of this package is a bug, here or in a function of the app. */
export function asMcpAuthError(error: unknown): McpAuthError {
  return error instanceof McpAuthError ? error : new InternalError('An error that was not expected', error)
}
