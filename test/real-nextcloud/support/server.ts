import { onTestFinished } from 'vitest'
import { createMcpAuth, type McpAuth } from '../../../src/mcp-auth.js'
import { systemClock, type Clock } from '../../../src/clock.js'
import { MemoryStorage, type McpAuthEvent, type McpAuthOptions } from '../../../src/index.js'
import { ENCRYPTION_KEY } from '../../support/grant-constants.js'
import { bareHost, listen } from '../../support/hosts.js'

/** An MCP server on loopback, whose connect pages a browser can open. */
export interface McpServer {
  readonly auth: McpAuth
  readonly url: string
  readonly events: McpAuthEvent[]
}

/** Starts one whose options are made of its own address, until the test ends. */
export async function startMcpServer(
  optionsAt: (origin: string) => McpAuthOptions | Promise<McpAuthOptions>,
  clock: Clock = systemClock,
): Promise<McpServer> {
  const place = await listen(() => undefined)
  await place.close()
  const events: McpAuthEvent[] = []
  const given = await optionsAt(place.url)
  const auth = createMcpAuth(
    {
      resource: `${place.url}/mcp`,
      onEvent: (event) => events.push(event),
      ...given,
      // A first request makes the home of an account, and a busy machine may run all of this.
      http: { timeout: 60_000, ...given.http },
    },
    clock,
  )
  onTestFinished(() => auth.close())
  const app = await bareHost.start([auth.routes(), auth, auth.errorHandler()], {
    port: Number(new URL(place.url).port),
  })
  onTestFinished(() => app.close())
  return { auth, url: app.url, events }
}

/** Options of a server that keeps grants. */
export const keeping = (): McpAuthOptions => ({ storage: new MemoryStorage(), encryptionKey: ENCRYPTION_KEY })
