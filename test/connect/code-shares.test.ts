import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { TokenRequestError, UpstreamUnavailableError } from '../../src/errors/errors.js'
import { createCodeShares } from '../../src/connect/code-shares.js'
import type { Clock } from '../../src/clock.js'
import { manualClock } from '../support/clock.js'
import { fresh } from '../../src/testing/nextcloud/exchange.js'
import { REDIRECT_URI, registeredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const from = (remoteAddress: string): IncomingMessage => ({ socket: { remoteAddress } }) as unknown as IncomingMessage
const wrong = () => Promise.reject(new TokenRequestError('refused', { error: 'invalid_request' }))
const outage = () => Promise.reject(new UpstreamUnavailableError('unavailable'))
const good = () => Promise.resolve('tokens')
const ONE = from('192.0.2.1')
const OTHER = from('198.51.100.1')

const NOBODY = { issuer: 'https://mcp.example.com', subject: '' }

/** The shares, with codes of which nobody knows whose they are. */
function sharesOf(clock: Clock) {
  const codes = createCodeShares(clock)
  return {
    ...codes,
    send: <T>(req: IncomingMessage, redeem: () => Promise<T>) => codes.send(req, redeem, NOBODY),
    sendAgain: <T>(redeem: () => Promise<T>) => codes.sendAgain(redeem, NOBODY),
  }
}

describe('the codes that an address may have sent', () => {
  it('are five that Nextcloud refuses in an hour, and any number of good ones and of outages', async () => {
    const clock = manualClock()
    const codes = sharesOf(clock)
    for (let count = 0; count < 20; count += 1) {
      expect(await codes.send(ONE, good)).toBe('tokens')
      await expect(codes.send(ONE, outage)).rejects.toThrow(UpstreamUnavailableError)
    }
    for (let count = 0; count < 5; count += 1) await expect(codes.send(ONE, wrong)).rejects.toThrow(TokenRequestError)

    expect(await codes.send(ONE, good)).toBe('too many')
    expect(await codes.send(OTHER, good)).toBe('tokens')
    clock.advance(3_600_000)
    expect(await codes.send(ONE, good)).toBe('tokens')
  })

  it('are not more where they come all at once', async () => {
    const codes = sharesOf(manualClock())
    let sent = 0
    const made = Array.from({ length: 30 }, () =>
      codes
        .send(ONE, () => {
          sent += 1
          return new Promise((resolve) => setImmediate(resolve)).then(wrong)
        })
        .catch(() => 'refused'),
    )

    const ends = await Promise.all(made)

    expect(sent).toBe(5)
    expect(ends.filter((end) => end === 'too many')).toHaveLength(25)
  })

  it('wait for one another where they are good, up to a hundred', async () => {
    const codes = sharesOf(manualClock())
    let underWay = 0
    let most = 0
    const one = async () => {
      most = Math.max(most, (underWay += 1))
      await new Promise((resolve) => setImmediate(resolve))
      underWay -= 1
      return 'tokens'
    }

    const ends = await Promise.all(Array.from({ length: 110 }, () => codes.send(ONE, one)))

    expect(most).toBe(5)
    expect(ends.filter((end) => end === 'tokens')).toHaveLength(105)
    expect(ends.filter((end) => end === 'too many')).toHaveLength(5)
  })
})

/** How many of the codes from each of some addresses are sent, where Nextcloud refuses all. */
async function sentFrom(codes: ReturnType<typeof sharesOf>, addresses: readonly string[]): Promise<number[]> {
  const sent: number[] = []
  for (const address of addresses) {
    let count = 0
    for (let times = 0; times < 12; times += 1) {
      const send = () => ((count += 1), wrong())
      await codes.send(from(address), send).catch(() => undefined)
    }
    sent.push(count)
  }
  return sent
}

describe('the codes that all addresses together may have sent', () => {
  it.each([
    ['of IPv4', ['192.0.2.1', '198.51.100.1', '203.0.113.1'], [5, 1, 1]],
    ['of a /24 and the next', ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.3.1', '192.0.4.1'], [5, 0, 0, 1, 1]],
    ['of a /48 and the next', ['2001:db8::1', '2001:db8:0:1::1', '2001:db8:1::1', '2001:db9::1'], [5, 0, 1, 1]],
  ])('are eight that Nextcloud refuses in half an hour, whoever sends them: %s', async (_, addresses, sent) => {
    expect(await sentFrom(sharesOf(manualClock()), addresses)).toEqual(sent)
  })

  it('are good for all again when Nextcloud counts them no more, each half an hour after it was sent', async () => {
    const clock = manualClock()
    const codes = sharesOf(clock)
    await sentFrom(codes, ['192.0.2.1'])
    clock.advance(29 * 60_000)
    await sentFrom(codes, ['198.51.100.1'])
    await sentFrom(codes, ['203.0.113.1', '100.64.0.1'])
    expect(await codes.send(from('192.88.99.1'), good)).toBe('too many')
    clock.advance(60_000)

    expect(await codes.send(from('192.88.99.1'), good)).toBe('tokens')
    expect(await sentFrom(codes, ['2001:db8::1', '192.88.99.1'])).toEqual([2, 1])
  })

  it.each([
    ['IPv4 and IPv6', ['192.0.2.1', '2001:db8::1']],
    ['two networks of IPv4', ['192.0.2.1', '198.51.100.1']],
    ['IPv4 and several /64 of one /48', ['192.0.2.1', '2001:db8::1', '2001:db8:0:1::1', '2001:db8:0:2::1']],
    ['many addresses of a /24', Array.from({ length: 40 }, (_, at) => `192.0.2.${at}`)],
    ['a home, and a phone', ['192.0.2.1', '2001:db8::1', '198.51.100.1']],
  ])('leave some to others, where one person has %s', async (_, addresses) => {
    const [one, atOnce] = [sharesOf(manualClock()), sharesOf(manualClock())]
    await sentFrom(one, addresses)
    const slowly = () => new Promise((resolve) => setImmediate(resolve)).then(wrong)
    const made = addresses.flatMap((address) => Array.from({ length: 12 }, () => from(address)))
    await Promise.all(made.map((req) => atOnce.send(req, slowly).catch(() => undefined)))

    for (const codes of [one, atOnce]) {
      expect(await codes.send(from('203.0.113.9'), good)).toBe('tokens')
      // Good codes take no place.
      expect(await codes.send(from('203.0.113.9'), good)).toBe('tokens')
    }
  })

  it('are not more where they come all at once, from as many addresses', async () => {
    const codes = sharesOf(manualClock())
    let sent = 0
    const made = Array.from({ length: 30 }, (_, at) =>
      codes
        .send(from(`${at + 1}.0.2.1`), () => {
          sent += 1
          return new Promise((resolve) => setImmediate(resolve)).then(wrong)
        })
        .catch(() => 'refused'),
    )

    const ends = await Promise.all(made)

    expect(sent).toBe(8)
    expect(ends.filter((end) => end === 'too many')).toHaveLength(22)
  })

  it('wait for one another where they are good, up to a thousand', async () => {
    const codes = sharesOf(manualClock())
    const one = () => new Promise((resolve) => setImmediate(() => resolve('tokens')))

    const made = Array.from({ length: 1_020 }, (_, at) => codes.send(from(`10.${at >> 8}.${at & 255}.1`), one))

    const ends = await Promise.all(made)
    expect(ends.filter((end) => end === 'tokens')).toHaveLength(1_008)
    expect(ends.filter((end) => end === 'too many')).toHaveLength(12)
  })
})

describe('the codes that are sent again, because their answer was lost', () => {
  it('are four that Nextcloud refuses in half an hour, so that others can sign in meanwhile', async () => {
    const clock = manualClock()
    const codes = sharesOf(clock)
    let sent = 0
    const again = () => codes.sendAgain(() => ((sent += 1), wrong())).catch(() => 'refused')
    const ends: string[] = []
    for (let count = 0; count < 6; count += 1) ends.push(await again())

    expect([ends, sent]).toEqual([[...Array<string>(4).fill('refused'), 'too many', 'too many'], 4])
    expect(await sentFrom(codes, ['192.0.2.1', '198.51.100.1'])).toEqual([1, 1])
    clock.advance(30 * 60_000)
    expect(await again()).toBe('refused')
  })

  it('are not more where they come all at once', async () => {
    const codes = sharesOf(manualClock())
    let sent = 0
    const slowly = () => ((sent += 1), new Promise((resolve) => setImmediate(resolve)).then(wrong))

    await Promise.all(Array.from({ length: 10 }, () => codes.sendAgain(slowly).catch(() => 'refused')))

    expect(sent).toBe(4)
  })

  it('wait for nothing while codes of people are refused', async () => {
    const codes = sharesOf(manualClock())
    await sentFrom(codes, ['192.0.2.1'])

    expect(await codes.sendAgain(good)).toBe('too many')
  })
})

/** A made-up code for a sign-in that a browser has begun itself. */
const madeUp = (callback: URL): URL => {
  const made = new URL(callback)
  made.searchParams.set('code', fresh(128))
  return made
}

/** Requests for tokens that came to Nextcloud. */
function watch({ nextcloud }: SignInServer) {
  const sent: string[] = []
  nextcloud.disturb(({ method, path }) => {
    if (method === 'POST' && path.includes('/oauth2/api/v1/token')) sent.push(path)
    return undefined
  })
  return sent
}

describe('made-up codes', () => {
  it('come to Nextcloud five times from one address, so that nobody is throttled there', async () => {
    const server = await startSignInServer({ trustProxy: true })
    const client = await registeredClient(server)
    const sent = watch(server)
    const statuses: number[] = []
    for (let count = 0; count < 12; count += 1) {
      const mallory = server.person('mallory')
      const callback = await mallory.until(client.authorizationUrl(), `${server.origin}/nextcloud/callback`)
      const page = await mallory.open(madeUp(callback))
      statuses.push(page.status)
    }

    expect(statuses).toEqual([...Array<number>(5).fill(502), ...Array<number>(7).fill(429)])
    expect(sent).toHaveLength(5)
    expect(server.events).toContainEqual(expect.objectContaining({ type: 'connect.failed', reason: 'too_many' }))
  })

  it('from many addresses keep no app from its refresh, only new sign-ins', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ trustProxy: true, clock })
    const client = await registeredClient(server)
    const tokens = await client.signIn(server.person('alice'))
    // Nextcloud's own access token has ended, so that the refresh asks for another one there.
    clock.advance(2 * 3_600_000)
    const callbackOf = `${server.origin}/nextcloud/callback`
    const statuses: number[] = []
    for (let count = 1; count <= 12; count += 1) {
      const mallory = server.person('mallory')
      const callback = madeUp(await mallory.until(client.authorizationUrl(), callbackOf))
      const headers = { cookie: mallory.cookies(callback), 'x-forwarded-for': `${count}.0.2.1` }
      statuses.push((await fetch(callback, { headers })).status)
    }

    expect(statuses).toEqual([...Array<number>(8).fill(502), ...Array<number>(4).fill(429)])
    expect((await client.refresh(String(tokens.body['refresh_token']))).status).toBe(200)
  })

  it('are one count with those of the links that an app gives to its user', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const mallory = server.person('mallory')
    const { body } = await client.signIn(mallory)
    const callbackOf = `${server.origin}/nextcloud/callback`
    const sent = watch(server)
    const statuses: number[] = []
    for (let count = 0; count < 4; count += 1) {
      const link = await server.auth.createConnectUrl(await server.auth.verify(String(body['access_token'])))
      statuses.push((await mallory.open(madeUp(await mallory.until(link, callbackOf)))).status)
      const other = server.person('other')
      const callback = await other.until(client.authorizationUrl(), callbackOf)
      statuses.push((await other.open(madeUp(callback))).status)
    }

    expect(statuses).toEqual([...Array<number>(5).fill(502), ...Array<number>(3).fill(429)])
    expect(sent).toHaveLength(5)
  })

  it('whose answers were lost are sent again four times, and the others later, so that nobody is throttled', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ trustProxy: true, clock })
    const client = await registeredClient(server)
    const callbackOf = `${server.origin}/nextcloud/callback`
    server.nextcloud.disturb(({ path }) => (path.includes('/oauth2/api/v1/token') ? 504 : undefined))
    for (let count = 1; count <= 12; count += 1) {
      const mallory = server.person('mallory')
      const callback = madeUp(await mallory.until(client.authorizationUrl(), callbackOf))
      const headers = { cookie: mallory.cookies(callback), 'x-forwarded-for': `${count}.0.2.1` }
      expect((await fetch(callback, { headers })).status).toBe(503)
    }
    const sent = watch(server)
    const alice = server.person('alice')
    await server.auth.ready()
    for (let minutes = 0; minutes < 25; minutes += 1) {
      clock.advance(60_000)
      await new Promise((resolve) => setTimeout(resolve, 60))
    }

    expect(sent).toHaveLength(4)
    expect((await client.signIn(alice)).status).toBe(200)
  })

  it('leave the question open that had to wait', async () => {
    const clock = manualClock()
    const server = await startSignInServer({ trustProxy: true, clock })
    const client = await registeredClient(server)
    const callbackOf = `${server.origin}/nextcloud/callback`
    for (let count = 1; count <= 8; count += 1) {
      const mallory = server.person('mallory')
      const callback = madeUp(await mallory.until(client.authorizationUrl(), callbackOf))
      await fetch(callback, { headers: { cookie: mallory.cookies(callback), 'x-forwarded-for': `${count}.0.2.1` } })
    }
    clock.advance(25 * 60_000)
    const alice = server.person('alice')
    const question = await alice.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    expect((await alice.open(await alice.until(question, callbackOf))).status).toBe(429)
    clock.advance(6 * 60_000)

    expect((await alice.until(question, REDIRECT_URI)).searchParams.has('code')).toBe(true)
  })

  it('come to Nextcloud once for each question', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const mallory = server.person('mallory')
    const question = await mallory.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    const first = await mallory.until(question, `${server.origin}/nextcloud/callback`)
    const second = await mallory.until(question, `${server.origin}/nextcloud/callback`)
    const sent = watch(server)

    expect(second.searchParams.get('state')).toBe(first.searchParams.get('state'))
    expect([(await mallory.open(madeUp(first))).status, (await mallory.open(second)).status]).toEqual([502, 400])
    expect(sent).toHaveLength(1)
  })

  it('leave the question open where Nextcloud was unavailable', async () => {
    const server = await startSignInServer()
    const client = await registeredClient(server)
    const alice = server.person('alice')
    const question = await alice.until(client.authorizationUrl(), `${server.origin}/oauth/sign-in/`)
    const callback = await alice.until(question, `${server.origin}/nextcloud/callback`)
    server.nextcloud.disturb(({ path }) => (path.includes('/oauth2/api/v1/token') ? 503 : undefined))
    expect((await alice.open(callback)).status).toBe(503)
    server.nextcloud.disturb(undefined)

    expect((await alice.until(question, REDIRECT_URI)).searchParams.has('code')).toBe(true)
  })
})
