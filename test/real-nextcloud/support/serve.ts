import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { onTestFinished } from 'vitest'
import { createOAuthClient, type OAuthClient } from '../../../examples/demo/oauth-client.js'
import { startServe } from '../../../src/serve/server.js'
import { createVisitor, type Visitor } from '../../support/nextcloud/visitor.js'
import { addOAuth2Client } from './clients.js'
import type { Account, Target } from './target.js'

/** `serve` on loopback, with a client of its own in Nextcloud. */
export interface Served {
  readonly origin: string
  /** Name of that client, which people see. */
  readonly name: string
  /** The administrator deletes that client. */
  readonly remove: () => Promise<void>
  /** Lines of its log. */
  readonly lines: readonly string[]
}

/**
 * Starts it, until the test ends.
 *
 * @param host its name, for browsers that are to tell it from Nextcloud: they tell sites apart by host, not by port
 */
export async function serveBeside(target: Target, host: '127.0.0.1' | 'localhost' = '127.0.0.1'): Promise<Served> {
  const port = await freePort()
  const origin = `http://${host}:${port}`
  const name = `mcp-test ${port}`
  const { client, remove } = await addOAuth2Client(target, `${origin}/nextcloud/callback`, name)
  const data = mkdtempSync(path.join(tmpdir(), 'serve-'))
  const lines: string[] = []
  const server = await startServe(
    {
      resource: `${origin}/mcp`,
      nextcloudUrl: target.url,
      nextcloudPublicUrl: undefined,
      ...client,
      host: '127.0.0.1',
      port,
      data,
      encryptionKey: undefined,
    },
    { version: '0.0.0', write: (line) => void lines.push(line) },
  )
  onTestFinished(async () => {
    await server.stop(1_000)
    rmSync(data, { recursive: true })
  })
  return { origin, name, lines, remove }
}

/** Returns a port below those that outgoing connections take, so that none takes it in the meantime. */
async function freePort(tries = 20): Promise<number> {
  const port = randomInt(20_000, 30_000)
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (error) {
    if (tries === 0) throw error
    return freePort(tries - 1)
  }
  server.close()
  await once(server, 'close')
  return port
}

/** An MCP client that knows the address alone, and its user at a browser. */
export interface AppOfUser {
  readonly oauth: OAuthClient
  /** Times that the browser was sent to sign in. */
  readonly signIns: () => number
  /** Connects, and signs in if that is needed: the text of a tool's answer, with a cross before it where the tool failed. */
  readonly call: (tool: string, given?: Record<string, unknown>) => Promise<string>
  /** Forgets the access token, as if its ten minutes were over. */
  readonly letExpire: () => Promise<void>
}

export function openApp({ origin }: Served, { uid, password }: Account, browser?: Visitor): AppOfUser {
  const visitor = browser ?? createVisitor({ name: uid, password })
  let signIns = 0
  const oauth = createOAuthClient({
    open: (url, stopAt) => {
      signIns += 1
      return visitor.until(url, stopAt)
    },
    visit: () => Promise.reject(new Error('A client opens one address')),
  })
  const transport = () => new StreamableHTTPClientTransport(new URL(`${origin}/mcp`), { authProvider: oauth.provider })

  async function connected(): Promise<Client> {
    const client = new Client({ name: 'test', version: '1' })
    const [before, first] = [signIns, transport()]
    try {
      await client.connect(first)
      return client
    } catch (error) {
      if (signIns === before) throw error
    }
    await first.finishAuth(oauth.callback())
    const again = new Client({ name: 'test', version: '1' })
    await again.connect(transport())
    return again
  }

  return {
    oauth,
    signIns: () => signIns,
    async call(tool, given = {}) {
      const client = await connected()
      try {
        const { content, isError } = await client.callTool({ name: tool, arguments: given })
        const text = content.map((part) => (part.type === 'text' ? part.text : '')).join('')
        return isError === true ? `✗ ${text}` : text
      } finally {
        await client.close()
      }
    },
    async letExpire() {
      const tokens = await oauth.provider.tokens()
      await oauth.provider.saveTokens({ ...tokens, access_token: 'ended', token_type: 'bearer' })
    },
  }
}
