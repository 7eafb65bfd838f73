import type { IncomingMessage } from 'node:http'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import { TokenRequestError } from '../errors/errors.js'
import { clientNetwork, createAddressShares } from '../http/address-shares.js'

/**
 * Limits the codes that each client address may have sent to Nextcloud and that Nextcloud refuses. After ten of them it refuses all
 * requests of this server for tokens, those of everybody who is connected included.
 */
export interface CodeShares {
  /**
   * Sends a code, as soon as an answer to each code under way from that address could be a refusal and still be within its share.
   *
   * @returns the answer, or `too many`: nothing was sent
   */
  readonly send: <T>(req: IncomingMessage, redeem: () => Promise<T>) => Promise<T | 'too many'>
}

/** Refused codes of one address in an hour. */
const MOST_REFUSED = 5
const HOUR = 3_600_000
/** Codes of one address that wait at one time. */
const MOST_WAITING = 100
/** Addresses with codes under way. */
const MOST_ADDRESSES = 10_000

interface Line {
  underWay: number
  readonly waiting: (() => void)[]
}

/** Counts in this process. */
export function createCodeShares(clock: Clock): CodeShares {
  const refused = createAddressShares(clock, MOST_REFUSED, HOUR)
  const lines = new LRUCache<string, Line>({ max: MOST_ADDRESSES })
  return {
    async send(req, redeem) {
      const network = clientNetwork(req)
      const line = lines.get(network) ?? { underWay: 0, waiting: [] }
      lines.set(network, line)
      const places = () => refused.left(req)
      while (places() > 0 && line.underWay >= places()) {
        if (line.waiting.length >= MOST_WAITING) return 'too many'
        await new Promise<void>((go) => line.waiting.push(go))
      }
      if (line.underWay >= places()) {
        line.waiting.shift()?.()
        return 'too many'
      }
      line.underWay += 1
      try {
        return await redeem()
      } catch (error) {
        if (error instanceof TokenRequestError) refused.take(req)
        throw error
      } finally {
        line.underWay -= 1
        line.waiting.shift()?.()
      }
    },
  }
}
