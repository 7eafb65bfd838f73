import type { IncomingMessage } from 'node:http'
import { urlOf } from '../http/router.js'

/** The query of a request. */
export function queryOf(req: IncomingMessage): URLSearchParams {
  const url = urlOf(req)
  const at = url.indexOf('?')
  return new URLSearchParams(at < 0 ? '' : url.slice(at + 1))
}

/** A parameter that is there once: which of two counts is not for this server to choose. */
export function singleParameter(query: URLSearchParams, name: string): string | undefined {
  const values = query.getAll(name)
  return values.length === 1 ? values[0] : undefined
}
