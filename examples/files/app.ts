import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import express, { type ErrorRequestHandler, type Express, type Request } from 'express'
import type { McpAuth } from 'mcp-nextcloud-auth'
import { withNextcloud } from 'mcp-nextcloud-auth/mcp-v2'
import { z } from 'zod'
import { addressOf, listFiles, MOST_BYTES, readFile, reasonOf, writeFile, type Files } from './files.js'
import { upload } from './upload.js'

const path = z.string().describe('From the home folder, such as Docs/plan.md')

/** The tools, and two routes for what is too large for them. */
export function createApp(auth: McpAuth): Express {
  const app = express()
  app.disable('x-powered-by')
  // Of its own answers: the etag of a file comes from Nextcloud.
  app.disable('etag')
  app.use(auth.routes())
  const mcp = toNodeHandler(createMcpHandler(() => createServer(auth)))
  app.all('/mcp', auth, (req, res) => void mcp(req, res, req.body))

  app.get('/files/*path', auth, async (req, res) => {
    const signal = endOf(res)
    const files = filesOf(auth, req, signal)
    const { range } = req.headers
    const headers = { 'accept-encoding': 'identity', ...(range !== undefined && { range }) }
    const answer = await files.fetch(await addressOf(files, pathIn(req)), { headers })
    // A folder is answered with 200 and nothing.
    const status = answer.ok && !answer.headers.has('oc-etag') ? 404 : answer.status
    if (answer.body === null || (status !== 200 && status !== 206)) {
      await answer.body?.cancel()
      res.status(status).json({ error: reasonOf(status, pathIn(req)) })
      return
    }
    for (const name of ['content-type', 'content-length', 'content-range', 'content-disposition', 'etag']) {
      const value = answer.headers.get(name)
      if (value !== null) res.setHeader(name, value)
    }
    res.status(status).setHeader('x-content-type-options', 'nosniff')
    await pipeline(Readable.fromWeb(answer.body as never), res, { signal })
  })

  app.put('/files/*path', auth, async (req, res) => {
    const { 'content-length': length, 'if-match': etag } = req.headers
    const given = { length: length === undefined ? undefined : Number(length), etag }
    const { status, etag: stored } = await upload(filesOf(auth, req, endOf(res)), pathIn(req), req, given)
    if (stored !== undefined) res.setHeader('etag', stored)
    if (status < 300) res.status(status).end()
    else
      res
        .status(status)
        .set('connection', 'close')
        .json({ error: reasonOf(status, pathIn(req)) })
  })

  app.use(auth.errorHandler())
  // Who has gone needs no answer.
  const unlessGone: ErrorRequestHandler = (error, _req, res, next) => {
    if (!res.closed) next(error)
  }
  app.use(unlessGone)
  return app
}

function createServer(auth: McpAuth): McpServer {
  const server = new McpServer({ name: 'nextcloud-files', version: '1.0.0' })
  server.registerTool(
    'list_files',
    { description: 'List a folder of your Nextcloud', inputSchema: z.object({ path: path.default('') }) },
    withNextcloud(auth, (args, _ctx, nextcloud) => listFiles(nextcloud, args)),
  )
  server.registerTool(
    'read_file',
    {
      description: `Read a text file, ${MOST_BYTES} bytes at a time`,
      inputSchema: z.object({ path, offset: z.number().int().min(0).optional() }),
    },
    withNextcloud(auth, (args, _ctx, nextcloud) => readFile(nextcloud, args)),
  )
  server.registerTool(
    'write_file',
    {
      description: 'Create a text file or, with the etag that it was read with, replace it',
      inputSchema: z.object({ path, content: z.string(), etag: z.string().optional() }),
    },
    withNextcloud(auth, (args, _ctx, nextcloud) => writeFile(nextcloud, args)),
  )
  return server
}

function filesOf(auth: McpAuth, { mcpAuth }: Request, signal: AbortSignal): Files {
  return {
    fetch: (path, init) => auth.nextcloudFetch(mcpAuth, path, { signal, ...init }),
    user: () => auth.nextcloudUser(mcpAuth),
  }
}

/** Aborts when the other side has gone. */
function endOf(res: ServerResponse): AbortSignal {
  const controller = new AbortController()
  res.on('close', () => controller.abort())
  return controller.signal
}

function pathIn({ params }: Request): string {
  const path = [params['path'] ?? []].flat().join('/')
  if (!/(?:^|\/)\.{1,2}(?:\/|$)/.test(path)) return path
  throw Object.assign(new Error('A path leads elsewhere'), { status: 400 })
}
