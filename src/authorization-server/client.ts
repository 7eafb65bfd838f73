import * as oauth from 'oauth4webapi'
import type { Clock } from '../clock.js'
import type { ClientConfig, Config } from '../config/config.js'
import { ConfigurationError, McpAuthError } from '../errors/errors.js'
import type { Events } from '../events.js'
import { clientAuthentication } from './client-authentication.js'
import type { Discovery } from './discovery.js'
import type { WholeAnswer } from '../transport/answer.js'
import type { Ask, IdpFetch, Transport } from '../transport/transport.js'
import { PLAIN_HTTP_IS_CHECKED } from './plain-http.js'
import { quirksOf, type Quirks } from '../presets.js'
import {
  checkTokenAnswer,
  malformed,
  readRefreshAnswer,
  readTokenEndpointAnswer,
  readTokenError,
  type RefreshAnswer,
  type TokenAnswer,
  type TokenErrorAnswer,
} from './token-answer.js'
import { classifyExchangeError, classifyRefreshError } from './token-error.js'
import { wholeAnswer } from './unparsed-request.js'

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
   * A fresh access token for a refresh token (RFC 6749 §6), or undefined when the server says that the refresh token is dead. It
   * is repeated only after a failure that surely left the refresh token unspent.
   *
   * @param beforeSending called before each attempt; what it throws ends the call
   * @throws {TokenRequestError} the request was refused for another reason
   * @throws {UpstreamUnavailableError} there was no usable answer
   */
  readonly refresh: (
    refreshToken: string,
    parameters: URLSearchParams,
    beforeSending: () => void,
  ) => Promise<RefreshAnswer | undefined>
  /**
   * Asks the server to revoke a refresh token (RFC 7009): whether it did, or that it has no endpoint for it. Never rejects: a
   * server that cannot be asked has not revoked.
   */
  readonly revoke: (refreshToken: string) => Promise<boolean | 'unsupported'>
  /**
   * The introspection answer (RFC 7662), or undefined when the server has no such endpoint or this server no credentials.
   *
   * @throws {ConfigurationError} the server refused to answer
   * @throws {UpstreamUnavailableError} there was no usable answer
   */
  readonly introspect: (token: string) => Promise<oauth.IntrospectionResponse | undefined>
}

export function createClient(
  config: Config,
  discovery: Discovery,
  transport: Transport,
  clock: Clock,
  events: Events,
): AuthorizationServerClient {
  const { client } = config
  const quirks = quirksOf(config.nextcloud?.preset)

  function requestOptions(fetch: IdpFetch) {
    return { [oauth.customFetch]: fetch, ...PLAIN_HTTP_IS_CHECKED }
  }

  function requestToken(
    self: ClientConfig,
    as: oauth.AuthorizationServer,
    ask: Ask,
    grantType: string,
    form: URLSearchParams,
  ): Promise<WholeAnswer> {
    const authentication = clientAuthentication(self, as, quirks)
    return wholeAnswer(ask, (fetch) =>
      oauth.genericTokenEndpointRequest(
        as,
        { client_id: self.id },
        authentication,
        grantType,
        form,
        requestOptions(fetch),
      ),
    )
  }

  return {
    async exchange(grantType, mcpToken, parameters) {
      if (client === undefined) throw new ConfigurationError('A token exchange needs clientId', 'clientId')
      const as = await discovery.forTokenRequests()
      return transport.call('token', 'always', async (_fetch, ask) => {
        const sentAt = clock.monotonic()
        events.counters.exchanges += 1
        const answer = await requestToken(client, as, ask, grantType, parameters)
        const { body, refused } = readTokenEndpointAnswer(answer)
        if (refused) {
          const error = readTokenError(body, answer.status, [client.secret, mcpToken])
          throw classifyExchangeError(error, parameters, as.authorization_endpoint)
        }
        return { ...checkTokenAnswer(body, mcpToken), sentAt }
      })
    },

    async refresh(refreshToken, parameters, beforeSending) {
      if (client === undefined) throw new ConfigurationError('A refresh needs clientId', 'clientId')
      const as = await discovery.forTokenRequests()
      return transport.call('token', 'unprocessed', async (_fetch, ask) => {
        beforeSending()
        const sentAt = clock.monotonic()
        events.counters.refreshes += 1
        const form = new URLSearchParams([...parameters, ['refresh_token', refreshToken]])
        const answer = await requestToken(client, as, ask, 'refresh_token', form)
        const { body, refused } = readTokenEndpointAnswer(answer)
        if (refused) {
          const error = readTokenError(body, answer.status, [client.secret, refreshToken])
          if (quirks.deadRefreshToken.includes(error.error) || isUnknownHere(quirks, error)) return undefined
          throw classifyRefreshError(error)
        }
        return readRefreshAnswer(body, refreshToken, sentAt)
      })
    },

    async revoke(refreshToken) {
      if (client === undefined) return 'unsupported'
      if (!quirks.revocation && config.endpoints.revocationEndpoint === undefined) return 'unsupported'
      try {
        const as = await discovery.forRevocation()
        if (as === undefined) return 'unsupported'
        return await transport.call('revocation', 'always', async (fetch) => {
          const response = await oauth.revocationRequest(
            as,
            { client_id: client.id },
            clientAuthentication(client, as, quirks),
            refreshToken,
            { ...requestOptions(fetch), additionalParameters: { token_type_hint: 'refresh_token' } },
          )
          return response.status === 200
        })
      } catch (error) {
        if (error instanceof McpAuthError) return false
        throw error
      }
    },

    async introspect(token) {
      if (client?.hasCredentials !== true) return undefined
      const as = await discovery.forIntrospection()
      if (as === undefined) return undefined
      return transport.call('introspection', 'always', async (fetch) => {
        const response = await oauth.introspectionRequest(
          as,
          { client_id: client.id },
          clientAuthentication(client, as, quirks),
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

/** Whether the server says, in words of its own, that it does not have the refresh token. */
function isUnknownHere({ unknownRefreshToken }: Quirks, { error, description = '' }: TokenErrorAnswer): boolean {
  return error === 'invalid_request' && unknownRefreshToken?.test(description) === true
}
