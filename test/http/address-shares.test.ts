import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { clientNetwork, createNetworkShares, networksOf } from '../../src/http/address-shares.js'
import { manualClock } from '../support/clock.js'

const from = (remoteAddress: string | undefined, ip?: unknown): IncomingMessage =>
  ({ socket: { remoteAddress }, ...(ip !== undefined && { ip }) }) as unknown as IncomingMessage

describe('the network of a client', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:cb00:7105', '203.0.113.5'],
    ['0:0:0:0:0:ffff:203.0.113.5', '203.0.113.5'],
    ['203.0.113.5:52011', '203.0.113.5'],
    ['203.100.113.5:1', '203.100.113.5'],
    ['[2001:db8::1]:443', '2001:db8:0:0::/64'],
    ['[2001:db8::1]', '2001:db8:0:0::/64'],
    ['[::ffff:203.0.113.5]:443', '203.0.113.5'],
    ['64:ff9b::203.0.113.5', '64:ff9b:0:0::/64'],
    ['203.0.113.555:52011', '203.0.113.555'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::1', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['2001:db8::', '2001:db8:0:0::/64'],
    ['2001:db8:1:2:3:4:5::', '2001:db8:1:2::/64'],
    ['::ffff:0:203.0.113.5', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    [undefined, ''],
    ['x'.repeat(10_000), 'x'.repeat(45)],
  ])('%s is of %s', (address, network) => expect(clientNetwork(from(address))).toBe(network))

  it.each([
    ['192.0.2.1', ['192.0.2.1', '192.0.2.0/24', '192.0.0.0/16']],
    ['::ffff:192.0.2.1', ['192.0.2.1', '192.0.2.0/24', '192.0.0.0/16']],
    ['2001:db8:1:2:3:4:5:6', ['2001:db8:1:2::/64', '2001:db8:1::/48', '2001:db8::/32']],
    ['2001:db8::1', ['2001:db8:0:0::/64', '2001:db8:0::/48', '2001:db8::/32']],
    ['unknown', ['unknown', 'unknown', 'unknown']],
  ])('%s is in wider ones', (address, networks) => expect(networksOf(from(address))).toEqual(networks))

  it('is the one that Express finds, where there is Express', () => {
    expect(clientNetwork(from('127.0.0.1', '192.0.2.7'))).toBe('192.0.2.7')
    expect(clientNetwork(from('127.0.0.1', ['192.0.2.7']))).toBe('127.0.0.1')
  })

  it('is no name where a request has no connection, as that of another framework may have none', () => {
    expect(clientNetwork({} as unknown as IncomingMessage)).toBe('')
  })
})

describe('the shares of addresses', () => {
  it('are each for one network, and begin again when the time since the first is over', () => {
    const clock = manualClock()
    const shares = createNetworkShares(clock, [2, 9, 9], 60_000)

    expect(shares.take(from('192.0.2.1'))).toBe(0)
    clock.advance(10_000)
    expect(shares.take(from('192.0.2.1'))).toBe(0)
    expect(shares.take(from('192.0.2.1'))).toBe(50_000)
    expect(shares.take(from('192.0.2.2'))).toBe(0)
    clock.advance(49_999)
    expect(shares.take(from('192.0.2.1'))).toBe(1)
    clock.advance(1)
    expect(shares.take(from('192.0.2.1'))).toBe(0)
  })

  it('take back what was taken for nothing, and no more than that', () => {
    const shares = createNetworkShares(manualClock(), [2, 2, 2], 60_000)
    shares.take(from('192.0.2.1'))
    shares.take(from('192.0.2.2'))

    expect(shares.left(from('192.0.2.1'))).toBe(0)
    shares.giveBack(from('192.0.2.2'))
    expect(shares.left(from('192.0.2.1'))).toBe(1)
    for (let count = 0; count < 3; count += 1) shares.giveBack(from('192.0.2.1'))
    expect(shares.left(from('192.0.2.1'))).toBe(2)
  })

  it('tell what is left of them, and take nothing', () => {
    const clock = manualClock()
    const shares = createNetworkShares(clock, [2, 9, 9], 60_000)

    expect([shares.left(from('192.0.2.1')), shares.left(from('192.0.2.1'))]).toEqual([2, 2])
    for (const left of [1, 0, 0]) {
      shares.take(from('192.0.2.1'))
      expect(shares.left(from('192.0.2.1'))).toBe(left)
    }
    expect(shares.left(from('192.0.2.2'))).toBe(2)
    clock.advance(60_000)
    expect(shares.left(from('192.0.2.1'))).toBe(2)
  })

  it('are one for all addresses of a network of IPv6', () => {
    const shares = createNetworkShares(manualClock(), [1, 9, 9], 60_000)

    expect(shares.take(from('2001:db8::1'))).toBe(0)
    expect(shares.take(from('2001:db8::2'))).toBe(60_000)
    expect(shares.take(from('2001:db8:0:1::1'))).toBe(0)
  })
})

describe('the shares of networks', () => {
  it('are counted for an address, and for the two networks around it', () => {
    const clock = manualClock()
    const shares = createNetworkShares(clock, [2, 3, 5], 60_000)
    const take = (address: string) => shares.take(from(address)) === 0

    expect([take('2001:db8:1:1::1'), take('2001:db8:1:1::2'), take('2001:db8:1:1::3')]).toEqual([true, true, false])
    expect([take('2001:db8:1:2::1'), take('2001:db8:1:3::1')]).toEqual([true, false])
    expect([take('2001:db8:2::1'), take('2001:db8:3::1'), take('2001:db8:4::1')]).toEqual([true, true, false])
    expect([take('2001:db9::1'), take('192.0.2.1')]).toEqual([true, true])
    clock.advance(60_000)
    expect(take('2001:db8:1:1::1')).toBe(true)
  })

  it('take nothing of the others where one is used up', () => {
    const shares = createNetworkShares(manualClock(), [1, 2, 2], 60_000)
    const waits = ['192.0.2.1', '192.0.2.1', '192.0.2.1', '192.0.2.2'].map((address) => shares.take(from(address)))
    expect(waits).toEqual([0, 60_000, 60_000, 0])
  })

  it('are counted for all addresses together, where these have a share', () => {
    const clock = manualClock()
    const shares = createNetworkShares(clock, [2, 3, 4, 5], 60_000)
    const sent = ['192.0.2.1', '192.0.2.1', '192.0.2.1', '2001:db8::1', '198.51.100.1', '203.0.113.1', '2001:db9::1']

    expect(sent.map((address) => shares.take(from(address)))).toEqual([0, 0, 60_000, 0, 0, 0, 60_000])
    expect(shares.left(from('2001:db9::1'))).toBe(0)
    clock.advance(60_000)
    expect(shares.take(from('2001:db9::1'))).toBe(0)
  })

  it('have left what the fullest network has left', () => {
    const shares = createNetworkShares(manualClock(), [2, 3, 4], 60_000)
    const left = (address: string) => shares.left(from(address))
    for (const address of ['192.0.2.1', '192.0.2.1', '192.0.2.2']) shares.take(from(address))

    expect([left('192.0.2.1'), left('192.0.2.3'), left('192.0.3.1'), left('198.51.100.1')]).toEqual([0, 0, 1, 2])
  })
})
