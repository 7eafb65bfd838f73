import type { IncomingMessage, ServerResponse } from 'node:http'
import type { UnderWay } from '../under-way.js'

/** A Connect handler: it works in Express 4 and 5, in Connect, and with a bare `node:http` server. */
export type ConnectHandler = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

/** The work for one method of one path. */
export type RouteHandler = (req: IncomingMessage, res: ServerResponse) => void | Promise<void>

/** Path → method → the work for it. */
export type Routes = ReadonlyMap<string, Readonly<Record<string, RouteHandler>>>

/**
 * Serves the routes and passes on everything else. A path matches with or without one slash at its end, on the URL that the
 * client sent, wherever the handler is mounted. `HEAD` is served as `GET`; a method that a path does not have is a 405.
 *
 * @param unreachable told once if the handler is mounted where some of its paths never arrive
 */
export function createRouter(
  routes: Routes,
  unreachable?: (mount: string, paths: readonly string[]) => void,
): ConnectHandler {
  let isTold = false
  return (req, res, next) => {
    const mount = mountOf(req)
    if (mount !== '' && !isTold) {
      isTold = true
      const paths = [...routes.keys()].filter((path) => !`${path}/`.startsWith(`${mount}/`))
      if (paths.length > 0) unreachable?.(mount, paths)
    }
    const methods = routes.get(pathOf(req))
    if (methods === undefined) return next()
    const handler = handlerOf(routes, req)
    if (handler === undefined) return refuseMethod(res, Object.keys(methods))
    Promise.resolve(handler(req, res)).catch(next)
  }
}

/** Tracks the work for a request. One with a body is tracked once that has arrived, because a stranger may take any time to send it. */
export function follow(req: IncomingMessage, work: Promise<unknown>, underWay: Pick<UnderWay, 'track'>): void {
  const track = (): void => void underWay.track(work)
  const hasBody = req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0
  if (hasBody && !req.complete && !req.readableEnded) req.once('end', track)
  else track()
}

/** Returns the same routes, and tracks their work. */
export function followed(routes: Routes, underWay: Pick<UnderWay, 'track'>): Routes {
  const each = (handler: RouteHandler): RouteHandler => {
    const run: (...request: Parameters<RouteHandler>) => Promise<void> = async (...request) => handler(...request)
    return (req, res) => {
      const work = run(req, res)
      follow(req, work, underWay)
      return work
    }
  }
  const all = ([path, methods]: readonly [string, Readonly<Record<string, RouteHandler>>]) =>
    [path, Object.fromEntries(Object.entries(methods).map(([method, handler]) => [method, each(handler)]))] as const
  return new Map([...routes].map(all))
}

/** Returns the work for a request; undefined if its path is none of the routes, or has no such method. */
export function handlerOf(routes: Routes, req: IncomingMessage): RouteHandler | undefined {
  const methods = routes.get(pathOf(req))
  const method = req.method === 'HEAD' ? 'GET' : String(req.method)
  // HTTP/2 has any method, also one that is named like a member of every object.
  return methods !== undefined && Object.hasOwn(methods, method) ? methods[method] : undefined
}

function refuseMethod(res: ServerResponse, methods: readonly string[]): void {
  res.statusCode = 405
  res.setHeader('Allow', methods.flatMap((name) => (name === 'GET' ? [name, 'HEAD'] : [name])).join(', '))
  res.setHeader('Content-Type', 'application/json')
  res.setHeader('Cache-Control', 'no-store')
  res.end(JSON.stringify({ error: 'method_not_allowed', error_description: 'This path has no such method' }))
}

/** A scheme and an authority that every reader of URLs ends at the same place: where Express sees another path, its limits count another one. */
const ORIGIN = /^https?:\/\/(?:[a-z\d_.-]+|\[[\da-f:.]+\])(?::\d{1,5})?(?=[/?]|$)/i

/**
 * Returns the path and query of the URL that the client sent, wherever the handler is mounted. A target in absolute form counts as its
 * path (RFC 9112 §3.2.2). One that is malformed is returned as it is, and is no path.
 */
export function urlOf(req: IncomingMessage): string {
  const url = ('originalUrl' in req && typeof req.originalUrl === 'string' ? req.originalUrl : req.url) ?? ''
  if (url.startsWith('/')) return url
  const absolute = ORIGIN.exec(url)
  if (absolute === null) return url
  const rest = url.slice(absolute[0].length)
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** Returns the path that a handler is mounted under: Express tells it, and Connect takes it off `url`. Empty: none. */
function mountOf(req: IncomingMessage): string {
  const { baseUrl, originalUrl, url = '' } = req as IncomingMessage & { baseUrl?: unknown; originalUrl?: unknown }
  if (typeof baseUrl === 'string') return baseUrl
  if (typeof originalUrl !== 'string' || originalUrl === url) return ''
  const path = withoutQuery(originalUrl)
  const below = withoutQuery(url)
  return path.endsWith(below) ? path.slice(0, -below.length) : below === '/' ? path : ''
}

/** Returns the path of a request in the form that the routes have. */
export function pathOf(req: IncomingMessage): string {
  return withoutEndSlash(rawPathOf(req))
}

/** Returns the path of a request, letter for letter: a limit of the app's for a path must count all that comes to it. */
export function rawPathOf(req: IncomingMessage): string {
  return withoutQuery(urlOf(req))
}

function withoutQuery(url: string): string {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

/** Returns a path in the form that the routes have. */
export function withoutEndSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
}
