import { lookup as systemLookup, type LookupAddress } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'

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

/**
 * Returns the look-up of a socket, which connects to the very addresses that were checked, so that no answer of the DNS can change in
 * between. A name with one address that is not allowed has none.
 */
export function checkedLookup(
  isAllowed: (address: string) => boolean = isPublicAddress,
  resolve: typeof systemLookup = systemLookup,
): LookupFunction {
  return (host, options, callback) => {
    resolve(host, { ...options, all: true }, (error, found) => {
      const [first] = (found as readonly LookupAddress[] | undefined) ?? []
      if (error !== null) return callback(error, [])
      if (first === undefined || !found.every(({ address }) => isAllowed(address))) {
        return callback(Object.assign(new Error('The name leads to no public address'), { code: 'ENOTPUBLIC' }), [])
      }
      if (options.all === true) return callback(null, found)
      callback(null, first.address, first.family)
    })
  }
}
