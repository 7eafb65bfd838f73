import type { NextcloudPreset } from '../options.js'

/** Where an authorization server departs from the standards, or leaves less room than they do. */
export interface Quirks {
  /** `error` values of the token endpoint that mean a dead refresh token. */
  readonly deadRefreshToken: readonly string[]
  /** What the description of an `invalid_request` says where it means that the refresh token is not known, or no longer. */
  readonly unknownRefreshToken?: RegExp
  /** Where the client's secret goes, where the metadata does not tell. */
  readonly secretIn: 'header' | 'body' | 'as-discovered'
  /** Whether a refresh may name scopes (RFC 6749 §6). */
  readonly scopesOnRefresh: boolean
  /** Whether a refresh ends the access token before it, so that none is renewed while it is in use. */
  readonly refreshEndsAccessToken: boolean
  /**
   * Seconds before its stated end after which an access token is no longer used: where presenting one that has just expired costs
   * the grant.
   */
  readonly margin: number
  /** Whether the server has a revocation endpoint, where discovery or an option names one. */
  readonly revocation: boolean
  /** Whether it says in an ID token who has signed in (OIDC Core §2). */
  readonly idToken: boolean
  /**
   * Where the endpoints of a server without metadata are, from Nextcloud's base URL on: it is another one than the issuer of the
   * MCP tokens. Undefined: they are the issuer's, whose metadata says where.
   */
  readonly endpoints: { readonly authorization: string; readonly token: string } | undefined
}

const GENERIC: Quirks = {
  // RFC 6749 §5.2.
  deadRefreshToken: ['invalid_grant'],
  secretIn: 'as-discovered',
  scopesOnRefresh: true,
  refreshEndsAccessToken: false,
  margin: 0,
  revocation: true,
  idToken: true,
  endpoints: undefined,
}

const QUIRKS: Readonly<Record<NextcloudPreset, Quirks>> = {
  generic: GENERIC,
  keycloak: GENERIC,
  // Multi-factor rules or an administrator may ask for the person again (AADSTS50076 and the like).
  entra: {
    ...GENERIC,
    deadRefreshToken: ['invalid_grant', 'interaction_required', 'consent_required', 'login_required'],
  },
  // H2CK: the header is read only where the body has no client_id; one row a grant, which a refresh overwrites and an expired
  // access token deletes when it is presented.
  'nextcloud-oidc-app': {
    ...GENERIC,
    // Of a row that is gone, its older versions say `invalid_request`.
    unknownRefreshToken: /could not find access token/i,
    secretIn: 'body',
    scopesOnRefresh: false,
    refreshEndsAccessToken: true,
    margin: 30,
    revocation: false,
  },
  // Nextcloud core: no metadata, no scopes, no ID token, a dead refresh token is an invalid request, and a refresh gives the one
  // token row another secret.
  'nextcloud-oauth2-app': {
    ...GENERIC,
    deadRefreshToken: ['invalid_grant', 'invalid_request'],
    secretIn: 'body',
    scopesOnRefresh: false,
    refreshEndsAccessToken: true,
    revocation: false,
    idToken: false,
    endpoints: { authorization: 'index.php/apps/oauth2/authorize', token: 'index.php/apps/oauth2/api/v1/token' },
  },
}

export function quirksOf(preset: NextcloudPreset | undefined): Quirks {
  return QUIRKS[preset ?? 'generic']
}
