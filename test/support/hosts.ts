import connect from 'connect'
import express from 'express'
import express4 from 'express4'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ConnectHandler } from '../../src/http/router.js'
import type { ErrorHandler } from '../../src/http/authentication.js'

/** What an app is made of, in its order. */
export type Handler = ConnectHandler | ErrorHandler

/** An app that listens on 127.0.0.1. */
export interface RunningApp {
  readonly url: string
  readonly close: () => Promise<void>
}

/** A kind of server that this package has to work in. */
export interface Host {
  readonly name: string
  readonly start: (handlers: readonly Handler[], options?: ServerOptions) => Promise<RunningApp>
}

interface ServerOptions {
  /** Bytes of a request's header. Default: Node's own. */
  readonly maxHeaderSize?: number
  /** Default: any that is free. */
  readonly port?: number
}

/** Every kind of server that this package promises to work in. */
export const hosts: readonly Host[] = [
  host('Express 5', (handlers) => {
    const app = express()
    for (const handler of handlers) app.use(handler as express.RequestHandler)
    return app
  }),
  host('Express 4', (handlers) => {
    const app = express4()
    for (const handler of handlers) app.use(handler as express4.RequestHandler)
    return app
  }),
  host('Connect', (handlers) => {
    const app = connect()
    for (const handler of handlers) app.use(handler as connect.NextHandleFunction)
    return app
  }),
  host('node:http', withoutFramework),
]

export const [express5Host, express4Host, connectHost, bareHost] = hosts as [Host, Host, Host, Host]

/** Express 5, which takes addresses from the proxy before it. */
export const behindProxy = host('Express 5 behind a proxy', (handlers) => {
  const app = express().set('trust proxy', 1)
  for (const handler of handlers) app.use(handler as express.RequestHandler)
  return app
})

/** Starts what a listener does on a port of its own. */
export async function listen(listener: RequestListener, options: ServerOptions = {}): Promise<RunningApp> {
  const { port: wanted = 0 } = options
  const server = createServer(options, listener).listen({ port: wanted, host: '127.0.0.1', backlog: 4_096 })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      const closed = once(server.close(), 'close')
      server.closeAllConnections()
      await closed
    },
  }
}

function host(name: string, listenerOf: (handlers: readonly Handler[]) => RequestListener): Host {
  return { name, start: (handlers, options) => listen(listenerOf(handlers), options) }
}

/** The least that a server of its own has to do: one handler after the other, and a plain answer at the end. */
function withoutFramework(handlers: readonly Handler[]): RequestListener {
  return (req, res) => {
    const run = (rest: readonly Handler[], error?: unknown): void => {
      const [handler, ...others] = rest
      const next = (failure?: unknown): void => run(others, failure)
      if (handler === undefined) {
        res.statusCode = error === undefined ? 404 : 500
        res.end(error instanceof Error ? error.message : undefined)
      } else if (isErrorHandler(handler)) {
        if (error === undefined) next()
        else handler(error, req, res, next)
      } else if (error === undefined) handler(req, res, next)
      else next(error)
    }
    run(handlers)
  }
}

/** As Express and Connect tell them apart. */
function isErrorHandler(handler: Handler): handler is ErrorHandler {
  return handler.length === 4
}
