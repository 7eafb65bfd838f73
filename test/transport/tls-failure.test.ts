import { once } from 'node:events'
import { Agent, createServer } from 'node:https'
import { connect, createServer as createTcpServer, type AddressInfo, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createEvents } from '../../src/events.js'
import { createTransport } from '../../src/transport/transport.js'
import { selfSigned } from '../support/certificate.js'
import { manualClock } from '../support/clock.js'

const { cert, key } = selfSigned({ names: ['localhost'] })
const requests: string[] = []
const server = createServer({ cert, key }, (req, res) => {
  requests.push(`${req.method} ${req.url}`)
  res.end('{}')
})
const portOf = (of: Server): number => (of.address() as AddressInfo).port

beforeAll(async () => {
  await once(server.listen(0, 'localhost'), 'listening')
})
afterAll(() => server.close())

/** TLS records of an answer, made unreadable on their way. */
const SPOILT: readonly (readonly [string, (answer: Buffer) => Buffer])[] = [
  ['is not what was sent', (answer) => Buffer.from(answer.map((byte, at) => (at === 10 ? byte ^ 1 : byte)))],
  ['is plain text', () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ['is an alert', () => Buffer.from([0x15, 3, 3, 0, 2, 2, 80])],
]

describe('a token request whose answer cannot be decrypted', () => {
  it.each(SPOILT)('may have been processed, and is sent once: the answer %s', async (_, spoil) => {
    requests.length = 0
    const between = createTcpServer((client) => {
      const upstream = connect(portOf(server), 'localhost')
      client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy())
      upstream.on('error', () => client.destroy())
      client.pipe(upstream)
      upstream.on('data', (sent: Buffer) => client.write(requests.length === 0 ? sent : spoil(sent)))
    })
    await once(between.listen(0, 'localhost'), 'listening')
    const clock = manualClock()
    const config = {
      agent: new Agent({ ca: cert }),
      timeout: 5_000,
      maxResponseBytes: 1_000,
      retries: 2,
      fetch: undefined,
      local: undefined,
    }
    const transport = createTransport(
      config,
      clock,
      createEvents(() => undefined, clock),
    )
    const url = `https://localhost:${portOf(between)}/token`

    const asked = transport.call('token', 'unprocessed', (_fetch, ask) =>
      ask(url, { method: 'POST', headers: {}, body: 'grant_type=refresh_token' }),
    )
    await expect(asked).rejects.toMatchObject({ code: 'ERR_UPSTREAM_UNAVAILABLE', unprocessed: false })
    expect(requests).toEqual(['POST /token'])
    between.close()
  })
})
