/** A program: an Express app, bare or behind one of the middlewares. Says its port, and ends with its parent. */
import type { AddressInfo } from 'node:net'
import express from 'express'
import { MIDDLEWARES } from './middlewares.js'

const [name = '', issuer = ''] = process.argv.slice(2)
const middleware = MIDDLEWARES[name]
if (middleware === undefined) throw new Error(`There is no ${name}`)
const app = express()
app.use(await middleware(issuer))
app.get('/mcp', (_req, res) => {
  res.json({ ok: true })
})
const server = app.listen(0, '127.0.0.1', () => {
  process.send?.((server.address() as AddressInfo).port)
})
// Its connections wait while the other apps have their turns.
server.keepAliveTimeout = 600_000
process.on('disconnect', () => process.exit())
