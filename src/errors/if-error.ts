/** Returns a handler for `catch` that answers errors of one class, and throws all others on. */
export function ifError<E extends Error, T>(
  kind: { readonly prototype: E; [Symbol.hasInstance](error: unknown): boolean },
  answer: (error: E) => T,
): (error: unknown) => T {
  return (error) => {
    if (error instanceof kind) return answer(error as E)
    throw error
  }
}
