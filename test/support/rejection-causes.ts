import { EncryptJWT } from 'jose'
import { askWith, ask } from './answers.js'
import type { McpAuthEvent, McpAuthOptions } from '../../src/index.js'
import type { ConnectHandler } from '../../src/http/router.js'
import { bareHost } from './hosts.js'
import { onTestFinished } from 'vitest'
import { ENCRYPTION_KEY } from './grant-constants.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE, signingKey } from './scripted-authorization-server.js'
import { world, type World } from './world.js'
import { readConfig } from '../../src/config/read-config.js'
import type { Environment } from '../../src/options.js'
import { MemoryStorage } from '../../src/storage/memory.js'

/** One way in which a set-up can be wrong. */
export interface Cause {
  readonly cause: string
  /** Has to be in what the operator is told: the setting to change, by its name here or at the provider. */
  readonly names: RegExp
  /** What the operator is told. */
  readonly told: () => Promise<string>
}

type Claims = Readonly<Record<string, unknown>>
type Options = McpAuthOptions | ((setting: World) => McpAuthOptions)

const optionsIn = (options: Options | undefined, setting: World): McpAuthOptions =>
  typeof options === 'function' ? options(setting) : (options ?? {})

/** The line of the event that says why a request was turned away, as a warning or a log shows it. */
function lineOf(events: readonly McpAuthEvent[]): string {
  const event = events.filter(({ type }) => type === 'token.rejected' || type === 'request.failed').at(-1)
  if (event?.type === 'token.rejected') return `${event.reason}: ${event.message}`
  if (event?.type === 'request.failed') return `${event.code}: ${event.message}`
  throw new Error('Nothing was reported')
}

const letIn: ConnectHandler = (_req, res) => void res.end()

/** A request with a token, or with what stands for one. */
async function turnedAway(
  setting: World,
  token: string | undefined,
  options?: Options,
  headers: readonly (readonly [string, string])[] = [],
): Promise<string> {
  const auth = setting.open(optionsIn(options, setting))
  const app = await bareHost.start([auth, letIn, auth.errorHandler()])
  onTestFinished(() => app.close())
  const answer = await (token === undefined ? ask(app.url, { headers }) : askWith(app.url, token, { headers }))
  if (answer.status === 200) throw new Error('It was let in')
  return lineOf(setting.events)
}

/** A token with these claims; those of undefined are left out. */
const withClaims = (claims: Claims | ((setting: World) => Claims), options?: Options) => async () => {
  const setting = await world({ mode: 'none' })
  const token = await setting.as.mint(typeof claims === 'function' ? claims(setting) : claims, {
    header: { typ: 'JWT' },
  })
  return turnedAway(setting, token, options)
}

/** An issuer that is not the stand-in's own, with its document at the stand-in. */
function only(issuer: string, { as }: World): McpAuthOptions {
  const discoveryUrl = `${as.issuer}/.well-known/openid-configuration`
  as.metadata['issuer'] = issuer
  return { issuer, discoveryUrl }
}

/** A text in place of a JWT. */
const withText = (token: string, options?: Options) => async () =>
  turnedAway(await world({ mode: 'none' }), token, options)

const CLIENT = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }

/** A token endpoint that refuses. */
const refusedExchange =
  (json: Claims, options: McpAuthOptions = {}, status = 400) =>
  async () => {
    const { as, events, open } = await world()
    as.script('/token', { status, json })
    const auth = open(options)
    await auth.getNextcloudToken({ token: await as.mint() }).catch(() => undefined)
    const failure = events.find(({ type }) => type === 'nextcloud.failed')
    if (failure?.type !== 'nextcloud.failed') throw new Error('It was not refused')
    const { code, error, errorDescription, hint } = failure
    return `${code}: ${error ?? ''} ${errorDescription ?? ''} | hint: ${hint ?? 'none'}`
  }

const OBO = {
  nextcloud: { url: 'https://cloud.example.com', mode: 'jwt-bearer', preset: 'entra', scopes: ['api://nc/.default'] },
} as const

const never = () => Promise.reject(new Error('It is not asked'))
const SHARED = { shared: true, get: never, put: never, delete: never }

/** Options that are refused at the start. */
const refusedOptions =
  (options: McpAuthOptions, environment: Environment = {}) =>
  () => {
    try {
      readConfig(options, environment)
    } catch (error) {
      if (error instanceof Error) return Promise.resolve(`${(error as { code?: string }).code ?? ''}: ${error.message}`)
    }
    throw new Error('They were taken')
  }

const ISSUER = 'https://idp.example.com/realms/acme'

