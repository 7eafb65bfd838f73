import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type NextFunction, type Request, type Response } from 'express'
import { mcpAuth, type McpAuthError } from '../../dist/index.js'
import { CLIENT_ID, CLIENT_SECRET } from '../support/scripted-authorization-server.js'
import { openStore, type StoreAddress } from '../support/stores.js'

/** The program of a process: the built package in an app, as its first argument says. Ends with its parent. */

export interface SoakInstance {
  readonly issuer: string
  readonly tokenEndpoint: string
  readonly resource: string
  readonly store: StoreAddress
  readonly encryptionKey: string
  /** Milliseconds. */
  readonly timeout: number
  /** Seconds. */
  readonly grantCheck: number
  /** Milliseconds after which it ends, whatever becomes of its parent. */
  readonly longestLife: number
}

/** What it says: first that it listens. */
export type FromSoakInstance =
  | { readonly listening: number }
  /** Bytes that are in use after a collection. */
  | { readonly heap: number }
  /** It stood still for so many milliseconds until now. */
  | { readonly stoodStill: number }
  | { readonly crashed: string }

/** Milliseconds. */
const BETWEEN_COLLECTIONS = 5_000
const TICK = 200
const STANDSTILL = 1_000

const options = JSON.parse(process.argv[2] ?? '{}') as SoakInstance
const say = (message: FromSoakInstance): void => {
  if (process.connected) process.send?.(message)
}

process.on('disconnect', () => process.exit())
process.on('uncaughtException', (error) => {
  say({ crashed: error.stack ?? error.message })
  setTimeout(() => process.exit(1), 100)
})
setTimeout(() => process.exit(), options.longestLife).unref()

let last = performance.now()
setInterval(() => {
  const late = performance.now() - last - TICK
  last = performance.now()
  if (late > STANDSTILL) say({ stoodStill: late })
}, TICK).unref()
setInterval(() => {
  globalThis.gc?.()
  say({ heap: process.memoryUsage().heapUsed })
}, BETWEEN_COLLECTIONS).unref()

const store = await openStore(options.store)
const authFor = (mode: 'refresh-token' | 'token-exchange') =>
  mcpAuth({
    issuer: options.issuer,
    authorizationServer: { tokenEndpoint: options.tokenEndpoint },
    resource: options.resource,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    storage: store.adapter,
    encryptionKey: options.encryptionKey,
    nextcloud: { url: 'https://cloud.example.com', mode },
    http: { timeout: options.timeout },
    cache: { grantCheck: options.grantCheck },
    onEvent: () => undefined,
  })
const auth = authFor('refresh-token')
/** Shares the tokens that it exchanges through the same store. */
const exchanging = authFor('token-exchange')
const app = express()
app.use(auth.routes())
app.get('/mcp', auth, async (req, res) => {
  res.json({ token: await req.mcpAuth.extra.getNextcloudToken() })
})
app.get('/exchange', exchanging, async (req, res) => {
  res.json({ token: await req.mcpAuth.extra.getNextcloudToken() })
})
app.get('/mcp/link', auth, async (req, res) => {
  const { subject, clientId } = req.mcpAuth
  res.json({ link: await auth.createConnectUrl({ subject, clientId }) })
})
app.use((error: Partial<McpAuthError>, _req: Request, res: Response, next: NextFunction) => {
  // For the report alone.
  res.setHeader('x-failure', `${error.code} ${String(error.detail).replaceAll(/[^\x20-\x7e]/g, ' ')}`)
  next(error)
})
app.use(auth.errorHandler())
const server = app.listen(0, '127.0.0.1')
server.keepAliveTimeout = 120_000
await once(server, 'listening')

process.once('SIGTERM', () => {
  // From here on only what is left running keeps the process from its end.
  process.removeAllListeners('disconnect')
  server.close()
  setInterval(() => server.closeIdleConnections(), TICK).unref()
  void Promise.all([auth.close(), exchanging.close()]).then(async () => {
    await store.close()
    if (process.connected) process.disconnect()
  })
})
say({ listening: (server.address() as AddressInfo).port })
