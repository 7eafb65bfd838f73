import type { ManualClock } from '../clock.js'
import { listOf, refusal, STAND_IN_SECRET, startStandIn, type StandIn } from './stand-in.js'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const REQUIRED = ['subject_token', 'subject_token_type', 'requested_token_type', 'audience']

/** An application of the kind "Custom API Client", linked to the API that it serves. */
interface CustomApiClient {
  /** The identifier of that API, which must be in the subject token's audience. */
  resourceServer: string
  /** Whether "On-Behalf-Of Token Exchange" is switched on. */
  exchange: boolean
  /** APIs that it has a user-delegated grant for. */
  readonly grants: Set<string>
}

export interface Auth0 extends StandIn {
  readonly client: CustomApiClient
}

/**
 * Auth0's on-behalf-of token exchange: `requested_token_type` and `audience` are required. Its issuer ends in a slash. With which `error` it
 * refuses is not documented for this grant; those here are the ones of its other grants.
 */
export async function startAuth0(clock: ManualClock, clientId: string, resourceServer: string): Promise<Auth0> {
  const standIn = await startStandIn(clock, '/', {
    token_endpoint: '/oauth/token',
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
  })
  const client: CustomApiClient = { resourceServer, exchange: true, grants: new Set() }

  standIn.tokenEndpoint('/oauth/token', async (form, { id, secret }) => {
    if (id !== clientId || secret !== STAND_IN_SECRET) return refusal('access_denied', 'Unauthorized', { status: 401 })
    if (!client.exchange) {
      return refusal('unauthorized_client', 'Grant type not allowed for the client.', { status: 403 })
    }
    const missing = REQUIRED.find((name) => !form.has(name))
    if (missing !== undefined) return refusal('invalid_request', `Missing required parameter: ${missing}`)
    const claims = await standIn.open(form.get('subject_token') ?? '')
    if (claims === undefined || !listOf(claims['aud']).includes(client.resourceServer)) {
      return refusal('invalid_request', 'Invalid subject_token')
    }
    const audience = form.get('audience') ?? ''
    if (!client.grants.has(audience)) return refusal('access_denied', `Service not found: ${audience}`, { status: 403 })
    const act = { sub: id, act: { sub: claims['azp'] } }
    return {
      access_token: await standIn.mint({ sub: claims['sub'], aud: audience, azp: id, act, client_id: undefined }),
      issued_token_type: ACCESS_TOKEN,
      token_type: 'Bearer',
      expires_in: 86_400,
    }
  })

  return { ...standIn, client }
}
