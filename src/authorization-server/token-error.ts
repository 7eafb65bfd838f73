import {
  SubjectTokenRejectedError,
  TokenRequestError,
  UpstreamUnavailableError,
  type McpAuthError,
} from '../errors/errors.js'
import { hintFor } from './hints.js'
import type { TokenErrorAnswer } from './token-answer.js'

const REJECTS_SUBJECT_TOKEN = ['invalid_grant', 'invalid_token', 'interaction_required', 'login_required']
/** Nextcloud's oidc app says `invalid_grant` of a grant type that it does not have. */
const NO_SUCH_GRANT = /\bgrant_type\b/
/** `error` values by which a server says that it is not working now (RFC 6749 §4.1.2.1). */
export const MEANS_OUTAGE: readonly string[] = ['temporarily_unavailable', 'server_error']

/**
 * Whose fault a refused exchange is: the outside's (503), the MCP client's, who needs another token (401), or the operator's
 * (502).
 *
 * @param sent the parameters of the request
 * @param authorizationUri where an MCP client can send its user, for a claims challenge
 */
export function classifyExchangeError(
  answer: TokenErrorAnswer,
  sent?: URLSearchParams,
  authorizationUri?: string,
): McpAuthError {
  const { error, description: errorDescription } = answer
  if (MEANS_OUTAGE.includes(error)) return outage(answer)
  // A new MCP token would not help: it is this server's client that nobody has consented to.
  if (answer.suberror === 'consent_required') return refusal(answer, hintFor({ ...answer, error: 'consent_required' }))
  if (error === 'invalid_grant' && NO_SUCH_GRANT.test(errorDescription ?? '')) {
    return refusal(answer, hintFor({ ...answer, error: 'unsupported_grant_type' }))
  }
  if (REJECTS_SUBJECT_TOKEN.includes(error) || (error === 'invalid_request' && blamesSubjectToken(errorDescription))) {
    const challenge = answer.claims === undefined ? undefined : { claims: answer.claims, authorizationUri }
    return new SubjectTokenRejectedError({ error, errorDescription, challenge })
  }
  return refusal(answer, hintFor(answer, sent))
}

/** The same for a refused refresh, once it is known not to mean that the refresh token is dead: there is no MCP token to blame. */
export function classifyRefreshError(answer: TokenErrorAnswer): McpAuthError {
  if (MEANS_OUTAGE.includes(answer.error)) return outage(answer)
  return refusal(
    answer,
    hintFor(answer, undefined, {
      unauthorized_client:
        'This client may not use the grant: switch refresh tokens on for it at the authorization server.',
    }),
  )
}

/** The same for a code that is not redeemed: the browser brought it a moment ago, so it is seldom the code's own fault. */
export function classifyCodeError(answer: TokenErrorAnswer): McpAuthError {
  if (MEANS_OUTAGE.includes(answer.error)) return outage(answer)
  return refusal(
    answer,
    hintFor(answer, undefined, {
      invalid_grant:
        'Check that the redirect URI of this client is auth.connectRedirectUri, and that the clocks agree.',
      unauthorized_client:
        'This client may not use the grant: switch the authorization code flow on for it at the authorization server.',
    }),
  )
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
 * (Keycloak says "Invalid token" for the one, and names the audience or the switch for the other). Only the description tells.
 */
function blamesSubjectToken(description: string | undefined): boolean {
  if (description === undefined) return true
  return BAD_TOKEN.test(description)
}

/** "Invalid token", "subject_token is expired"; not "invalid audience for token exchange", nor "invalid subject_token_type". */
const BAD_TOKEN = new RegExp(
  [
    String.raw`\b(?:invalid|expired|revoked|inactive|unknown)\s+(?:\w+[\s_])?token\b(?!\s*(?:exchange|request|endpoint|type))`,
    String.raw`(?:\b|_)token\s(?:\w+\s){0,3}(?:invalid|expired|revoked|inactive|not\s+(?:active|valid|found))\b`,
  ].join('|'),
  'i',
)
