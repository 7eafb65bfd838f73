import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import { TokenRequestError } from '../errors/errors.js'
import { createNetworkShares, networksOf } from '../http/address-shares.js'
import type { CodeShares } from '../local-options.js'

/** Refused codes in an hour: of one address, and of the two networks around it. Fewer than of all, so that none takes up all. */
const MOST_REFUSED = [5, 6, 7] as const
const HOUR = 3_600_000
/** Refused codes of all, below Nextcloud's own limit: refresh tokens are refused, too, and other instances may be at the same address. */
const MOST_IN_ALL = 8
/**
 * Refused codes of all, and codes under way, beyond which a network has one sent at a time, and none once one of its codes was refused in the
 * hour. The last places are so for those who made no code up: to close new sign-ins, somebody needs an address in four networks.
 */
const MOST_OF_ANY = 5
/** Refused codes of all after which none is sent again: whoever had them lost in an outage must not keep others from signing in. */
const MOST_BEFORE_AGAIN = 4
/** Milliseconds for which Nextcloud counts a wrong request. */
const COUNTED_FOR = 30 * 60_000
/** Codes that wait at one time: of one network, and of all, which have a few of each network. */
const MOST_WAITING = { each: 100, all: 1_000 }
/** Networks with codes under way. */
const MOST_NETWORKS = 10_000

/** Counts in this process. */
export function createCodeShares(clock: Clock): CodeShares {
  const refused = createNetworkShares(clock, MOST_REFUSED, HOUR)
  /** Has a place for each /24 of IPv4, and /48 of IPv6, that is without a refused code. */
  const clean = createNetworkShares(clock, [1, 1, Infinity], HOUR)
  /** Monotonic milliseconds. */
  let times: readonly number[] = []
  const current = () => times.filter((at) => clock.monotonic() < at + COUNTED_FOR)
  const all = newLine(MOST_WAITING.all)
  const lines = new LRUCache<string, Line>({ max: MOST_NETWORKS })
  const counted = async <T>(redeem: () => Promise<T>, from: () => void = () => undefined): Promise<T> => {
    try {
      return await redeem()
    } catch (error) {
      if (error instanceof TokenRequestError) {
        from()
        times = [...current(), clock.monotonic()]
      }
      throw error
    }
  }
  return {
    send(req, redeem) {
      const network = networksOf(req)[1]
      const line = lines.get(network) ?? newLine(MOST_WAITING.each)
      lines.set(network, line)
      const inLineOfAll = () =>
        inLine(
          all,
          () => (clean.left(req) > 0 ? MOST_IN_ALL : MOST_OF_ANY) - current().length,
          () => counted(redeem, () => [refused, clean].forEach((shares) => shares.take(req))),
        )
      const most = () => (all.underWay + current().length < MOST_OF_ANY ? Infinity : 1)
      return inLine(line, () => Math.min(most(), refused.left(req)), inLineOfAll)
    },
    async sendAgain(redeem) {
      if (all.underWay + current().length >= MOST_BEFORE_AGAIN) return 'too many'
      return inLine(
        all,
        () => MOST_IN_ALL - current().length,
        () => counted(redeem),
      )
    },
  }
}

interface Line {
  underWay: number
  readonly waiting: (() => void)[]
  readonly mostWaiting: number
}

const newLine = (mostWaiting: number): Line => ({ underWay: 0, waiting: [], mostWaiting })

/** @param places that are left, with those that work under way has taken */
async function inLine<T>(line: Line, places: () => number, work: () => Promise<T>): Promise<T | 'too many'> {
  while (places() > 0 && line.underWay >= places()) {
    if (line.waiting.length >= line.mostWaiting) return 'too many'
    await new Promise<void>((go) => line.waiting.push(go))
  }
  if (line.underWay >= places()) {
    line.waiting.shift()?.()
    return 'too many'
  }
  line.underWay += 1
  try {
    return await work()
  } finally {
    line.underWay -= 1
    line.waiting.shift()?.()
  }
}
