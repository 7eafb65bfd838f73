import type { Server } from 'node:http'
import { Agent, createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { isFromStaleConnection } from '../../src/transport/answer.js'
import { createOwnAgents, withNodeFetch } from '../../src/transport/node-fetch.js'
import { failureOf, until } from '../support/promises.js'

/** Milliseconds. */
const IDLE = 60

/** A server that keeps connections open, and a fetch with agents of its own. */
async function setUp(answer: (server: Server) => unknown, longestIdle?: number) {
  const server = createServer({ keepAliveTimeout: 60_000 })
  const sockets: Socket[] = []
  server.on('connection', (socket) => sockets.push(socket))
  answer(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const own = createOwnAgents(longestIdle)
  onTestFinished(() => {
    own.close()
    server.closeAllConnections()
    server.close()
  })
  const fetch = withNodeFetch(own)
  const get = async () => (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {})).text()
  return { get, own, sockets }
}

describe('own connections', () => {
  it('are used again', async () => {
    const { get, own, sockets } = await setUp((server) => server.on('request', (_req, res) => res.end('here')))
    for (let count = 0; count < 3; count += 1) expect(await get()).toBe('here')
    expect(sockets).toHaveLength(1)
    expect(own.reuses()).toBe(2)
  })

  it('are closed when they have been idle for a while, and no sooner', async () => {
    const { get, own, sockets } = await setUp((server) => {
      // A hint of the server's own that is longer.
      server.on('request', (_req, res) => res.setHeader('keep-alive', 'timeout=60').end('here'))
    }, IDLE)
    for (let count = 0; count < 4; count += 1) {
      await get()
      await sleep(IDLE / 4)
    }
    expect(sockets).toHaveLength(1)
    await until(() => sockets[0]!.destroyed)
    expect(await get()).toBe('here')
    expect(own.reuses()).toBe(3)
  })

  it('are idle for four seconds at most', async () => {
    const { get, own } = await setUp((server) => server.on('request', (_req, res) => res.end('here')))
    await get()
    const agent = own.agentOf(new URL('http://127.0.0.1'))
    const idle = () => Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])
    await until(() => idle().length === 1)
    expect(idle()[0]!.timeout).toBe(4_000)
  })

  it('are not closed while an answer is waited for, however slow it is', async () => {
    const { get, own, sockets } = await setUp((server) => {
      server.on('request', (_req, res) => {
        void sleep(IDLE * 4).then(async () => {
          res.write('late')
          await sleep(IDLE * 4)
          res.end('r')
        })
      })
    }, IDLE)
    expect(await get()).toBe('later')
    expect(await get()).toBe('later')
    expect([sockets.length, own.reuses()]).toEqual([1, 1])
  })
})

describe('a connection that was closed while it was idle', () => {
  const closing = (server: Server): unknown => {
    const seen = new WeakSet<Socket>()
    return server.on('request', (req, res) => {
      if (seen.has(req.socket)) return req.socket.destroy()
      seen.add(req.socket)
      return res.end('here')
    })
  }

  it('is told from one that was new, and the next request has a new one, though others were idle', async () => {
    const { get, own, sockets } = await setUp(closing)
    await Promise.all([get(), get(), get()])
    await until(() => Object.values(own.agentOf(new URL('http://x')).freeSockets).flat().length === 3)
    expect(isFromStaleConnection(await failureOf(get()))).toBe(true)
    expect(await get()).toBe('here')
    expect(sockets).toHaveLength(4)
  })

  it('is told from a new one that is reset', async () => {
    const { get } = await setUp((server) => server.on('request', (req) => req.socket.destroy()))
    const failure = await failureOf(get())
    expect(failure).toMatchObject({ code: 'ECONNRESET' })
    expect(isFromStaleConnection(failure)).toBe(false)
  })

  it("of the app's own agent is the app's", async () => {
    const agent = new Agent({ keepAlive: true })
    onTestFinished(() => agent.destroy())
    const server = createServer()
    closing(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const fetch = withNodeFetch(agent)
    const get = async () => (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {})).text()
    await get()
    expect(isFromStaleConnection(await failureOf(get()))).toBe(false)
  })
})
