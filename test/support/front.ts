import { once } from 'node:events'
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One public name, at which each request goes to the next of several servers. */
export interface Front {
  readonly origin: string
  /** The servers that it leads to, once they are there. */
  readonly ports: number[]
  /** Chooses the server that has the next request. */
  readonly begin: (server: number) => void
  /** The servers that had a request, in their order. */
  readonly visited: number[]
  readonly close: () => void
}

export async function startFront(): Promise<Front> {
  const ports: number[] = []
  const visited: number[] = []
  let next = 0
  const front = createServer((req, res) => {
    visited.push(next)
    passOn(req, res, ports[next] ?? 0)
    next = (next + 1) % ports.length
  }).listen(0, '127.0.0.1')
  await once(front, 'listening')
  return {
    origin: `http://127.0.0.1:${(front.address() as AddressInfo).port}`,
    ports,
    begin: (server) => void (next = server),
    visited,
    close() {
      front.closeAllConnections()
      front.close()
    },
  }
}

/** Sends a request on, as a router in front of the servers does. */
function passOn(req: IncomingMessage, res: ServerResponse, port: number): void {
  const { method, url, headers } = req
  const forwarded = request({ host: '127.0.0.1', port, method, path: url, headers }, (answer) => {
    res.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
    answer.pipe(res)
  })
  forwarded.on('error', () => res.destroy())
  req.pipe(forwarded)
}
