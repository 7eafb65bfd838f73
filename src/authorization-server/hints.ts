import { variableOf } from '../config/declarations.js'
import { entraRefusal } from './entra-errors.js'
import type { TokenErrorAnswer } from './token-answer.js'

/** Advice for the operator, by `error`. */
const BY_ERROR = mapOf({
  invalid_client: `The authorization server does not take this server's own client: compare clientId (${variableOf('clientId')}) and clientSecret (${variableOf('clientSecret')}) with what is registered there. If they are right, the client is registered there for a key or a certificate: set clientAuth, such as PrivateKeyJwt(key) of oauth4webapi.`,
  unauthorized_client:
    'This client may not use the grant: switch token exchange on for it at the authorization server.',
  unsupported_grant_type: 'The authorization server does not offer this grant: check nextcloud.mode.',
  invalid_target: 'Check nextcloud.audience and nextcloud.resource, and that this client may ask for them.',
  invalid_scope: 'Check nextcloud.scopes, and that this client may ask for them.',
  access_denied:
    'This client may not exchange the token: it must be in the aud of the MCP token (Keycloak), and be allowed nextcloud.audience by a policy or grant.',
  invalid_request:
    'The authorization server does not take the request as it is: check that token exchange is switched on for this client, nextcloud.audience and nextcloud.parameters.',
  consent_required:
    'A person or an administrator must consent to the scopes of this client at the authorization server.',
})

/**
 * Advice by the beginning of the description, because Keycloak uses one `error` for several things (26.2 to 26.7). No other server
 * uses these words, so they count under any preset. The advice is in the words of Keycloak's admin console.
 */
const IN_KEYCLOAK = Object.entries({
  'Standard token exchange is not enabled':
    'Clients, the client of clientId, Settings, Capability config: switch "Standard Token Exchange" on.',
  'Public client is not allowed to exchange token':
    'Clients, the client of clientId, Settings, Capability config: switch "Client authentication" on.',
  'Client is not within the token audience':
    'give the MCP client a client scope (type Default) with a mapper of type Audience whose "Included Client Audience" is clientId, and switch "Add to access token" on there.',
  'Requested audience not available':
    'Clients, the client of clientId, Client scopes: add a client scope (type Default, or Optional and named in nextcloud.scopes) with a mapper of type Audience whose "Included Client Audience" is nextcloud.audience, because asking alone adds no audience; Advanced: switch "Always use lightweight access token" off.',
  'Audience not found':
    'there is no client whose Client ID is nextcloud.audience; it must be the one that the user_oidc app of Nextcloud has there.',
  'Client disabled': 'Clients, the client whose Client ID is nextcloud.audience: switch it to "Enabled".',
  'Invalid client or Invalid client credentials':
    'Clients, the client of clientId: compare clientSecret with Credentials, "Client Secret", and see that the client is "Enabled" and has "Client authentication" on.',
  'Offline tokens not allowed':
    'give the user the realm role offline_access (Realm settings, User registration, Default roles, for all users), and the client of clientId the client scope offline_access.',
})

/** A hint for a refusal that says more together with what was sent. */
interface Rule {
  readonly error: string
  readonly applies: (sent: URLSearchParams, description: string) => boolean
  readonly hint: string
}

