import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Config } from '../config/config.js'
import { ConfigurationError, McpAuthError, SubjectTokenRejectedError, UnauthorizedError } from '../errors/errors.js'
import type { Events } from '../events.js'
import { isScopeToken } from '../config/values.js'
import type { GetNextcloudToken, McpAuthInfo } from '../auth-info.js'
import { checkUnproven, type Dpop, type MaybeBound } from '../verify/dpop.js'
import { checkScopes } from '../verify/scopes.js'
import { parseToken, readAuthorization } from './bearer.js'
import { answer } from './challenge.js'
import { urlOf, type ConnectHandler } from './router.js'

/** The additions to a request with a verified token. */
export interface Verified extends MaybeBound {
  readonly info: McpAuthInfo
  readonly getNextcloudToken: GetNextcloudToken
  /** Whether the user has taken back what the token came of. */
  readonly isOver?: boolean
}

/** The rooms that the handlers need. */
export interface HttpRooms {
  readonly config: Pick<Config, 'requiredScopes' | 'scopeSatisfies' | 'onError' | 'dpop'>
  readonly events: Pick<Events, 'active' | 'emit' | 'watch'>
  /** Returns at once if the token was verified before. */
  readonly verify: (token: string, from?: IncomingMessage) => Verified | Promise<Verified>
  readonly dpop: Dpop
  /** Reports a failure, and returns it with the challenge that its answer needs. */
  readonly reported: (error: unknown) => McpAuthError
}

