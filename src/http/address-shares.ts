import type { IncomingMessage } from 'node:http'
import { isIP, isIPv4 } from 'node:net'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'

/** Limits what strangers may do, for each client address and the networks around it: whoever takes too much closes no door to others. */
export interface AddressShares {
  /** Takes one of the places of the request's address. Returns the milliseconds until there is one. 0: it is taken. */
  readonly take: (req: IncomingMessage) => number
  /** Gives a place back that was taken for nothing. */
  readonly giveBack: (req: IncomingMessage) => void
  /** Returns how many places the request's address has left, and takes none. */
  readonly left: (req: IncomingMessage) => number
}

/** Names counted at one time. */
const MOST_NAMES = 10_000
/** Characters. */
const LONGEST_ADDRESS = 45

/**
 * Counts for each name, in this process.
 *
 * @param most times within `time`
 * @param time milliseconds, from the first time on
 */
export function createShares(clock: Clock, most: number, time: number) {
  const taken = new LRUCache<string, { readonly endsAt: number; count: number }>({ max: MOST_NAMES })
  const living = (name: string) => {
    const found = taken.get(name)
    return found !== undefined && clock.monotonic() < found.endsAt ? found : undefined
  }
  return {
    /** Milliseconds until there is a place. */
    wait: (name: string): number => {
      const found = living(name)
      return found === undefined || found.count < most ? 0 : found.endsAt - clock.monotonic()
    },
    take: (name: string): void => {
      const found = living(name)
      if (found === undefined) taken.set(name, { endsAt: clock.monotonic() + time, count: 1 })
      else found.count += 1
    },
    giveBack: (name: string): void => {
      const found = living(name)
      if (found !== undefined && found.count > 0) found.count -= 1
    },
    left: (name: string): number => most - (living(name)?.count ?? 0),
  }
}

/**
 * Counts in this process.
 *
 * @param most times within `time`: for each address, for the two networks around it, and for all addresses together. Default of the last:
 * any number
 * @param time milliseconds, from the first time on
 */
export function createNetworkShares(
  clock: Clock,
  most: readonly [narrow: number, wider: number, widest: number, all?: number],
  time: number,
): AddressShares {
  const shares = most.map((places = Infinity) => createShares(clock, places, time))
  return {
    take(req) {
      const networks = networksOf(req)
      const waits = shares.map(({ wait }, wide) => wait(networks[wide] ?? ''))
      const longest = Math.max(...waits)
      if (longest === 0) for (const [wide, { take }] of shares.entries()) take(networks[wide] ?? '')
      return longest
    },
    giveBack(req) {
      const networks = networksOf(req)
      for (const [wide, { giveBack }] of shares.entries()) giveBack(networks[wide] ?? '')
    },
    left(req) {
      const networks = networksOf(req)
      return Math.min(...shares.map(({ left }, wide) => left(networks[wide] ?? '')))
    },
  }
}

/**
 * Returns the network that a request comes from: an address of IPv4, or the first 64 bits of one of IPv6, which are one customer's. It is the
 * address that Express finds behind the proxies that the app trusts (`trust proxy`). Elsewhere it is that of the connection.
 */
export const clientNetwork = (req: IncomingMessage): string => networksOf(req)[0]

/** Returns the same network, and two wider ones around it: anybody may have a /48 of IPv6, and providers have a /32 (RFC 6177). */
export function networksOf(req: IncomingMessage): readonly [narrow: string, wider: string, widest: string] {
  const seen: unknown = 'ip' in req ? req.ip : undefined
  const address = typeof seen === 'string' ? seen : ((req as Partial<IncomingMessage>).socket?.remoteAddress ?? '')
  const plain = withoutPort(address.split('%')[0] ?? '')
  // Behind a proxy that is trusted without reason, it may be any text.
  if (isIP(plain) === 0) {
    const text = plain.slice(0, LONGEST_ADDRESS)
    return [text, text, text]
  }
  const groups = isIPv4(plain) ? [] : groupsOf(plain)
  const ipv4 = isIPv4(plain) ? plain : mappedIn(groups)
  if (ipv4 !== undefined) {
    const parts = ipv4.split('.')
    const first = (count: number) => parts.slice(0, count).join('.')
    return [first(4), `${first(3)}.0/24`, `${first(2)}.0.0/16`]
  }
  const first = (bits: number) => `${groups.slice(0, bits / 16).join(':')}::/${bits}`
  return [first(64), first(48), first(32)]
}

/** Some proxies name the port too: each of them would be a network of its own. */
const withoutPort = (address: string): string =>
  address.replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, '$1').replace(/^\[([^\]]*)\](?::\d+)?$/, '$1')

/** Returns the eight groups of an address of IPv6, in hexadecimal and without zeros at their beginning. */
function groupsOf(address: string): readonly string[] {
  // The URL standard gives an address one spelling, with the last two groups in hexadecimal too.
  const [start = '', end] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const before = start.split(':').filter((part) => part !== '')
  const after = end?.split(':').filter((part) => part !== '') ?? []
  return [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after]
}

/** Returns the address of IPv4 in a mapped one (RFC 4291 §2.5.5.2). */
function mappedIn(groups: readonly string[]): string | undefined {
  if (groups.slice(0, 6).join(':') !== '0:0:0:0:0:ffff') return undefined
  const [high = 0, low = 0] = groups.slice(6).map((group) => Number.parseInt(group, 16))
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}
