/** The way in which this server gets a credential for Nextcloud. */
export type NextcloudMode = 'token-exchange' | 'refresh-token' | 'app-password' | 'jwt-bearer' | 'pass-through'

/** The secret that a store keeps of a user. */
export type KeptSecret = 'refresh-token' | 'app-password'

/** The traits of a mode. Every room asks this table and compares no names, so that another mode is one more row. */
export interface ModeTraits {
  /** A phrase for the documentation: the origin of the credential. */
  readonly says: string
  /** A phrase for the documentation: the case for this mode. */
  readonly when: string
  /** A phrase for the documentation: the provider's part. */
  readonly provider: string
  /** Origin of the credential: an exchange of the MCP token, a grant that the user gave before, or the MCP token itself. */
  readonly credentialFrom: 'exchange' | 'grant' | 'mcp-token'
  /** The secret that the store keeps of each user. Undefined: none. */
  readonly keeps: KeptSecret | undefined
  /** Whether the authorization server gives the token, so that it must know this server. */
  readonly asksAuthorizationServer: boolean
  /** Grant types of the token requests (RFC 6749 §1.3), as `grant_types_supported` lists them. */
  readonly grantTypes: readonly string[]
  /** Purpose of the user's sign-in at the authorization server: the grant itself, or their identity alone. Undefined: no sign-in. */
  readonly signInFor: 'grant' | 'identity' | undefined
  /** The scheme of the Authorization header that Nextcloud gets. */
  readonly scheme: 'Bearer' | 'Basic'
  /** Whether token requests name `nextcloud.audience`. */
  readonly sendsAudience: boolean
  /** Whether token requests may choose the form of the token (`requested_token_type`, RFC 8693 §2.1). */
  readonly choosesTokenType: boolean
  /** Options of `nextcloud` without any effect. They are refused. */
  readonly ignores: readonly ('audience' | 'resource' | 'scopes' | 'parameters')[]
  /** The reason why a single call cannot choose scopes. Undefined: it can. */
  readonly refusesScopes: string | undefined
  /** The reason why a single call cannot choose an audience. Undefined: it can. */
  readonly refusesAudience: string | undefined
}

const FIXED_BY_THE_GRANT = 'a grant has those that it was given with'

const EXCHANGE = {
  credentialFrom: 'exchange',
  keeps: undefined,
  asksAuthorizationServer: true,
  signInFor: undefined,
  scheme: 'Bearer',
  ignores: [],
  refusesScopes: undefined,
} satisfies Partial<ModeTraits>

const GRANT = {
  credentialFrom: 'grant',
  sendsAudience: false,
  choosesTokenType: false,
  refusesScopes: FIXED_BY_THE_GRANT,
  refusesAudience: FIXED_BY_THE_GRANT,
} satisfies Partial<ModeTraits>

export const MODES: Readonly<Record<NextcloudMode, ModeTraits>> = {
  'token-exchange': {
    says: 'the MCP token is exchanged (RFC 8693)',
    when: 'the default: Keycloak, Zitadel, Authentik, Okta, Auth0',
    provider: 'RFC 8693',
    ...EXCHANGE,
    grantTypes: ['urn:ietf:params:oauth:grant-type:token-exchange'],
    sendsAudience: true,
    choosesTokenType: true,
    refusesAudience: undefined,
  },
  'refresh-token': {
    says: 'the user gives a grant once, which is stored',
    when: 'the provider has no exchange (Nextcloud itself as the provider), or tools work at night',
    provider: 'a code flow with refresh tokens; users connect once, in their browser',
    ...GRANT,
    keeps: 'refresh-token',
    asksAuthorizationServer: true,
    grantTypes: ['authorization_code', 'refresh_token'],
    signInFor: 'grant',
    scheme: 'Bearer',
    ignores: [],
  },
  'app-password': {
    says: 'the user gives an app password once, which is stored (Login Flow v2)',
    when: 'most people: every Nextcloud takes it',
    provider: 'a sign-in that says who it is; users connect once, in their browser',
    ...GRANT,
    keeps: 'app-password',
    asksAuthorizationServer: false,
    grantTypes: [],
    signInFor: 'identity',
    scheme: 'Basic',
    ignores: ['audience', 'resource', 'scopes', 'parameters'],
  },
  'jwt-bearer': {
    says: 'the MCP token is exchanged on behalf of the user (Entra, RFC 7523)',
    when: 'Entra',
    provider: 'on-behalf-of',
    ...EXCHANGE,
    grantTypes: ['urn:ietf:params:oauth:grant-type:jwt-bearer'],
    sendsAudience: false,
    choosesTokenType: false,
    refusesAudience: 'use scopes',
  },
  'pass-through': {
    says: 'the MCP token itself is sent, if its `aud` holds the Nextcloud audience',
    when: 'the MCP token is for both audiences',
    provider: 'tokens with two audiences',
    credentialFrom: 'mcp-token',
    keeps: undefined,
    asksAuthorizationServer: false,
    grantTypes: [],
    signInFor: undefined,
    scheme: 'Bearer',
    sendsAudience: false,
    choosesTokenType: false,
    ignores: ['resource', 'scopes', 'parameters'],
    refusesScopes: 'the MCP token has those that it has',
    refusesAudience: undefined,
  },
}

/** The modes that keep grants, as messages list them: `'refresh-token' or 'app-password'`. */
export const MODES_WITH_GRANTS = Object.entries(MODES)
  .flatMap(([name, { keeps }]) => (keeps === undefined ? [] : `'${name}'`))
  .join(' or ')
