import {
  SubjectTokenRejectedError,
  TokenRequestError,
  UpstreamUnavailableError,
  type McpAuthError,
} from '../errors/errors.js'
import type { Quirks } from '../presets.js'
import { entraRefusal } from './entra-errors.js'
import { hintFor } from './hints.js'
import type { TokenErrorAnswer } from './token-answer.js'

const REJECTS_SUBJECT_TOKEN = ['invalid_grant', 'invalid_token', 'interaction_required', 'login_required']
/** Matches the `invalid_grant` by which Nextcloud's oidc app refuses a grant type that it does not have. */
const NO_SUCH_GRANT = /\bgrant_type\b/
/** `error` values by which a server says that it is not working now (RFC 6749 §4.1.2.1). */
export const MEANS_OUTAGE: readonly string[] = ['temporarily_unavailable', 'server_error']

/**
 * Returns a refused exchange as the fault of the outside (503), of the MCP client, which needs another token (401), or of the operator
 * (502).
 *
 * @param sent the parameters of the request
 * @param authorizationUri the address to which an MCP client can send its user, for a claims challenge
 */
export function classifyExchangeError(
  answer: TokenErrorAnswer,
  sent?: URLSearchParams,
  authorizationUri?: string,
): McpAuthError {
  const { error, description: errorDescription } = answer
  if (meansOutage(answer)) return outage(answer)
  // A new MCP token would not help: the consent to this server's own client is missing.
  if (answer.suberror === 'consent_required') return refusal(answer, hintFor({ ...answer, error: 'consent_required' }))
  if (error === 'invalid_grant' && NO_SUCH_GRANT.test(errorDescription ?? '')) {
    return refusal(answer, hintFor({ ...answer, error: 'unsupported_grant_type' }))
  }
  if (!rejectsSubjectToken(answer)) return refusal(answer, hintFor(answer, sent))
  const challenge = answer.claims === undefined ? undefined : { claims: answer.claims, authorizationUri }
  return new SubjectTokenRejectedError({
    error,
    errorDescription,
    hint: entraRefusal(errorDescription)?.hint,
    challenge,
  })
}

function rejectsSubjectToken({ error, description, claims }: TokenErrorAnswer): boolean {
  const known = entraRefusal(description)
  if (known !== undefined) return known.mendedBy === 'user' || (known.mendedBy === 'policy' && claims !== undefined)
  return REJECTS_SUBJECT_TOKEN.includes(error) || (error === 'invalid_request' && blamesSubjectToken(description))
}

/**
 * Returns a refused refresh or code as the fault of the outside (503) or of the operator (502), because there is no MCP token to blame.
 * A dead refresh token is told apart before. A code is seldom at fault, because the browser brought it a moment ago.
 */
export function classifyGrantError(answer: TokenErrorAnswer, grant: 'refresh' | 'code'): McpAuthError {
  return meansOutage(answer) ? outage(answer) : refusal(answer, hintFor(answer, grant))
}

/** Whether the server says, maybe in words of its own, that it does not have the refresh token, or not without its user. */
export function meansDead(
  { error, description = '' }: TokenErrorAnswer,
  quirks: Pick<Quirks, 'deadRefreshToken' | 'unknownRefreshToken'>,
): boolean {
  const known = entraRefusal(description)
  // What an operator has to mend, or what passes, is said as invalid_grant too, and the refresh token lives on.
  if (known !== undefined) return known.mendedBy === 'user' || known.mendedBy === 'consent'
  if (quirks.deadRefreshToken.includes(error)) return true
  return error === 'invalid_request' && quirks.unknownRefreshToken?.test(description) === true
}

function meansOutage({ error, description }: TokenErrorAnswer): boolean {
  return MEANS_OUTAGE.includes(error) || entraRefusal(description)?.mendedBy === 'nobody'
}

/** Matches words, and Entra's codes for a secret that is wrong (7000215) or has expired (7000222), and for an unknown client (700016). */
const WRONG_CLIENT = /client[\s_-]*(?:credentials|secret|authentication)|AADSTS(?:7000215|7000222|700016)\b/i

/** Whether a refused request says that the client is not who it says. RFC 6749 §5.2 has 401 for that. */
export function blamesClient({ error, errorDescription = '', httpStatus }: TokenRequestError): boolean {
  return error === 'invalid_client' || httpStatus === 401 || WRONG_CLIENT.test(errorDescription)
}

/** Matches, among others, Keycloak's description for a client without the switch. */
const NOT_FOR_THIS_CLIENT = /\bnot (?:enabled|allowed|permitted|supported|authorized)\b/i

/** Whether a refused request says that the grant is not offered at all, or not to this client (RFC 6749 §5.2). */
export function refusesGrant({ error = '', errorDescription = '' }: TokenRequestError): boolean {
  return ['unauthorized_client', 'unsupported_grant_type'].includes(error) || NOT_FOR_THIS_CLIENT.test(errorDescription)
}

function outage({ error, httpStatus }: TokenErrorAnswer): UpstreamUnavailableError {
  return new UpstreamUnavailableError(`The authorization server answers ${error}`, { httpStatus })
}

function refusal({ error, description, httpStatus }: TokenErrorAnswer, hint: string | undefined): TokenRequestError {
  return new TokenRequestError(`The authorization server refused the token request: ${error}`, {
    error,
    errorDescription: description,
    httpStatus,
    hint,
  })
}

/**
 * RFC 8693 §2.2.2 has `invalid_request` for a subject token that is not valid, and servers use it for malformed requests too
 * (Keycloak says "Invalid token" for the one, and names the audience or the switch for the other). Only the description tells
 * them apart.
 */
function blamesSubjectToken(description: string | undefined): boolean {
  return description === undefined || BAD_TOKEN.test(description)
}

/** "Invalid token", "subject_token is expired"; not "invalid audience for token exchange", nor "invalid subject_token_type". */
// eslint-disable-next-line security/detect-non-literal-regexp -- made of literals, for the lines to be read
const BAD_TOKEN = new RegExp(
  [
    String.raw`\b(?:invalid|expired|revoked|inactive|unknown)\s+(?:\w+[\s_])?token\b(?!\s+(?:exchange|request|endpoint|type))`,
    String.raw`(?:\b|_)token\s(?:\w+\s){0,3}(?:invalid|expired|revoked|inactive|not\s+(?:active|valid|found))\b`,
  ].join('|'),
  'i',
)
