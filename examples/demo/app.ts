import { toNodeHandler } from '@modelcontextprotocol/node'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { createMcpHandler } from '@modelcontextprotocol/server'
import express, { type Express, type Request, type RequestHandler } from 'express'
import { mcpAuth, type McpAuth, type McpAuthEvent } from 'mcp-nextcloud-auth'
import { createNotesServerV1 } from './mcp-server-v1.js'
import { createNotesServer } from './mcp-server-v2.js'

export interface NotesApp {
  readonly app: Express
  /** Guards `/mcp`, which MCP SDK v2 serves. */
  readonly auth: McpAuth
  /** Guards `/mcp-v1`, which MCP SDK v1 serves: another resource, so tokens for one are refused at the other. */
  readonly authV1: McpAuth
  close(): Promise<void>
}

export interface NotesAppOptions {
  /** Where the app is reached. Part of its resource identifiers, so configured and never taken from a request. */
  readonly origin: string
  readonly issuer: string
  readonly client: { readonly clientId: string; readonly clientSecret: string }
  readonly nextcloudUrl: string
  readonly onEvent?: (event: McpAuthEvent) => void
}

export const scopes = ['notes:read', 'notes:write']

/** An Express app with note tools that act in Nextcloud as whoever is signed in at the MCP client. */
export function createNotesApp({ origin, issuer, client, nextcloudUrl, onEvent }: NotesAppOptions): NotesApp {
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

  const app = express()
  app.disable('x-powered-by')
  app.use(auth.routes(), authV1.routes())

  // Whatever its Content-Type says: the scope check below must see every body that the MCP server sees.
  const parseBody = express.json({ type: () => true })

  const mcp = createMcpHandler(() => createNotesServer(auth))
  const handleMcp = toNodeHandler(mcp)
  app.post('/mcp', auth, parseBody, requireToolScopes(auth), (req, res) => handleMcp(req, res, req.body))

  app.post('/mcp-v1', authV1, parseBody, requireToolScopes(authV1), async (req, res) => {
    // Without session ids, every request is served by a server and a transport of its own.
    const server = createNotesServerV1(authV1)
    const transport = new StreamableHTTPServerTransport()
    res.on('close', () => void server.close())
    await server.connect(transport)
    await transport.handleRequest(req, res, req.body)
  })

  // Neither server keeps sessions, so there is no stream to open (GET) and none to end (DELETE).
  app.all(['/mcp', '/mcp-v1'], (_req, res) => {
    res.status(405).set('Allow', 'POST').json({ error: 'method_not_allowed' })
  })
  app.use(auth.errorHandler())

  return {
    app,
    auth,
    authV1,
    async close() {
      await Promise.all([mcp.close(), auth.close(), authV1.close()])
    },
  }
}

/**
 * Asks for more scopes where a tool needs them (step-up). That has to be an HTTP answer, 403 with a challenge, so it is
 * decided before the MCP server sees the message.
 */
function requireToolScopes(auth: McpAuth): RequestHandler {
  const requireWriting = auth.requireScopes('notes:read', 'notes:write')
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
