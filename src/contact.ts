import type { Clock } from './clock.js'
import { UpstreamUnavailableError } from './errors/errors.js'

/** The answers and failures of a service outside. */
export interface Contact {
  readonly answered: () => void
  readonly failed: () => void
  /** Notes the end of a request, and returns the same promise. What says nothing of the service (an abort) is not noted. */
  readonly noted: <T>(request: Promise<T>) => Promise<T>
  /** Milliseconds since 1970. */
  readonly lastAnswerAt: () => number | undefined
  /** Whether the last request was answered. False as long as there was none. */
  readonly isGood: () => boolean
}

/** The first status by which a gateway, or a Nextcloud under maintenance, says that it does not serve. A 500 may be of one request. */
const BAD_GATEWAY = 502

export function createContact({ now }: Pick<Clock, 'now'>): Contact {
  let lastAnswerAt: number | undefined
  let isGood = false
  const answered = (): void => {
    lastAnswerAt = now()
    isGood = true
  }
  const failed = (): void => void (isGood = false)
  const ended = (answer: unknown): void => {
    answered()
    if (answer instanceof Response && answer.status >= BAD_GATEWAY) failed()
  }
  const ifOutage = (error: unknown): void => {
    if (error instanceof UpstreamUnavailableError) failed()
  }
  return {
    answered,
    failed,
    noted: (request) => {
      request.then(ended, ifOutage)
      return request
    },
    lastAnswerAt: () => lastAnswerAt,
    isGood: () => isGood,
  }
}
