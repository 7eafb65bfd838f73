import type { IncomingMessage } from 'node:http'
import { isIPv6 } from 'node:net'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'

/** Limits what strangers may do, for each client address by itself: whoever takes too much closes no door to others. */
export interface AddressShares {
  /** Takes one of the places of the request's address. Returns the milliseconds until there is one. 0: it is taken. */
  readonly take: (req: IncomingMessage) => number
  /** Returns how many places the request's address has left, and takes none. */
  readonly left: (req: IncomingMessage) => number
}

/** Addresses counted at one time. */
const MOST_ADDRESSES = 10_000
/** Characters. */
const LONGEST_ADDRESS = 45

/**
 * Counts in this process.
 *
 * @param most times within `time`, for each address
 * @param time milliseconds, from the first time on
 */
export function createAddressShares(clock: Clock, most: number, time: number): AddressShares {
  const taken = new LRUCache<string, { readonly endsAt: number; count: number }>({ max: MOST_ADDRESSES })
  return {
    take(req) {
      const network = clientNetwork(req)
      const now = clock.monotonic()
      const found = taken.get(network)
      if (found === undefined || now >= found.endsAt) {
        taken.set(network, { endsAt: now + time, count: 1 })
        return 0
      }
      if (found.count >= most) return found.endsAt - now
      found.count += 1
      return 0
    },
    left(req) {
      const found = taken.get(clientNetwork(req))
      return found === undefined || clock.monotonic() >= found.endsAt ? most : most - found.count
    },
  }
}

/**
 * Returns the network that a request comes from: an address of IPv4, or the first 64 bits of one of IPv6, which are one customer's. It is the
 * address that Express finds behind the proxies that the app trusts (`trust proxy`). Elsewhere it is that of the connection.
 */
export function clientNetwork(req: IncomingMessage): string {
  const seen: unknown = 'ip' in req ? req.ip : undefined
  const address = typeof seen === 'string' ? seen : ((req as Partial<IncomingMessage>).socket?.remoteAddress ?? '')
  const [plain = ''] = address.split('%')
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1]
  if (mapped !== undefined) return mapped
  // Behind a proxy that is trusted without reason, it may be any text.
  if (!isIPv6(plain)) return plain.slice(0, LONGEST_ADDRESS)
  const [start = '', end] = plain.split('::')
  const before = start.split(':').filter((part) => part !== '')
  const after = end === undefined ? [] : end.split(':').filter((part) => part !== '')
  const zeros = Array<string>(Math.max(0, 8 - before.length - after.length)).fill('0')
  const groups = [...before, ...zeros, ...after].map((part) => Number.parseInt(part, 16).toString(16))
  return `${groups.slice(0, 4).join(':')}::/64`
}
