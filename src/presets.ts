import type { NextcloudMode } from './modes.js'

/** An authorization server with ways of its own, which `nextcloud.preset` names. */
export type NextcloudPreset = 'generic' | 'keycloak' | 'entra' | 'nextcloud-oidc-app' | 'nextcloud-oauth2-app'

/** The points in which an authorization server departs from the standards, or leaves less room than they do. */
export interface Quirks {
  /** Modes with an exchange that the server has. With none, such a mode is refused; with another, it is warned about. */
  readonly exchanges: readonly NextcloudMode[]
  /** Whether whoever names the server is likely to mean an exchange. */
  readonly usuallyExchanges: boolean
  /** `error` values of the token endpoint that mean a dead refresh token. */
  readonly deadRefreshToken: readonly string[]
  /** Matches the description of an `invalid_request` that means an unknown refresh token. */
  readonly unknownRefreshToken?: RegExp
  /** Place of the client's secret if the metadata does not tell. */
  readonly secretIn: 'header' | 'body' | 'as-discovered'
  /** Whether a refresh may name scopes (RFC 6749 §6). */
  readonly scopesOnRefresh: boolean
  /** Whether a refresh ends the access token before it, so that none is renewed while it is in use. */
  readonly refreshEndsAccessToken: boolean
  /** Seconds before its stated end after which an access token is not used, because presenting an expired one costs the grant. */
  readonly margin: number
  /** Whether the server has a revocation endpoint if discovery or an option names one. */
  readonly revocation: boolean
  /**
   * Whether Nextcloud itself ends a refresh token, with its session and without the others of its user: it is spent once more, and what
   * comes for it is ended by its access token.
   */
  readonly endsAlone: boolean
  /** Whether the token endpoint counts what it refuses of an address, and soon refuses everything from there. */
  readonly throttles: boolean
  /** Whether an ID token says who has signed in (OIDC Core §2). */
  readonly idToken: boolean
  /** Whether the server may take `prompt=select_account` (OIDC Core §3.1.2.1). Without it, `login` lets another person sign in. */
  readonly selectsAccount: boolean
  /** Whether a token of each of the server's clients, which may have registered itself, passes for one of an MCP client. */
  readonly letsAnyClientIn: boolean
  /** The setting of the app `user_oidc` by which Nextcloud takes the access tokens. Undefined: it takes them by itself. */
  readonly takenBy: 'check-bearer' | 'oidc_provider_bearer_validation' | undefined
  /**
   * Endpoints of a server without metadata, relative to Nextcloud's base URL. That server is another one than the issuer of the MCP
   * tokens, and `clientId` is known to it alone. Undefined: they are the issuer's, whose metadata names them.
   */
  readonly endpoints: { readonly authorization: string; readonly token: string } | undefined
}

const GENERIC: Quirks = {
  exchanges: ['token-exchange', 'jwt-bearer'],
  usuallyExchanges: false,
  // RFC 6749 §5.2.
  deadRefreshToken: ['invalid_grant'],
  secretIn: 'as-discovered',
  scopesOnRefresh: true,
  refreshEndsAccessToken: false,
  margin: 0,
  revocation: true,
  endsAlone: false,
  throttles: false,
  idToken: true,
  selectsAccount: true,
  letsAnyClientIn: false,
  takenBy: 'check-bearer',
  endpoints: undefined,
}

export const PRESETS: Readonly<Record<NextcloudPreset, Quirks>> = {
  generic: GENERIC,
  keycloak: { ...GENERIC, usuallyExchanges: true },
  // Multi-factor rules or an administrator may ask for the person again (AADSTS50076 and the like).
  entra: {
    ...GENERIC,
    exchanges: ['jwt-bearer'],
    deadRefreshToken: ['invalid_grant', 'interaction_required', 'consent_required', 'login_required'],
  },
  // H2CK: the header is read only if the body has no client_id. A grant is one row, which a refresh overwrites and which is deleted
  // when an expired access token is presented.
  'nextcloud-oidc-app': {
    ...GENERIC,
    exchanges: [],
    // Its older versions say `invalid_request` of a row that is gone.
    unknownRefreshToken: /could not find access token/i,
    secretIn: 'body',
    scopesOnRefresh: false,
    refreshEndsAccessToken: true,
    margin: 30,
    revocation: false,
    // It takes `select_account` for nothing and sends the same person back.
    selectsAccount: false,
    letsAnyClientIn: true,
    takenBy: 'oidc_provider_bearer_validation',
  },
  // Nextcloud core: no metadata, no scopes, no ID token. A dead refresh token is an invalid request, and a refresh gives the one
  // token row another secret.
  'nextcloud-oauth2-app': {
    ...GENERIC,
    exchanges: [],
    deadRefreshToken: ['invalid_grant', 'invalid_request'],
    secretIn: 'body',
    scopesOnRefresh: false,
    refreshEndsAccessToken: true,
    revocation: false,
    endsAlone: true,
    throttles: true,
    idToken: false,
    takenBy: undefined,
    endpoints: { authorization: 'index.php/apps/oauth2/authorize', token: 'index.php/apps/oauth2/api/v1/token' },
  },
}

/** The ways of the server that `nextcloud.preset` names, or of any other server. */
export function quirksOf(preset: NextcloudPreset | undefined): Quirks {
  return PRESETS[preset ?? 'generic']
}

/** The setting of Nextcloud that is likely off where it refuses a good bearer token, for the operator. */
export const BEARER_SWITCHES: Readonly<Record<NonNullable<Quirks['takenBy']>, string>> = {
  'check-bearer':
    'at Nextcloud, for this provider in user_oidc: occ user_oidc:provider NAME --check-bearer=1; its client id in aud of the token (nextcloud.audience); its discovery endpoint that of the issuer of the token; users whom Nextcloud does not know yet are refused where auto_provision of user_oidc is false',
  oidc_provider_bearer_validation:
    'at Nextcloud, with the app user_oidc, which takes the tokens: occ app:enable user_oidc; occ config:system:set user_oidc oidc_provider_bearer_validation --value=true --type=boolean',
}
