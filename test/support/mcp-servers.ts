import { randomUUID } from 'node:crypto'
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node'
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import express, { type Request, type Response } from 'express'
import { onTestFinished } from 'vitest'
import { z } from 'zod'
import type { McpAuth } from '../../src/index.js'
import { withNextcloud as withNextcloudV1 } from '../../src/mcp/v1.js'
import { withNextcloud, type Nextcloud } from '../../src/mcp/v2.js'
import type { ConnectHandler } from '../../src/http/router.js'
import { listen, type Host } from './hosts.js'

/** What the tools of a test do: `read_note` with an id, `list_notes` without. */
export type ToolBody = (nextcloud: Nextcloud, id: number | undefined) => string | Promise<string>

export interface ToolSetup {
  readonly auth: McpAuth
  readonly body: ToolBody
  /** Milliseconds. */
  readonly wait?: number | undefined
  /** Whether `withNextcloud` is told of the server. Default true. */
  readonly namesServer?: boolean
}

const info = { name: 'notes', version: '1.0.0' }
const text = (content: string) => ({ content: [{ type: 'text' as const, text: content }] })

function serverV1({ auth, body, wait, namesServer = true }: ToolSetup): McpServerV1 {
  const server = new McpServerV1(info)
  const options = { wait, ...(namesServer && { server }) }
  server.registerTool(
    'list_notes',
    {},
    withNextcloudV1(auth, async (_extra, nextcloud) => text(await body(nextcloud, undefined)), options),
  )
  server.registerTool(
    'read_note',
    { inputSchema: { id: z.number() } },
    withNextcloudV1(auth, async ({ id }, _extra, nextcloud) => text(await body(nextcloud, id)), options),
  )
  return server
}

function serverV2({ auth, body, wait, namesServer = true }: ToolSetup): McpServer {
  const server = new McpServer(info)
  const options = { wait, ...(namesServer && { server }) }
  server.registerTool(
    'list_notes',
    {},
    withNextcloud(auth, async (_ctx, nextcloud) => text(await body(nextcloud, undefined)), options),
  )
  server.registerTool(
    'read_note',
    { inputSchema: z.object({ id: z.number() }) },
    withNextcloud(auth, async ({ id }, _ctx, nextcloud) => text(await body(nextcloud, id)), options),
  )
  return server
}

/** What answers an MCP request. */
type Serve = (req: Request, res: Response) => Promise<void>

interface Transport {
  readonly sessionId?: string | undefined
  handleRequest(req: Request, res: Response, body: unknown): Promise<void>
}

/** A transport and a server for each session, of one SDK. */
function withSessions<T extends Transport>(
  Kind: new (options: { sessionIdGenerator: () => string; enableJsonResponse: boolean }) => T,
  newServer: () => { connect: (transport: T) => Promise<void> },
  enableJsonResponse = false,
): Serve {
  const sessions = new Map<string, Transport>()
  const open = async (): Promise<Transport> => {
    const transport = new Kind({ sessionIdGenerator: randomUUID, enableJsonResponse })
    await newServer().connect(transport)
    return transport
  }
  return async (req, res) => {
    const transport = sessions.get(req.get('mcp-session-id') ?? '') ?? (await open())
    await transport.handleRequest(req, res, req.body)
    if (transport.sessionId !== undefined) sessions.set(transport.sessionId, transport)
  }
}

/** The same server in either SDK. */
export interface ServerOfEither {
  readonly v1: () => Pick<McpServerV1, 'connect' | 'close'>
  readonly v2: () => McpServer | McpServer['server']
}

const sessionsV1 = ({ v1 }: ServerOfEither, inJson?: boolean) => withSessions(StreamableHTTPServerTransport, v1, inJson)
const sessionsV2 = ({ v2 }: ServerOfEither, inJson?: boolean) =>
  withSessions(NodeStreamableHTTPServerTransport, v2, inJson)

/** Every way in which the two SDKs serve tools over Streamable HTTP. */
export const mcpServers = {
  'SDK v1 with sessions': (either: ServerOfEither): Serve => sessionsV1(either),
  'SDK v1 with sessions, in JSON': (either: ServerOfEither): Serve => sessionsV1(either, true),
  'SDK v1 without sessions':
    ({ v1 }: ServerOfEither): Serve =>
    async (req, res) => {
      const server = v1()
      const transport = new StreamableHTTPServerTransport()
      res.on('close', () => void server.close())
      await server.connect(transport)
      await transport.handleRequest(req, res, req.body)
    },
  'SDK v2 without sessions': ({ v2 }: ServerOfEither): Serve => {
    const handler = createMcpHandler(v2)
    onTestFinished(() => handler.close())
    const handle = toNodeHandler(handler)
    return (req, res) => handle(req, res, req.body)
  },
  'SDK v2 with sessions': (either: ServerOfEither): Serve => sessionsV2(either),
  'SDK v2 with sessions, in JSON': (either: ServerOfEither): Serve => sessionsV2(either, true),
} as const

export type McpServerKind = keyof typeof mcpServers

/** Starts one with the tools of a test behind the middleware, until the test ends; its URL. */
export function startMcpServer(kind: McpServerKind, setup: ToolSetup): Promise<string> {
  return serveMcp(kind, setup.auth, { v1: () => serverV1(setup), v2: () => serverV2(setup) })
}

/** The same with a server of the test's own. */
export async function serveMcp(
  kind: McpServerKind,
  auth: McpAuth,
  either: ServerOfEither,
  host?: Host,
): Promise<string> {
  const serve = mcpServers[kind](either)
  if (host !== undefined) {
    // As the quick start has it: whatever the method, and the body is the SDK's to read.
    const handler: ConnectHandler = (req, res) => void serve(req as Request, res as Response)
    const bare = await host.start([auth.routes(), auth, handler])
    onTestFinished(bare.close)
    return `${bare.url}/mcp`
  }
  const app = express()
  app.all('/mcp', auth, express.json(), (req, res) => serve(req, res))
  const running = await listen(app)
  onTestFinished(running.close)
  return `${running.url}/mcp`
}
