import * as oauth from 'oauth4webapi'
import type { ConnectConfig } from '../config/config.js'
import { deepFreeze } from '../freeze.js'
import { MODES } from '../modes.js'
import { quirksOf } from '../presets.js'
import {
  authorizationSecrets,
  authorizationUrl,
  redirectUriFor,
  requestedScopes,
  type AuthorizationSecrets,
  type SignIn,
} from './authorization-request.js'
import { introduction } from './client-authentication.js'
import { createClientCheck } from './known-client.js'
import { needClient, type ClientRooms } from './client.js'
import { requestOptions } from './request-options.js'
import {
  checkTokenAnswer,
  readGrantedTokens,
  readTokenEndpointAnswer,
  type GrantedTokens,
  type TokenAnswer,
} from './token-answer.js'
import { classifyGrantError } from './token-error.js'
import { sendUnparsed } from './unparsed-request.js'

/** The answer that the browser brings back. */
export type AuthorizationAnswer =
  | { readonly kind: 'code'; readonly parameters: URLSearchParams }
  /** The server's `error`, in its own words. */
  | { readonly kind: 'error'; readonly error: string }
  /** From another issuer, or no answer at all. */
  | { readonly kind: 'unusable' }

/** The answer to a code. */
export interface CodeAnswer extends GrantedTokens {
  readonly access: TokenAnswer
  /** Not verified yet. */
  readonly idToken: string | undefined
  /** The answer without its tokens, frozen: what else the server says, such as Nextcloud's `user_id`. */
  readonly members: Readonly<Record<string, unknown>>
}

/** The authorization code grant (RFC 6749 §4.1) with PKCE (RFC 7636), by which a user lets this server into Nextcloud. */
export interface CodeGrant {
  /**
   * The server's metadata.
   *
   * @throws {ConfigurationError} it lacks an endpoint
   * @throws {UpstreamUnavailableError} it cannot be fetched
   */
  readonly metadata: () => Promise<oauth.AuthorizationServer>
  /** Rejects with {@link UnknownClientError} if the server says that it has no such client. */
  readonly checkClient: () => Promise<void>
  /** Whether the server's ID token says who has signed in. */
  readonly hasIdToken: boolean
  /** The redirect URI to register there. The answer counts at no other. */
  readonly redirectUri: (as: oauth.AuthorizationServer) => string
  /** The scopes to ask for there. */
  readonly scopes: (as: oauth.AuthorizationServer) => readonly string[]
  /** Random values for one request. */
  readonly secrets: () => AuthorizationSecrets
  /**
   * The address to send the browser to.
   *
   * @param selectAccount whether the user must be able to sign in there as another user than before
   */
  readonly authorizationUrl: (
    as: oauth.AuthorizationServer,
    secrets: AuthorizationSecrets,
    selectAccount: boolean,
  ) => Promise<URL>
  readonly readAnswer: (
    as: oauth.AuthorizationServer,
    parameters: URLSearchParams,
    state: string,
  ) => AuthorizationAnswer
  /**
   * Redeems a code. It is sent once, whatever happens.
   *
   * @param parameters those of `readAnswer`
   * @throws {TokenRequestError} the server refused, or its answer cannot be used
   * @throws {UpstreamUnavailableError} there was no usable answer
   */
  readonly redeem: (as: oauth.AuthorizationServer, parameters: URLSearchParams, verifier: string) => Promise<CodeAnswer>
}

/** Members of a token answer that are credentials. */
const SECRET_MEMBERS = ['access_token', 'refresh_token', 'id_token']
/** Parameters that an answer may have once: which of two counts is not for this server to choose (RFC 6749 §3.1). */
const SINGLE = ['state', 'code', 'iss', 'error', 'error_description', 'response']

/**
 * A code that is kept until its tokens are, where Nextcloud ends those: visible characters (RFC 6749 App. A.11), and few of them, because
 * anybody can make one up. Some other servers have longer ones.
 */
const KEPT_CODE = /^[\x20-\x7e]{0,1024}$/

type Rooms = Omit<ClientRooms, 'events'>

/** Of the requests for a code and for its tokens, the part that is up to their use. */
type Use = Pick<SignIn, 'connect' | 'lasting' | 'resources'> & {
  /** Further parameters of the token request. */
  readonly parameters: Readonly<Record<string, string>>
}

export function createCodeGrant(connect: ConnectConfig, rooms: Rooms): CodeGrant {
  const { nextcloud } = rooms.config
  const lasting = nextcloud !== undefined && MODES[nextcloud.mode].signInFor === 'grant'
  const parameters = nextcloud?.parameters ?? {}
  return codeGrantOf({ connect, lasting, resources: nextcloud?.resource ?? [], parameters }, rooms)
}

