import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Config } from '../config/config.js'
import { ConfigurationError, McpAuthError } from '../errors/errors.js'
import type { Events } from '../events.js'
import { isScopeToken } from '../config/values.js'
import type { GetNextcloudToken, McpAuthInfo } from '../auth-info.js'
import { checkScopes } from '../verify/scopes.js'
import { readBearerToken } from './bearer.js'
import { answer } from './challenge.js'
import type { ConnectHandler } from './router.js'

/** What a request with a verified token gets. */
export interface Verified {
  readonly info: McpAuthInfo
  readonly getNextcloudToken: GetNextcloudToken
}

/** What the handlers work with. */
export interface HttpParts {
  readonly config: Config
  readonly events: Events
  /** At once where the token was verified before. */
  readonly verify: (token: string) => Verified | Promise<Verified>
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

/** A request behind the middleware, where there are no types of Express to say so: in Connect and on `node:http`. */
export interface AuthenticatedRequest extends IncomingMessage {
  readonly mcpAuth: McpAuthInfo
  readonly getNextcloudToken: GetNextcloudToken
}

/** A request on its way through. */
interface PassingRequest extends IncomingMessage {
  mcpAuth?: McpAuthInfo
  getNextcloudToken?: GetNextcloudToken
  /** Where the MCP SDK's transports look. Its type is the SDK's to declare. */
  auth?: unknown
}

/** The middleware: verifies the MCP token of a request, and lets it pass or answers it. */
export function createAuthentication(parts: HttpParts): ConnectHandler {
  const { config, events, verify } = parts

  function pass(req: PassingRequest, { info, getNextcloudToken }: Verified, cached: boolean): void {
    checkScopes(config, info, config.requiredScopes)
    req.mcpAuth = info
    req.auth = info
    req.getNextcloudToken = getNextcloudToken
    if (events.active()) {
      const { issuer, subject, clientId } = info
      events.emit({ type: 'token.accepted', issuer, subject, clientId, cached })
    }
  }

  return (req, res, next) => {
    if (isPreflight(req)) return next()
    let verified: Verified | Promise<Verified>
    try {
      verified = verify(readBearerToken(req))
      if (!(verified instanceof Promise)) pass(req, verified, true)
    } catch (error) {
      return rejectRequest(parts, error, req, res, next)
    }
    // Outside the try block: what the app's own handlers throw is not for this package to answer.
    if (!(verified instanceof Promise)) return next()
    verified
      .then((awaited) => pass(req, awaited, false))
      .then(
        () => next(),
        (error: unknown) => rejectRequest(parts, error, req, res, next),
      )
  }
}

/** A handler that lets a request pass when its token satisfies every scope. */
export function createScopeGuard(parts: HttpParts, scopes: readonly string[]): ConnectHandler {
  if (scopes.length === 0 || !scopes.every(isScopeToken)) {
    throw new ConfigurationError('requireScopes needs scopes, each a string without spaces and quotes', 'requireScopes')
  }
  return (req: PassingRequest, res, next) => {
    if (isPreflight(req)) return next()
    try {
      if (req.mcpAuth === undefined) {
        throw new ConfigurationError('requireScopes() is reached without the mcpAuth() middleware before it')
      }
      checkScopes(parts.config, req.mcpAuth, scopes)
    } catch (error) {
      return rejectRequest(parts, error, req, res, next)
    }
    next()
  }
}

/** Answers what `getNextcloudToken` and the like reject with, where an app's handlers have let it through. */
export function createErrorHandler(): ErrorHandler {
  return (error, _req, res, next) => {
    if (!(error instanceof McpAuthError) || res.headersSent) return next(error)
    answer(res, error)
  }
}

/**
 * Fetch standard, CORS preflight: it never has credentials or a body, and answering it is for the app's CORS handler. One with a
 * body is none: a handler that does not look at the method might act on it.
 */
function isPreflight({ method, headers }: IncomingMessage): boolean {
  return (
    method === 'OPTIONS' &&
    headers['access-control-request-method'] !== undefined &&
    headers['transfer-encoding'] === undefined &&
    Number(headers['content-length'] ?? 0) === 0
  )
}

/** Answers a request that does not pass: by `onError`, else with the JSON of the error. */
export function rejectRequest(
  { config, reported }: HttpParts,
  error: unknown,
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
): void {
  const failure = reported(error)
  const { onError } = config
  if (onError !== undefined) {
    // It may be async, whatever its type says; what it throws is the app's own to handle.
    new Promise((resolve) => resolve(onError(failure, req, res, next))).catch(next)
    return
  }
  if (res.headersSent) return next(failure)
  answer(res, failure)
}
