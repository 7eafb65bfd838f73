import { createServer, type RequestListener } from 'node:http'

export interface LoopbackServer {
  /** `http://127.0.0.1:<port>`, without a trailing slash. */
  readonly origin: string
  /** Answers requests with this listener from now on, in place of an earlier one. */
  serve(listener: RequestListener): void
  /** Ends open connections too: a demo or test should leave nothing behind. */
  close(): Promise<void>
}

/**
 * Takes a port on the loopback interface. The app that is served there comes after, because an issuer and a resource are
 * identifiers that contain the port.
 *
 * @param port a port to insist on; default 0, any free one
 */
export async function listenOnLoopback(port = 0): Promise<LoopbackServer> {
  // Longer than a busy machine may stop for: a client must not find its idle connection closed at the moment of use.
  const server = createServer({ keepAliveTimeout: 60_000 })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    // A burst of a thousand new connections must not overflow the queue of those waiting to be accepted.
    server.listen({ port, host: '127.0.0.1', backlog: 4_096 }, resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has a port')
  return {
    origin: `http://127.0.0.1:${address.port}`,
    serve(listener) {
      server.removeAllListeners('request').on('request', listener)
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
