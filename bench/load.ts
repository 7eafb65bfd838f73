import { connect, type Socket } from 'node:net'

/** Keep-alive connections to an app. */
export interface Load {
  /** Milliseconds that so many requests take. Rejects when one of them is not answered with 200. */
  readonly run: (requests: number) => Promise<number>
  readonly close: () => void
}

const ANSWER = 'HTTP/1.1 200 OK'

/**
 * Connections of which each sends its next request when it has its answer. They look at the first line of an answer and no further, so
 * that the processors are the app's.
 */
export function openLoad(port: number, path: string, token: string, connections: number): Load {
  const request = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\n\r\n`)
  let unsent = 0
  let underWay = 0
  let ended: (error?: Error) => void = () => undefined

  function send(socket: Socket): void {
    unsent -= 1
    underWay += 1
    socket.write(request)
  }

  const sockets = Array.from({ length: connections }, () => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    // An answer of these apps fits into one packet.
    socket.on('data', (chunk: Buffer) => {
      const firstLine = chunk.toString('latin1', 0, ANSWER.length)
      if (firstLine !== ANSWER) return ended(new Error(`The app answers ${firstLine}`))
      underWay -= 1
      if (unsent > 0) send(socket)
      else if (underWay === 0) ended()
    })
    socket.on('error', (error) => ended(error))
    socket.on('close', () => ended(new Error('The app has closed a connection')))
    return socket
  })

  return {
    run: (requests) =>
      new Promise((resolve, reject) => {
        const start = performance.now()
        ended = (error) => (error === undefined ? resolve(performance.now() - start) : reject(error))
        unsent = requests
        sockets.slice(0, requests).forEach(send)
      }),
    close() {
      for (const socket of sockets) socket.destroy()
    },
  }
}
