/** What an operator should look at, by `error`. */
const HINTS = new Map(
  Object.entries({
    invalid_client: 'Check clientId, clientSecret (or clientAuth) and the authentication method of this client.',
    unauthorized_client:
      'This client may not use the grant: switch token exchange on for it at the authorization server.',
    unsupported_grant_type: 'The authorization server does not offer this grant: check nextcloud.mode.',
    invalid_target: 'Check nextcloud.audience and nextcloud.resource, and that this client may ask for them.',
    invalid_scope: 'Check nextcloud.scopes, and that this client may ask for them.',
    access_denied:
      'This client may not exchange the token: it has to be in the aud of the MCP token (Keycloak), and be allowed nextcloud.audience by a policy or grant.',
    invalid_request:
      'The authorization server does not take the request as it is: check that token exchange is switched on for this client, nextcloud.audience and nextcloud.parameters.',
    consent_required:
      'A person or an administrator has to consent to the scopes of this client at the authorization server.',
  }),
)

/** A hint for a refusal that says more together with what was sent. */
interface Rule {
  readonly error: string
  readonly applies: (sent: URLSearchParams, description: string) => boolean
  readonly hint: string
}

const RULES: readonly Rule[] = [
  {
    error: 'invalid_target',
    applies: (sent) => sent.has('resource'),
    hint: 'Leave nextcloud.resource out, where this authorization server takes only an audience (Zitadel, Authentik); else check it, and nextcloud.audience.',
  },
  {
    error: 'invalid_target',
    applies: (sent) => sent.getAll('audience').length > 1,
    hint: 'Name a single nextcloud.audience, where this authorization server issues no token for several (Authentik); else check each of them.',
  },
  {
    error: 'invalid_target',
    applies: (sent) => sent.has('audience'),
    hint: 'Check nextcloud.audience: the authorization server has to know it and to let this client ask for it (Zitadel: it is in the aud of the MCP token already; Authentik: its provider lists the one of this client under the federated ones).',
  },
  {
    error: 'invalid_scope',
    applies: (sent) => !sent.has('scope'),
    hint: 'Set nextcloud.scopes: this authorization server issues no token without a scope (Okta).',
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

/** What to look at after a refused request, of which `sent` are the parameters; undefined where nothing is known. */
export function hintFor(
  { error, description = '' }: { readonly error: string; readonly description: string | undefined },
  sent: URLSearchParams = new URLSearchParams(),
): string | undefined {
  const rule = RULES.find((candidate) => candidate.error === error && candidate.applies(sent, description))
  return rule?.hint ?? HINTS.get(error)
}
