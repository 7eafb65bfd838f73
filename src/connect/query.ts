import type { IncomingMessage } from 'node:http'

/** The query of a request, on the URL that the client sent, wherever the handler is mounted. */
export function queryOf(req: IncomingMessage): URLSearchParams {
  const url = ('originalUrl' in req && typeof req.originalUrl === 'string' ? req.originalUrl : req.url) ?? ''
  const at = url.indexOf('?')
  return new URLSearchParams(at < 0 ? '' : url.slice(at + 1))
}

/** A parameter that is there once: which of two counts is not for this server to choose. */
export function singleParameter(query: URLSearchParams, name: string): string | undefined {
  const values = query.getAll(name)
  return values.length === 1 ? values[0] : undefined
}
