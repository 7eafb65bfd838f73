import type { ServerResponse } from 'node:http'
import type { ReceivedRequest, ScriptedAuthorizationServer } from './scripted-authorization-server.js'

/** Seconds of life of the tokens that the scripted authorization server hands out. */
export const LIFE = 300

/** A good answer of the token endpoint. */
export function tokenAnswer(token: string, more: Record<string, unknown> = {}) {
  return { json: { access_token: token, token_type: 'Bearer', expires_in: LIFE, ...more } }
}

/** A refusal of the token endpoint. */
export function tokenError(error: string, description?: string, status = 400) {
  return { status, json: { error, error_description: description } }
}

/** Token requests that came in and wait for their answer. */
export interface HeldRequests {
  /** Resolves when so many requests have come in since the start. */
  readonly arrival: (count?: number) => Promise<void>
  /** Answers every request that waits. */
  readonly answer: (answer: { status?: number; json: unknown }) => void
}

/** Lets the token endpoint keep its requests waiting. */
export function holdTokenRequests(as: ScriptedAuthorizationServer): HeldRequests {
  let waiting: ServerResponse[] = []
  let arrived = 0
  let listeners: (() => void)[] = []
  as.script('/token', (_request: ReceivedRequest, res: ServerResponse) => {
    waiting.push(res)
    arrived += 1
    const called = listeners
    listeners = []
    for (const listener of called) listener()
  })
  return {
    async arrival(count = 1) {
      while (arrived < count) await new Promise<void>((resolve) => listeners.push(resolve))
    },
    answer({ status = 200, json }) {
      const answered = waiting
      waiting = []
      for (const res of answered)
        res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
    },
  }
}
