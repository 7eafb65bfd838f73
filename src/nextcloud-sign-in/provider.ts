import type { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type * as OidcProvider from 'oidc-provider'
import type { Configuration, KoaContextWithOIDC, Provider, RefreshToken } from 'oidc-provider'
import { SESSION_COOKIE } from '../connect/cookies.js'
import { DEAD_GRANT_TTL } from '../grants/grant.js'
import { urlOf } from '../http/router.js'
import type { ClientDocuments } from './client-documents.js'
import type { ShowError } from './error-pages.js'
import { asOutage } from './outage.js'
import { ALGORITHM, type KeyRing, type ReadKeyRing } from './key-ring.js'
import { QUESTION_COOKIES, type QuestionCookies } from './question-cookies.js'
import { clientOf, redirectProblem } from './redirect-uri.js'
import { middlewaresOf } from './middlewares.js'
import { PATHS } from './paths.js'
import { refreshTokenOf } from './refresh-tokens.js'
import { NEW_CLIENT_ID } from './registration.js'
import { SESSION_LIFE } from './sessions.js'
import { findAccount, isReused, withoutSlash, type AccountRooms } from './used-tokens.js'
import { markOf, type SignedInSession } from './withdrawn.js'

/** The module oidc-provider, which is loaded with the first sign-in server and never otherwise. */
export type Library = typeof OidcProvider

/** A client that the operator registers by hand. */
export interface RegisteredClient {
  readonly clientId: string
  readonly clientName?: string | undefined
  readonly redirectUris: readonly string[]
}

/** The parts that the authorization server is built from. */
export interface ProviderRooms extends AccountRooms {
  readonly library: Library
  readonly issuer: string
  readonly resource: string
  /** Name of each scope. */
  readonly scopes: readonly string[]
  readonly clients: readonly RegisteredClient[]
  readonly adapter: (model: string) => OidcProvider.Adapter
  readonly readKeys: ReadKeyRing
  readonly questions: QuestionCookies
  readonly documents: ClientDocuments
  /** Told of an error that nothing here expects: Koa would print its stack. */
  readonly onError: (error: unknown) => void
  /** Called when somebody is asked about a client. */
  readonly onAsked: (clientId: string) => void
  /** Called for an authorization request about which nobody is asked. */
  readonly onNothingAsked: (req: IncomingMessage) => void
  /** Called when a client got tokens for somebody. */
  readonly onUse: (clientId: string, subject: string) => void
  /** Called when a refresh token came back after it was spent, and all that its consent gave has ended. */
  readonly onReuse: (token: { readonly clientId?: string | undefined; readonly accountId: string }) => void
  /** Whether the person of a session has let an MCP client in, and has not taken that back. */
  readonly hasAgreed: (subject: string, clientId: string, session: SignedInSession) => Promise<boolean>
  readonly showError: ShowError
}

const MINUTE = 60
const DAY = 86_400
/** Seconds. */
const LIFE = {
  accessToken: 10 * MINUTE,
  code: MINUTE,
  interaction: 10 * MINUTE,
  /** From the last use, and a day less than a dead grant tells what was taken back: none of before is good for a connection after. */
  refreshToken: DEAD_GRANT_TTL / 1_000 - DAY,
  /** From the sign-in: then the person is asked again. */
  grant: 400 * DAY,
  session: SESSION_LIFE / 1_000,
  /** From the sign-in, and a day less than a dead grant tells what was taken back: none of before is good after. */
  sessionInAll: DEAD_GRANT_TTL / 1_000 - DAY,
}
/** Seconds for which oidc-provider has a client metadata document in its cache, beside the longer one of `ClientDocuments`. */
const DOCUMENT_CACHE = { min: 60, max: 60 }

/** Returns a function that gives the provider with the keys of the moment: oidc-provider reads its keys once. */
export function createProviders(rooms: ProviderRooms): () => Promise<Provider> {
  let built: { readonly ring: string; readonly provider: Provider } | undefined
  return async () => {
    const ring = await rooms.readKeys()
    const name = ring.keys.map(({ kid }) => kid).join()
    if (built?.ring !== name) built = { ring: name, provider: buildProvider(rooms, ring) }
    return built.provider
  }
}

function buildProvider(rooms: ProviderRooms, ring: KeyRing): Provider {
  const { library, issuer } = rooms
  const provider = new library.Provider(issuer, configurationOf(rooms, ring))
  // It asks each model for its id, and the length alone is an option.
  Object.assign(provider.RefreshToken.prototype, {
    generateTokenId(this: RefreshToken) {
      return refreshTokenOf(this.grantId, this.rotations ?? 0)
    },
  })
  // Addresses are those of the issuer, whatever a proxy says of them.
  provider.proxy = true
  for (const step of middlewaresOf({ ...rooms, isTrusted: (ctx) => isTrusted(rooms, ctx) })) provider.use(step)
  // The types of the provider know its own events alone.
  const koa: EventEmitter = provider
  koa.on('error', (error: unknown, { req, res }: KoaContextWithOIDC) => {
    // Strangers break requests off as often as they like.
    if (req.complete && !res.destroyed) rooms.onError(error)
  })
  provider.on('grant.success', ({ oidc }: KoaContextWithOIDC) => {
    const { client, account } = oidc
    if (client !== undefined && account !== undefined) rooms.onUse(client.clientId, account.accountId)
  })
  provider.on('grant.revoked', ({ oidc }: KoaContextWithOIDC) => {
    const { RefreshToken: token } = oidc.entities
    if (oidc.route === 'token' && token !== undefined && isReused(token)) rooms.onReuse(token)
  })
  return provider
}

/** Whether the operator has registered the client of a request, or the person at the browser has let it in. */
async function isTrusted({ clients, hasAgreed }: ProviderRooms, { oidc }: KoaContextWithOIDC): Promise<boolean> {
  const { client, session } = oidc
  if (client === undefined) return false
  const { clientId } = client
  if (clients.some((known) => known.clientId === clientId)) return true
  return session?.accountId !== undefined && hasAgreed(session.accountId, clientId, session)
}

/** Hands a request to the provider, as one for the issuer. */
export function serve(provider: Provider, issuer: URL, req: IncomingMessage, res: ServerResponse): Promise<void> {
  asIssuer(issuer, req)
  markBody(req)
  return provider.callback()(req, res)
}

/** In HTTP/2 a body needs no length (RFC 9113 §8.1.1), but oidc-provider reads none without a header of HTTP/1.1 that announces it. */
function markBody({ httpVersionMajor, headers }: IncomingMessage): void {
  if (httpVersionMajor > 1 && headers['content-length'] === undefined) headers['transfer-encoding'] = 'chunked'
}

/**
 * Gives a request the address of the issuer, whatever it says itself: its target may name a host as well (RFC 9112 §3.2.2), and oidc-provider
 * would make its addresses of that.
 */
export function asIssuer(issuer: URL, req: IncomingMessage & { originalUrl?: string }): void {
  req.url = urlOf(req)
  if (req.originalUrl !== undefined) req.originalUrl = req.url
  req.headers['x-forwarded-proto'] = issuer.protocol.slice(0, -1)
  req.headers['x-forwarded-host'] = issuer.host
}

/**
 * The name of the cookie of a session. With `__Host-`, no other host and no plain connection can set it (RFC 6265bis §4.1.3.2). Browsers take
 * that prefix over https only.
 */
export const sessionCookie = (issuer: string): string => (issuer.startsWith('https:') ? SESSION_COOKIE : '_session')

function configurationOf(rooms: ProviderRooms, ring: KeyRing): Configuration {
  const { adapter, library, clients } = rooms
  return {
    adapter,
    jwks: { keys: [...ring.keys] },
    cookies: {
      keys: [ring.cookieKey],
      names: { session: sessionCookie(rooms.issuer), ...QUESTION_COOKIES },
      long: { signed: true, httpOnly: true, sameSite: 'lax', path: '/' },
      // `QuestionCookies` replaces them in each request.
      short: { signed: false, httpOnly: true, sameSite: 'lax' },
    },
    clients: clients.map(({ clientId, clientName, redirectUris }) => ({
      ...clientOf(redirectUris),
      client_id: clientId,
      ...(clientName !== undefined && { client_name: clientName }),
    })),
    clientAuthMethods: ['none'],
    clientDefaults: {
      token_endpoint_auth_method: 'none',
      id_token_signed_response_alg: ALGORITHM,
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    },
    clientBasedCORS: () => true,
    claims: { openid: ['sub'] },
    extraTokenClaims: (_ctx, token) => markOf('grantId' in token ? token.grantId : undefined),
    scopes: ['openid', 'offline_access'],
    responseTypes: ['code'],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    expiresWithSession: () => false,
    revokeGrantPolicy: () => true,
    // Each sign-in has a grant of its own, of what the person has just agreed to.
    loadExistingGrant: (ctx) => {
      const grantId = ctx.oidc.result?.consent?.grantId
      return grantId === undefined ? undefined : ctx.oidc.provider.Grant.find(grantId)
    },
    findAccount: findAccount(rooms),
    interactions: { policy: policyOf(library), url: urlOfQuestion(rooms) },
    features: featuresOf(rooms),
    fetch: (url) => rooms.documents.read(url instanceof Request ? url.url : url.toString()),
    renderError: (ctx, { error }) => rooms.showError(ctx, error),
    extraClientMetadata: { properties: ['scope'], validator: checkRedirectUris(library) },
    routes: {
      authorization: PATHS.authorization,
      token: PATHS.token,
      registration: PATHS.registration,
      revocation: PATHS.revocation,
      jwks: PATHS.jwks,
    },
    ttl: {
      AccessToken: LIFE.accessToken,
      AuthorizationCode: LIFE.code,
      Grant: LIFE.grant,
      IdToken: LIFE.accessToken,
      Interaction: LIFE.interaction,
      RefreshToken: LIFE.refreshToken,
      // A session without a person serves the request that began it.
      Session: (_ctx, session) => (session.accountId === undefined ? LIFE.interaction : lifeOfSession(session)),
    },
  }
}

/** Called for each client of any kind. */
function checkRedirectUris({ errors }: Library): NonNullable<Configuration['extraClientMetadata']>['validator'] {
  return (_ctx, _name, _value, metadata) => {
    // RFC 7591 §3.2.1: the server may drop it. Kept, it would stop each later request for one scope more.
    delete metadata.scope
    const uris: unknown = metadata.redirect_uris
    // What is no list is oidc-provider's to refuse.
    const problem = (Array.isArray(uris) ? uris : []).map(redirectProblem).find((found) => found !== undefined)
    if (problem !== undefined) throw new errors.InvalidClientMetadata(`redirect_uris: ${problem}`)
  }
}

/** Gives the browser the cookie of its question on the way there. */
function urlOfQuestion({
  questions,
  onAsked,
}: Pick<ProviderRooms, 'questions' | 'onAsked'>): NonNullable<Configuration['interactions']>['url'] {
  return async (ctx, { uid, params }) => {
    const { client_id: id } = params
    // A client with a metadata document is not among those that registered themselves.
    if (typeof id === 'string' && !id.startsWith('https:')) onAsked(id)
    ctx.append('Set-Cookie', [...(await questions.issue(ctx.req, uid))])
    return `${PATHS.interaction}/${uid}`
  }
}

/** Seconds from now. */
function lifeOfSession({ loginTs = 0 }: { readonly loginTs?: number | undefined }): number {
  return Math.max(1, Math.min(LIFE.session, loginTs + LIFE.sessionInAll - Math.floor(Date.now() / 1_000)))
}

function featuresOf({ library, resource, scopes, documents }: ProviderRooms): Configuration['features'] {
  return {
    devInteractions: { enabled: false },
    registration: {
      enabled: true,
      issueRegistrationAccessToken: false,
      idFactory: (ctx: KoaContextWithOIDC) => ctx.get(NEW_CLIENT_ID),
    },
    clientIdMetadataDocument: {
      enabled: true,
      ack: 'draft-02',
      cacheDuration: DOCUMENT_CACHE,
      // What it may fetch then was fetched here. Without a request there is nobody by whose address to count it.
      allowFetch: (ctx: KoaContextWithOIDC | undefined, url: string) =>
        ctx !== undefined &&
        asOutage(library.errors, documents.find(url, ctx.req), (seconds) => ctx.set('Retry-After', String(seconds))),
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      getResourceServerInfo: (_ctx: unknown, asked: string) => {
        if (withoutSlash(asked) !== withoutSlash(resource)) throw new library.errors.InvalidTarget('unknown resource')
        return {
          audience: resource,
          scope: scopes.join(' '),
          accessTokenFormat: 'jwt',
          accessTokenTTL: LIFE.accessToken,
          jwt: { sign: { alg: ALGORITHM } },
        }
      },
      useGrantedResource: () => true,
    },
    revocation: {
      enabled: true,
      allowedPolicy: (_ctx: unknown, client: { clientId: string }, token: { clientId?: string }) =>
        token.clientId === client.clientId,
    },
    // Its endpoint would be one more place where strangers leave something.
    pushedAuthorizationRequests: { enabled: false },
    rpInitiatedLogout: { enabled: false },
    userinfo: { enabled: false },
    // A bearer token is what MCP clients ask for today.
    dPoP: { enabled: false },
  } as Configuration['features']
}

/** A session whose user is no longer connected to Nextcloud counts as none. */
function policyOf({ interactionPolicy }: Library): ReturnType<typeof interactionPolicy.base> {
  const policy = interactionPolicy.base()
  const { Check } = interactionPolicy
  policy
    .get('login')
    ?.checks.add(
      new Check('no_connection', 'Nextcloud must be connected again', 'login_required', (ctx) =>
        ctx.oidc.session?.accountId !== undefined && ctx.oidc.account === undefined
          ? Check.REQUEST_PROMPT
          : Check.NO_NEED_TO_PROMPT,
      ),
    )
  return policy
}
