import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import express from 'express'
import { onTestFinished } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.js'
import { mcpAuth, MemoryStorage, type McpAuth, type McpAuthEvent, type StorageAdapter } from '../../src/index.js'
import {
  createNextcloudSignIn,
  type NextcloudSignIn,
  type NextcloudSignInOptions,
} from '../../src/nextcloud-sign-in/nextcloud-sign-in.js'
import { scopedTools } from '../../src/mcp/v2.js'
import { ENCRYPTION_KEY } from './grant-constants.js'
import { fresh } from '../../src/testing/nextcloud/exchange.js'
import { startStandIn, type NextcloudStandIn } from './nextcloud/stand-in.js'
import { ACCOUNT_PASSWORD, addAccount } from './nextcloud/state.js'
import { createVisitor, type Visitor } from './nextcloud/visitor.js'

/** A Nextcloud, and a server beside it where people sign in with it. */
export interface SignInServer {
  readonly url: string
  readonly origin: string
  readonly nextcloud: NextcloudStandIn
  readonly signIn: NextcloudSignIn
  readonly auth: McpAuth
  readonly events: McpAuthEvent[]
  readonly storage: StorageAdapter
  /** A browser of somebody who has an account in Nextcloud. */
  readonly person: (uid: string) => Visitor
  /** Another instance on the same storage, at an address of its own that knows the same public name. */
  readonly another: () => Promise<{ readonly url: string }>
}

export interface SignInServerOptions extends Partial<
  Pick<NextcloudSignInOptions, 'scopes' | 'clients' | 'storage' | 'http' | 'encryptionKey'>
> {
  readonly clock?: Clock
  /** Scopes of each request to the MCP server, and of its tool `write`. Default: none, and `nextcloud`. */
  readonly needs?: { readonly all: readonly string[]; readonly write: readonly string[] }
  /** The client metadata documents of the world outside. Default: none can be fetched. */
  readonly documents?: (url: string) => Promise<unknown>
  /** Whether the app takes addresses from a proxy before it. Default false. */
  readonly trustProxy?: boolean
}

const TOOL_PATH = '/ocs/v2.php/cloud/user?format=json'

export async function startSignInServer({
  clock = systemClock,
  storage = new MemoryStorage(),
  documents,
  needs = { all: [], write: ['nextcloud'] },
  trustProxy = false,
  ...given
}: SignInServerOptions = {}): Promise<SignInServer> {
  const nextcloud = await startStandIn({ now: () => clock.now() })
  const server = createServer()
  const origin = await listen(server)
  const client = {
    id: nextcloud.state.nextId(),
    name: 'MCP',
    clientId: fresh(64),
    secret: fresh(64),
    redirectUris: [`${origin}/nextcloud/callback`],
  }
  nextcloud.state.oauth2Clients.push(client)
  const events: McpAuthEvent[] = []
  const open = (): Promise<NextcloudSignIn> =>
    createNextcloudSignIn(
      {
        resource: `${origin}/mcp`,
        nextcloud: { url: nextcloud.url, clientId: client.clientId, clientSecret: client.secret },
        storage,
        encryptionKey: ENCRYPTION_KEY,
        onEvent: (event) => void events.push(event),
        ...given,
      },
      clock,
      documents,
    )
  const signIn = await open()
  const auth = mcpAuth({ ...signIn.options, requiredScopes: needs.all })
  server.on('request', appOf(signIn, auth, needs.write).set('trust proxy', trustProxy))
  onTestFinished(async () => {
    await stop(server)
    await Promise.all([auth.close(), signIn.close(), nextcloud.close()])
  })
  return {
    url: `${origin}/mcp`,
    origin,
    nextcloud,
    signIn,
    auth,
    events,
    storage,
    person(uid) {
      addAccount(nextcloud.state, uid)
      return createVisitor({ name: uid, password: ACCOUNT_PASSWORD })
    },
    async another() {
      const second = await open()
      const secondAuth = mcpAuth(second.options)
      const other = createServer(appOf(second, secondAuth, needs.write))
      onTestFinished(async () => {
        await stop(other)
        await Promise.all([secondAuth.close(), second.close()])
      })
      return { url: await listen(other) }
    },
  }
}

function appOf(signIn: NextcloudSignIn, auth: McpAuth, toWrite: readonly string[]): express.Express {
  const mcp = toNodeHandler(
    createMcpHandler(() => {
      const server = new McpServer({ name: 'alone', version: '1.0.0' })
      scopedTools(auth, server, { write: toWrite })
      server.registerTool('whoami', { description: 'Who I am in Nextcloud' }, async ({ http }) => {
        const answer = await auth.nextcloudFetch(http?.authInfo, TOOL_PATH)
        return { content: [{ type: 'text', text: await answer.text() }], isError: !answer.ok }
      })
      server.registerTool('write', { description: 'Writes nothing' }, () => ({
        content: [{ type: 'text', text: 'written' }],
      }))
      return server
    }),
  )
  const app = express()
  app.use(signIn.routes())
  app.use(auth.routes())
  app.all('/mcp', auth, (req, res) => void mcp(req, res))
  return app
}

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function stop(server: Server): Promise<void> {
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
}
