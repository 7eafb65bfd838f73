import { request, type IncomingMessage, type RequestListener } from 'node:http'
import { pipeline } from 'node:stream'

export interface RoundRobin {
  readonly listener: RequestListener
  /** Requests that each instance has answered, in the order of the instances. */
  readonly answered: () => readonly number[]
}

/**
 * A load balancer that gives each request to the next instance, as nginx does with an `upstream` of several servers. Where the instance cannot
 * be reached, the request goes to the one after it. Where it breaks off, the answer is 502, because the request may have been carried out.
 *
 * @param instances `http://127.0.0.1:<port>`, one for each
 */
export function createRoundRobin(instances: readonly string[]): RoundRobin {
  const answered = instances.map(() => 0)
  let turn = 0
  return {
    answered: () => [...answered],
    listener(req, res) {
      const first = (turn += 1)
      pass(0)

      function pass(tried: number): void {
        const index = (first + tried) % instances.length
        const out = forward(req, instances[index] ?? '')
        out.on('response', (answer) => {
          answered[index] = (answered[index] ?? 0) + 1
          res.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
          pipeline(answer, res, () => undefined)
        })
        out.on('error', (error: NodeJS.ErrnoException) => {
          const isReached = error.code !== 'ECONNREFUSED'
          if (!isReached && tried + 1 < instances.length) pass(tried + 1)
          else if (!res.headersSent) res.writeHead(502).end()
        })
        // The body is sent only when there is somebody to take it, so that it can go to the next one.
        out.on('socket', (socket) => socket.once('connect', () => void req.pipe(out)))
      }
    },
  }
}

/** Opens a connection of its own, with every header as it came. */
function forward({ method, url, rawHeaders }: IncomingMessage, instance: string) {
  const { hostname, port } = new URL(instance)
  return request({ hostname, port, method, path: url, headers: rawHeaders, agent: false })
}
