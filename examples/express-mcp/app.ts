import express, { type Express, type RequestHandler } from 'express'
import { rateLimit, type Options } from 'express-rate-limit'
import helmet from 'helmet'
import type { McpAuth } from 'mcp-nextcloud-auth'

/** The MCP server, on the one SDK or the other. */
export interface McpEndpoint {
  readonly handlers: readonly RequestHandler[]
  readonly close: () => Promise<void>
}

/** As UTF-8, which JSON is: with `express.json()` its sender chooses the decoder, and some take a hundred times as long. */
const parseJson: RequestHandler = (req, res, next) => {
  try {
    req.body = JSON.parse(String(req.body)) as unknown
  } catch {
    res.status(400).json({ jsonrpc: '2.0', id: null, error: { code: -32_700, message: 'Parse error' } })
    return
  }
  next()
}

/**
 * @param proxies how many reverse proxies stand in front, so that rates are counted per client and not per proxy
 */
export function createApp(auth: McpAuth, endpoint: McpEndpoint, proxies: number): Express {
  const app = express()
  app.set('trust proxy', proxies)
  app.use(helmet())
  // A person needs a handful of pages to connect; a guesser of links would need more than there are.
  // What another site embeds is refused, and must not use up the visits of whoever looks at that site.
  const skip: Options['skip'] = ({ headers }) =>
    ![undefined, 'document'].includes(headers['sec-fetch-dest']) ||
    headers['sec-websocket-key'] !== undefined ||
    String(headers['sec-purpose'] ?? '').includes('prefetch')
  const pages = { windowMs: 60_000, limit: 60, standardHeaders: 'draft-8', legacyHeaders: false, skip } as const
  app.use('/nextcloud', rateLimit(pages))
  app.use(auth.routes())

  // Any Content-Type, so that the limit holds for every body.
  const readBody = express.raw({ type: () => true, limit: '1mb', inflate: false })
  app.post('/mcp', auth, readBody, parseJson, ...endpoint.handlers)
  // There are no sessions, so there is no stream to open (GET) and none to end (DELETE).
  app.all('/mcp', (_req, res) => {
    res.status(405).set('Allow', 'POST').json({ error: 'method_not_allowed' })
  })
  app.use(auth.errorHandler())
  return app
}
