import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { createCodeShares } from '../../src/connect/code-shares.js'
import { TokenRequestError, UpstreamUnavailableError } from '../../src/errors/errors.js'
import type { Sender } from '../../src/local-options.js'
import { manualClock } from '../support/clock.js'

const ISSUER = 'https://mcp.example.com'
const NOBODY: Sender = { issuer: ISSUER, subject: '' }
const from = (remoteAddress: string): IncomingMessage => ({ socket: { remoteAddress } }) as unknown as IncomingMessage
const outage = () => Promise.reject(new UpstreamUnavailableError('unavailable'))
const [alice, bob] = ['alice', 'bob'].map((subject): Sender => ({ issuer: ISSUER, subject })) as [Sender, Sender]
const fine = () => Promise.resolve({ access: 'token' })
const dead = () => Promise.resolve('dead' as const)
const refused = () => Promise.reject(new TokenRequestError('refused', { error: 'invalid_client' }))
const isSent = async (sent: Promise<unknown>): Promise<boolean> => {
  const end: unknown = await sent.catch(() => undefined)
  return typeof end !== 'object' || end === null || !('retryAfter' in end)
}
/** How many of so many are sent, where Nextcloud refuses all. */
async function refusedOf(codes: ReturnType<typeof createCodeShares>, sender: Sender, times = 6): Promise<number> {
  let count = 0
  for (let time = 0; time < times; time += 1) if (await isSent(codes.refresh(sender, dead))) count += 1
  return count
}

describe('the refresh tokens of a user', () => {
  it('are sent until three were refused in half an hour, and any number of good ones and of outages', async () => {
    const clock = manualClock()
    const codes = createCodeShares(clock)
    for (let count = 0; count < 20; count += 1) {
      expect(await codes.refresh(alice, fine)).toEqual({ access: 'token' })
      await expect(codes.refresh(alice, outage)).rejects.toThrow(UpstreamUnavailableError)
    }
    expect(await codes.refresh(alice, dead)).toBe('dead')
    clock.advance(60_000)
    await expect(codes.refresh(alice, refused)).rejects.toThrow(TokenRequestError)
    expect(await codes.refresh(alice, dead)).toBe('dead')

    // The first of them was refused a minute ago.
    expect(await codes.refresh(alice, fine)).toEqual({ retryAfter: 29 * 60 })
    expect(await codes.refreshToEnd(alice, fine)).toEqual({ retryAfter: 30 * 60 })
    expect(await codes.refresh(bob, fine)).toEqual({ access: 'token' })
    clock.advance(29 * 60_000)
    expect(await codes.refresh(alice, fine)).toEqual({ access: 'token' })
  })

  it('are not more where they come all at once', async () => {
    const codes = createCodeShares(manualClock())
    let sent = 0
    const slowly = () => ((sent += 1), new Promise((resolve) => setImmediate(resolve)).then(dead))

    const ends = await Promise.all(
      Array.from({ length: 10 }, (_, at) => codes[at % 2 === 0 ? 'refresh' : 'refreshToEnd'](alice, slowly)),
    )

    expect([sent, ends.filter((end) => end === 'dead').length]).toEqual([3, 3])
  })

  it('are one count with the codes that are known to be theirs', async () => {
    const codes = createCodeShares(manualClock())
    await codes.send(from('192.0.2.1'), refused, alice).catch(() => undefined)
    await codes.sendAgain(refused, alice).catch(() => undefined)

    expect(await refusedOf(codes, alice)).toBe(1)
  })

  it('are sent until one was refused, where five of all were, and those of anybody else in any case', async () => {
    const clock = manualClock()
    const codes = createCodeShares(clock)
    const people = Array.from({ length: 12 }, (_, at): Sender => ({ issuer: ISSUER, subject: String(at) }))
    const sent: number[] = []
    for (const one of people) sent.push(await refusedOf(codes, one))

    expect(sent).toEqual([3, 2, ...Array<number>(10).fill(1)])
    expect(await codes.refresh(alice, fine)).toEqual({ access: 'token' })
  })

  it('that are to end leave a place to the connection of their user, and are held up by nobody else', async () => {
    const clock = manualClock()
    const codes = createCodeShares(clock)
    for (let times = 0; times < 4; times += 1) await codes.refreshToEnd(alice, dead)
    expect(await codes.refreshToEnd(alice, fine)).toEqual({ retryAfter: 30 * 60 })
    expect(await codes.refresh(alice, fine)).toEqual({ access: 'token' })

    for (const subject of ['a', 'b', 'c', 'd', 'e']) await codes.refreshToEnd({ issuer: ISSUER, subject }, dead)
    expect(await codes.refreshToEnd(bob, fine)).toEqual({ access: 'token' })
    clock.advance(30 * 60_000)
    expect(await codes.refreshToEnd(alice, fine)).toEqual({ access: 'token' })
  })

  it('wait for no code of a network whose name is theirs', async () => {
    const codes = createCodeShares(manualClock())
    const named = from(JSON.stringify([ISSUER, 'alice']))
    const hang = () => new Promise<never>(() => undefined)
    void codes.send(named, hang, NOBODY)
    void codes.send(named, hang, NOBODY)
    void codes.send(named, hang, NOBODY)

    expect(await codes.refresh(alice, fine)).toEqual({ access: 'token' })
  })

  it('take the line of their user alone, so that those of others need not wait', async () => {
    const codes = createCodeShares(manualClock())
    const hang = () => new Promise<never>(() => undefined)
    for (let times = 0; times < 3; times += 1) void codes.refresh(alice, hang)

    expect(await codes.refresh(bob, fine)).toEqual({ access: 'token' })
  })

  it.each([
    ['three', 1, [2, 1, 1, 1, 0]],
    ['many', 200, [1, 1, 1, 0, 0]],
  ])('of which %s were refused leave codes fewer places, but never none', async (_, people, expected) => {
    const codes = createCodeShares(manualClock())
    for (let at = 0; at < people; at += 1) await refusedOf(codes, { issuer: ISSUER, subject: String(at) })
    const sent: number[] = []
    for (const address of ['192.0.2.1', '198.51.100.1', '203.0.113.1', '100.64.0.1', '192.88.99.1']) {
      let count = 0
      const send = () => ((count += 1), refused())
      for (let times = 0; times < 6; times += 1) await codes.send(from(address), send, NOBODY).catch(() => undefined)
      sent.push(count)
    }
    expect(sent).toEqual(expected)
  })
})
