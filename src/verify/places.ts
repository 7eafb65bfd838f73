import { afterPatience, type Clock } from '../clock.js'
import { UpstreamUnavailableError } from '../errors/errors.js'

/** Places for requests that strangers can cause, shared fairly: whoever takes many keeps nobody else out. */
export interface Places {
  /**
   * Waits for a place and takes it.
   *
   * @param from the network of the caller, which may have a quarter of the places; undefined: not known, and no such limit
   * @returns the function that gives the place back
   * @throws {UpstreamUnavailableError} there was none in time
   */
  readonly take: (from: string | undefined) => Promise<() => void>
}

interface Waiter {
  readonly from: string | undefined
  readonly go: () => void
}

/** Callers that wait at one time, in all, for each place. */
const WAITING_FOR_EACH = 20

/**
 * @param most places
 * @param patience milliseconds for which a caller waits
 */
export function createPlaces(clock: Clock, most: number, patience: number): Places {
  const mostOfOne = Math.floor(most / 4)
  const taken = new Map<string | undefined, number>()
  let waiting: Waiter[] = []
  let underWay = 0
  const takenBy = (from: string | undefined): number => taken.get(from) ?? 0
  const isFree = (from: string | undefined): boolean =>
    underWay < most && (from === undefined || takenBy(from) < mostOfOne)
  // Of the queue, too, a network has a quarter.
  const isFull = (from: string | undefined): boolean =>
    waiting.length >= most * WAITING_FOR_EACH ||
    (from !== undefined && waiting.filter((waiter) => waiter.from === from).length >= mostOfOne * WAITING_FOR_EACH)
  const occupy = (from: string | undefined): void => {
    underWay += 1
    taken.set(from, takenBy(from) + 1)
  }
  const leave = (from: string | undefined): void => {
    underWay -= 1
    if (takenBy(from) === 1) taken.delete(from)
    else taken.set(from, takenBy(from) - 1)
    const next = waiting
      .filter((waiter) => isFree(waiter.from))
      .reduce<Waiter | undefined>((a, b) => (a === undefined || takenBy(b.from) < takenBy(a.from) ? b : a), undefined)
    next?.go()
  }
  return {
    take: (from) =>
      new Promise((resolve, reject) => {
        let isOver = false
        const enter = (): void => {
          occupy(from)
          resolve(() => {
            if (!isOver) leave(from)
            isOver = true
          })
        }
        if (isFree(from)) return enter()
        if (isFull(from)) return reject(tooMany())
        const stopWaiting = (): void => void (waiting = waiting.filter((other) => other !== waiter))
        const cancel = afterPatience(clock, patience, () => {
          stopWaiting()
          reject(tooMany())
        })
        const waiter: Waiter = {
          from,
          go: () => {
            cancel()
            stopWaiting()
            enter()
          },
        }
        waiting.push(waiter)
      }),
  }
}

function tooMany(): UpstreamUnavailableError {
  return new UpstreamUnavailableError('Too many tokens are being introspected at once', { retryAfter: 1 })
}
