import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Config } from '../config/config.js'
import {
  asMcpAuthError,
  ConfigurationError,
  InsufficientScopeError,
  InvalidRequestError,
  InvalidTokenError,
  McpAuthError,
  UnauthorizedError,
} from '../errors.js'
import type { Events, RejectionReason } from '../events.js'
import { isScopeToken } from '../config/values.js'
import type { GetNextcloudToken, McpAuthInfo } from '../options.js'
import { checkScopes } from '../verify/scopes.js'
import { readBearerToken } from './bearer.js'
import { answer } from './challenge.js'
import type { ConnectHandler } from './router.js'

/** What the handlers work with. */
export interface HttpParts {
  readonly config: Config
  readonly events: Events
  readonly verify: (token: string) => McpAuthInfo | Promise<McpAuthInfo>
  /** Completes an error with what its HTTP answer needs. */
  readonly challenged: (error: McpAuthError) => McpAuthError
}

/** An Express error handler. */
export type ErrorHandler = (
  error: unknown,
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void

/** A request that has passed. */
export interface AuthenticatedRequest extends IncomingMessage {
  mcpAuth?: McpAuthInfo
  getNextcloudToken?: GetNextcloudToken
  /** Where the MCP SDK's transports look. Its type is the SDK's to declare. */
  auth?: unknown
}

/** The middleware: verifies the MCP token of a request, and lets it pass or answers it. */
export function createAuthentication(parts: HttpParts): ConnectHandler {
  const { config, events, verify } = parts

  function pass(req: AuthenticatedRequest, info: McpAuthInfo, cached: boolean): void {
    checkScopes(config, info, config.requiredScopes)
    req.mcpAuth = info
    req.auth = info
    req.getNextcloudToken = info.extra.getNextcloudToken
    if (events.active()) {
      const { issuer, subject, clientId } = info
      events.emit({ type: 'token.accepted', issuer, subject, clientId, cached })
    }
  }

  return (req, res, next) => {
    if (isPreflight(req)) return next()
    let verified: McpAuthInfo | Promise<McpAuthInfo>
    try {
      verified = verify(readBearerToken(req))
      if (!(verified instanceof Promise)) pass(req, verified, true)
    } catch (error) {
      return reject(parts, error, req, res, next)
    }
    // Outside the try block: what the app's own handlers throw is not for this package to answer.
    if (!(verified instanceof Promise)) return next()
    verified
      .then((info) => pass(req, info, false))
      .then(
        () => next(),
        (error: unknown) => reject(parts, error, req, res, next),
      )
  }
}

/** A handler that lets a request pass when its token satisfies every scope. */
export function createScopeGuard(parts: HttpParts, scopes: readonly string[]): ConnectHandler {
  if (scopes.length === 0 || !scopes.every(isScopeToken)) {
    throw new ConfigurationError('requireScopes needs scopes, each a string without spaces and quotes', 'requireScopes')
  }
  return (req: AuthenticatedRequest, res, next) => {
    if (isPreflight(req)) return next()
    try {
      if (req.mcpAuth === undefined) {
        throw new ConfigurationError('requireScopes() is reached without the mcpAuth() middleware before it')
      }
      checkScopes(parts.config, req.mcpAuth, scopes)
    } catch (error) {
      return reject(parts, error, req, res, next)
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

/** Fetch standard, CORS preflight: it never has credentials, and answering it is for the app's CORS handler. */
function isPreflight(req: IncomingMessage): boolean {
  return req.method === 'OPTIONS' && req.headers['access-control-request-method'] !== undefined
}

function reject(
  { config, events, challenged }: HttpParts,
  error: unknown,
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
): void {
  const failure = challenged(asMcpAuthError(error))
  const reason = rejectionReason(failure)
  if (reason !== undefined) {
    events.counters.rejected[reason] = (events.counters.rejected[reason] ?? 0) + 1
    events.emit({ type: 'token.rejected', reason })
  }
  if (config.onError !== undefined) return config.onError(failure, req, res, next)
  if (res.headersSent) return next(failure)
  answer(res, failure)
}

/** Undefined for a failure that says nothing about the request. */
function rejectionReason(error: McpAuthError): RejectionReason | undefined {
  if (error instanceof InvalidTokenError) return error.reason
  if (error instanceof UnauthorizedError) return 'no_credentials'
  if (error instanceof InvalidRequestError) return 'invalid_request'
  if (error instanceof InsufficientScopeError) return 'scope'
  return undefined
}
