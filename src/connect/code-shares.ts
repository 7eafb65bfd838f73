import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import { TokenRequestError } from '../errors/errors.js'
import { createNetworkShares, networksOf } from '../http/address-shares.js'
import type { CodeShares, Sender } from '../local-options.js'

/** Refused codes in an hour: of one address, and of the two networks around it. Fewer than of all, so that none takes up all. */
const MOST_REFUSED = [5, 6, 7] as const
const HOUR = 3_600_000
/** Refused codes of all, below Nextcloud's own limit: other instances may be at the same address. */
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
/**
 * Refused refresh tokens of one user in that time, with the codes that are known to be the user's. Whoever ends a session in Nextcloud
 * causes one, and may sign in again.
 */
const SHARE = 3
/** The same, for tokens that are only to be ended: their user's own connection goes on. */
const SHARE_OF_ENDS = 2
/**
 * The same, once `MOST_OF_ANY` of all were refused. A user of whom none was refused is not kept waiting, because that would do to them what
 * Nextcloud's limit does, and would let others hold up the end of their connections.
 */
const LAST_SHARE = 1
/**
 * Refused refresh tokens that leave codes fewer places. Sessions also end by themselves, and all those of a company together would keep
 * its people from signing in again.
 */
const MOST_AMONG_CODES = 5
/** Refusals that are remembered. Where Nextcloud does not limit this server, there may be any number. */
const MOST_KEPT = 100
/** Codes that wait at one time: of one network, and of all, which have a few of each network. */
const MOST_WAITING = { each: 100, all: 1_000 }
/** Networks and users with codes or refresh tokens under way. */
const MOST_LINES = 10_000

interface Refused {
  /** Monotonic milliseconds. */
  readonly at: number
  readonly sender: string
  readonly isCode: boolean
}

/** Counts in this process. */
export function createCodeShares(clock: Clock): CodeShares {
  const refused = createNetworkShares(clock, MOST_REFUSED, HOUR)
  /** Has a place for each /24 of IPv4, and /48 of IPv6, that is without a refused code. */
  const clean = createNetworkShares(clock, [1, 1, Infinity], HOUR)
  const counts = createCounts(clock)
  const { counted, amongCodes } = counts
  const all = newLine(MOST_WAITING.all)
  const lines = new LRUCache<string, Line>({ max: MOST_LINES })
  const lineOf = (name: string): Line => {
    const line = lines.get(name) ?? newLine(MOST_WAITING.each)
    lines.set(name, line)
    return line
  }
  const refreshWith =
    (share: number): CodeShares['refresh'] =>
    async (sender, send) => {
      const name = nameOf(sender)
      const sent = await inLine(
        lineOf(name),
        () => counts.left(name, share),
        () => counted({ sender: name, isCode: false }, send),
      )
      return sent === 'too many' ? { retryAfter: counts.wait(name, share) / 1_000 } : sent
    }
  return {
    send(req, redeem, sender) {
      const inLineOfAll = () =>
        inLine(
          all,
          () => (clean.left(req) > 0 ? MOST_IN_ALL : MOST_OF_ANY) - amongCodes(),
          () =>
            counted({ sender: nameOf(sender), isCode: true }, redeem, () =>
              [refused, clean].forEach((shares) => shares.take(req)),
            ),
        )
      const most = () => (all.underWay + amongCodes() < MOST_OF_ANY ? Infinity : 1)
      return inLine(lineOf(`network ${networksOf(req)[1]}`), () => Math.min(most(), refused.left(req)), inLineOfAll)
    },
    async sendAgain(redeem, sender) {
      if (all.underWay + amongCodes() >= MOST_BEFORE_AGAIN) return 'too many'
      return inLine(
        all,
        () => MOST_IN_ALL - amongCodes(),
        () => counted({ sender: nameOf(sender), isCode: true }, redeem),
      )
    },
    refresh: refreshWith(SHARE),
    refreshToEnd: refreshWith(SHARE_OF_ENDS),
  }
}

const nameOf = ({ issuer, subject }: Sender): string => JSON.stringify([issuer, subject])

/** What Nextcloud has refused in the time for which it counts. */
function createCounts(clock: Clock) {
  let refused: readonly Refused[] = []
  const current = () => refused.filter(({ at }) => clock.monotonic() < at + COUNTED_FOR)
  const leftOf = (counted: readonly Refused[], sender: string, share: number): number =>
    (counted.length < MOST_OF_ANY ? share : LAST_SHARE) - counted.filter((one) => one.sender === sender).length
  return {
    /** Sends one, and notes it if it is refused. */
    counted: async <T>(one: Omit<Refused, 'at'>, send: () => Promise<T>, noted = (): void => undefined): Promise<T> => {
      const note = (): void => {
        noted()
        refused = [...current(), { ...one, at: clock.monotonic() }].slice(-MOST_KEPT)
      }
      try {
        const answer = await send()
        if (answer === 'dead') note()
        return answer
      } catch (error) {
        if (error instanceof TokenRequestError) note()
        throw error
      }
    },
    /** Refusals that leave codes fewer places. */
    amongCodes: (): number => {
      const counted = current()
      const codes = counted.filter(({ isCode }) => isCode).length
      return codes + Math.min(counted.length - codes, MOST_AMONG_CODES)
    },
    /** Refresh tokens of a user that may still be refused. */
    left: (sender: string, share: number): number => leftOf(current(), sender, share),
    /** Milliseconds until there is one. */
    wait: (sender: string, share: number): number => {
      const counted = current()
      const last = counted.find((_, at) => leftOf(counted.slice(at + 1), sender, share) > 0)
      return last === undefined ? 0 : last.at + COUNTED_FOR - clock.monotonic()
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
