/**
 * A program: an MCP server on SDK v2 with one tool, without any check of tokens, behind this middleware, or behind the SDK's own with jose.
 * Says its port, then its microseconds of processor time whenever it is asked, and ends with its parent.
 */
import type { AddressInfo } from 'node:net'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import express from 'express'
import { z } from 'zod'
import { MIDDLEWARES } from './middlewares.js'

const mcp = createMcpHandler(() => {
  const server = new McpServer({ name: 'sums', version: '1.0.0' })
  server.registerTool('add', { inputSchema: z.object({ a: z.number(), b: z.number() }) }, ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }))
  return server
})
const handle = toNodeHandler(mcp)

const [name = '', issuer = ''] = process.argv.slice(2)
const middleware = MIDDLEWARES[name]
if (middleware === undefined) throw new Error(`There is no ${name}`)
const app = express()
app.post('/mcp', await middleware(issuer), express.json(), (req, res) => void handle(req, res, req.body))
const server = app.listen(0, '127.0.0.1', () => {
  process.send?.((server.address() as AddressInfo).port)
})
// Its connections wait while the other apps have their turns.
server.keepAliveTimeout = 600_000
/** Asked between two turns. */
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.(user + system)
})
process.on('disconnect', () => process.exit())
