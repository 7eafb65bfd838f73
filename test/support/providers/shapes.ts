import { EncryptJWT } from 'jose'
import type { McpAuthOptions } from '../../../src/index.js'
import { CLIENT_ID, RESOURCE, signingKey, type ScriptedAuthorizationServer } from '../scripted-authorization-server.js'

type Claims = Readonly<Record<string, unknown>>

/** The access tokens of a provider, and what its row in docs/providers.md says of them. */
export interface Shape {
  /** The cells of the row beside the verdict. */
  readonly provider: string
  readonly how: string
  /** Where the shape is told. */
  readonly source: string
  /** Claims of a JWT; `iss`, `sub`, `iat` and `exp` are added. Undefined: `token`. */
  readonly claims?: Claims
  readonly token?: (as: ScriptedAuthorizationServer) => Promise<string> | string
  /** The answer when such a token is introspected; undefined: there is no endpoint. */
  readonly introspection?: Claims
  readonly metadata?: Claims
  /** The set-up, beside `clientId` and `clientSecret`. */
  readonly setUp?: (as: ScriptedAuthorizationServer) => McpAuthOptions
  /** Options to set for such tokens. */
  readonly options?: (as: ScriptedAuthorizationServer) => McpAuthOptions
  /** The answer of the token endpoint where the exchange is what fails. */
  readonly exchange?: Claims
  /** Matches what the operator is told where it cannot work, or not without the options. */
  readonly told?: RegExp
}

const TENANT = '11111111-1111-1111-1111-111111111111'
const OTHER_TENANT = '22222222-2222-2222-2222-222222222222'
const V1 = `https://sts.windows.net/${TENANT}/`
const v2 = (tenant: string) => `https://login.microsoftonline.com/${tenant}/v2.0`
const ENTRA = 'https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference'
const ENTRA_V2 = { aud: CLIENT_ID, ver: '2.0', tid: TENANT, oid: 'o', azp: 'claude', azpacr: '0', uti: 'u', rh: 'r' }
const COGNITO = {
  token_use: 'access',
  client_id: 'claude',
  scope: 'openid mcp/tools',
  version: 2,
  username: 'alice',
  auth_time: 1,
  origin_jti: 'o',
  jti: 'j',
}

/** The document of an issuer that is not the stand-in's own, at the stand-in. */
function documentAt(as: ScriptedAuthorizationServer, path: string, issuer: string): string {
  as.script(path, { json: { ...as.metadata, issuer } })
  return as.issuer + path
}

/** Both issuers in a list, each with its own document. */
const both = (first: string, second: string) => (as: ScriptedAuthorizationServer) => ({
  issuer: undefined,
  discoveryUrl: undefined,
  issuers: [first, second].map((issuer, index) => ({
    issuer,
    discoveryUrl: documentAt(as, `/document-${index}`, issuer),
  })),
})

const only = (issuer: string) => (as: ScriptedAuthorizationServer) => ({
  issuer,
  discoveryUrl: documentAt(as, '/document', issuer),
})

