import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** A way to a server of 127.0.0.1 that can be closed: connections break, and new ones are refused, as if the server was stopped. */
export interface TcpGate {
  readonly port: number
  readonly close: () => void
  /** To another port, if one is given. */
  readonly open: (target?: number) => Promise<void>
  /** Keeps what the server answers so many milliseconds from now on. */
  readonly slow: (ms: number) => void
}

export async function startTcpGate(first: number): Promise<TcpGate> {
  let target = first
  const sockets = new Set<Socket>()
  let server: Server
  let delay = 0
  async function listen(port: number): Promise<void> {
    server = createServer((near) => {
      const far = connect(target, '127.0.0.1')
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(socket)
        socket.on('error', () => undefined)
        socket.once('close', () => {
          sockets.delete(socket)
          other.destroy()
        })
        if (socket === near) socket.pipe(other)
      }
      far.on('data', (answer) => {
        if (delay === 0) near.write(answer)
        else setTimeout(() => near.write(answer), delay)
      })
      far.on('end', () => near.end())
    }).listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  await listen(0)
  const { port } = server!.address() as AddressInfo
  return {
    port,
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
    open(to = target) {
      target = to
      return listen(port)
    },
    slow: (ms) => void (delay = ms),
  }
}