/** An Express error handler. */
export type ErrorHandler = (
  error: unknown,
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void

/** A request behind the middleware, for Connect and `node:http`, which have no types of Express. */
export interface AuthenticatedRequest extends IncomingMessage {
  readonly mcpAuth: McpAuthInfo
  readonly getNextcloudToken: GetNextcloudToken
}

/** A request on its way through. */
interface PassingRequest extends IncomingMessage {
  mcpAuth?: McpAuthInfo
  getNextcloudToken?: GetNextcloudToken
  /** Read by the MCP SDK's transports. Its type is the SDK's to declare. */
  auth?: unknown
}

/** One passage through a handler. */
export interface Passage {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly next: (error?: unknown) => void
}

/**
 * Returns the middleware: it verifies the MCP token of a request, and lets it pass or answers it.
 *
 * @param isServed whether `auth.routes()` serves a request, which it does without a token
 */
export function createAuthentication(
  rooms: HttpRooms,
  isServed: (req: IncomingMessage) => boolean = () => false,
): ConnectHandler {
  return (req, res, next) => {
    if (isPreflight(req)) return next()
    // Mounted before auth.routes(), it would ask for a token where a client, or a browser, learns how to get one.
    if (req.headers.authorization === undefined && isServed(req)) return next()
    let pending: Promise<void> | undefined
    try {
      pending = authenticate(rooms, req)
    } catch (error) {
      return rejectRequest(rooms, error, { req, res, next })
    }
    // Outside the try block, because an error of the app's own handlers is not for this package to answer.
    if (pending === undefined) return next()
    pending.then(
      () => next(),
      (error: unknown) => rejectRequest(rooms, error, { req, res, next }),
    )
  }
}

/** Attaches the caller to a request. Undefined: it is done, because the token was verified before and needs no proof. */
export function authenticate(rooms: HttpRooms, req: IncomingMessage): Promise<void> | undefined {
  const header = readAuthorization(req)
  const token = parseToken(header, 'bearer ')
  if (token === undefined) return authenticateByProof(rooms, req, header)
  const verified = rooms.verify(token, req)
  if (verified instanceof Promise) return verified.then((awaited) => acceptUnproven(rooms, req, awaited, false))
  acceptUnproven(rooms, req, verified, true)
  return undefined
}

/** The scheme DPoP (RFC 9449 §7.1): the proof is verified with each request, whether the token was verified before or not. */
function authenticateByProof(rooms: HttpRooms, req: IncomingMessage, header: string): Promise<void> {
  const token = parseToken(header, 'dpop ')
  if (token === undefined) throw new UnauthorizedError()
  if (rooms.config.dpop === 'off') throw new UnauthorizedError('unsupported_scheme')
  return acceptProven(rooms, req, token)
}

async function acceptProven(rooms: HttpRooms, req: IncomingMessage, token: string): Promise<void> {
  const { dpop, verify } = rooms
  const request = { method: String(req.method), target: urlOf(req), proof: req.headers['dpop'] }
  const proof = dpop.readProof(request)
  const verified = verify(token, req)
  const awaited = await verified
  await dpop.check(proof, awaited, request)
  accept(rooms, req, awaited, !(verified instanceof Promise))
}

function acceptUnproven(rooms: HttpRooms, req: IncomingMessage, verified: Verified, cached: boolean): void {
  checkUnproven(rooms.config, verified)
  accept(rooms, req, verified, cached)
}

function accept(rooms: HttpRooms, req: IncomingMessage, verified: Verified, cached: boolean): void {
  attach(rooms, req, verified)
  if (rooms.events.active()) tellAccepted(rooms.events, verified.info, cached)
}

/**
 * @throws {InsufficientScopeError} the token lacks a scope that every request needs
 * @throws {SubjectTokenRejectedError} the user has taken back what the token came of
 */
function attach({ config }: HttpRooms, req: PassingRequest, { info, getNextcloudToken, isOver }: Verified): void {
  if (isOver === true) throw new SubjectTokenRejectedError()
  checkScopes(config, info, config.requiredScopes)
  req.mcpAuth = info
  req.auth = info
  req.getNextcloudToken = getNextcloudToken
}

function tellAccepted({ emit }: Pick<Events, 'emit'>, info: McpAuthInfo, cached: boolean): void {
  const { issuer, subject, clientId } = info
  emit({ type: 'token.accepted', issuer, subject, clientId, cached })
}

/** Returns a handler that lets a request pass if its token satisfies every scope. */
export function createScopeGuard(rooms: HttpRooms, scopes: readonly string[]): ConnectHandler {
  if (scopes.length === 0 || !scopes.every(isScopeToken)) {
    throw new ConfigurationError('requireScopes needs scopes, each a string without spaces and quotes', 'requireScopes')
  }
  return (req: PassingRequest, res, next) => {
    if (isPreflight(req)) return next()
    try {
      if (req.mcpAuth === undefined) {
        throw new ConfigurationError('requireScopes() is reached without the mcpAuth() middleware before it')
      }
      checkScopes(rooms.config, req.mcpAuth, scopes)
    } catch (error) {
      return rejectRequest(rooms, error, { req, res, next })
    }
    next()
  }
}

/** Returns a handler that answers the rejections of `getNextcloudToken` and the like which an app's handlers let through. */
export function createErrorHandler(): ErrorHandler {
  return (error, _req, res, next) => {
    if (!(error instanceof McpAuthError) || res.headersSent) return next(error)
    answer(res, error)
  }
}

/**
 * Whether it is a CORS preflight (Fetch standard), which the app's CORS handler answers. It never has credentials or a body: a
 * handler that does not look at the method might act on a body.
 */
export function isPreflight(req: IncomingMessage): boolean {
  const { method, headers } = req
  return (
    method === 'OPTIONS' &&
    headers['access-control-request-method'] !== undefined &&
    headers['transfer-encoding'] === undefined &&
    Number(headers['content-length'] ?? 0) === 0 &&
    !mayHaveFrames(req)
  )
}

/** HTTP/2 has bodies without any header that tells of them (RFC 9113 §8.1): only the end of the stream says that there is none. */
function mayHaveFrames(req: IncomingMessage & { readonly stream?: { readonly endAfterHeaders?: boolean } }): boolean {
  return req.httpVersionMajor >= 2 && req.stream?.endAfterHeaders !== true
}

/** Reports and answers a request that does not pass: by `onError`, else with the JSON of the error. */
export function rejectRequest({ config, reported }: HttpRooms, error: unknown, { req, res, next }: Passage): void {
  const failure = reported(error)
  const { onError } = config
  if (onError !== undefined) {
    // It may be async, whatever its type says. Its own errors are for the app to handle.
    new Promise((resolve) => resolve(onError(failure, req, res, next))).catch(next)
    return
  }
  if (res.headersSent) return next(failure)
  answer(res, failure)
}
