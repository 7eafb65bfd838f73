import { Agent as HttpAgent, globalAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { RequestInit as NodeFetchInit } from 'node-fetch'
import type { FetchFunction, HttpOptions } from '../options.js'
import { failureCode, fromStaleConnection } from './answer.js'

type AgentOption = NonNullable<HttpOptions['agent']>

/** Agents that keep connections for the next requests. */
export interface OwnAgents {
  readonly agentOf: (url: URL) => HttpAgent | HttpsAgent
  /** Requests so far that went into a connection that was there. */
  readonly reuses: () => number
  /** Throws the failure of such a request. If its connection had been closed, the idle ones are closed too, and the failure says so. */
  readonly failed: (error: unknown) => never
  readonly close: () => void
}

/**
 * Milliseconds. Web servers close idle connections after 5 s (Node's own) and more. Gateways forget them without a word, and a request
 * that goes into such a one waits for its timeout.
 */
const LONGEST_IDLE = 4_000
/** Failures of a connection that the other side has closed. */
const CLOSED = /^(?:ECONNRESET|EPIPE|ERR_STREAM_PREMATURE_CLOSE)$/

/** node-fetch, made to do as the Fetch standard says where the two differ. */
export function withNodeFetch(agent: AgentOption | OwnAgents): FetchFunction {
  let nodeFetch: (typeof import('node-fetch'))['default'] | undefined
  const own = 'agentOf' in agent ? agent : undefined
  const option = own?.agentOf ?? agent
  return async (url, init) => {
    // Loaded with the first request, since it would double the time that this package takes to load.
    nodeFetch ??= (await import('node-fetch')).default
    // node-fetch destroys the body of a request that is aborted already, without a listener for its error, which would end the process.
    init.signal?.throwIfAborted()
    const body: unknown = init.body instanceof ReadableStream ? Readable.fromWeb(init.body) : init.body
    const reuses = own?.reuses()
    // An agent with an idle connection hands it out within this call.
    const response = nodeFetch(url, { ...init, body, agent: option } as NodeFetchInit)
    const reused = own !== undefined && own.reuses() !== reuses
    // Of node-fetch's Response only what the Fetch standard has is used.
    return (await (reused ? response.catch(own.failed) : response)) as unknown as Response
  }
}

export function createOwnAgents(longestIdle = LONGEST_IDLE): OwnAgents {
  let reuses = 0
  const options = { keepAlive: true, timeout: longestIdle, ...proxyOptions() }
  const agents = [new HttpAgent(options), new HttpsAgent(options)] as const
  for (const agent of agents) {
    const reuseSocket = agent.reuseSocket.bind(agent)
    agent.reuseSocket = (socket, request) => {
      reuses += 1
      reuseSocket(socket, request)
    }
  }
  return {
    agentOf: ({ protocol }) => agents[protocol === 'http:' ? 0 : 1],
    reuses: () => reuses,
    failed: (error) => {
      if (!CLOSED.test(failureCode(error))) throw error
      // Where one was dead, the others are as old.
      for (const agent of agents) for (const sockets of Object.values(agent.freeSockets)) destroyAll(sockets)
      throw fromStaleConnection(error)
    },
    close: () => {
      for (const agent of agents) agent.destroy()
    },
  }
}

function destroyAll(sockets: readonly Socket[] = []): void {
  for (const socket of [...sockets]) socket.destroy()
}

/** Returns the proxies of the environment, if Node honours them here: `NODE_USE_ENV_PROXY`, `--use-env-proxy`, and a Node that can. */
export function proxyOptions(): object {
  const proxyEnv = (globalAgent as { options?: { proxyEnv?: unknown } }).options?.proxyEnv
  return { ...(proxyEnv !== undefined && { proxyEnv }) }
}
