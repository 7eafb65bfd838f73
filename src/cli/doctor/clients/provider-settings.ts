/** The places in an identity provider's own settings. */
interface ProviderSettings {
  /** Matches its issuers. */
  readonly issuers: RegExp
  /** The place to make a client by hand. */
  readonly client: string
  /** The place to let clients register themselves; undefined if there is none. */
  readonly registration?: string
}

const PROVIDERS: readonly ProviderSettings[] = [
  {
    issuers: /\/realms\/[^/]+$/,
    client:
      'Keycloak: Clients, Create client, with Client authentication off for a public one, and Valid redirect URIs',
    registration:
      'Keycloak: Clients, Client registration, Anonymous access policies, Trusted Hosts: the hosts of its redirect URIs, and Host Sending Client Registration Request Must Match off; for metadata documents the feature cimd with a client policy',
  },
  {
    issuers:
      /^https:\/\/(?:login\.microsoftonline\.(?:com|us)|sts\.windows\.net|login\.partner\.microsoftonline\.cn)\//,
    client: 'Entra: App registrations, New registration, Authentication, a platform of the kind of its redirect URIs',
  },
  {
    issuers: /^https:\/\/[^/]+\.auth0\.com\/$/,
    client: 'Auth0: Applications, Create Application, Allowed Callback URLs',
    registration: 'Auth0: Settings, Advanced, Dynamic Client Registration, and a connection promoted to domain level',
  },
  {
    issuers: /^https:\/\/[^/]+\.(?:okta|oktapreview|okta-emea)\.com(?:\/|$)/,
    client: 'Okta: Applications, Create App Integration, OIDC, Sign-in redirect URIs',
  },
  {
    issuers: /^https:\/\/[^/]+\.zitadel\.cloud$/,
    client: 'Zitadel: the project, New application, User Agent or Native, Redirect URIs',
  },
  {
    issuers: /\/application\/o\/[^/]+\/$/,
    client: 'authentik: Applications, Providers, Create, OAuth2/OpenID, Redirect URIs',
  },
  {
    issuers: /^https:\/\/cognito-idp\.[^/]+\.amazonaws\.com(?:\.cn)?\//,
    client: 'Cognito: the user pool, App clients, Create app client, Allowed callback URLs',
  },
  {
    issuers: /^https:\/\/accounts\.google\.com$/,
    client: 'Google Cloud: Google Auth Platform, Clients, Create client, Authorized redirect URIs',
  },
]

/** The app `oidc` of Nextcloud, whose issuer is the Nextcloud itself. */
const NEXTCLOUD: Omit<ProviderSettings, 'issuers'> = {
  client: 'Nextcloud: occ oidc:create --token_type=jwt NAME REDIRECT_URI, with --type=public for a public one',
}

const ANY: Omit<ProviderSettings, 'issuers'> = {
  client: 'at the provider, a client for the authorization code flow with PKCE',
  registration: 'at the provider, dynamic client registration (RFC 7591) or client metadata documents',
}

/**
 * Returns the places in the settings of a provider, as far as its issuer tells which one it is.
 *
 * @param metadata its metadata
 */
export function providerSettings(
  issuer: string,
  metadata: Readonly<Record<string, unknown>>,
): Omit<ProviderSettings, 'issuers'> {
  const endpoint = metadata['authorization_endpoint']
  if (typeof endpoint === 'string' && endpoint.includes('/apps/oidc/')) return NEXTCLOUD
  return PROVIDERS.find(({ issuers }) => issuers.test(issuer)) ?? ANY
}
