import { SubjectTokenRejectedError, TokenRequestError, UpstreamUnavailableError, type McpAuthError } from '../errors.js'

/** An error answer of the token endpoint (RFC 6749 §5.2). */
export interface TokenErrorAnswer {
  readonly error: string
  readonly description: string | undefined
  readonly httpStatus: number
}

/** What an operator should look at, by `error`. */
const HINTS = new Map(
  Object.entries({
    invalid_client: 'Check clientId, clientSecret (or clientAuth) and the authentication method of this client.',
    unauthorized_client:
      'This client may not use the grant: switch token exchange on for it at the authorization server.',
    unsupported_grant_type: 'The authorization server does not offer this grant: check nextcloud.mode.',
    invalid_target: 'Check nextcloud.audience and nextcloud.resource, and that this client may ask for them.',
    invalid_scope: 'Check nextcloud.scopes, and that this client may ask for them.',
    access_denied:
      'This client may not exchange the token: it has to be in the aud of the MCP token, or be allowed by a policy.',
    invalid_request:
      'The authorization server does not take the request as it is: check that token exchange is switched on for this client, nextcloud.audience and nextcloud.parameters.',
    consent_required:
      'A person or an administrator has to consent to the scopes of this client at the authorization server.',
  }),
)

const REJECTS_SUBJECT_TOKEN = ['invalid_grant', 'invalid_token', 'interaction_required', 'login_required']
/** `error` values by which a server says that it is not working now (RFC 6749 §4.1.2.1). */
export const MEANS_OUTAGE: readonly string[] = ['temporarily_unavailable', 'server_error']

/**
 * Whose fault a refused exchange is: the outside's (503), the MCP client's, who needs another token (401), or the operator's
 * (502).
 */
export function classifyExchangeError(answer: TokenErrorAnswer): McpAuthError {
  const { error } = answer
  if (MEANS_OUTAGE.includes(error)) return outage(answer)
  if (
    REJECTS_SUBJECT_TOKEN.includes(error) ||
    (error === 'invalid_request' && blamesSubjectToken(answer.description))
  ) {
    return new SubjectTokenRejectedError()
  }
  return refusal(answer, HINTS.get(error))
}

/** The same for a refused refresh, once it is known not to mean that the refresh token is dead: there is no MCP token to blame. */
export function classifyRefreshError(answer: TokenErrorAnswer): McpAuthError {
  if (MEANS_OUTAGE.includes(answer.error)) return outage(answer)
  const hint =
    answer.error === 'unauthorized_client'
      ? 'This client may not use the grant: switch refresh tokens on for it at the authorization server.'
      : HINTS.get(answer.error)
  return refusal(answer, hint)
}

/** The same for a code that is not redeemed: the browser brought it a moment ago, so it is seldom the code's own fault. */
export function classifyCodeError(answer: TokenErrorAnswer): McpAuthError {
  if (MEANS_OUTAGE.includes(answer.error)) return outage(answer)
  const hint =
    answer.error === 'invalid_grant'
      ? 'Check that the redirect URI of this client is auth.connectRedirectUri, and that the clocks agree.'
      : answer.error === 'unauthorized_client'
        ? 'This client may not use the grant: switch the authorization code flow on for it at the authorization server.'
        : HINTS.get(answer.error)
  return refusal(answer, hint)
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
