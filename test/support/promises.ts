/** One turn of the event loop: every promise that can go on by itself has done so. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Milliseconds. */
const LONGEST_UNTIL = 20_000

/** Lets messages on this machine arrive until something is the case; the clock stands still meanwhile. */
export async function until(isSo: () => boolean): Promise<void> {
  const end = performance.now() + LONGEST_UNTIL
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`It never came to this: ${isSo.toString()}`)
    await turn()
  }
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
