import { LRUCache } from 'lru-cache'
import { afterPatience, type Clock } from '../clock.js'
import type { SignIns, Whose } from './sign-ins.js'

/**
 * The requests with one app password. Each may be refused, and counts at Nextcloud then. If nothing good is known of the password, one
 * goes first, and the others wait for the headers of its answer. After a good answer a few are under way at a time, so that a password
 * that its user has just ended costs no more than these.
 */
export interface Line {
  /** Takes a place: at once if there is one. Whoever has waited looks at the grant again: the password may have ended. */
  readonly enter: (whose: Whose, signal?: AbortSignal) => Turn | Promise<Turn>
  /** Gives a place back. `isGood`: whether Nextcloud took the password; undefined: it has not said. */
  readonly leave: (turn: Turn, isGood?: boolean) => void
}

/** The round in which a place was taken. */
export type Turn = number

/** Milliseconds for which a good answer speaks for its password. */
const GOOD_FOR = 10_000
/** Milliseconds without an answer after which the requests under way keep no other waiting: uploads may be long. */
const PATIENCE = 5_000
const MOST_LINES = 10_000

/** Returns the line of a password. */
export function createLines(clock: Clock, signIns: Pick<SignIns, 'atOnce'>): (password: string) => Line {
  const lines = new LRUCache<string, Line>({ max: MOST_LINES })
  return (password) => {
    let line = lines.get(password)
    if (line === undefined) lines.set(password, (line = newLine(clock, signIns)))
    return line
  }
}

interface Waiter {
  readonly whose: Whose
  readonly go: () => void
}

function newLine(clock: Clock, signIns: Pick<SignIns, 'atOnce'>): Line {
  const waiting = new Set<Waiter>()
  let [underWay, round, goodUntil] = [0, 0, -Infinity]
  let stopWatch: (() => void) | undefined
  const isFree = (whose: Whose): boolean =>
    underWay === 0 || (clock.monotonic() < goodUntil && underWay < signIns.atOnce(whose))
  const admit = (): void => {
    stopWatch?.()
    stopWatch = undefined
    for (const waiter of waiting) {
      if (!isFree(waiter.whose)) break
      waiting.delete(waiter)
      underWay += 1
      waiter.go()
    }
    if (waiting.size > 0) stopWatch = afterPatience(clock, PATIENCE, nextRound)
  }
  const nextRound = (): void => {
    round += 1
    underWay = 0
    admit()
  }
  const wait = (whose: Whose, signal: AbortSignal | undefined): Promise<Turn> =>
    new Promise((resolve, reject) => {
      const giveUp = (): void => {
        waiting.delete(waiter)
        reject(signal?.reason as Error)
      }
      const waiter: Waiter = {
        whose,
        go: () => {
          signal?.removeEventListener('abort', giveUp)
          resolve(round)
        },
      }
      signal?.addEventListener('abort', giveUp)
      waiting.add(waiter)
      stopWatch ??= afterPatience(clock, PATIENCE, nextRound)
    })
  return {
    enter(whose, signal) {
      if (waiting.size > 0 || !isFree(whose)) return wait(whose, signal)
      underWay += 1
      return round
    },
    leave(turn, isGood) {
      if (isGood !== undefined) goodUntil = isGood ? clock.monotonic() + GOOD_FOR : -Infinity
      // The place of one that took too long has been given to another.
      if (turn === round) underWay -= 1
      if (waiting.size > 0) admit()
    },
  }
}
