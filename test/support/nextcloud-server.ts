import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { listen } from './hosts.js'

/** One request that came in. */
export interface NextcloudRequestReceived {
  readonly method: string
  /** Path and query, as they were sent. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** What a path does with a request. */
export type NextcloudHandler = (request: NextcloudRequestReceived, res: ServerResponse) => unknown

/**
 * A server that does as a test tells it, in the place of Nextcloud or of any other one that a token could go to by mistake. It has
 * no answers of Nextcloud's own: those are in `nextcloud/`.
 */
export interface NextcloudServer {
  readonly url: string
  readonly received: NextcloudRequestReceived[]
  /** The tokens that came in, in their order. */
  readonly tokens: () => (string | undefined)[]
  /** From now on, this is how requests are answered; without it, with 200 and what came in. */
  readonly handle: (handler: NextcloudHandler) => void
  /** Answers 401 to every token that is not good. */
  readonly accept: (isGood: (token: string | undefined) => boolean) => void
  readonly stop: () => Promise<void>
}

/** Starts one that ends with the test. */
export async function startNextcloud(): Promise<NextcloudServer> {
  const received: NextcloudRequestReceived[] = []
  const echo: NextcloudHandler = ({ method, path, body }, res) => {
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ method, path, body }))
  }
  let handler = echo
  const app = await listen((req, res) => {
    void text(req).then((body) => {
      const request = { method: req.method ?? '', path: req.url ?? '', headers: req.headers, body }
      received.push(request)
      return handler(request, res)
    })
  })
  let stopped: Promise<void> | undefined
  const stop = () => (stopped ??= app.close())
  onTestFinished(stop)
  return {
    url: app.url,
    received,
    tokens: () => received.map(tokenOf),
    handle(given) {
      handler = given
    },
    accept(isGood) {
      handler = (request, res) =>
        isGood(tokenOf(request))
          ? echo(request, res)
          : res.writeHead(401).end('{"message":"Current user is not logged in"}')
    },
    stop,
  }
}

const tokenOf = ({ headers }: NextcloudRequestReceived) => headers.authorization?.replace(/^Bearer /, '')
