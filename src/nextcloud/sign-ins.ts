import type { Clock } from '../clock.js'

/** The user whose app password is sent. */
export interface Whose {
  readonly issuer: string
  readonly subject: string
}

/**
 * The wrong sign-ins of this process at Nextcloud. After more than 10 of one address within 30 minutes, its brute force protection
 * turns away every app password from there (429), good ones too. A user has a small share of them, so that one user alone does not
 * make the others wait.
 */
export interface SignIns {
  /** Notes one that Nextcloud refused. */
  readonly refused: (whose: Whose) => void
  /**
   * Takes a place for a sign-in that is likely to be refused; undefined where there is none. Whoever has it gives it back, and says
   * whether the sign-in was refused.
   */
  readonly takePlace: (whose: Whose) => ((refused: boolean) => void) | undefined
  /** Whether so many were refused, of this user or of all, that only an app password known to be good may be sent. */
  readonly isFull: (whose: Whose) => boolean
  /** Whether so many of this user were refused that not even a new app password counts as known to be good. */
  readonly isBarred: (whose: Whose) => boolean
  /** Requests with one app password of the user that may wait for an answer at a time, at least one: all of them may be refused. */
  readonly atOnce: (whose: Whose) => number
}

interface Refused {
  /** Monotonic milliseconds. */
  readonly at: number
  readonly whose: string
  readonly likely: boolean
}

/** Milliseconds for which Nextcloud counts a wrong sign-in. */
const COUNTED_FOR = 30 * 60_000
/** Refused ones in that time, below Nextcloud's own limit: other instances may be at the same address. */
const MOST_REFUSED = 8
/** Refused ones in that time among those that were likely to be. */
const MOST_LIKELY = 4
/** Refused ones of one user in that time: a dead app password that is tried every ten minutes needs three. */
const SHARE = 3

export function createSignIns(clock: Clock): SignIns {
  let refused: Refused[] = []
  /** Places that are taken, by user. */
  const taken: string[] = []
  const current = () => refused.filter(({ at }) => clock.monotonic() < at + COUNTED_FOR)
  const note = (whose: string, likely: boolean): void => {
    refused = [...current(), { at: clock.monotonic(), whose, likely }].slice(-MOST_REFUSED)
  }
  const shareOf = (whose: Whose): number => current().filter((one) => one.whose === nameOf(whose)).length
  return {
    refused: (whose) => note(nameOf(whose), false),
    takePlace(whose) {
      const counted = current()
      const name = nameOf(whose)
      const likely = counted.filter((one) => one.likely).length
      const own = shareOf(whose) + taken.filter((one) => one === name).length
      if (counted.length + taken.length >= MOST_REFUSED || likely + taken.length >= MOST_LIKELY || own >= SHARE) {
        return undefined
      }
      taken.push(name)
      return (wasRefused) => {
        taken.splice(taken.indexOf(name), 1)
        if (wasRefused) note(name, true)
      }
    },
    isFull: (whose) => current().length >= MOST_REFUSED || shareOf(whose) >= SHARE,
    // One more than the share: who connects again after a refusal must not have to wait.
    isBarred: (whose) => shareOf(whose) > SHARE,
    atOnce(whose) {
      // Most processes have none, and no list is made for them.
      if (refused.length === 0) return SHARE
      refused = current()
      return Math.max(1, Math.min(SHARE - shareOf(whose), MOST_REFUSED - refused.length))
    },
  }
}

const nameOf = ({ issuer, subject }: Whose): string => JSON.stringify([issuer, subject])