/** Returns a code grant that asks who the user is, and for nothing else: no scope but `openid`, no resource, no consent. */
export function createIdentityGrant(connect: ConnectConfig, rooms: Rooms): CodeGrant {
  const given = connect.authorizationParameters
  const prompt = (given['prompt'] ?? '').split(' ').filter((value) => value !== '' && value !== 'consent')
  const others = Object.entries(given).filter(([name]) => name !== 'prompt' && name !== 'resource')
  const authorizationParameters = {
    ...Object.fromEntries(others),
    ...(prompt.length > 0 && { prompt: prompt.join(' ') }),
  }
  const bare = { ...connect, scopes: [], authorizationParameters }
  return codeGrantOf({ connect: bare, lasting: false, resources: [], parameters: {} }, rooms)
}

function codeGrantOf(use: Use, rooms: Rooms): CodeGrant {
  const { config, discovery } = rooms
  const client = needClient(config, 'Connecting Nextcloud')
  const quirks = quirksOf(config.nextcloud?.preset)
  const signIn = { ...use, client, quirks }
  return {
    metadata: discovery.forAuthorization,
    checkClient: createClientCheck({ ...rooms, nextcloud: config.nextcloud, client }),
    hasIdToken: quirks.idToken,
    redirectUri: (as) => redirectUriFor(as, signIn.connect),
    scopes: (as) => requestedScopes(as, signIn),
    secrets: authorizationSecrets,
    authorizationUrl: (as, secrets, selectAccount) => authorizationUrl(as, signIn, secrets, selectAccount),
    readAnswer: (as, parameters, state) =>
      quirks.endsAlone && !KEPT_CODE.test(parameters.get('code') ?? '')
        ? { kind: 'unusable' }
        : readAnswer(as, client.id, parameters, state),
    redeem: (...request) => redeem(rooms, signIn, ...request),
  }
}

function readAnswer(
  as: oauth.AuthorizationServer,
  clientId: string,
  parameters: URLSearchParams,
  state: string,
): AuthorizationAnswer {
  if (SINGLE.some((name) => parameters.getAll(name).length > 1)) return { kind: 'unusable' }
  // An empty one is there, and names no issuer.
  if (parameters.has('iss') && parameters.get('iss') !== as.issuer) return { kind: 'unusable' }
  try {
    // RFC 9207 §2.4: an `iss` that is missing although the server says that it sends one is as bad as another one.
    const checked = oauth.validateAuthResponse(as, { client_id: clientId }, parameters, state)
    return (checked.get('code') ?? '') === '' ? { kind: 'unusable' } : { kind: 'code', parameters: checked }
  } catch (error) {
    // The rest of the library's error is the answer itself, with the code in it.
    if (error instanceof oauth.AuthorizationResponseError) return { kind: 'error', error: error.error }
    return { kind: 'unusable' }
  }
}

function redeem(
  { transport, clock }: Rooms,
  { client, connect, resources, parameters: further, quirks }: SignIn & Use,
  ...[as, parameters, verifier]: Parameters<CodeGrant['redeem']>
): Promise<CodeAnswer> {
  const code = String(parameters.get('code'))
  const additionalParameters = new URLSearchParams(further)
  // RFC 8707 §2.2: also here, as the refreshes to come will say it.
  for (const resource of resources) additionalParameters.append('resource', resource)
  return transport.call('token', 'never', async (_fetch, ask) => {
    const sentAt = clock.monotonic()
    const answer = await sendUnparsed(ask, (fetch) => {
      const options = { additionalParameters, ...requestOptions(fetch) }
      const from = introduction(client, as, quirks)
      return oauth.authorizationCodeGrantRequest(...from, parameters, redirectUriFor(as, connect), verifier, options)
    })
    const { body, refusal } = readTokenEndpointAnswer(answer, [client.secret, code, verifier])
    if (refusal !== undefined) throw classifyGrantError(refusal, 'code')
    const idToken = body['id_token']
    return {
      ...readGrantedTokens(body),
      access: { ...checkTokenAnswer(body, code), sentAt },
      idToken: quirks.idToken && typeof idToken === 'string' ? idToken : undefined,
      members: withoutTokens(body),
    }
  })
}

/** Returns the rest of a token answer, as it may be shown to the app. */
function withoutTokens(body: Record<string, unknown>): Readonly<Record<string, unknown>> {
  return deepFreeze(Object.fromEntries(Object.entries(body).filter(([name]) => !SECRET_MEMBERS.includes(name))))
}
