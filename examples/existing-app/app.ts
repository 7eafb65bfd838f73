import { randomBytes } from 'node:crypto'
import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler } from 'express'
import type { McpAuth } from 'mcp-nextcloud-auth'

export interface AppOptions {
  /** New. */
  readonly auth: McpAuth
  /** New: the MCP server. */
  readonly mcp: RequestHandler
  readonly isPassword: (user: string, password: string) => boolean
}

/** An app with a sign-in of its own, in which only the lines marked with `+` are new. */
export function createApp({ auth, mcp, isPassword }: AppOptions): Express {
  const sessions = new Map<string, string>()
  const app = express()
  app.disable('x-powered-by')
  app.use(auth.routes()) // + the RFC 9728 document that MCP clients look for
  // + Above express.json(), which would read a body before its token is checked, and no more than 100 kB of it.
  app.all('/mcp', auth, mcp) // + verified from here on; the app's own sessions count for nothing here
  app.use(express.json())

  app.post('/sign-in', (req, res) => {
    const { user, password } = (req.body ?? {}) as { readonly user?: unknown; readonly password?: unknown }
    if (typeof user !== 'string' || typeof password !== 'string' || !isPassword(user, password)) {
      res.status(401).json({ error: 'Wrong name or password' })
      return
    }
    const session = randomBytes(32).toString('base64url')
    sessions.set(session, user)
    // Secure as soon as the app is on https.
    res.cookie('session', session, { httpOnly: true, sameSite: 'lax' }).status(204).end()
  })

  app.get('/me', (req, res) => {
    const user = signedIn(req)
    if (user === undefined) res.status(401).json({ error: 'Please sign in' })
    else res.json({ user })
  })

  app.use(auth.errorHandler()) // + answers what Nextcloud calls reject with, and passes on the rest

  const lastResort: ErrorRequestHandler = (error, _req, res, next) => {
    if (res.headersSent) next(error)
    else res.status(500).json({ error: 'Something went wrong' })
  }
  app.use(lastResort)
  return app

  function signedIn({ headers }: Request): string | undefined {
    const session = /(?:^|; )session=([\w-]+)/.exec(headers.cookie ?? '')?.[1]
    return session === undefined ? undefined : sessions.get(session)
  }
}
