import { toNodeHandler } from '@modelcontextprotocol/node'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { createMcpHandler } from '@modelcontextprotocol/server'
import express, { type Express, type Request, type RequestHandler } from 'express'
import { mcpAuth, MemoryStorage, type McpAuth, type McpAuthEvent } from 'mcp-nextcloud-auth'
import { createConnectingNotesServer } from './mcp-server-connect.js'
import { createNotesServerV1 } from './mcp-server-v1.js'
import { createNotesServer } from './mcp-server-v2.js'
import { toolScopes } from './notes.js'

export interface NotesApp {
  readonly app: Express
  /** Guards `/mcp`, which MCP SDK v2 serves. */
  readonly auth: McpAuth
  /** Guards `/mcp-v1`, which MCP SDK v1 serves: another resource, so tokens for one are refused at the other. */
  readonly authV1: McpAuth
  /** Guards `/mcp-connect`, where no token is exchanged: each user connects Nextcloud once, in a browser. */
  readonly authConnect: McpAuth
  close(): Promise<void>
}

export interface NotesAppOptions {
  /** Where the app is reached. Part of its resource identifiers, so configured and never taken from a request. */
  readonly origin: string
  readonly issuer: string
  readonly client: { readonly clientId: string; readonly clientSecret: string }
  readonly nextcloudUrl: string
  /** The resource (RFC 8707) of a user's grant, to get tokens for Nextcloud. */
  readonly nextcloudResource: string
  readonly onEvent?: (event: McpAuthEvent) => void
}

export const scopes = ['notes:read', 'notes:write']

/** An Express app with note tools that act in Nextcloud as whoever is signed in at the MCP client. */
export function createNotesApp(options: NotesAppOptions): NotesApp {
  const { origin, issuer, client, nextcloudUrl, nextcloudResource, onEvent } = options
  const common = {
    issuer,
    ...client,
    nextcloud: { url: nextcloudUrl, audience: 'nextcloud' },
    requiredScopes: ['notes:read'],
    scopesSupported: scopes,
    ...(onEvent && { onEvent }),
  }
  const auth = mcpAuth({ ...common, resource: `${origin}/mcp` })
  const authV1 = mcpAuth({ ...common, resource: `${origin}/mcp-v1`, rootMetadata: false })
  const authConnect = mcpAuth({
    ...common,
    resource: `${origin}/mcp-connect`,
    resourceName: 'Demo notes',
    rootMetadata: false,
    nextcloud: { url: nextcloudUrl, mode: 'refresh-token', resource: nextcloudResource },
    // It forgets with the process. An app keeps grants in SqliteStorage, PostgresStorage, MySqlStorage or RedisStorage.
    storage: new MemoryStorage(),
  })

  const app = express()
  app.disable('x-powered-by')
  app.use(auth.routes(), authV1.routes(), authConnect.routes())

  const mcp = createMcpHandler(() => createNotesServer(auth))
  const handleMcp = toNodeHandler(mcp)
  app.post('/mcp', auth, (req, res) => handleMcp(req, res))

  // Any Content-Type, because the scope check must see every body that the MCP server sees.
  const parseBody = express.json({ type: () => true })
  app.post('/mcp-v1', authV1, parseBody, requireScopeToWrite(authV1), async (req, res) => {
    // Without session ids, every request is served by a server and a transport of its own.
    const server = createNotesServerV1(authV1)
    const transport = new StreamableHTTPServerTransport()
    res.on('close', () => void server.close())
    await server.connect(transport)
    await transport.handleRequest(req, res, req.body)
  })

  const connecting = createMcpHandler(() => createConnectingNotesServer(authConnect))
  const handleConnecting = toNodeHandler(connecting)
  app.post('/mcp-connect', authConnect, (req, res) => handleConnecting(req, res))

  // None of them keeps sessions, so there is no stream to open (GET) and none to end (DELETE).
  app.all(['/mcp', '/mcp-v1', '/mcp-connect'], (_req, res) => {
    res.status(405).set('Allow', 'POST').json({ error: 'method_not_allowed' })
  })
  app.use(auth.errorHandler())

  return {
    app,
    auth,
    authV1,
    authConnect,
    async close() {
      await Promise.all([mcp.close(), connecting.close(), auth.close(), authV1.close(), authConnect.close()])
    },
  }
}

/**
 * Asks for more scopes where a tool needs them (step-up). That must be an HTTP answer, 403 with a challenge. SDK v1 begins its answer before
 * it looks at the call, so it is decided before that. SDK v2 needs none of this: `scopedTools` has it answer by a 403.
 */
function requireScopeToWrite(auth: McpAuth): RequestHandler {
  const requireWriting = auth.requireScopes(...toolScopes.create_note)
  return (req, res, next) => {
    if (toolsCalled(req).includes('create_note')) requireWriting(req, res, next)
    else next()
  }
}

/** Names of the tools that a request calls: one, or several where JSON-RPC messages come as a batch. */
function toolsCalled(req: Request): unknown[] {
  const messages = [req.body as unknown].flat() as ({ method?: unknown; params?: { name?: unknown } } | undefined)[]
  return messages.filter((message) => message?.method === 'tools/call').map((message) => message?.params?.name)
}