export const SHAPES: readonly Shape[] = [
  {
    provider: 'Keycloak, with an audience mapper',
    how: 'run against a real one',
    source: 'test/keycloak, Keycloak 26.7',
    claims: {
      typ: 'Bearer',
      aud: [CLIENT_ID, 'account'],
      azp: 'claude',
      sid: 's',
      acr: '1',
      scope: 'openid profile email',
      jti: 'onrtac:1',
    },
  },
  {
    provider: 'Keycloak, MCP clients with metadata documents',
    how: "no `aud` without a mapper: `missingAudience: 'client'`, and the URLs of the clients in `allowedClients`",
    source: 'https://www.keycloak.org/securing-apps/mcp-authz-server',
    claims: {
      typ: 'Bearer',
      azp: 'https://claude.ai/oauth/mcp-oauth-client-metadata',
      sid: 's',
      scope: 'openid',
      jti: 'onrtac:1',
    },
    options: () => ({
      missingAudience: 'client',
      allowedClients: ['https://claude.ai/oauth/mcp-oauth-client-metadata'],
    }),
    told: /audience mapper.*missingAudience/,
  },
  {
    provider: 'Entra, version 2.0',
    how: '`requestedAccessTokenVersion: 2`; [scopes](entra.md#1-the-app-of-this-server) with `scopeSatisfies`',
    source: ENTRA,
    setUp: only(v2(TENANT)),
    claims: { ...ENTRA_V2, iss: v2(TENANT), scp: 'tools' },
  },
  {
    provider: 'Entra, version 1.0',
    how: '`issuers`, with both of the tenant; better version 2.0',
    source: ENTRA,
    setUp: only(v2(TENANT)),
    claims: { iss: V1, aud: RESOURCE, ver: '1.0', tid: TENANT, oid: 'o', appid: 'claude', appidacr: '0', scp: 'tools' },
    options: both(v2(TENANT), V1),
    told: /version 1\.0 of Entra.*requestedAccessTokenVersion/,
  },
  {
    provider: 'Entra, several tenants',
    how: '`issuers`, one entry for [each tenant](several-issuers.md#entra)',
    source: ENTRA,
    setUp: only(v2(TENANT)),
    claims: { ...ENTRA_V2, iss: v2(OTHER_TENANT), tid: OTHER_TENANT, scp: 'tools' },
    options: both(v2(TENANT), v2(OTHER_TENANT)),
    told: /another tenant of Entra.*issuers/,
  },
  {
    provider: 'Entra, an application without a user',
    how: 'nobody to act for (AADSTS7000114): let the client sign a user in; `requiredScopes` keeps such tokens out',
    source: 'https://github.com/microsoft/mcp/issues/2192',
    setUp: only(v2(TENANT)),
    claims: { ...ENTRA_V2, iss: v2(TENANT), idtyp: 'app', roles: ['Tools'] },
    exchange: {
      error: 'unauthorized_client',
      error_description: "AADSTS7000114: Application 'x' is not allowed to make application on-behalf-of calls.",
    },
    told: /client credentials.*requiredScopes/,
  },
  {
    provider: 'Okta, organisation server',
    how: 'it publishes no keys for its access tokens: make `issuer` a custom authorization server',
    source: 'https://developer.okta.com/docs/concepts/auth-servers/',
    setUp: only('https://acme.okta.com'),
    token: async (as) =>
      as.mint(
        {
          iss: 'https://acme.okta.com',
          aud: 'https://acme.okta.com',
          ver: 1,
          cid: '0oaclaude',
          scp: ['openid'],
          scope: undefined,
          client_id: undefined,
        },
        { key: await signingKey('of-okta'), header: { typ: 'JWT' } },
      ),
    told: /custom authorization server/,
  },
  {
    provider: 'Okta, custom server',
    how: 'its one audience is `resource`',
    source: 'https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/CustomAS',
    claims: { ver: 1, jti: 'AT.1', aud: RESOURCE, cid: '0oaclaude', uid: '00u1', scp: ['notes:read'], auth_time: 1 },
  },
  {
    provider: 'Auth0, JWT',
    how: 'the identifier of the API is `resource`',
    source: 'https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles',
    claims: { aud: [RESOURCE, 'https://acme.eu.auth0.com/userinfo'], azp: 'claude', scope: 'openid notes:read' },
  },
  {
    provider: 'Auth0, encrypted (JWE)',
    how: 'what clients get that name no audience: set the default audience of the tenant to `resource`, or switch token encryption of the API off',
    source: 'https://auth0.com/docs/secure/tokens/access-tokens/json-web-encryption',
    token: () => new EncryptJWT({}).setProtectedHeader({ alg: 'dir', enc: 'A256GCM' }).encrypt(new Uint8Array(32)),
    metadata: { introspection_endpoint: undefined },
    told: /default audience to resource.*token encryption/,
  },
  {
    provider: 'Cognito, with resource binding',
    how: 'clients send `resource`, which is bound to the app client',
    source:
      'https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html',
    claims: { ...COGNITO, aud: RESOURCE },
  },
  {
    provider: 'Cognito, without',
    how: "no `aud`: `missingAudience: 'client'`, and the app clients in `allowedClients`",
    source:
      'https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html',
    claims: COGNITO,
    options: () => ({ missingAudience: 'client', allowedClients: ['claude'] }),
    told: /Cognito.*missingAudience/,
  },
  {
    provider: 'Ory Hydra, JWT',
    how: "an empty `aud` unless the client asks for `audience`: `missingAudience: 'client'`, and `allowedClients`",
    source: 'https://github.com/ory/hydra/blob/master/docs/docs/advanced.md',
    claims: { aud: [], client_id: 'claude', ext: {}, scp: ['openid'], jti: 'j', nbf: 1 },
    options: () => ({ missingAudience: 'client', allowedClients: ['claude'] }),
    told: /Hydra.*missingAudience/,
  },
  {
    provider: 'Zitadel, JWT',
    how: "access token type JWT; the applications of one project are in `aud`, this server's `clientId` among them",
    source: 'https://zitadel.com/docs/apis/openidoauth/claims',
    claims: { aud: ['claude', CLIENT_ID, '310000000000000001'], client_id: 'claude', jti: 'V2_1-at_2', nbf: 1 },
  },
  {
    provider: 'Zitadel, opaque',
    how: 'it is introspected',
    source: 'https://zitadel.com/docs/apis/openidoauth/claims',
    token: () => 'opaque-token-of-zitadel',
    introspection: {
      active: true,
      aud: ['claude', CLIENT_ID],
      client_id: 'claude',
      scope: 'openid',
      token_type: 'Bearer',
      username: 'alice',
      jti: 'V2_1-at_2',
    },
  },
  {
    provider: 'authentik',
    how: '[a provider for MCP clients](authentik.md), whose client id is `audience`; if this server shares it, `clientId` is enough',
    source: 'https://docs.goauthentik.io/add-secure-apps/providers/oauth2/',
    claims: {
      aud: CLIENT_ID,
      azp: CLIENT_ID,
      acr: 'goauthentik.io/providers/oauth2/default',
      uid: 'u',
      scope: 'openid profile',
      auth_time: 1,
    },
  },
  {
    provider: 'Dex',
    how: "`at_hash` is in its access tokens: `idTokenLookalikes: 'accept'`; clients ask for the scope `audience:server:client_id:` with `clientId` behind it",
    source: 'https://dexidp.io/docs/configuration/custom-scopes-claims-clients/',
    claims: {
      aud: [CLIENT_ID, 'claude'],
      azp: 'claude',
      at_hash: 'h',
      email: 'alice@example.com',
      email_verified: true,
      name: 'Alice',
    },
    options: () => ({ idTokenLookalikes: 'accept' }),
    told: /Dex.*idTokenLookalikes/,
  },
  {
    provider: 'Google, GitHub',
    how: 'opaque, and nobody may introspect them: a provider that issues JWTs in front of it (Keycloak, Zitadel, authentik)',
    source: 'https://accounts.google.com/.well-known/openid-configuration',
    setUp: only('https://accounts.google.com'),
    token: () => 'ya29.an-opaque-token',
    metadata: { introspection_endpoint: undefined },
    told: /Google, GitHub.*in front of it/,
  },
  {
    provider: 'Clerk, opaque',
    how: "it is introspected, and no `aud` is in the answer: `missingAudience: 'client'`, and `allowedClients`",
    source: 'https://clerk.com/docs/advanced-usage/clerk-idp, introspection_endpoint /oauth/token_info',
    token: () => 'oat_an-opaque-token',
    introspection: { active: true, client_id: 'claude', scope: 'profile email' },
    options: () => ({ missingAudience: 'client', allowedClients: ['claude'] }),
    told: /Clerk.*missingAudience/,
  },
  {
    provider: "Nextcloud's app `oidc`, JWT",
    how: 'token type JWT, and clients ask for `resource`; [who may come in](nextcloud-oidc-app.md#the-mcp-server) needs `allowedClients`',
    source: 'docs/nextcloud-oidc-app.md, oidc 2.0.9',
    claims: { aud: RESOURCE, client_id: 'claude', scope: 'openid profile', jti: 'j', preferred_username: 'alice' },
  },
  {
    provider: "Nextcloud's app `oidc`, opaque",
    how: 'it says of each token of another client that it is not active: give MCP clients JWTs',
    source: 'docs/nextcloud-oidc-app.md, oidc 2.0.9',
    token: () => 'opaque-token-of-the-app',
    introspection: { active: false },
    told: /have it issue JWTs.*app oidc/,
  },
]
