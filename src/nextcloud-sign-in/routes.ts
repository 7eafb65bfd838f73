import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { sendOutcome, type Outcome } from '../connect/browser.js'
import { asMcpAuthError, StorageError, UpstreamUnavailableError } from '../errors/errors.js'
import { reportFailure } from '../events.js'
import { clientNetwork } from '../http/address-shares.js'
import { urlOf, type ConnectHandler } from '../http/router.js'
import { receiveCode } from './callback.js'
import { askConsent, finish, takeAnswer } from './interaction.js'
import { meaningOf } from './outage.js'
import { PATHS, serve } from './provider.js'
import { readBody, readMetadata, refuse, tooMany, withBody } from './registration.js'
import type { SignInRooms } from './sign-in-rooms.js'

type Page = (rooms: SignInRooms, req: IncomingMessage, res: ServerResponse) => Promise<Outcome | undefined>

const METADATA = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']

/** Serves the paths of the sign-in, and passes on everything else. */
export function createSignInRoutes(rooms: SignInRooms): ConnectHandler {
  const own = new Set<string>([...Object.values(PATHS), ...METADATA])
  const callback = `${rooms.connect.path}/callback`
  return (req, res, next) => {
    const path = new URL(urlOf(req), rooms.issuer).pathname
    // As everywhere, a path may have a slash at its end: Nextcloud goes where its administrator has written.
    const page = pageOf(path === `${callback}/` ? callback : path, req.method ?? '', callback)
    if (page !== undefined) return void showPage(rooms, page, { req, res, next })
    if (!own.has(path) && !path.startsWith(`${PATHS.authorization}/`)) return next()
    const wait = path === PATHS.authorization ? rooms.authorizations.take(req) : 0
    if (wait > 0) return refuse(res, tooMany(wait))
    const work = path === PATHS.registration ? register(rooms, req, res) : answer(rooms, req, res)
    work.catch((error: unknown) => answerOutage(rooms, error, { req, res, next }))
  }
}

/** An outage is an answer that machines understand, and every other error is the app's to handle. */
function answerOutage({ events }: SignInRooms, error: unknown, { res, next }: Visit): void {
  if (!isOutage(error) || res.headersSent) return next(error)
  reportFailure(events, error)
  refuse(res, {
    status: error.status,
    error: 'temporarily_unavailable',
    error_description: 'Try again in a moment',
    retryAfter: error.retryAfter,
  })
}

function isOutage(error: unknown): error is UpstreamUnavailableError | StorageError {
  return error instanceof UpstreamUnavailableError || error instanceof StorageError
}

async function answer(rooms: SignInRooms, req: IncomingMessage, res: ServerResponse): Promise<void> {
  await serve(await rooms.provider(), rooms.issuer, req, res)
}

/** Dynamic registration (RFC 7591), by clients in browsers too. */
async function register(rooms: SignInRooms, req: IncomingMessage, res: ServerResponse): Promise<void> {
  res.setHeader('Access-Control-Allow-Origin', '*')
  if (req.method === 'OPTIONS') return allowRegistration(res)
  if (req.method !== 'POST') return answer(rooms, req, res)
  const { registrations, unusedClients } = rooms
  const metadata = readMetadata(await readBody(req))
  if ('error' in metadata) return refuse(res, metadata)
  const wait = registrations.take(req)
  if (wait > 0) return refuse(res, tooMany(wait))
  const clientId = randomBytes(16).toString('base64url')
  await unusedClients.note(clientId, clientNetwork(req))
  await answer(rooms, withBody(req, metadata, clientId), res)
}

function allowRegistration(res: ServerResponse): void {
  res.statusCode = 204
  res.setHeader('Access-Control-Allow-Methods', 'POST')
  res.setHeader('Access-Control-Allow-Headers', 'Content-Type, MCP-Protocol-Version')
  res.setHeader('Access-Control-Max-Age', '3600')
  res.end()
}

function pageOf(path: string, method: string, callback: string): Page | undefined {
  if (path === callback) return method === 'GET' ? receiveCode : undefined
  if (!path.startsWith(`${PATHS.interaction}/`)) return undefined
  if (path.endsWith('/done')) return method === 'GET' ? finish : undefined
  if (method === 'POST') return takeAnswer
  return method === 'GET' || method === 'HEAD' ? askConsent : undefined
}

interface Visit {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly next: (error?: unknown) => void
}

async function showPage(rooms: SignInRooms, page: Page, { req, res, next }: Visit): Promise<void> {
  try {
    const outcome = await page(rooms, req, res)
    if (outcome === undefined) return next()
    sendOutcome(req, res, outcome)
  } catch (error) {
    const failure = asMcpAuthError(meaningOf(error))
    reportFailure(rooms.events, failure)
    if (res.headersSent) return void res.end()
    const { pages } = rooms
    const who = failure instanceof StorageError ? 'store' : 'nextcloud'
    const { retryAfter = 0 } = failure as Partial<UpstreamUnavailableError>
    sendOutcome(req, res, { page: isOutage(failure) ? pages.unavailable({ retryAfter, who }) : pages.failed() })
  }
}
