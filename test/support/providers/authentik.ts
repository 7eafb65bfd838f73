import { decodeJwt } from 'jose'
import type { ManualClock } from '../clock.js'
import { refusal, STAND_IN_SECRET, startStandIn, type StandIn } from './stand-in.js'

const TYPE = 'urn:ietf:params:oauth:token-type:'
/** What it says of every `invalid_grant`. */
const INVALID_GRANT =
  'The provided authorization grant or refresh token is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client'

/** A provider of Authentik: one application, with its issuer and its client. */
interface AuthentikProvider {
  readonly clientId: string
  readonly standIn: StandIn
  /** Client ids under "Federated OAuth2/OpenID Providers". */
  readonly federated: Set<string>
  readonly grantTypes: Set<string>
}

export interface Authentik {
  readonly origin: string
  /** At which MCP clients sign in, without a secret. */
  readonly clients: AuthentikProvider
  readonly mcp: AuthentikProvider
  readonly nextcloud: AuthentikProvider
  readonly requests: () => readonly URLSearchParams[]
}

/**
 * Authentik with a provider for MCP clients, one for the MCP server and one for Nextcloud, each an issuer of its own. An exchanged token is one of the provider
 * that a single `audience` names, which must have opted in; `resource` is refused; without `scope` there are no scopes.
 */
export async function startAuthentik(clock: ManualClock): Promise<Authentik> {
  const endpoints = {
    token_endpoint: '/application/o/token/',
    introspection_endpoint: '/application/o/introspect/',
    token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
  }
  const first = await startStandIn(clock, '/application/o/mcp/', endpoints)
  const [second, third] = (await Promise.all(
    ['nextcloud', 'mcp-clients'].map((slug) => startStandIn(clock, `/application/o/${slug}/`, endpoints, first.as)),
  )) as [StandIn, StandIn]
  const provider = (clientId: string, standIn: StandIn): AuthentikProvider => ({
    clientId,
    standIn,
    federated: new Set(),
    grantTypes: new Set(['authorization_code']),
  })
  const mcp = provider('mcp', first)
  const nextcloud = provider('nextcloud', second)
  const clients = provider('mcp-clients', third)
  const providers = [clients, mcp, nextcloud]
  const supported = [`${TYPE}access_token`, `${TYPE}jwt`]

  first.tokenEndpoint(endpoints.token_endpoint, async (form, client) => {
    const requester = providers.find(({ clientId }) => clientId === client.id)
    if (requester === undefined || client.secret !== STAND_IN_SECRET) {
      return refusal('invalid_client', 'Client authentication failed')
    }
    if (!requester.grantTypes.has(form.get('grant_type') ?? '')) return refusal('invalid_grant', INVALID_GRANT)
    const requested = form.get('requested_token_type') ?? `${TYPE}access_token`
    if (!supported.includes(form.get('subject_token_type') ?? '') || !supported.includes(requested)) {
      return refusal('invalid_request', 'The request is otherwise malformed')
    }
    if (form.has('resource') || form.getAll('audience').length > 1) return refusal('invalid_target')
    const audience = form.get('audience') ?? requester.clientId
    const target = providers.find(({ clientId }) => clientId === audience)
    if (target === undefined || (target !== requester && !target.federated.has(requester.clientId))) {
      return refusal('invalid_target')
    }
    const issuedBy = providers.find(({ standIn }) => standIn.issuer === issuerOf(form.get('subject_token') ?? ''))
    const claims = await issuedBy?.standIn.open(form.get('subject_token') ?? '')
    const trusted =
      issuedBy !== undefined &&
      (requester.federated.has(issuedBy.clientId) || (issuedBy === requester && target !== requester))
    if (claims === undefined || !trusted) return refusal('invalid_grant', INVALID_GRANT)
    const scope = form.get('scope') ?? ''
    const { sub } = claims
    return {
      access_token: await target.standIn.mint({ sub, aud: target.clientId, azp: target.clientId, uid: 'u', scope }),
      issued_token_type: requested,
      token_type: 'Bearer',
      expires_in: 300,
      scope,
    }
  })

  return {
    origin: first.origin,
    clients,
    mcp,
    nextcloud,
    requests: () => first.as.received(endpoints.token_endpoint).map(({ form }) => form),
  }
}

function issuerOf(token: string): string | undefined {
  try {
    return decodeJwt(token).iss
  } catch {
    return undefined
  }
}
