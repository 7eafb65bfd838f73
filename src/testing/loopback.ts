import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Told } from './nextcloud/exchange.js'

/** A server on 127.0.0.1, on a port that is free. */
export interface Loopback {
  readonly url: string
  readonly close: () => Promise<void>
}

/** Answers that are given in place of the true ones. */
export interface Failures {
  /** Lets the next `times` requests fail. */
  readonly add: (status: number, times: number) => void
  /** Returns the status of the request at hand, where it is to fail. */
  readonly next: () => number | undefined
}

/**
 * Starts a server that keeps no process alive.
 *
 * @throws Error where `NODE_ENV` is `production`: these servers believe whoever asks
 */
export async function serveOnLoopback(
  name: string,
  answer: (req: IncomingMessage) => Promise<Told>,
): Promise<Loopback> {
  // eslint-disable-next-line no-restricted-properties -- no option of mcpAuth(): what a runtime says of itself.
  if (process.env['NODE_ENV'] === 'production') throw new Error(`${name}() is for tests, and NODE_ENV is production`)
  const server = createServer((req, res) => {
    answer(req).then(
      (told) => send(res, told),
      () => res.writeHead(500).end(),
    )
  })
  server.on('connection', (socket: Socket) => socket.unref())
  server.listen({ port: 0, host: '127.0.0.1' }).unref()
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => closed(server) }
}

function send(res: ServerResponse, { status, headers = {}, body }: Told): void {
  res.writeHead(status, { ...headers } as Record<string, string | string[]>).end(body)
}

async function closed(server: Server): Promise<void> {
  if (!server.listening) return
  const end = once(server.close(), 'close')
  server.closeAllConnections()
  await end
}

export function createFailures(): Failures {
  const waiting: { readonly status: number; left: number }[] = []
  return {
    add(status, times) {
      if (!Number.isInteger(status) || status < 400 || status > 599)
        throw new RangeError('The status of a failure is from 400 to 599')
      waiting.push({ status, left: times })
    },
    next() {
      const [first] = waiting
      if (first === undefined) return undefined
      first.left -= 1
      if (first.left <= 0) waiting.shift()
      return first.status
    },
  }
}
