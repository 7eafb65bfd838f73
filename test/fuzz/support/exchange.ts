import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { ConnectHandler } from '../../../src/http/router.js'

/** A request in memory, as Node would have read it. */
export interface Sent {
  readonly method?: string
  readonly url?: string
  readonly headers?: readonly (readonly [name: string, value: string])[]
  /** The body as it comes. */
  readonly body?: string | Uint8Array
  /** The body as a parser of the app's has left it. */
  readonly parsed?: unknown
}

/** What came of it: an answer, or the request went on. */
export interface Came {
  readonly passed: boolean
  readonly status: number
  readonly text: string
  readonly headers: ReturnType<ServerResponse['getHeaders']>
  readonly error: unknown
  readonly req: IncomingMessage
}

export function requestOf({ method = 'GET', url = '/', headers = [], body = '', parsed }: Sent): IncomingMessage {
  const req = new IncomingMessage(new Socket())
  Object.assign(req, { method, url, rawHeaders: headers.flat() })
  // Node keeps the first of two, and joins cookies.
  for (const [name, value] of headers) {
    const key = name.toLowerCase()
    const before = req.headers[key]
    if (before === undefined) req.headers[key] = value
    else if (key === 'cookie') req.headers[key] = `${String(before)}; ${value}`
  }
  if (parsed !== undefined) {
    Object.assign(req, { body: parsed })
    Object.defineProperty(req, 'readableDidRead', { value: true })
  }
  req.push(typeof body === 'string' ? Buffer.from(body) : body)
  req.push(null)
  return req
}

/** Hands a request to a handler, and resolves to its answer. */
export function handOver(handler: ConnectHandler, sent: Sent): Promise<Came> {
  const req = requestOf(sent)
  const res = new ServerResponse(req)
  return new Promise((resolve) => {
    const over = (passed: boolean, text: string, error?: unknown): void =>
      resolve({ passed, status: res.statusCode, text, headers: res.getHeaders(), error, req })
    res.end = ((text?: unknown) => {
      over(false, typeof text === 'string' || Buffer.isBuffer(text) ? text.toString() : '')
      return res
    }) as typeof res.end
    handler(req, res, (error) => over(true, '', error))
  })
}
