import type { IncomingMessage, ServerResponse } from 'node:http'
import { asMcpAuthError, SubjectTokenRejectedError, UnauthorizedError } from '../errors/errors.js'
import { consentingClient, whyUnusable } from '../grants/grant.js'
import { createAuthentication, rejectRequest, type HttpRooms } from '../http/authentication.js'
import type { RouteHandler } from '../http/router.js'
import type { McpAuthInfo } from '../auth-info.js'
import type { PageRooms } from './connect-rooms.js'
import { hasForm } from './form.js'

/** The rooms of the endpoints for MCP clients. */
interface AccountRooms extends Pick<PageRooms, 'config' | 'grants' | 'clock'> {
  readonly http: HttpRooms
}

/** `GET …/status`, for an MCP client: whether Nextcloud is connected for it, and the link to connect it if it is not. */
export function showStatus(rooms: AccountRooms & Pick<PageRooms, 'broker' | 'tickets'>): RouteHandler {
  const { broker, grants, config, clock, tickets } = rooms
  return withToken(rooms, async ({ issuer, subject, clientId, claims }, res) => {
    const identity = { issuer, subject }
    const client = consentingClient(config.grants?.consent, clientId)
    const ask = async () => whyUnusable((await grants.store.find(identity))?.grant, client, clock.now())
    let reason = await ask()
    if (reason === 'revoked' && (await broker.tryAgain({ identity, clientId }))) reason = await ask()
    if (reason === undefined) return sendJson(res, { connected: true })
    const { connectUrl } = await tickets.linkFor({ identity, clientId, claims })
    sendJson(res, { connected: false, reason, connect_url: connectUrl })
  })
}

/**
 * `POST …/disconnect`: with an MCP token, for its user and, where consent is per client, its client; without, for the browser in
 * which the connection was made.
 *
 * @param inBrowser serves a browser
 */
export function endConnection(
  rooms: AccountRooms & Pick<PageRooms, 'disconnect'>,
  inBrowser: RouteHandler,
): RouteHandler {
  const { disconnect, config } = rooms
  const forClient = withToken(rooms, async ({ issuer, subject, clientId }, res) => {
    sendJson(res, await disconnect({ issuer, subject }, consentingClient(config.grants?.consent, clientId)))
  })
  return (req, res) => {
    return !hasToken(req) && hasForm(req) ? inBrowser(req, res) : forClient(req, res)
  }
}

/** Whether a request says that it has a token. */
export function hasToken({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return /^\s*(?:bearer|dpop)\b/i.test(headers.authorization ?? '')
}

/** Runs a handler for the user of a verified MCP token. Without one, and if it fails, the answer is that of the middleware. */
function withToken(
  rooms: AccountRooms,
  handler: (info: McpAuthInfo, res: ServerResponse) => Promise<void>,
): RouteHandler {
  const { http } = rooms
  const authenticate = createAuthentication(http)
  return (req: IncomingMessage & { mcpAuth?: McpAuthInfo }, res) =>
    new Promise<void>((resolve, reject) => {
      const next = (error?: unknown): void =>
        error === undefined ? resolve() : reject(error instanceof Error ? error : asMcpAuthError(error))
      res.once('close', resolve)
      authenticate(req, res, (error) => {
        // An onError of the app's may have let it pass, without a user to act for.
        if (error !== undefined || req.mcpAuth === undefined) return next(error ?? new UnauthorizedError())
        const { mcpAuth: info } = req
        checkStanding(rooms, info)
          .then(() => handler(info, res))
          .catch((failure: unknown) => rejectRequest(http, failure, { req, res, next }))
          .then(resolve, reject)
      })
    })
}

/**
 * Refuses a token of before where a newer connection serves its client: it may be another person's. One that does not serve the client is
 * neither shown to it nor ended by it.
 *
 * @throws {SubjectTokenRejectedError} the user has taken back what the token came of
 */
async function checkStanding({ config, grants, clock }: AccountRooms, info: McpAuthInfo): Promise<void> {
  const { issuer, subject, clientId, claims } = info
  const identity = { issuer, subject }
  const withdrawals = config.ownSignIn?.withdrawalsOf(claims)
  if (!(await grants.store.isOfBefore(identity, { clientId, withdrawals }))) return
  const stored = await grants.store.find(identity)
  if (whyUnusable(stored?.grant, clientId, clock.now()) === undefined) throw new SubjectTokenRejectedError()
}

function sendJson(res: ServerResponse, body: object): void {
  res.setHeader('Content-Type', 'application/json')
  res.setHeader('Cache-Control', 'no-store')
  res.end(JSON.stringify(body))
}
