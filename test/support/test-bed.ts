import { expect } from 'vitest'
import type { InvalidTokenReason } from '../../src/errors/errors.js'
import { createMcpAuth, type McpAuth } from '../../src/mcp-auth.js'
import type { McpAuthOptions } from '../../src/options.js'
import { manualClock, type ManualClock } from './clock.js'
import {
  RESOURCE,
  startAuthorizationServer,
  type ScriptedAuthorizationServer,
} from './scripted-authorization-server.js'

/** A scripted authorization server on a clock that stands still, and middlewares that trust it. */
export interface TestBed {
  readonly clock: ManualClock
  readonly as: ScriptedAuthorizationServer
  /** A middleware on the same clock, with these options besides `issuer` and `resource`. */
  readonly open: (options?: McpAuthOptions) => McpAuth
  /** Closes the server, and every middleware that was opened. */
  readonly close: () => Promise<void>
}

export async function startTestBed(): Promise<TestBed> {
  const clock = manualClock()
  const as = await startAuthorizationServer(clock.now)
  const opened: McpAuth[] = []
  return {
    clock,
    as,
    open(options = {}) {
      const auth = createMcpAuth({ issuer: as.issuer, resource: RESOURCE, ...options }, clock)
      opened.push(auth)
      return auth
    },
    async close() {
      await Promise.all(opened.map((auth) => auth.close()))
      await as.close()
    },
  }
}

/** Expects the one answer to a token that cannot be used: 401 with the challenge and body of RFC 6750 §3.1. */
export async function expectRefusal(auth: McpAuth, token: string, reason: InvalidTokenReason): Promise<void> {
  await expect(auth.verify(token)).rejects.toEqual(
    expect.objectContaining({
      status: 401,
      reason,
      body: { error: 'invalid_token', error_description: expect.stringMatching(/^The [\w ]+$/) as string },
      headers: expect.objectContaining({
        'WWW-Authenticate': expect.stringMatching(/^Bearer realm="mcp", error="invalid_token", /) as string,
      }) as object,
    }),
  )
}
