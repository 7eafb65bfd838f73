/** Makes any number of concurrent calls for one key share one run. */
export interface SingleFlight<T> {
  /** Joins the run under way for the key. Without one, `start` begins it. */
  readonly join: (key: string, start: () => Promise<T>) => Promise<T>
  /** Resolves when every run that is under way has ended, well or badly. */
  readonly settle: () => Promise<void>
}

export function createSingleFlight<T>(): SingleFlight<T> {
  const flights = new Map<string, Promise<T>>()
  return {
    join: (key, start) => flights.get(key) ?? begin(flights, key, start()),
    settle: async () => {
      await Promise.allSettled(flights.values())
    },
  }
}

function begin<T>(flights: Map<string, Promise<T>>, key: string, flight: Promise<T>): Promise<T> {
  const ended = (): boolean => flights.delete(key)
  flights.set(key, flight)
  // Not `finally`, which makes one promise more.
  flight.then(ended, ended)
  return flight
}

/** Returns the promise for one caller, who may stop waiting. The work goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const stopWaiting = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', stopWaiting, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stopWaiting))
  })
}
