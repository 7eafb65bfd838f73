import * as oauth from 'oauth4webapi'
import type { Clock } from '../clock.js'
import type { ClientConfig, Config } from '../config/config.js'
import { variableOf } from '../config/declarations.js'
import { ConfigurationError, McpAuthError } from '../errors/errors.js'
import { ifError } from '../errors/if-error.js'
import { parseObject } from '../json.js'
import type { Events } from '../events.js'
import { quirksOf, type Quirks } from '../presets.js'
import type { Ask, IdpFetch, Transport } from '../transport/transport.js'
import type { Work } from '../watchers.js'
import { introduction } from './client-authentication.js'
import type { Discovery } from './discovery.js'
import { requestOptions } from './request-options.js'
import {
  checkTokenAnswer,
  malformed,
  readRefreshAnswer,
  readTokenEndpointAnswer,
  type RefreshAnswer,
  type TokenAnswer,
} from './token-answer.js'
import { classifyExchangeError, classifyGrantError, meansDead } from './token-error.js'
import { sendUnparsed } from './unparsed-request.js'

/** This server as a client of the authorization server. */
export interface AuthorizationServerClient {
  /**
   * A token for Nextcloud in exchange for the MCP token (RFC 8693, RFC 7523). The request is repeated when it gets no usable answer.
   *
   * @throws {SubjectTokenRejectedError} the MCP token was refused
   * @throws {TokenRequestError} the request was refused for another reason, or the answer cannot be used
   * @throws {UpstreamUnavailableError} there was no usable answer
   */
  readonly exchange: (grantType: string, mcpToken: string, parameters: URLSearchParams) => Promise<TokenAnswer>
  /**
   * A fresh access token for a refresh token (RFC 6749 §6), or `dead` when the server says that the refresh token is dead. The
   * request is repeated only after a failure that surely left the refresh token unspent.
   *
   * @param beforeSending called before each attempt; what it throws ends the call
   * @throws {TokenRequestError} the request was refused for another reason
   * @throws {UpstreamUnavailableError} there was no usable answer
   */
  readonly refresh: (
    refreshToken: string,
    parameters: URLSearchParams,
    beforeSending: () => void,
  ) => Promise<RefreshAnswer | 'dead'>
  /**
   * Asks the server to revoke a refresh token (RFC 7009), and returns whether it did, that it has no endpoint for it, or that it may
   * do so later. Never rejects.
   */
  readonly revoke: (refreshToken: string) => Promise<boolean | 'unsupported' | 'unavailable' | 'failed'>
  /**
   * The introspection answer (RFC 7662), or undefined when the server has no such endpoint or this server no credentials.
   *
   * @param repeatable whether the request is repeated when it gets no usable answer
   * @throws {ConfigurationError} the server refused to answer
   * @throws {UpstreamUnavailableError} there was no usable answer
   */
  readonly introspect: (
    token: string,
    repeatable: 'always' | 'never',
  ) => Promise<oauth.IntrospectionResponse | undefined>
}

/** The rooms that requests to the authorization server are made with. */
export interface ClientRooms {
  readonly config: Config
  readonly discovery: Discovery
  readonly transport: Transport
  readonly clock: Clock
  readonly events: Events
}

interface Rooms extends ClientRooms {
  readonly quirks: Quirks
}

export function createClient(given: ClientRooms): AuthorizationServerClient {
  const rooms = { ...given, quirks: quirksOf(given.config.nextcloud?.preset) }
  return {
    exchange: (...request) => exchange(rooms, ...request),
    refresh: (...request) => refresh(rooms, ...request),
    revoke: (refreshToken) => revoke(rooms, refreshToken).catch(ifError(McpAuthError, () => 'unavailable' as const)),
    introspect: (...request) => introspect(rooms, ...request),
  }
}

async function exchange(
  { config, discovery, transport, clock, events, quirks }: Rooms,
  ...[grantType, mcpToken, parameters]: Parameters<AuthorizationServerClient['exchange']>
): Promise<TokenAnswer> {
  const client = needClient(config, 'A token exchange')
  const as = await discovery.forTokenRequests()
  const work = { name: 'mcp.auth.token_exchange', at: as.token_endpoint } as const
  const send = async (_fetch: IdpFetch, ask: Ask): Promise<TokenAnswer> => {
    const sentAt = clock.monotonic()
    events.counters.exchanges += 1
    const answer = await sendUnparsed(ask, (fetch) =>
      oauth.genericTokenEndpointRequest(
        ...introduction(client, as, quirks),
        grantType,
        parameters,
        requestOptions(fetch),
      ),
    )
    const { body, refusal } = readTokenEndpointAnswer(answer, [client.secret, mcpToken])
    if (refusal !== undefined) throw classifyExchangeError(refusal, parameters, as.authorization_endpoint)
    return { ...checkTokenAnswer(body, mcpToken), sentAt }
  }
  return events.during(work, () => transport.call('token', 'always', send))
}

