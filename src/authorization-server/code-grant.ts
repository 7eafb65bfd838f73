import * as oauth from 'oauth4webapi'
import type { Clock } from '../clock.js'
import type { Config, ConnectConfig } from '../config/config.js'
import { ConfigurationError } from '../errors/errors.js'
import { deepFreeze } from '../freeze.js'
import { clientAuthentication } from './client-authentication.js'
import type { Discovery } from './discovery.js'
import type { Transport } from '../transport/transport.js'
import { PLAIN_HTTP_IS_CHECKED } from './plain-http.js'
import { quirksOf, type Quirks } from '../presets.js'
import {
  checkTokenAnswer,
  readGrantedTokens,
  readTokenEndpointAnswer,
  readTokenError,
  type RefreshAnswer,
  type TokenAnswer,
} from './token-answer.js'
import { classifyCodeError } from './token-error.js'
import { wholeAnswer } from './unparsed-request.js'

/** What ties an authorization request to its answer. */
export interface AuthorizationSecrets {
  readonly state: string
  readonly nonce: string
  /** PKCE `code_verifier` (RFC 7636 §4.1). */
  readonly verifier: string
}

/** What the browser brings back. */
export type AuthorizationAnswer =
  | { readonly kind: 'code'; readonly parameters: URLSearchParams }
  /** The server's `error`, in its own words. */
  | { readonly kind: 'error'; readonly error: string }
  /** From another issuer, or no answer at all. */
  | { readonly kind: 'unusable' }

/** What a code comes to. */
export interface CodeAnswer extends Omit<RefreshAnswer, 'access' | 'sentAt'> {
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
  /** Whether an ID token of the server's says who has signed in. */
  readonly hasIdToken: boolean
  /** What is asked for there: `openid`, unless the server has no ID tokens, and `offline_access`, where it lists that, included. */
  readonly scopes: (as: oauth.AuthorizationServer) => readonly string[]
  /** Random values for one request. */
  readonly secrets: () => AuthorizationSecrets
  /**
   * Where the browser is sent.
   *
   * @param selectAccount whether somebody else than before has to be able to sign in there
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
   * @param parameters what `readAnswer` gave
   * @throws {TokenRequestError} the server refused, or its answer cannot be used
   * @throws {UpstreamUnavailableError} there was no usable answer
   */
  readonly redeem: (as: oauth.AuthorizationServer, parameters: URLSearchParams, verifier: string) => Promise<CodeAnswer>
}

/** Members of a token answer that let somebody in. */
const SECRET_MEMBERS = ['access_token', 'refresh_token', 'id_token']
/** Answers of which no more than one may be there: which of two counts is not for this server to choose (RFC 6749 §3.1). */
const SINGLE = ['state', 'code', 'iss', 'error', 'error_description', 'response']

