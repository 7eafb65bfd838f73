import type { IncomingMessage, ServerResponse } from 'node:http'
import { sendOutcome, type Outcome } from '../connect/browser.js'
import { asMcpAuthError, StorageError, UpstreamUnavailableError } from '../errors/errors.js'
import { reportFailure } from '../events.js'
import { urlOf, type ConnectHandler } from '../http/router.js'
import { receiveCode } from './callback.js'
import { askConsent, finish, takeAnswer } from './interaction.js'
import { PATHS, serve } from './provider.js'
import { countRegistration, readBody, readMetadata, refuseRegistration, withBody } from './registration.js'
import type { SignInRooms } from './sign-in-rooms.js'

type Page = (rooms: SignInRooms, req: IncomingMessage, res: ServerResponse) => Promise<Outcome | undefined>

const METADATA = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']

/** Serves the paths of the sign-in, and passes on everything else. */
export function createSignInRoutes(rooms: SignInRooms): ConnectHandler {
  const own = new Set<string>([...Object.values(PATHS), ...METADATA])
  const callback = `${rooms.connect.path}/callback`
  return (req, res, next) => {
    const path = new URL(urlOf(req), rooms.issuer).pathname
    const page = pageOf(path, req.method ?? '', callback)
    if (page !== undefined) return void showPage(rooms, page, req, res, next)
    if (!own.has(path) && !path.startsWith(`${PATHS.authorization}/`)) return next()
    const work = path === PATHS.registration ? register(rooms, req, res) : answer(rooms, req, res)
    work.catch(next)
  }
}

async function answer(rooms: SignInRooms, req: IncomingMessage, res: ServerResponse): Promise<void> {
  await serve(await rooms.provider(), rooms.issuer, req, res)
}

/** Dynamic registration (RFC 7591), by clients in browsers too. */
async function register(rooms: SignInRooms, req: IncomingMessage, res: ServerResponse): Promise<void> {
  res.setHeader('Access-Control-Allow-Origin', '*')
  if (req.method === 'OPTIONS') return allowRegistration(res)
  if (req.method !== 'POST') return answer(rooms, req, res)
  const metadata = readMetadata(await readBody(req))
  if ('error' in metadata) return refuseRegistration(res, metadata)
  const { records, owner } = rooms.grants
  const refusal = await countRegistration({ records, owner, clock: rooms.clock })
  if (refusal !== undefined) return refuseRegistration(res, refusal)
  await answer(rooms, withBody(req, metadata), res)
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

async function showPage(
  rooms: SignInRooms,
  page: Page,
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
): Promise<void> {
  try {
    const outcome = await page(rooms, req, res)
    if (outcome === undefined) return next()
    sendOutcome(req, res, outcome)
  } catch (error) {
    const failure = asMcpAuthError(error)
    reportFailure(rooms.events, failure)
    if (res.headersSent) return void res.end()
    const isOutage = failure instanceof UpstreamUnavailableError || failure instanceof StorageError
    sendOutcome(req, res, { page: isOutage ? rooms.pages.unavailable(failure) : rooms.pages.failed() })
  }
}