const REFRESH: Work<RefreshAnswer | 'dead'> = {
  name: 'mcp.auth.token_refresh',
  told: (answer) => (answer === 'dead' ? { 'error.type': 'invalid_grant' } : {}),
}

async function refresh(
  { config, discovery, transport, clock, events, quirks }: Rooms,
  ...[refreshToken, parameters, beforeSending]: Parameters<AuthorizationServerClient['refresh']>
): Promise<RefreshAnswer | 'dead'> {
  const client = needClient(config, 'A refresh')
  const as = await discovery.forTokenRequests()
  const form = new URLSearchParams([...parameters, ['refresh_token', refreshToken]])
  const send = async (_fetch: IdpFetch, ask: Ask): Promise<RefreshAnswer | 'dead'> => {
    beforeSending()
    const sentAt = clock.monotonic()
    events.counters.refreshes += 1
    const answer = await sendUnparsed(ask, (fetch) =>
      oauth.genericTokenEndpointRequest(
        ...introduction(client, as, quirks),
        'refresh_token',
        form,
        requestOptions(fetch),
      ),
    )
    const { body, refusal } = readTokenEndpointAnswer(answer, [client.secret, refreshToken])
    if (refusal === undefined) return readRefreshAnswer(body, refreshToken, sentAt)
    if (meansDead(refusal, quirks)) return 'dead'
    throw classifyGrantError(refusal, 'refresh')
  }
  return events.during({ ...REFRESH, at: as.token_endpoint }, () => transport.call('token', 'unprocessed', send))
}

async function revoke(
  { config, discovery, transport, quirks }: Rooms,
  refreshToken: string,
): Promise<boolean | 'unsupported' | 'unavailable' | 'failed'> {
  const { client, endpoints } = config
  if (client === undefined) return 'unsupported'
  if (!quirks.revocation && endpoints.revocationEndpoint === undefined) return 'unsupported'
  const as = await discovery.forRevocation()
  if (as === undefined) return 'unsupported'
  return transport.call('revocation', 'always', async (fetch) => {
    const options = { ...requestOptions(fetch), additionalParameters: { token_type_hint: 'refresh_token' } }
    const response = await oauth.revocationRequest(...introduction(client, as, quirks), refreshToken, options)
    if (response.status === 200) return true
    const { error } = (await response.json().catch(() => ({}))) as { readonly error?: unknown }
    // RFC 7009 §2.2.1: it never will. Any other error is of this client, and can be mended.
    return error === 'unsupported_token_type' ? false : 'failed'
  })
}

const refusalsOfClient = new WeakSet<object>()

/** Whether introspection was refused because this server is not the client that it says (RFC 6749 §5.2), whatever the token. */
export function refusesClient(error: unknown): boolean {
  return error instanceof ConfigurationError && refusalsOfClient.has(error)
}

async function introspect(
  { config: { client }, discovery, transport, quirks, events }: Rooms,
  ...[token, repeatable]: Parameters<AuthorizationServerClient['introspect']>
): Promise<oauth.IntrospectionResponse | undefined> {
  if (client?.hasCredentials !== true) return undefined
  const as = await discovery.forIntrospection()
  if (as === undefined) return undefined
  const work = { name: 'mcp.auth.introspect', at: as.introspection_endpoint } as const
  const send = async (fetch: IdpFetch): Promise<oauth.IntrospectionResponse> => {
    const options = { ...requestOptions(fetch), additionalParameters: { token_type_hint: 'access_token' } }
    const response = await oauth.introspectionRequest(...introduction(client, as, quirks), token, options)
    const { status } = response
    if (status >= 400 && status < 500 && status !== 404) {
      const refusal = new ConfigurationError(
        `The authorization server refuses introspection with status ${status}: compare clientId (${variableOf('clientId')}) and clientSecret (${variableOf('clientSecret')}) with what is registered there; if they are right, allow that client to introspect there, or set clientAuth to the way in which it has to authenticate`,
        'introspection',
      )
      const { error } = parseObject(await response.text()) ?? {}
      if (error === 'invalid_client') refusalsOfClient.add(refusal)
      throw refusal
    }
    try {
      return await oauth.processIntrospectionResponse(as, { client_id: client.id }, response)
    } catch {
      // The library's error holds the whole answer, so it is not kept.
      throw malformed('introspection', status)
    }
  }
  return events.during(work, () => transport.call('introspection', repeatable, send))
}

/** @throws {ConfigurationError} this server is not a client of the authorization server */
export function needClient({ client }: Config, purpose: string): ClientConfig {
  if (client === undefined) throw new ConfigurationError(`${purpose} needs clientId`, 'clientId')
  return client
}
