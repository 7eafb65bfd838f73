import type { Clock } from '../clock.js'

/**
 * The wrong sign-ins of this process at Nextcloud. After more than 10 of one address within 30 minutes, its brute force protection
 * turns away every app password from there (429), good ones too.
 */
export interface SignIns {
  /** Notes one that Nextcloud refused. */
  readonly refused: () => void
  /**
   * Takes a place for a sign-in that is likely to be refused; undefined where there is none. Whoever has it gives it back, and says
   * whether the sign-in was refused.
   */
  readonly takePlace: () => ((refused: boolean) => void) | undefined
  /** Whether so many were refused that only an app password known to be good may be sent. */
  readonly isFull: () => boolean
}

/** Milliseconds for which Nextcloud counts a wrong sign-in. */
const COUNTED_FOR = 30 * 60_000
/** Refused ones in that time, below Nextcloud's own limit: other instances may be at the same address. */
const MOST_REFUSED = 8
/** Refused ones in that time among those that were likely to be. */
const MOST_LIKELY = 4

export function createSignIns(clock: Clock): SignIns {
  let refused: { readonly at: number; readonly likely: boolean }[] = []
  let taken = 0
  const note = (likely: boolean): void => {
    refused = [...current(), { at: clock.monotonic(), likely }].slice(-MOST_REFUSED)
  }
  const current = () => refused.filter(({ at }) => clock.monotonic() < at + COUNTED_FOR)
  return {
    refused: () => note(false),
    takePlace() {
      const counted = current()
      const likely = counted.filter((one) => one.likely).length
      if (counted.length + taken >= MOST_REFUSED || likely + taken >= MOST_LIKELY) return undefined
      taken += 1
      return (wasRefused) => {
        taken -= 1
        if (wasRefused) note(true)
      }
    },
    isFull: () => current().length >= MOST_REFUSED,
  }
}
