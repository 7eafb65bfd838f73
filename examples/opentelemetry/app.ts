import { context, SpanKind, trace } from '@opentelemetry/api'
import express, { type Express, type RequestHandler } from 'express'
import type { McpAuth } from 'mcp-nextcloud-auth'

/** An app whose one route asks Nextcloud who the user is. */
export function createApp(auth: McpAuth): Express {
  const app = express()
  app.disable('x-powered-by')
  app.get('/health/live', (_req, res) => void res.sendStatus(200))
  app.get('/health/ready', async (_req, res) => {
    const { keys } = await auth.health()
    res.sendStatus(keys.ok ? 200 : 503)
  })
  app.use(serverSpan)
  app.use(auth.routes())
  app.post('/mcp', auth, async (req, res) => {
    const answer = await auth.nextcloudFetch(req.mcpAuth, '/ocs/v2.php/cloud/user?format=json')
    res.status(answer.status).send(await answer.text())
  })
  app.use(auth.errorHandler())
  return app
}

/** The span of a request, as `@opentelemetry/instrumentation-http` makes it for an app of your own. */
const serverSpan: RequestHandler = (req, res, next) => {
  const attributes = { 'http.request.method': req.method }
  const span = trace.getTracer('app').startSpan(req.method, { kind: SpanKind.SERVER, attributes })
  res.once('close', () => {
    span.setAttribute('http.response.status_code', res.statusCode)
    span.end()
  })
  context.with(trace.setSpan(context.active(), span), next)
}
