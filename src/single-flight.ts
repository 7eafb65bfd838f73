/** Makes any number of concurrent calls for one key share one run. */
export interface SingleFlight<T> {
  /** What the run under way for the key comes to; `start` begins one when there is none. */
  readonly join: (key: string, start: () => Promise<T>) => Promise<T>
  /** Resolves when every run that is under way has ended, well or badly. */
  readonly settle: () => Promise<void>
}

export function createSingleFlight<T>(): SingleFlight<T> {
  const flights = new Map<string, Promise<T>>()
  return {
    join(key, start) {
      let flight = flights.get(key)
      if (flight === undefined) {
        flight = start()
        flights.set(key, flight)
        const ended = (): boolean => flights.delete(key)
        // Not `finally`, whose promise would be one more for everybody to wait for.
        flight.then(ended, ended)
      }
      return flight
    },
    async settle() {
      await Promise.allSettled(flights.values())
    },
  }
}

/** The same promise for one caller, who may stop waiting; what is waited for goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const stopWaiting = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', stopWaiting, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stopWaiting))
  })
}
