/** One Express app in a process of its own: bare, or behind the middleware. Says its port, and ends with its parent. */
import express from 'express'
import type { AddressInfo } from 'node:net'
import { mcpAuth } from 'mcp-nextcloud-auth'

const [variant, issuer = ''] = process.argv.slice(2)
const app = express()
if (variant === 'protected') app.use(mcpAuth({ issuer, resource: 'https://mcp.example.com/mcp' }))
app.get('/mcp', (_req, res) => {
  res.json({ ok: true })
})
const server = app.listen(0, '127.0.0.1', () => {
  process.send?.((server.address() as AddressInfo).port)
})
process.on('disconnect', () => process.exit())
