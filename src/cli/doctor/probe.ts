import type { Clock } from '../../clock.js'
import type { HttpConfig } from '../../config/config.js'
import { UpstreamUnavailableError } from '../../errors/errors.js'
import { parseObject, type JsonObject } from '../../json.js'
import { failureCode, readBody } from '../../transport/answer.js'
import type { Transport } from '../../transport/transport.js'

/** An answer of any kind: a redirect is not followed, and an error status is an answer. */
export interface Answer {
  readonly url: string
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Milliseconds since the epoch, halfway between request and answer. */
  readonly at: number
}

/** The reason why there is none: the code of the failure (`ECONNREFUSED`, `CERT_HAS_EXPIRED`, `TIMEOUT`, `TOO_LARGE`). */
export interface NoAnswer {
  readonly url: string
  readonly code: string
}

interface ProbeInit {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Milliseconds. Default: `http.timeout`. */
  readonly timeout?: number
}

/** One request, within its time and `http.maxResponseBytes`. */
export type Probe = (url: string, init?: ProbeInit) => Promise<Answer | NoAnswer>

export function createProbe(transport: Transport, config: HttpConfig, clock: Clock): Probe {
  return async (url, { method = 'GET', headers = {}, body, timeout = config.timeout } = {}) => {
    const signal = AbortSignal.timeout(timeout)
    const from = clock.now()
    try {
      const response = await transport.fetch(url, {
        method,
        headers: { accept: 'application/json', ...headers },
        ...(body !== undefined && { body }),
        redirect: 'manual',
        signal,
      })
      const at = (from + clock.now()) / 2
      const text = Buffer.from(await readBody(response, url, config.maxResponseBytes)).toString('utf8')
      return { url, status: response.status, headers: new Headers([...response.headers]), text, at }
    } catch (error) {
      if (signal.aborted) return { url, code: 'TIMEOUT' }
      return { url, code: error instanceof UpstreamUnavailableError ? 'TOO_LARGE' : failureCode(error) }
    }
  }
}

export const isAnswer = (result: Answer | NoAnswer): result is Answer => 'status' in result

/** Returns the JSON object in an answer; undefined if there is none. */
export function objectIn(result: Answer | NoAnswer): Readonly<JsonObject> | undefined {
  return isAnswer(result) ? parseObject(result.text) : undefined
}

/** Returns a list in that object; undefined if the object has no such list. */
export function listIn(result: Answer | NoAnswer, name: string): readonly unknown[] | undefined {
  const value = objectIn(result)?.[name]
  return Array.isArray(value) ? value : undefined
}

export const isRedirect = ({ status }: Answer): boolean => status >= 300 && status < 400

export const isHtml = ({ headers, text }: Answer): boolean =>
  /\bhtml\b/i.test(headers.get('content-type') ?? '') || /^\s*<(?:!doctype|html)/i.test(text)

/** Returns a few words for an answer that is not the one hoped for, or the code if there is none. */
export function describe(result: Answer | NoAnswer, quote: (text: unknown) => string): string {
  if (!isAnswer(result)) return result.code
  const location = result.headers.get('location')
  // The query of a login's URL holds state, and perhaps more.
  if (isRedirect(result) && location !== null)
    return `${result.status}, a redirect to ${quote(location.split(/[?#]/)[0])}`
  return `${result.status}${isHtml(result) ? ', an HTML page' : ''}`
}
