/** One turn of the event loop: every promise that can go on by itself has done so. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Lets messages on this machine arrive until something is the case; the clock stands still meanwhile. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turn()
}

/** The reason of a promise's rejection. One that resolves fails the test. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (reason: unknown) => ({ reason }),
  )
  if ('value' in outcome) throw new Error('It resolved, and should have been rejected')
  return outcome.reason
}
