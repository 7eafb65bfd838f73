import type { FetchLike } from '@modelcontextprotocol/client'
import type { Timeline } from './timeline.js'

/** One answer that the MCP client got, for the checks of the demo. */
export interface Answer {
  readonly path: string
  readonly status: number
  /** `WWW-Authenticate`; empty when there was none. */
  readonly challenge: string
}

export interface ObservedFetch {
  readonly fetch: FetchLike
  /** Every answer so far, the latest last. */
  readonly answers: readonly Answer[]
}

/**
 * A `fetch` for the SDK's transports that tells the timeline about every request. It reads no token and prints no query:
 * an authorization code may be in there.
 *
 * @param names origin of a server → the name under which it is shown
 */
export function observeFetch(timeline: Timeline, names: ReadonlyMap<string, string>): ObservedFetch {
  const answers: Answer[] = []
  return {
    answers,
    async fetch(url, init) {
      const { origin, pathname: path } = new URL(url)
      const server = names.get(origin) ?? origin
      const method = init?.method ?? 'GET'
      timeline.step(`client → ${server}`, [method, path, ...rpcCall(init?.body)].join(' '))
      const response = await fetch(url, init)
      const { status } = response
      const challenge = response.headers.get('WWW-Authenticate') ?? ''
      answers.push({ path, status, challenge })
      timeline.step(`${server} → client`, `${status} ${response.statusText}`)
      if (challenge !== '') timeline.detail(challenge)
      return response
    },
  }
}

/** The JSON-RPC method in a request body, and the tool's name where it calls one. */
function rpcCall(body: unknown): string[] {
  if (typeof body !== 'string' || !body.startsWith('{')) return []
  const { method, params } = JSON.parse(body) as { method?: string; params?: { name?: string } }
  return [method, params?.name].filter((part) => part !== undefined)
}
