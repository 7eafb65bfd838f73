import { once } from 'node:events'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import express from 'express'
import { mcpAuth } from 'mcp-nextcloud-auth'
import { withNextcloud } from 'mcp-nextcloud-auth/mcp-v2'
import { RedisStorage } from 'mcp-nextcloud-auth/redis'
import { createClient } from 'redis'

// One instance. The others are the same, on other ports: what they share is the store, its key and their public URL.
const { PORT = '3000', REDIS_URL = 'redis://127.0.0.1:6379' } = process.env
// Without a listener, the first outage of Redis ends the process. With it, calls reject meanwhile, and the client connects again by itself.
const redis = createClient({ url: REDIS_URL }).on('error', () => undefined)
// Issuer, resource, client, Nextcloud and key come from the environment; README.md lists it.
const auth = mcpAuth({
  nextcloud: { mode: 'refresh-token', resource: process.env['NEXTCLOUD_RESOURCE'] },
  storage: new RedisStorage(redis),
  scopesSupported: ['notes:read'],
})

const mcp = createMcpHandler(() => {
  const server = new McpServer({ name: 'notes', version: '1.0.0' })
  server.registerTool(
    'whoami',
    { description: 'Who I am in Nextcloud' },
    withNextcloud(auth, async (_ctx, nextcloud) => ({
      content: [{ type: 'text', text: (await nextcloud.user()).id }],
    })),
  )
  return server
})
const handle = toNodeHandler(mcp)

const app = express()
app.disable('x-powered-by')
app.use(auth.routes())
app.all('/mcp', auth, (req, res) => void handle(req, res, req.body))
app.use(auth.errorHandler())

await redis.connect()
const server = app.listen(Number(PORT), '127.0.0.1')
await once(server, 'listening')
const address = server.address()
process.stdout.write(`Listening on http://127.0.0.1:${typeof address === 'object' ? address?.port : PORT}\n`)

await once(process, 'SIGTERM')
// Requests that are under way are finished, and the balancer sends no new ones.
server.close()
await once(server, 'close')
await mcp.close()
await auth.close()
redis.destroy()
