import type { LookupAddress } from 'node:dns'
import { Resolver } from 'node:dns/promises'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { failureCode } from './answer.js'

/** The addresses of IPv4 that are not of the public Internet (RFC 6890 and the registry of IANA). */
const NOT_PUBLIC_IPV4 = subnets('ipv4', [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  // Shared by customers of one provider (RFC 6598).
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  // Link-local, the metadata services of clouds among them.
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  // Multicast, reserved and broadcast.
  ['224.0.0.0', 3],
])

/** Global unicast of IPv6 (RFC 4291 §2.4). Mapped IPv4, NAT64, unique local, link-local and multicast are all outside. */
const GLOBAL_IPV6 = subnets('ipv6', [['2000::', 3]])
/** What is inside and leads elsewhere: Teredo and other protocols, examples, and 6to4, which holds an IPv4 address. */
const NOT_PUBLIC_IPV6 = subnets('ipv6', [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
])

function subnets(family: 'ipv4' | 'ipv6', list: readonly (readonly [net: string, prefix: number])[]): BlockList {
  const blocked = new BlockList()
  for (const [net, prefix] of list) blocked.addSubnet(net, prefix, family)
  return blocked
}

/** Whether an IP address is of the public Internet. Whatever is no address is not. */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !NOT_PUBLIC_IPV4.check(address, 'ipv4')
    case 6:
      return GLOBAL_IPV6.check(address, 'ipv6') && !NOT_PUBLIC_IPV6.check(address, 'ipv6')
    default:
      return false
  }
}

/** Finds the addresses of a name. Rejects where no name server says whether there are any. */
export type FindAddresses = (host: string) => Promise<readonly LookupAddress[]>

/** Milliseconds for an answer of a name server, and attempts. */
const NAME_SERVER = { timeout: 1_000, tries: 2 }

/** Answers of a name server that a name has no address of a kind. */
const NO_ADDRESS = new Set(['ENOTFOUND', 'ENODATA'])

/**
 * Asks the name servers of this machine. Each question is a packet: `dns.lookup` would hold one of the four threads of the process until
 * the last name server has failed to answer, and whoever names the host may see to that.
 *
 * @param servers in place of those of the machine, for tests
 */
export function findAddresses(servers?: readonly string[]): FindAddresses {
  return async (host) => {
    // A fresh one reads the machine's settings as they are now.
    const resolver = new Resolver(NAME_SERVER)
    if (servers !== undefined) resolver.setServers(servers)
    const found = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
    const isUnknown = found.every(
      (answer) => answer.status === 'rejected' && !NO_ADDRESS.has(failureCode(answer.reason)),
    )
    if (isUnknown) throw Object.assign(new Error('No name server answers'), { code: 'EAI_AGAIN' })
    return found.flatMap((answer, at) =>
      answer.status === 'fulfilled' ? answer.value.map((address) => ({ address, family: at === 0 ? 4 : 6 })) : [],
    )
  }
}

/**
 * Returns the look-up of a socket, which connects to the very addresses that were checked, so that no answer of the DNS can change in
 * between. A name with one address that is not allowed has none.
 */
export function checkedLookup(isAllowed: (address: string) => boolean, find: FindAddresses): LookupFunction {
  return (host, options, callback) => {
    const refuse = (error: Error): void => callback(error, [])
    find(host).then((found) => {
      const [first] = found
      if (first === undefined || !found.every(({ address }) => isAllowed(address))) {
        return refuse(Object.assign(new Error('The name leads to no public address'), { code: 'ENOTPUBLIC' }))
      }
      if (options.all === true) return callback(null, [...found])
      callback(null, first.address, first.family)
    }, refuse)
  }
}
