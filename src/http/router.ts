import type { IncomingMessage, ServerResponse } from 'node:http'

/** A Connect handler: it works in Express 4 and 5, in Connect, and with a bare `node:http` server. */
export type ConnectHandler = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

/** The work for one method of one path. */
export type RouteHandler = (req: IncomingMessage, res: ServerResponse) => void | Promise<void>

/** Path → method → the work for it. */
export type Routes = ReadonlyMap<string, Readonly<Record<string, RouteHandler>>>

/**
 * Serves the routes and passes on everything else. A path matches with or without one slash at its end, on the URL that the
 * client sent, wherever the handler is mounted. `HEAD` is served as `GET`; a method that a path does not have is a 405.
 */
export function createRouter(routes: Routes): ConnectHandler {
  return (req, res, next) => {
    const methods = routes.get(pathOf(req))
    if (methods === undefined) return next()
    const handler = methods[req.method === 'HEAD' ? 'GET' : (req.method ?? '')]
    if (handler === undefined) return refuseMethod(res, Object.keys(methods))
    Promise.resolve(handler(req, res)).catch(next)
  }
}

function refuseMethod(res: ServerResponse, methods: readonly string[]): void {
  res.statusCode = 405
  res.setHeader('Allow', methods.flatMap((name) => (name === 'GET' ? [name, 'HEAD'] : [name])).join(', '))
  res.setHeader('Content-Type', 'application/json')
  res.setHeader('Cache-Control', 'no-store')
  res.end(JSON.stringify({ error: 'method_not_allowed', error_description: 'This path has no such method' }))
}

/** Returns the URL that the client sent, wherever the handler is mounted. */
export function urlOf(req: IncomingMessage): string {
  return ('originalUrl' in req && typeof req.originalUrl === 'string' ? req.originalUrl : req.url) ?? ''
}

function pathOf(req: IncomingMessage): string {
  const url = urlOf(req)
  const query = url.indexOf('?')
  return withoutEndSlash(query < 0 ? url : url.slice(0, query))
}

/** Returns a path in the form that the routes have. */
export function withoutEndSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
}
