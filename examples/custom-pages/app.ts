import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler } from 'express'
import type { McpAuth } from 'mcp-nextcloud-auth'
import { accountPage, refusalPage, sendPage, signInPage } from './pages.js'

export interface AppOptions {
  readonly auth: McpAuth
  readonly mcp: RequestHandler
  /** Returns the user of the app's own session, by the names that the provider gives. */
  readonly userOf: (req: Request) => { readonly issuer: string; readonly subject: string } | undefined
  /** The name under which the app itself connects, where an MCP client has its client id. */
  readonly clientId: string
}

/** An app whose own account page shows the connection to Nextcloud, makes it and ends it. */
export function createApp({ auth, mcp, userOf, clientId }: AppOptions): Express {
  const app = express()
  app.disable('x-powered-by')
  app.use(auth.routes())

  app.get('/account', async (req, res) => {
    const user = userOf(req)
    if (user === undefined) sendPage(res, 401, signInPage())
    else sendPage(res, 200, accountPage(user.subject, await auth.isProvisioned({ ...user, clientId })))
  })

  // POST, because a link that acts could be followed from elsewhere. The app's session cookie is `SameSite=Lax`.
  app.post('/account/connect', async (req, res) => {
    const user = userOf(req)
    if (user === undefined) sendPage(res, 401, signInPage())
    else res.redirect(303, await auth.createConnectUrl({ ...user, clientId }))
  })

  app.post('/account/disconnect', async (req, res) => {
    const user = userOf(req)
    if (user === undefined) sendPage(res, 401, signInPage())
    else {
      await auth.revoke(user)
      res.redirect(303, '/account')
    }
  })

  app.all('/mcp', auth, mcp)
  app.use(forPeople(auth.errorHandler()))
  return app
}

/** Shows a page where a person looks at the failure, and leaves what MCP clients get as it is. */
function forPeople(otherwise: ErrorRequestHandler): ErrorRequestHandler {
  return (error: unknown, req, res, next) => {
    if (req.path.startsWith('/account') && !res.headersSent) sendPage(res, 503, refusalPage())
    else otherwise(error, req, res, next)
  }
}
