import { failureCode, readBody } from '../../transport/answer.js'
import type { Transport } from '../../transport/transport.js'
import type { Clock } from '../../clock.js'
import type { HttpConfig } from '../../config/config.js'
import { UpstreamUnavailableError } from '../../errors/errors.js'

/** An answer, whatever it is: a redirect is not followed, and an error status is an answer. */
export interface Answer {
  readonly url: string
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Milliseconds since the epoch, halfway between request and answer. */
  readonly at: number
}

/** Why there was none: the code of the failure (`ECONNREFUSED`, `CERT_HAS_EXPIRED`, `TIMEOUT`, `TOO_LARGE`). */
export interface NoAnswer {
  readonly url: string
  readonly code: string
}

export interface ProbeOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** One request, within `http.timeout` and `http.maxResponseBytes`. */
export type Probe = (url: string, options?: ProbeOptions) => Promise<Answer | NoAnswer>

export function createProbe(transport: Transport, config: HttpConfig, clock: Clock): Probe {
  return async (url, { method = 'GET', headers = {}, body } = {}) => {
    const signal = AbortSignal.timeout(config.timeout)
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

/** The JSON object in an answer; undefined when it is none. */
export function jsonObject({ text }: Answer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

/** A text in that object; undefined when it is none. */
export function textIn(answer: Answer | NoAnswer | undefined, name: string): string | undefined {
  const value = answer && isAnswer(answer) ? jsonObject(answer)?.[name] : undefined
  return typeof value === 'string' ? value : undefined
}

/** A list in that object; undefined when it is none. */
export function listIn(answer: Answer | NoAnswer | undefined, name: string): readonly unknown[] | undefined {
  const value = answer && isAnswer(answer) ? jsonObject(answer)?.[name] : undefined
  return Array.isArray(value) ? value : undefined
}

export const isHtml = ({ headers, text }: Answer): boolean =>
  /\bhtml\b/i.test(headers.get('content-type') ?? '') || /^\s*<(?:!doctype|html)/i.test(text)

/** What an answer is, in a few words, for one that is not what was hoped for. */
export function describeAnswer(answer: Answer, quote: (text: unknown) => string): string {
  const { status, headers } = answer
  const location = headers.get('location')
  if (status >= 300 && status < 400 && location !== null) {
    // The query of a login's URL holds state, and perhaps more.
    return `${status}, a redirect to ${quote(location.split(/[?#]/)[0])}`
  }
  return `${status}${isHtml(answer) ? ', an HTML page' : ''}`
}
