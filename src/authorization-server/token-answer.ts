import { TokenRequestError, UpstreamUnavailableError } from '../errors/errors.js'
import { HIDDEN, inOneLine, withoutSecrets } from '../errors/secrecy.js'
import { parseObject } from '../json.js'
import type { WholeAnswer } from '../transport/answer.js'
import { readClaimsRequest } from './claims-request.js'

/** An access token, fresh from the authorization server. */
export interface TokenAnswer {
  readonly accessToken: string
  /** `expires_in` in seconds: undefined when the answer has none, NaN when it is not a positive number. */
  readonly expiresIn: number | undefined
  /** Monotonic milliseconds just before the request that was answered. */
  readonly sentAt: number
}

/** An error answer of the token endpoint (RFC 6749 §5.2). */
export interface TokenErrorAnswer {
  readonly error: string
  readonly description: string | undefined
  readonly httpStatus: number
  /** Entra's second word on `error`. */
  readonly suberror?: string | undefined
  /** The claims request that Entra adds if the user must do more, see `readClaimsRequest`. */
  readonly claims?: string | undefined
}

/** A refresh token, with what the server says about it. */
export interface GrantedTokens {
  /** The refresh token that replaces the one that was sent; undefined when that one stays good. */
  readonly refreshToken: string | undefined
  /** Seconds until the refresh token ends, if the server states an end. */
  readonly refreshExpiresIn: number | undefined
  /** The scopes, if the server names them. */
  readonly scopes: readonly string[] | undefined
}

/** The outcome of a refresh that the authorization server grants. */
export interface RefreshAnswer extends GrantedTokens {
  /** Monotonic milliseconds just before the request that was answered. */
  readonly sentAt: number
  /** The access token, or the reason why it cannot be used: the refresh token counts all the same. */
  readonly access: TokenAnswer | TokenRequestError
}

const NOT_ACCESS_TOKENS = [
  'urn:ietf:params:oauth:token-type:id_token',
  'urn:ietf:params:oauth:token-type:refresh_token',
  'urn:ietf:params:oauth:token-type:saml1',
  'urn:ietf:params:oauth:token-type:saml2',
]
/** RFC 6749 appendix A.12: the characters of an access token. */
const ACCESS_TOKEN = /^[\x20-\x7E]+$/

/** Decodes JSON as Fetch does: without a byte order mark, and with U+FFFD for what is not UTF-8. */
const utf8 = new TextDecoder()

/** An answer of the token endpoint: the body that grants, or the refusal. */
export type TokenEndpointAnswer =
  | { readonly body: Record<string, unknown>; readonly refusal?: undefined }
  | { readonly body?: undefined; readonly refusal: TokenErrorAnswer }

/**
 * @param secrets what was in the request: none of it may come back in an error
 * @throws {UpstreamUnavailableError} the answer is not a JSON object, or is a refusal without an `error`
 */
export function readTokenEndpointAnswer(
  { status, body: bytes }: Pick<WholeAnswer, 'status' | 'body'>,
  secrets: readonly (string | undefined)[],
): TokenEndpointAnswer {
  const body = parseObject(utf8.decode(bytes))
  if (body === undefined) throw malformed('token', status)
  // Some servers refuse under status 200.
  const refused = status !== 200 || ('error' in body && body['access_token'] === undefined)
  return refused ? { refusal: readTokenError(body, status, secrets) } : { body }
}

export function malformed(what: string, httpStatus: number): UpstreamUnavailableError {
  return new UpstreamUnavailableError(`The authorization server answers the ${what} request with nonsense`, {
    httpStatus,
  })
}

function readTokenError(
  { error, error_description: description, suberror, claims }: Record<string, unknown>,
  httpStatus: number,
  secrets: readonly (string | undefined)[],
): TokenErrorAnswer {
  if (typeof error !== 'string' || error === '') throw malformed('token', httpStatus)
  return {
    error: quoted(error, secrets),
    description: typeof description === 'string' ? quoted(description, secrets) : undefined,
    httpStatus,
    suberror: typeof suberror === 'string' ? suberror : undefined,
    claims: readClaimsRequest(claims, secrets),
  }
}

