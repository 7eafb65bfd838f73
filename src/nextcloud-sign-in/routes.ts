import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { UnknownClientError } from '../authorization-server/known-client.js'
import { queryOf, refuseEmbedded, sendOutcome, type Outcome } from '../connect/browser.js'
import { asMcpAuthError, StorageError, UpstreamUnavailableError } from '../errors/errors.js'
import { reportFailure } from '../events.js'
import { networksOf } from '../http/address-shares.js'
import { follow, rawPathOf, urlOf, type ConnectHandler } from '../http/router.js'
import { receiveCode } from './callback.js'
import { isTooLong, LONGEST_CLIENT_ID } from '../client-id.js'
import { askConsent, finish, takeAnswer } from './interaction.js'
import { meaningOf } from './outage.js'
import { PATHS, questionIn, resumedBy } from './paths.js'
import { takeAnswerOf } from './answered.js'
import { serve } from './provider.js'
import { readBody, readMetadata, refuse, refused, tooMany, withBody, type Refusal } from './registration.js'
import type { SignInRooms } from './sign-in-rooms.js'

type Page = (rooms: SignInRooms, req: IncomingMessage, res: ServerResponse) => Promise<Outcome | undefined>

/** Milliseconds until a client may register again where too many came at the same time. */
const CROWDED = 60_000

const METADATA = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']

/**
 * Serves the paths of the sign-in, and passes on everything else. They are compared letter for letter, so that nothing is served which a
 * limit of the app's for one of them has not counted.
 */
export function createSignInRoutes(rooms: SignInRooms): ConnectHandler {
  const own = new Set<string>([...Object.values(PATHS), ...METADATA])
  const callback = `${rooms.connect.path}/callback`
  return (req, res, next) => {
    const path = rawPathOf(req)
    const resumed = resumedBy(path)
    const page = pageOf(path, String(req.method), callback)
    const isForPeople = page !== undefined || resumed !== undefined || path === PATHS.authorization
    if (isForPeople && refuseEmbedded(req, res)) return
    // As pages have it: a site that opens a window must not see in it whether a client was let in, and the answer is a redirect.
    if (isForPeople) res.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
    if (page !== undefined) return follow(req, showPage(rooms, page, { req, res, next }), rooms.underWay)
    if (resumed === undefined && !own.has(path)) return next()
    const refusal = path === PATHS.authorization ? refusalOf(rooms, req) : undefined
    if (refusal !== undefined) return refuse(res, refusal)
    const work = workOf(rooms, { path, resumed }, req, res)
    const answered = work.catch((error: unknown) => answerOutage(rooms, error, { req, res, next }))
    follow(req, answered, rooms.underWay)
  }
}

/** Characters of the path and query of an authorization request, which is stored. */
const LONGEST_REQUEST = 4_096

/** Refuses an authorization request before anything is read or stored of it: anybody can send one. Undefined: it goes on. */
function refusalOf({ authorizations }: SignInRooms, req: IncomingMessage): Refusal | undefined {
  if (urlOf(req).length > LONGEST_REQUEST)
    return refused('invalid_request', `A request has at most ${LONGEST_REQUEST} characters`)
  if (queryOf(req).getAll('client_id').some(isTooLong))
    return refused('invalid_request', `A client_id has at most ${LONGEST_CLIENT_ID} bytes`)
  const wait = authorizations.take(req)
  return wait > 0 ? tooMany(wait) : undefined
}

function workOf(
  rooms: SignInRooms,
  { path, resumed }: { readonly path: string; readonly resumed: string | undefined },
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  if (resumed !== undefined) return resume(rooms, resumed, req, res)
  return path === PATHS.registration ? register(rooms, req, res) : answer(rooms, req, res)
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

/**
 * Leads back to the client, in the browser that brought the question alone. Of a question without an answer oidc-provider would make
 * another one, and of requests at the same time one each: nobody counts these.
 */
async function resume(rooms: SignInRooms, question: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (!(await rooms.questions.admit(req, question))) return sendOutcome(req, res, { page: rooms.signInPages.unknown() })
  if (req.method !== 'GET' && req.method !== 'HEAD') return answer(rooms, req, res)
  const { grants, clock } = rooms
  const taken = await takeAnswerOf({ records: grants.records, owner: grants.owner, clock }, question)
  if (taken === 'none') return sendOutcome(req, res, { returnTo: `${PATHS.interaction}/${question}` })
  if (taken === 'late') return sendOutcome(req, res, { page: rooms.signInPages.unknown() })
  await answer(rooms, req, res)
  if (res.statusCode >= 500) await taken.giveBack()
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
  if (!(await unusedClients.note(clientId, networksOf(req)))) return refuse(res, tooMany(CROWDED))
  await answer(rooms, withBody(req, metadata, clientId), res)
  await unusedClients.stored(clientId).catch(() => undefined)
}

function allowRegistration(res: ServerResponse): void {
  res.statusCode = 204
  res.setHeader('Access-Control-Allow-Methods', 'POST')
  res.setHeader('Access-Control-Allow-Headers', 'Content-Type, MCP-Protocol-Version')
  res.setHeader('Access-Control-Max-Age', '3600')
  res.end()
}

function pageOf(path: string, method: string, callback: string): Page | undefined {
  // As everywhere, this path may have a slash at its end: Nextcloud goes where its administrator has written.
  if (path === callback || path === `${callback}/`) return method === 'GET' ? receiveCode : undefined
  const place = questionIn(path)
  if (place === undefined) return undefined
  if (place.page === '/done') return method === 'GET' ? finish : undefined
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
    const { pages, connect } = rooms
    if (failure instanceof UnknownClientError) return sendOutcome(req, res, { page: pages.unknownClient(connect) })
    const who = failure instanceof StorageError ? 'store' : 'nextcloud'
    const { retryAfter = 0 } = failure as Partial<UpstreamUnavailableError>
    sendOutcome(req, res, { page: isOutage(failure) ? pages.unavailable({ retryAfter, who }) : pages.failed() })
  }
}