export const CAUSES: readonly Cause[] = [
  {
    cause: 'the MCP client sends no token at all',
    names: /later ones have none.*--as claude/,
    told: async () => turnedAway(await world({ mode: 'none' }), undefined),
  },
  {
    cause: 'the token is for another service of the same provider',
    names: /"Included Custom Audience" is resource/,
    told: withClaims({ aud: ['account'] }),
  },
  {
    cause: 'resource is configured with another path than the one that clients use',
    names: /resource \(NEXTCLOUD_MCP_SERVER_URL\)/,
    told: withClaims({ aud: 'https://mcp.example.com/mcp/v2' }),
  },
  {
    cause: 'the audience is another name of this server: Entra’s api://<client id>',
    names: /Application ID URI.*list the name in audience/,
    told: withClaims({ aud: `api://${CLIENT_ID}` }, CLIENT),
  },
  {
    cause: 'the token has no aud (Cognito, Hydra)',
    names: /missingAudience to 'client'.*allowedClients/,
    told: withClaims({ aud: undefined, client_id: 'claude' }),
  },
  {
    cause: 'no aud, missingAudience is client, and the client is in no list',
    names: /allowedClients/,
    told: withClaims({ aud: undefined, client_id: 'claude' }, { missingAudience: 'client' }),
  },
  {
    cause: 'issuer differs from iss by the slash at the end',
    names: /slash at the end: write issuer/,
    told: withClaims(({ as }) => ({ iss: `${as.issuer}/` })),
  },
  {
    cause: 'the provider behind a proxy writes http into iss',
    names: /http and https: tell the authorization server its public address/,
    told: withClaims(
      () => ({ iss: 'http://idp.example.com/realms/acme' }),
      (setting) => only(ISSUER, setting),
    ),
  },
  {
    cause: 'issuer is written with http, and the provider has https',
    names: /http and https: write issuer \(OIDC_ISSUER\) with https/,
    told: withClaims(
      () => ({ iss: 'https://idp.localhost/realms/acme' }),
      (setting) => only('http://idp.localhost/realms/acme', setting),
    ),
  },
  {
    cause: 'the provider names itself by the internal host that it was asked at',
    names: /KC_HOSTNAME.*discoveryUrl/,
    told: withClaims(
      () => ({ iss: 'http://keycloak:8080/realms/acme' }),
      (setting) => only(ISSUER, setting),
    ),
  },
  {
    cause: 'Entra issues tokens of version 1 to a server for version 2',
    names: /requestedAccessTokenVersion/,
    told: async () => {
      const setting = await world({ mode: 'none' })
      const issuer = 'https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111/v2.0'
      const token = await setting.as.mint({ iss: 'https://sts.windows.net/11111111-1111-1111-1111-111111111111/' })
      return turnedAway(setting, token, only(issuer, setting))
    },
  },
  {
    cause: 'one of several tenants is not listed',
    names: /issuers/,
    told: withClaims(
      () => ({ iss: 'https://idp.example.com/realms/guests' }),
      ({ as }) => ({
        issuer: undefined,
        issuers: [{ issuer: as.issuer }, { issuer: 'https://idp.example.com/realms/staff' }],
      }),
    ),
  },
  {
    cause: 'the token is one for Microsoft Graph',
    names: /scope of this server/,
    told: async () => {
      const setting = await world({ mode: 'none' })
      const key = { ...(await signingKey('first')), kid: 'first' }
      return turnedAway(setting, await setting.as.mint({}, { key, header: { nonce: 'n' } }))
    },
  },
  {
    cause: 'Auth0 encrypts tokens of clients that name no audience (JWE)',
    names: /default audience to resource.*token encryption/,
    told: async () => {
      const token = await new EncryptJWT({})
        .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
        .encrypt(new Uint8Array(32))
      return turnedAway(await world({ mode: 'none' }), token)
    },
  },
  {
    cause: 'the client sends its ID token',
    names: /access_token, not the id_token/,
    told: withClaims({ aud: CLIENT_ID, nonce: 'n', at_hash: 'h', scope: undefined, client_id: undefined }, CLIENT),
  },
  {
    cause: 'Dex puts at_hash into access tokens',
    names: /idTokenLookalikes/,
    told: withClaims({ at_hash: 'h', client_id: undefined, scope: undefined }),
  },
  {
    cause: 'the client sends its refresh token',
    names: /access_token, not the id_token or refresh_token/,
    told: withClaims({ typ: 'Refresh' }),
  },
  {
    cause: 'an opaque token, and no clientSecret to have it introspected with',
    names: /clientSecret/,
    told: withText('opaque-token'),
  },
  {
    cause: 'an opaque token, and introspection is false',
    names: /set introspection to 'opaque-only'/,
    told: withText('opaque-token', { ...CLIENT, introspection: false }),
  },
  {
    cause: 'an opaque token, and the provider is one that introspects for nobody (Google)',
    names: /provider that issues JWTs .* in front of it.*OIDC_ISSUER/,
    told: async () => {
      const setting = await world({ mode: 'none', metadata: { introspection_endpoint: undefined } })
      return turnedAway(setting, 'opaque-token', { ...CLIENT, ...only('https://accounts.google.com', setting) })
    },
  },
  {
    cause: 'the provider says of an opaque token that it is not active',
    names: /does not let clientId introspect.*issue JWTs/,
    told: withText('opaque-token', CLIENT),
  },
  {
    cause: 'the secret with which this server introspects is wrong',
    names: /clientSecret/,
    told: async () => {
      const setting = await world({ mode: 'none' })
      setting.as.script('/introspect', { status: 401, json: { error: 'invalid_client' } })
      return turnedAway(setting, 'opaque-token', CLIENT)
    },
  },
  {
    cause: 'introspection is always, and the provider has none',
    names: /introspection/,
    told: async () => {
      const setting = await world({ mode: 'none', metadata: { introspection_endpoint: undefined } })
      return turnedAway(setting, await setting.as.mint(), { ...CLIENT, introspection: 'always' })
    },
  },
  {
    cause: 'the token has expired, or a clock is wrong',
    names: /usual.*clocks/,
    told: withClaims(({ clock }) => ({ exp: clock.now() / 1_000 - 3_600 })),
  },
  {
    cause: 'the clock of this machine is behind',
    names: /clock of this machine is behind.*NTP/,
    told: withClaims(({ clock }) => ({ nbf: clock.now() / 1_000 + 600 })),
  },
  {
    cause: 'the token never expires',
    names: /access tokens a lifetime/,
    told: withClaims({ exp: undefined }),
  },
  {
    cause: 'the provider signs with an algorithm that algorithms leaves out',
    names: /algorithms/,
    told: withClaims({}, { algorithms: ['RS256'] }),
  },
  {
    cause: 'the client signs in at another realm of the same server',
    names: /make it issuer \(OIDC_ISSUER\)/,
    told: async () => {
      const setting = await world({ mode: 'none' })
      const key = await signingKey('other')
      return turnedAway(setting, await setting.as.mint({ iss: `${setting.as.issuer}/realms/test` }, { key }))
    },
  },
  {
    cause: 'the issuer is Okta’s organisation server',
    names: /make a custom authorization server of Okta issuer \(OIDC_ISSUER\)/,
    told: async () => {
      const setting = await world({ mode: 'none' })
      const issuer = 'https://acme.okta.com'
      const key = await signingKey('of-okta')
      return turnedAway(setting, await setting.as.mint({ iss: issuer }, { key }), only(issuer, setting))
    },
  },
  {
    cause: 'the token lacks a scope of requiredScopes',
    names: /let the MCP client have it.*requiredScopes/,
    told: withClaims({ scope: 'openid profile' }, { requiredScopes: ['notes:read'] }),
  },
  {
    cause: 'Entra’s token has the short name of the scope',
    names: /set scopeSatisfies to \(granted, required\) => /,
    told: withClaims({ scope: undefined, scp: 'tools' }, { requiredScopes: [`${RESOURCE}/tools`] }),
  },
  {
    cause: 'the client is not in allowedClients',
    names: /allowedClients/,
    told: withClaims({ client_id: 'inspector' }, { allowedClients: ['claude'] }),
  },
  {
    cause: 'access tokens have no sub (a lightweight token of Keycloak)',
    names: /client scope basic/,
    told: withClaims({ sub: undefined }),
  },
  {
    cause: 'the provider binds tokens to a key (DPoP), and the client sends them as Bearer',
    names: /switch DPoP off.*dpop to 'allowed'/,
    told: withClaims({ cnf: { jkt: 'k' } }),
  },
  {
    cause: 'the client sends DPoP, which is off here',
    names: /dpop to 'allowed'/,
    told: async () => turnedAway(await world({ mode: 'none' }), undefined, {}, [['Authorization', 'DPoP token']]),
  },
  {
    cause: 'the token is bound by a client certificate (mTLS)',
    names: /mTLS/,
    told: withClaims({ cnf: { 'x5t#S256': 'k' } }),
  },
  {
    cause: 'dpop is required, and the provider does not bind',
    names: /set dpop to 'allowed'/,
    told: withClaims({}, { dpop: 'required' }),
  },
  {
    cause: 'the token has more than 16 KiB of groups',
    names: /groups/,
    told: async () => {
      const { events, open } = await world({ mode: 'none' })
      await open()
        .verify('a'.repeat(17_000))
        .catch(() => undefined)
      return lineOf(events)
    },
  },
  {
    cause: 'a proxy adds a second Authorization header, or Basic credentials',
    names: /two Authorization headers: a proxy adds one/,
    told: async () => turnedAway(await world({ mode: 'none' }), 'a', {}, [['Authorization', 'Bearer b']]),
  },
  {
    cause: 'issuer and the provider’s own name differ by a slash',
    names: /must be the same string: make issuer .*OIDC_ISSUER/,
    told: async () => {
      const setting = await world({ mode: 'none' })
      const token = await setting.as.mint()
      setting.as.metadata['issuer'] = `${setting.as.issuer}/`
      return turnedAway(setting, token)
    },
  },
  {
    cause: 'issuer is Entra’s common endpoint',
    names: /one entry of issuers each/,
    told: refusedOptions({ issuer: 'https://login.microsoftonline.com/{tenantid}/v2.0', resource: RESOURCE }),
  },
  {
    cause: 'resource is not set',
    names: /resource is required.*NEXTCLOUD_MCP_SERVER_URL/,
    told: refusedOptions({ issuer: ISSUER }),
  },
  {
    cause: 'connections are stored, and there is no key',
    names: /encryptionKey/,
    told: refusedOptions({
      issuer: ISSUER,
      resource: RESOURCE,
      ...CLIENT,
      storage: { ...SHARED },
      nextcloud: { url: 'https://cloud.example.com' },
    }),
  },
  {
    cause: 'app-password mode without a rule whose account it is',
    names: /connect\.identity .*NEXTCLOUD_IDENTITY.*occ user:list.*'sub' or sub/s,
    told: refusedOptions({
      issuer: ISSUER,
      resource: RESOURCE,
      ...CLIENT,
      storage: new MemoryStorage(),
      encryptionKey: ENCRYPTION_KEY,
      nextcloud: { url: 'https://cloud.example.com', mode: 'app-password' },
    }),
  },
  {
    cause: 'token exchange is not switched on at Keycloak',
    names: /Standard Token Exchange/,
    told: refusedExchange({
      error: 'invalid_request',
      error_description: 'Standard token exchange is not enabled for the requested client',
    }),
  },
  {
    cause: 'Keycloak: this server is not in the aud of the MCP token',
    names: /Included Client Audience" is clientId/,
    told: refusedExchange(
      { error: 'access_denied', error_description: 'Client is not within the token audience' },
      {},
      403,
    ),
  },
  {
    cause: 'Keycloak: no mapper adds Nextcloud to the exchanged token',
    names: /Included Client Audience" is nextcloud\.audience/,
    told: refusedExchange({
      error: 'invalid_request',
      error_description: 'Requested audience not available: nextcloud',
    }),
  },
  {
    cause: 'the secret of this server is wrong at the token endpoint',
    names: /clientSecret \(OIDC_CLIENT_SECRET\)/,
    told: refusedExchange({ error: 'invalid_client' }, {}, 401),
  },
  {
    cause: 'Okta wants a scope',
    names: /nextcloud\.scopes to the scope for Nextcloud.*\['nextcloud:access'\]/,
    told: refusedExchange({ error: 'invalid_scope', error_description: "'scope' must be provided." }),
  },
  {
    cause: 'Entra: nobody has consented',
    names: /Grant admin consent/,
    told: refusedExchange(
      {
        error: 'invalid_grant',
        error_description: 'AADSTS65001: The user or administrator has not consented to use the application.',
        suberror: 'consent_required',
      },
      OBO,
    ),
  },
  {
    cause: 'Entra: the token is for another app',
    names: /clientId \(OIDC_CLIENT_ID\) must be the app/,
    told: refusedExchange(
      {
        error: 'invalid_grant',
        error_description: 'AADSTS500131: Assertion audience does not match the Client app presenting the assertion.',
      },
      OBO,
    ),
  },
  {
    cause: 'Entra: the token is that of an application',
    names: /client credentials/,
    told: refusedExchange(
      {
        error: 'unauthorized_client',
        error_description: "AADSTS7000114: Application 'x' is not allowed to make application on-behalf-of calls.",
      },
      OBO,
    ),
  },
  {
    cause: 'an opaque token, and the provider has no introspection, though it can issue JWTs (Auth0)',
    names: /issue JWTs to MCP clients.*default audience to resource/,
    told: async () => {
      const setting = await world({ mode: 'none', metadata: { introspection_endpoint: undefined } })
      return turnedAway(setting, 'opaque-token', CLIENT)
    },
  },
  {
    cause: 'a proxy joins two Authorization headers into one',
    names: /comma in it: a proxy has joined two/,
    told: async () => turnedAway(await world({ mode: 'none' }), 'a, Basic b'),
  },
]