const BY_REQUEST: readonly Rule[] = [
  {
    error: 'invalid_target',
    applies: (sent) => sent.has('resource'),
    hint: 'Leave nextcloud.resource out if this authorization server takes only an audience (Zitadel, Authentik); else check it, and nextcloud.audience.',
  },
  {
    error: 'invalid_target',
    applies: (sent) => sent.getAll('audience').length > 1,
    hint: 'Name a single nextcloud.audience if this authorization server issues no token for several (Authentik); else check each of them.',
  },
  {
    error: 'invalid_target',
    applies: (sent) => sent.has('audience'),
    hint: 'Check nextcloud.audience: the authorization server must know it and let this client ask for it (Zitadel: it is in the aud of the MCP token already; Authentik: its provider lists the one of this client under the federated ones).',
  },
  {
    error: 'invalid_scope',
    applies: (sent) => !sent.has('scope'),
    hint: "Set nextcloud.scopes to the scope for Nextcloud that is defined there, such as ['nextcloud:access']: this authorization server issues no token without a scope (Okta: one of the custom authorization server for Nextcloud, and not openid).",
  },
  {
    error: 'invalid_request',
    applies: (sent, description) => !sent.has('scope') && /\bscope\b/i.test(description),
    hint: "Set nextcloud.scopes: this authorization server wants a scope (Entra: 'api://<Nextcloud's app>/.default').",
  },
  {
    error: 'invalid_request',
    applies: (_sent, description) => description.includes('requested_token_type'),
    hint: 'Check requested_token_type in nextcloud.parameters.',
  },
]

/** Advice that a grant has of its own for an `error`; `authorization` is its answer to the browser (RFC 6749 §4.1.2.1). */
const BY_GRANT = {
  refresh: mapOf({
    unauthorized_client:
      'This client may not use the grant: switch refresh tokens on for it at the authorization server.',
  }),
  code: mapOf({
    invalid_grant: 'Check that the redirect URI of this client is auth.connectRedirectUri, and that the clocks agree.',
    unauthorized_client:
      'This client may not use the grant: switch the authorization code flow on for it at the authorization server.',
  }),
  authorization: mapOf({
    invalid_scope:
      'Check connect.scopes, and that this client may ask for them (and for offline_access, which is added).',
    unauthorized_client:
      'This client may not use the grant: switch the authorization code flow on for it at the authorization server (Keycloak: "Standard flow").',
  }),
}

/**
 * Returns advice after a refused request; undefined if nothing is known.
 *
 * @param sent the parameters of an exchange, or the grant that was asked for
 */
export function hintFor(
  { error, description = '', httpStatus }: Pick<TokenErrorAnswer, 'error' | 'description'> & { httpStatus?: number },
  sent: URLSearchParams | 'refresh' | 'code' = new URLSearchParams(),
): string | undefined {
  const [, inKeycloak] = IN_KEYCLOAK.find(([words]) => description.startsWith(words)) ?? []
  if (inKeycloak !== undefined) return `In Keycloak: ${inKeycloak}`
  const atEntra = entraRefusal(description)?.hint
  if (atEntra !== undefined) return atEntra
  // RFC 6749 §5.2 has 401 for clients that are not who they say, whatever the error is called.
  if (error === 'unauthorized_client' && httpStatus === 401) return BY_ERROR.get('invalid_client')
  if (typeof sent === 'string') return BY_GRANT[sent].get(error) ?? hintFor({ error, description })
  const rule = BY_REQUEST.find((candidate) => candidate.error === error && candidate.applies(sent, description))
  return rule?.hint ?? BY_ERROR.get(error)
}

/** Returns advice for an `error` with which the server sends the browser back. */
export function hintForAuthorization(error: string): string | undefined {
  return BY_GRANT.authorization.get(error)
}

/** The way to have a grant switched on, by grant type. */
const SWITCH_ON = mapOf({
  'urn:ietf:params:oauth:grant-type:token-exchange':
    'switch token exchange on for this client at the provider (Keycloak 26.2 or later: Clients, the client, Capability config, Standard token exchange); a provider without it needs another mode: refresh-token',
  'urn:ietf:params:oauth:grant-type:jwt-bearer':
    'jwt-bearer mode is for Entra (on-behalf-of); elsewhere use token-exchange or refresh-token mode',
  authorization_code: 'switch the authorization code flow and refresh tokens on for this client at the provider',
})

/** Returns advice for a grant that the server does not offer, or not to this client. */
export function hintForGrant(grantType: string): string {
  return SWITCH_ON.get(grantType) ?? 'switch that grant on for this client at the provider'
}

function mapOf(hints: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  return new Map(Object.entries(hints))
}
