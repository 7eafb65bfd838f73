import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { Readable } from 'node:stream'
import type { RequestInit as NodeFetchInit } from 'node-fetch'
import type { FetchFunction, HttpOptions } from '../options.js'

type AgentOption = NonNullable<HttpOptions['agent']>

/** node-fetch, made to do as the Fetch standard says where the two differ. */
export function withNodeFetch(agent: AgentOption): FetchFunction {
  let nodeFetch: (typeof import('node-fetch'))['default'] | undefined
  return async (url, init) => {
    // Loaded with the first request, since it would double the time that this package takes to load.
    nodeFetch ??= (await import('node-fetch')).default
    // node-fetch destroys the body of a request that is aborted already, without a listener for its error, which would end the process.
    init.signal?.throwIfAborted()
    const body: unknown = init.body instanceof ReadableStream ? Readable.fromWeb(init.body) : init.body
    // Of node-fetch's Response only what the Fetch standard has is used.
    return (await nodeFetch(url, { ...init, body, agent } as NodeFetchInit)) as unknown as Response
  }
}

/**
 * Returns agents that keep connections for the next requests.
 *
 * @param agents gets them too, to be closed
 */
export function keepAliveAgents(agents: HttpAgent[]): AgentOption {
  const http = new HttpAgent({ keepAlive: true })
  const https = new HttpsAgent({ keepAlive: true })
  agents.push(http, https)
  return (url) => (url.protocol === 'http:' ? http : https)
}
