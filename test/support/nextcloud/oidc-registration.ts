import { bearerOf, fresh, json, type Asked, type Told } from '../../../src/testing/nextcloud/exchange.js'
import type { NextcloudState, OAuthClient } from './state.js'

/** Milliseconds that a client lives for which has registered itself. */
const LIFE = 3_600_000
const OPEN = (methods: string) => ({ 'access-control-allow-origin': '*', 'access-control-allow-methods': methods })
const THROTTLED = { 'x-nextcloud-bruteforce-throttled': '200ms' }

/** Dynamic registration of the app `oidc` (RFC 7591, RFC 7592). */
export function registrations(state: NextcloudState, asked: Asked, route: string): Told {
  if (route === '') return register(state, asked)
  const bearer = bearerOf(asked)
  const client = state.oidcClients.find(({ registrationToken }) => registrationToken === bearer)
  const refuse = (words: string) => json(401, { error: 'invalid_token', error_description: words }, THROTTLED)
  if (client === undefined) return refuse('Invalid or missing registration access token.')
  if (state.now() >= (client.endsAt ?? 0)) return refuse('Token does not correspond to a valid client.')
  if (asked.method === 'GET') return json(200, described(client, asked), OPEN('GET'))
  state.oidcClients.splice(state.oidcClients.indexOf(client), 1)
  const { headers = {} } = json(204, undefined, { ...OPEN('DELETE'), ...THROTTLED })
  return { status: 204, headers }
}

function register(state: NextcloudState, asked: Asked): Told {
  const refuse = (error: string, words: string) => json(400, { error, error_description: words })
  if (!state.settings.dynamicRegistration)
    return refuse('dynamic_registration_not_allowed', 'Dynamic Client Registration is disabled.')
  const { client_name: name = '', redirect_uris: redirectUris = [] } = JSON.parse(asked.body) as {
    client_name?: string
    redirect_uris?: string[]
  }
  if (redirectUris.length === 0)
    return refuse('no_redirect_uris_provided', 'Dynamic Client Registration requires redirect_uris to be set.')
  const client: OAuthClient = {
    id: state.nextId(),
    name,
    clientId: fresh(64),
    secret: fresh(64),
    redirectUris,
    endsAt: state.now() + LIFE,
    registrationToken: fresh(64),
  }
  state.oidcClients.push(client)
  const { registration_client_uri: uri, client_name, client_id, client_secret, ...rest } = described(client, asked)
  const token = { registration_access_token: client.registrationToken, registration_client_uri: uri }
  return json(201, { client_name, client_id, client_secret, ...token, ...rest, token_type: 'opaque' }, OPEN('POST'))
}

/** A client that asked for `none` is a confidential one all the same. */
function described({ clientId, secret, name, redirectUris, endsAt = 0 }: OAuthClient, { base }: Asked) {
  return {
    client_id: clientId,
    client_secret: secret,
    registration_client_uri: `${base}/apps/oidc/register/${clientId}`,
    client_name: name,
    redirect_uris: redirectUris,
    token_endpoint_auth_method: 'client_secret_post',
    response_types: ['code'],
    grant_types: ['authorization_code'],
    id_token_signed_response_alg: 'RS256',
    application_type: 'web',
    client_id_issued_at: Math.floor((endsAt - LIFE) / 1_000),
    client_secret_expires_at: Math.floor(endsAt / 1_000),
    scope: '',
  }
}