/** Characters in a row that only a token has. */
const LIKE_A_TOKEN = /[\w.~+/=-]{28,}/g
/** Characters of the server's words in an error. */
const LONGEST_QUOTATION = 300

/** Returns the server's words without the secrets of the request, which they may quote, and without whatever is as long as a token. */
function quoted(text: string, secrets: readonly (string | undefined)[]): string {
  const safe = withoutSecrets(text, secrets).replace(LIKE_A_TOKEN, HIDDEN)
  return inOneLine(safe).slice(0, LONGEST_QUOTATION)
}

/**
 * Reads a token answer in place of oauth4webapi, which refuses a whole answer over its `expires_in`. Only an access token for
 * another service than this server may come out (RFC 8693 §2.2.1, RFC 6749 §7.1).
 *
 * @param sent the token that was presented, which must not come back as the access token
 */
export function checkTokenAnswer(body: Record<string, unknown>, sent: string): Omit<TokenAnswer, 'sentAt'> {
  const { access_token: accessToken, token_type: tokenType, issued_token_type: issuedTokenType } = body
  const { expires_in: life } = body
  if (typeof accessToken !== 'string' || !ACCESS_TOKEN.test(accessToken)) {
    throw refused('The token answer has no access_token that could be one')
  }
  // N_A: what was issued "is not an access token" by RFC 8693 §2.2.1, and some servers say so of one that is.
  if (typeof tokenType !== 'string' || !['bearer', 'n_a'].includes(tokenType.toLowerCase())) {
    throw refused(
      'The token answer has a token_type other than Bearer',
      'Switch DPoP or mTLS binding off for this client.',
    )
  }
  if (typeof issuedTokenType === 'string' && NOT_ACCESS_TOKENS.includes(issuedTokenType)) {
    throw refused(
      'The token answer has an issued_token_type that is not an access token',
      'Set requested_token_type in nextcloud.parameters.',
    )
  }
  if (accessToken === sent) {
    throw refused(
      'The token answer is the very token that was sent',
      'Check nextcloud.audience; for MCP tokens that are for both audiences there is pass-through mode.',
    )
  }
  const isLife = life === undefined || (typeof life === 'number' && life > 0)
  return { accessToken, expiresIn: isLife ? life : NaN }
}

function refused(message: string, hint?: string): TokenRequestError {
  return new TokenRequestError(message, { httpStatus: 200, hint })
}

/** Members with the seconds after which the refresh token ends: Keycloak's, and the one that others use. 0 says nothing. */
const REFRESH_END_FIELDS = ['refresh_expires_in', 'refresh_token_expires_in']

/** Reads a granted refresh. Its refresh token counts, whatever is wrong with its access token. */
export function readRefreshAnswer(body: Record<string, unknown>, refreshToken: string, sentAt: number): RefreshAnswer {
  const granted = { ...readGrantedTokens(body), sentAt }
  try {
    return { ...granted, access: { ...checkTokenAnswer(body, refreshToken), sentAt } }
  } catch (error) {
    if (error instanceof TokenRequestError) return { ...granted, access: error }
    throw error
  }
}

export function readGrantedTokens(body: Record<string, unknown>): GrantedTokens {
  const { refresh_token: refreshToken, scope } = body
  const ends = REFRESH_END_FIELDS.map((field) => Number(body[field])).find((seconds) => seconds > 0)
  return {
    refreshToken: typeof refreshToken === 'string' && refreshToken !== '' ? refreshToken : undefined,
    refreshExpiresIn: ends !== undefined && Number.isFinite(ends) ? ends : undefined,
    scopes: typeof scope === 'string' ? scope.split(' ').filter(Boolean) : undefined,
  }
}
