import * as oauth from 'oauth4webapi'
import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { ConfigurationError, TokenRequestError, UpstreamUnavailableError } from '../errors.js'
import type { Events } from '../events.js'
import { clientAuthentication } from './client-authentication.js'
import type { Discovery } from './discovery.js'
import type { IdpFetch, Transport } from './fetch.js'
import { PLAIN_HTTP_IS_CHECKED } from './plain-http.js'
import { classifyExchangeError, type TokenErrorAnswer } from './token-error.js'

/** An access token, fresh from the authorization server. */
export interface TokenAnswer {
  readonly accessToken: string
  /** `expires_in` in seconds: undefined when the answer has none, NaN when it is no positive number. */
  readonly expiresIn: number | undefined
  /** Monotonic milliseconds just before the request that was answered. */
  readonly sentAt: number
}

/** This server as a client of the authorization server. */
export interface AuthorizationServerClient {
  /**
   * A token for Nextcloud in exchange for the MCP token (RFC 8693, RFC 7523), repeated when it fails for want of an answer.
   *
   * @throws {SubjectTokenRejectedError} the MCP token was refused
   * @throws {TokenRequestError} the request was refused for another reason, or the answer cannot be used
   * @throws {UpstreamUnavailableError} there was no usable answer
   */
  readonly exchange: (grantType: string, mcpToken: string, parameters: URLSearchParams) => Promise<TokenAnswer>
  /**
   * The introspection answer (RFC 7662), or undefined when the server has no such endpoint or this server no credentials.
   *
   * @throws {ConfigurationError} the server refused to answer
   * @throws {UpstreamUnavailableError} there was no usable answer
   */
  readonly introspect: (token: string) => Promise<oauth.IntrospectionResponse | undefined>
}

const NOT_ACCESS_TOKENS = [
  'urn:ietf:params:oauth:token-type:id_token',
  'urn:ietf:params:oauth:token-type:refresh_token',
  'urn:ietf:params:oauth:token-type:saml1',
  'urn:ietf:params:oauth:token-type:saml2',
]
/** Characters. What is shorter is no secret, and is part of ordinary words. */
const SHORTEST_SECRET = 6
/** RFC 6749 appendix A.12: what an access token is made of. */
const ACCESS_TOKEN = /^[\x20-\x7E]+$/

export function createClient(
  config: Config,
  discovery: Discovery,
  transport: Transport,
  clock: Clock,
  events: Events,
): AuthorizationServerClient {
  const { client } = config

  function requestOptions(fetch: IdpFetch) {
    return { [oauth.customFetch]: fetch, ...PLAIN_HTTP_IS_CHECKED }
  }

  return {
    async exchange(grantType, mcpToken, parameters) {
      if (client === undefined) throw new ConfigurationError('A token exchange needs clientId', 'clientId')
      const as = await discovery.forTokenRequests()
      return transport.call('token', true, async (fetch) => {
        const sentAt = clock.monotonic()
        events.counters.exchanges += 1
        const response = await oauth.genericTokenEndpointRequest(
          as,
          { client_id: client.id },
          clientAuthentication(client, as),
          grantType,
          parameters,
          requestOptions(fetch),
        )
        const body = await readJsonObject(response)
        // Some servers refuse under status 200.
        if (response.status !== 200 || ('error' in body && body['access_token'] === undefined)) {
          throw classifyExchangeError(readTokenError(body, response.status, [client.secret, mcpToken]))
        }
        return { ...checkTokenAnswer(body, mcpToken), sentAt }
      })
    },

    async introspect(token) {
      if (client?.hasCredentials !== true) return undefined
      const as = await discovery.forIntrospection()
      if (as === undefined) return undefined
      return transport.call('introspection', true, async (fetch) => {
        const response = await oauth.introspectionRequest(
          as,
          { client_id: client.id },
          clientAuthentication(client, as),
          token,
          { ...requestOptions(fetch), additionalParameters: { token_type_hint: 'access_token' } },
        )
        if (response.status >= 400 && response.status < 500 && response.status !== 404) {
          throw new ConfigurationError(
            `The authorization server refuses introspection with status ${response.status}; check clientId and clientSecret`,
            'introspection',
          )
        }
        try {
          return await oauth.processIntrospectionResponse(as, { client_id: client.id }, response)
        } catch {
          // The library's error holds the whole answer, so it is not kept.
          throw malformed('introspection', response.status)
        }
      })
    },
  }
}

function malformed(what: string, httpStatus: number): UpstreamUnavailableError {
  return new UpstreamUnavailableError(`The authorization server answers the ${what} request with nonsense`, {
    httpStatus,
  })
}

async function readJsonObject(response: Response): Promise<Record<string, unknown>> {
  const body: unknown = await response.json().catch(() => undefined)
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw malformed('token', response.status)
  return body as Record<string, unknown>
}

function readTokenError(
  { error, error_description: description }: Record<string, unknown>,
  httpStatus: number,
  secrets: readonly (string | undefined)[],
): TokenErrorAnswer {
  if (typeof error !== 'string' || error === '') throw malformed('token', httpStatus)
  return {
    error: withoutSecrets(error, secrets),
    description: typeof description === 'string' ? withoutSecrets(description, secrets) : undefined,
    httpStatus,
  }
}

/** What a server says may quote the request: neither what was in it nor anything as long as a token gets through. */
function withoutSecrets(text: string, secrets: readonly (string | undefined)[]): string {
  const left = secrets.reduce<string>(
    (rest, secret) => (secret !== undefined && secret.length >= SHORTEST_SECRET ? rest.replaceAll(secret, '…') : rest),
    text,
  )
  return left
    .replace(/[\w.~+/=-]{28,}/g, '…')
    .replace(/[^\x20-\x7E…]/g, ' ')
    .slice(0, 300)
}

/**
 * Read here and not by oauth4webapi, which refuses a whole answer over its `expires_in`. Nothing that is not an access token
 * for somebody else than this server may come out (RFC 8693 §2.2.1, RFC 6749 §7.1).
 */
function checkTokenAnswer(body: Record<string, unknown>, mcpToken: string): Omit<TokenAnswer, 'sentAt'> {
  const { access_token: accessToken, token_type: tokenType, issued_token_type: issuedTokenType } = body
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
  if (accessToken === mcpToken) {
    throw refused(
      'The token answer is the MCP token itself',
      'Check nextcloud.audience; for tokens that are for both audiences there is pass-through mode.',
    )
  }
  return { accessToken, expiresIn: readExpiresIn(body['expires_in']) }
}

function refused(message: string, hint?: string): TokenRequestError {
  return new TokenRequestError(message, { httpStatus: 200, hint })
}

function readExpiresIn(value: unknown): number | undefined {
  if (value === undefined) return undefined
  return typeof value === 'number' && value > 0 ? value : NaN
}
