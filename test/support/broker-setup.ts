import type { ServerResponse } from 'node:http'
import { onTestFinished } from 'vitest'
import type { McpAuthEvent, McpAuthInfo, McpAuthOptions, NextcloudOptions } from '../../src/index.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import { manualClock, type ManualClock } from './clock.js'
import {
  CLIENT_ID,
  CLIENT_SECRET,
  RESOURCE,
  startAuthorizationServer,
  type ReceivedRequest,
  type ScriptedAuthorizationServer,
} from './scripted-authorization-server.js'

export const NEXTCLOUD = 'https://cloud.example.com'
/** Seconds of life of the tokens that the scripted authorization server hands out. */
export const LIFE = 300

/** The middleware between a clock that stands still and an authorization server that does as it is told. */
export interface Setup {
  readonly as: ScriptedAuthorizationServer
  readonly clock: ManualClock
  readonly auth: McpAuth
  readonly events: McpAuthEvent[]
  /** A verified MCP token with these claims. */
  readonly signIn: (claims?: Record<string, unknown>) => Promise<McpAuthInfo>
  /** Token requests that were sent. */
  readonly exchanges: () => number
  /** Resolves when so many tokens have come from the authorization server, and what they caused has come to rest. */
  readonly fetched: (count: number) => Promise<void>
  /** The same for failures to get one. */
  readonly failed: (count: number) => Promise<void>
}

/** What a test changes in the options. */
export type Changes = Omit<McpAuthOptions, 'nextcloud' | 'onEvent'> & { readonly nextcloud?: NextcloudOptions }

export async function setUp(
  change: Changes | ((as: ScriptedAuthorizationServer) => Changes) = {},
  clock = manualClock(),
): Promise<Setup> {
  const as = await startAuthorizationServer(clock.now)
  onTestFinished(() => as.close())
  const changes = typeof change === 'function' ? change(as) : change
  const events: McpAuthEvent[] = []
  let listeners: (() => void)[] = []
  const auth = createMcpAuth(
    {
      issuer: as.issuer,
      resource: RESOURCE,
      clientId: CLIENT_ID,
      ...(changes.clientAuth === undefined && { clientSecret: CLIENT_SECRET }),
      ...changes,
      nextcloud: { url: NEXTCLOUD, ...changes.nextcloud },
      onEvent(event) {
        events.push(event)
        const called = listeners
        listeners = []
        for (const listener of called) listener()
      },
    },
    clock,
  )
  onTestFinished(() => auth.close())

  async function until(count: number, counts: (event: McpAuthEvent) => boolean): Promise<void> {
    while (events.filter(counts).length < count) await new Promise<void>((resolve) => listeners.push(resolve))
    await turn()
  }

  return {
    as,
    clock,
    auth,
    events,
    signIn: async (claims) => auth.verify(await as.mint(claims)),
    exchanges: () => auth.stats().exchanges,
    fetched: (count) => until(count, (event) => event.type === 'nextcloud.token' && event.source === 'idp'),
    failed: (count) => until(count, (event) => event.type === 'nextcloud.failed'),
  }
}

/** One turn of the event loop: every promise that can go on by itself has done so. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

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

/** What a promise rejects with; one that resolves fails the test. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (reason: unknown) => ({ reason }),
  )
  if ('value' in outcome) throw new Error('It resolved, and should have been rejected')
  return outcome.reason
}
