import type { ServerResponse } from 'node:http'
import type { Config } from '../config/config.js'
import { advertisedScopes } from '../config/values.js'
import {
  InsufficientScopeError,
  InvalidDpopProofError,
  InvalidRequestError,
  InvalidTokenError,
  SubjectTokenRejectedError,
  UnauthorizedError,
  type ClaimsChallenge,
  type McpAuthError,
} from '../errors/errors.js'

/** The part of every challenge that is about this server. */
export interface ChallengeContext extends Pick<Config, 'dpop' | 'algorithms'> {
  readonly resourceMetadataUrl: string
  /** Named in the challenge of a 401, so that a client asks for them at once. */
  readonly challengeScopes: readonly string[]
}

/** The parameters of a challenge, in the order in which they are written. */
export interface ChallengeParameters {
  /** Algorithms of DPoP proofs, of a challenge to send one (RFC 9449 §7.1). Undefined: the challenge is for a Bearer token. */
  readonly algorithms?: readonly string[] | undefined
  readonly realm?: string
  readonly error?: string
  readonly resourceMetadataUrl: string
  readonly scopes: readonly string[]
  readonly description?: string
  /** The demands that the client must take to the authorization server (Entra's claims challenge). */
  readonly claims?: ClaimsChallenge | undefined
}

/**
 * Writes a `WWW-Authenticate` value (RFC 6750 §3, RFC 9728 §5.1).
 *
 * `resource_metadata` and `scope` come before `error_description`: MCP SDK clients take the first match of an unanchored
 * pattern. The same parameters always give the same text, since clients compare whole challenges to notice a loop.
 */
export function writeChallenge(parameters: ChallengeParameters): string {
  const { algorithms, realm, error, resourceMetadataUrl, scopes, description, claims } = parameters
  const written = {
    algs: algorithms?.join(' '),
    realm,
    error,
    resource_metadata: resourceMetadataUrl,
    scope: advertisedScopes(scopes).join(' '),
    error_description: description,
    // A query might hold text that looks like another parameter of the challenge.
    authorization_uri: claims?.authorizationUri?.includes('?') === false ? claims.authorizationUri : undefined,
    claims: claims?.claims,
  }
  const present = Object.entries(written).flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [`${name}="${quotable(value)}"`],
  )
  return `${algorithms === undefined ? 'Bearer' : 'DPoP'} ${present.join(', ')}`
}

/** Returns the characters that may stand in a quoted string (RFC 9110 §5.6.4) without being escaped. */
function quotable(value: string): string {
  return value.replace(/[^\x20\x21\x23-\x5B\x5D-\x7E]/g, '')
}

/** Gives an error the challenge that its answer needs. A 5xx has none, because a client must not sign in again over it. */
export function addChallenge(error: McpAuthError, context: ChallengeContext): McpAuthError {
  const challenge = challengeFor(error, context)
  if (challenge !== undefined) {
    error.headers['WWW-Authenticate'] = challenge
    // Without it on the very answer, a client in a browser cannot read the challenge.
    error.headers['Access-Control-Expose-Headers'] = 'WWW-Authenticate'
  }
  return error
}

/**
 * Returns a challenge for each scheme that is let in. Each is whole, because a client looks at that of its own scheme. Bearer comes first:
 * MCP SDK clients look for it at the beginning.
 */
function challengeFor(error: McpAuthError, context: ChallengeContext): string | undefined {
  const parameters = parametersFor(error, context)
  if (parameters === undefined) return undefined
  const { dpop, algorithms } = context
  const { realm, resourceMetadataUrl, scopes } = parameters
  const forBearer = error instanceof InvalidDpopProofError ? { realm, resourceMetadataUrl, scopes } : parameters
  return [
    ...(dpop === 'required' ? [] : [writeChallenge(forBearer)]),
    ...(dpop === 'off' ? [] : [writeChallenge({ ...parameters, algorithms })]),
  ].join(', ')
}

function parametersFor(
  error: McpAuthError,
  context: ChallengeContext,
): (ChallengeParameters & { readonly realm: string }) | undefined {
  const { resourceMetadataUrl, challengeScopes: scopes } = context
  const realm = 'mcp'
  if (error instanceof UnauthorizedError) return { realm, resourceMetadataUrl, scopes }
  const { error: code, error_description: description } = error.body
  const problem = { realm, error: code, resourceMetadataUrl, description }
  if (
    error instanceof InvalidTokenError ||
    error instanceof InvalidDpopProofError ||
    error instanceof InvalidRequestError
  ) {
    return { ...problem, scopes }
  }
  if (error instanceof SubjectTokenRejectedError) return { ...problem, scopes, claims: error.rejection.challenge }
  if (error instanceof InsufficientScopeError) return { ...problem, scopes: error.requiredScopes }
  return undefined
}

/** Answers a request with an error: status, headers, JSON body. */
export function answer(res: ServerResponse, error: McpAuthError): void {
  res.statusCode = error.status
  for (const [name, value] of Object.entries(error.headers)) {
    if (name === 'Access-Control-Expose-Headers') exposeHeader(res, value)
    else res.setHeader(name, value)
  }
  res.setHeader('Content-Type', 'application/json')
  res.end(JSON.stringify(error.body))
}

/** Adds a name to those that the app's own CORS handler exposed. */
function exposeHeader(res: ServerResponse, name: string): void {
  const exposed = [res.getHeader('Access-Control-Expose-Headers') ?? []].flat().join(', ')
  const listed = exposed.split(',').map((item) => item.trim().toLowerCase())
  if (listed.includes(name.toLowerCase())) return
  res.setHeader('Access-Control-Expose-Headers', exposed === '' ? name : `${exposed}, ${name}`)
}
