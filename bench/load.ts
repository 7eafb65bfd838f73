import { connect, type Socket } from 'node:net'

/** Keep-alive connections to an app. */
export interface Load {
  /** Milliseconds that so many requests take. Rejects when one of them is not answered with 200. */
  readonly run: (requests: number) => Promise<number>
  readonly close: () => void
}

const ANSWER = 'HTTP/1.1 200 OK'

interface LoadOptions {
  readonly port: number
  readonly connections: number
  readonly nextRequest: () => Buffer
  /** What each answer ends with. Default: an answer fits into one packet. */
  readonly end?: Buffer
}

/**
 * Connections of which each sends its next request when it has its answer. They look at the first line of an answer, and at most at its end,
 * so that the processors are the app's.
 */
export function openLoad({ port, connections, nextRequest, end }: LoadOptions): Load {
  let unsent = 0
  let underWay = 0
  let ended: (error?: Error) => void = () => undefined

  function send(socket: Socket): void {
    unsent -= 1
    underWay += 1
    socket.write(nextRequest())
  }

  const sockets = Array.from({ length: connections }, () => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let isWithin = false
    socket.on('data', (chunk: Buffer) => {
      const firstLine = chunk.toString('latin1', 0, ANSWER.length)
      if (!isWithin && firstLine !== ANSWER) return ended(new Error(`The app answers ${firstLine}`))
      isWithin = end !== undefined && !chunk.subarray(-end.length).equals(end)
      if (isWithin) return
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
