import express, { type NextFunction, type Request, type Response } from 'express'
import { createRemoteJWKSet, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose'
import { listenOnLoopback } from './loopback.js'

export interface Note {
  readonly id: number
  readonly title: string
  readonly content: string
}

/** One request as Nextcloud saw it. The claims only, because a token belongs in no record. */
export interface ReceivedRequest {
  readonly method: string
  readonly path: string
  readonly status: number
  /** Absent when the token was refused. */
  readonly claims?: JWTPayload
}

export interface Nextcloud {
  readonly url: string
  readonly received: readonly ReceivedRequest[]
  close(): Promise<void>
}

interface Provider {
  readonly issuer: string
  readonly jwks: JWTVerifyGetKey
}

/**
 * A stand-in for Nextcloud that knows nothing of MCP. Like the `user_oidc` app it validates a bearer token by itself:
 * signed by the provider it is set up with, issued by it, unexpired, and with its own client id in `aud`. The scope is
 * not looked at.
 *
 * @param options.issuer the provider, found through discovery at the first request
 * @param options.clientId Nextcloud's client id at that provider; default `nextcloud`
 */
export async function startNextcloud({
  issuer,
  clientId = 'nextcloud',
  port = 0,
}: {
  readonly issuer: string
  readonly clientId?: string
  readonly port?: number
}): Promise<Nextcloud> {
  const received: ReceivedRequest[] = []
  const notesByUser = new Map<string, Note[]>()
  let provider: Promise<Provider> | undefined

  const app = express()
  app.disable('x-powered-by')
  app.use(authenticate, express.json())

  app.get('/ocs/v2.php/cloud/user', (_req, res) => {
    const id = userOf(res)
    res.json({ ocs: { meta: { status: 'ok', statuscode: 200 }, data: { id, displayname: id } } })
  })

  const notes = '/index.php/apps/notes/api/v1/notes'
  app.use(notes, requireApiRequest)
  app.get(notes, (_req, res) => {
    res.json(notesOf(userOf(res)))
  })
  app.get(`${notes}/:id`, (req, res) => {
    const note = notesOf(userOf(res)).find(({ id }) => id === Number(req.params.id))
    if (note === undefined) res.status(404).json({ message: 'Note not found' })
    else res.json(note)
  })
  app.post(notes, (req, res) => {
    const { title = '', content = '' } = (req.body ?? {}) as Partial<Note>
    const all = notesOf(userOf(res))
    const note = { id: all.length + 1, title, content }
    all.push(note)
    res.json(note)
  })

  const server = await listenOnLoopback(port)
  server.serve(app)
  return { url: server.origin, received, close: () => server.close() }

  async function authenticate(req: Request, res: Response, next: NextFunction): Promise<void> {
    const { method, path } = req
    res.on('finish', () => {
      const claims = res.locals['claims'] as JWTPayload | undefined
      received.push({ method, path, status: res.statusCode, ...(claims && { claims }) })
    })
    try {
      const token = /^Bearer (\S+)$/i.exec(req.headers.authorization ?? '')?.[1] ?? ''
      const { issuer: expectedIssuer, jwks } = await discover()
      const { payload } = await jwtVerify(token, jwks, {
        issuer: expectedIssuer,
        audience: clientId,
        requiredClaims: ['sub', 'exp'],
      })
      res.locals['claims'] = payload
      next()
    } catch {
      res.status(401).json({ message: 'Current user is not logged in' })
    }
  }

  function discover(): Promise<Provider> {
    provider ??= fetchProvider(issuer).catch((error: unknown) => {
      provider = undefined
      throw error
    })
    return provider
  }

  /** Everybody starts with the same two notes, in their own name. */
  function notesOf(user: string): Note[] {
    const known = notesByUser.get(user)
    if (known !== undefined) return known
    const seeded = [
      { id: 1, title: 'Shopping', content: `Bread, olives and coffee for ${user}` },
      { id: 2, title: 'Ideas', content: `What ${user} wants to try next` },
    ]
    notesByUser.set(user, seeded)
    return seeded
  }
}

/** Routes of Nextcloud apps that allow CORS refuse a bearer token unless this header comes with it. */
function requireApiRequest(req: Request, res: Response, next: NextFunction): void {
  if (req.headers['ocs-apirequest'] === 'true') return next()
  res.status(401).json({ message: 'CORS requires basic auth' })
}

function userOf(res: Response): string {
  return (res.locals['claims'] as JWTPayload).sub ?? ''
}

async function fetchProvider(issuer: string): Promise<Provider> {
  const response = await fetch(`${issuer}/.well-known/openid-configuration`)
  const discovered = (await response.json()) as { issuer: string; jwks_uri: string }
  // Without a cool-down a key that the provider has just begun to sign with is found at once.
  return { issuer: discovered.issuer, jwks: createRemoteJWKSet(new URL(discovered.jwks_uri), { cooldownDuration: 0 }) }
}