export function createCodeGrant(
  config: Config,
  connect: ConnectConfig,
  discovery: Discovery,
  transport: Transport,
  clock: Clock,
): CodeGrant {
  const { client, nextcloud } = config
  if (client === undefined) throw new ConfigurationError('Connecting Nextcloud needs clientId', 'clientId')
  const self = { client_id: client.id }
  const quirks = quirksOf(nextcloud?.preset)
  const wanted: Wanted = { ...quirks, lasting: config.grants?.credential !== 'app-password' }
  const resources = nextcloud?.resource ?? []

  return {
    metadata: discovery.forAuthorization,
    hasIdToken: quirks.idToken,
    scopes: (as) => requestedScopes(as, connect, wanted),

    secrets: () => ({
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
      verifier: oauth.generateRandomCodeVerifier(),
    }),

    async authorizationUrl(as, { state, nonce, verifier }, selectAccount) {
      // RFC 6749 §3.1: the endpoint may have a query, which stays.
      const url = new URL(as.authorization_endpoint ?? '')
      const { searchParams } = url
      const scopes = requestedScopes(as, connect, wanted)
      // OIDC Core §11: the server must ignore offline_access without it, unless other conditions allow it.
      if (scopes.includes('offline_access')) searchParams.set('prompt', 'consent')
      for (const resource of resources) searchParams.append('resource', resource)
      for (const [name, value] of Object.entries(connect.authorizationParameters)) searchParams.set(name, value)
      if (selectAccount) searchParams.set('prompt', withAccountSelection(searchParams.get('prompt'), as))
      const own = {
        response_type: 'code',
        client_id: client.id,
        redirect_uri: connect.redirectUri,
        ...(scopes.length > 0 && { scope: scopes.join(' ') }),
        state,
        ...(quirks.idToken && { nonce }),
        code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
      }
      for (const [name, value] of Object.entries(own)) searchParams.set(name, value)
      return url
    },

    readAnswer(as, parameters, state) {
      if (SINGLE.some((name) => parameters.getAll(name).length > 1)) return { kind: 'unusable' }
      // An empty one is there, and names no issuer.
      if (parameters.has('iss') && parameters.get('iss') !== as.issuer) return { kind: 'unusable' }
      try {
        // RFC 9207 §2.4: an `iss` that is missing where the server says that it sends one is as bad as another one.
        const checked = oauth.validateAuthResponse(as, self, parameters, state)
        return (checked.get('code') ?? '') === '' ? { kind: 'unusable' } : { kind: 'code', parameters: checked }
      } catch (error) {
        // What else the library's error holds is the answer itself, with the code in it.
        if (error instanceof oauth.AuthorizationResponseError) return { kind: 'error', error: error.error }
        return { kind: 'unusable' }
      }
    },

    redeem(as, parameters, verifier) {
      const code = parameters.get('code') ?? ''
      const additionalParameters = new URLSearchParams(nextcloud?.parameters)
      // RFC 8707 §2.2: also here, as the refreshes to come will say it.
      for (const resource of resources) additionalParameters.append('resource', resource)
      return transport.call('token', 'never', async (_fetch, ask) => {
        const sentAt = clock.monotonic()
        const answer = await wholeAnswer(ask, (fetch) =>
          oauth.authorizationCodeGrantRequest(
            as,
            self,
            clientAuthentication(client, as, quirks),
            parameters,
            connect.redirectUri,
            verifier,
            { additionalParameters, [oauth.customFetch]: fetch, ...PLAIN_HTTP_IS_CHECKED },
          ),
        )
        const { body, refused } = readTokenEndpointAnswer(answer)
        if (refused) throw classifyCodeError(readTokenError(body, answer.status, [client.secret, code, verifier]))
        const idToken = body['id_token']
        return {
          ...readGrantedTokens(body),
          access: { ...checkTokenAnswer(body, code), sentAt },
          idToken: quirks.idToken && typeof idToken === 'string' ? idToken : undefined,
          members: withoutTokens(body),
        }
      })
    },
  }
}

/** What the sign-in is for: to know who it is, a grant that lasts, or both. */
interface Wanted extends Pick<Quirks, 'idToken'> {
  readonly lasting: boolean
}

/** The rest of a token answer, as it may be shown to the app. */
function withoutTokens(body: Record<string, unknown>): Readonly<Record<string, unknown>> {
  return deepFreeze(Object.fromEntries(Object.entries(body).filter(([name]) => !SECRET_MEMBERS.includes(name))))
}

function requestedScopes(
  as: oauth.AuthorizationServer,
  { scopes }: ConnectConfig,
  { idToken, lasting }: Wanted,
): string[] {
  // Servers that do not list it give refresh tokens without it, and some refuse a scope that they do not know.
  const offline = lasting && as.scopes_supported?.includes('offline_access') === true ? ['offline_access'] : []
  return [...new Set([...(idToken ? ['openid'] : []), ...scopes, ...offline])]
}

/** Where the server says what it takes and that is not select_account (OIDC Core §3.1.2.1), signing in anew serves as well. */
function withAccountSelection(prompt: string | null, as: oauth.AuthorizationServer): string {
  const supported = as['prompt_values_supported']
  const takes = (value: string): boolean => Array.isArray(supported) && supported.includes(value)
  const selection = !takes('select_account') && takes('login') ? 'login' : 'select_account'
  const others = (prompt ?? '').split(' ').filter((value) => !['', 'none', selection].includes(value))
  return [selection, ...others].join(' ')
}
