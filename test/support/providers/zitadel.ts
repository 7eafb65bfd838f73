import { randomBytes } from 'node:crypto'
import type { ManualClock } from '../clock.js'
import { listOf, refusal, STAND_IN_SECRET, startStandIn, type StandIn } from './stand-in.js'

const TYPE = 'urn:ietf:params:oauth:token-type:'

export interface Zitadel extends StandIn {
  /** An opaque access token, which is what apps get that do not choose JWTs. */
  readonly issueOpaque: (claims: Record<string, unknown>) => string
}

/**
 * Zitadel, of its token exchange what concerns a plain exchange (no actor): an access token is a JWT only where
 * `requested_token_type` says `…:jwt`, `resource` is refused, and an audience must be in the subject token already.
 *
 * @param project client ids and project id, which are the audience of every token
 */
export async function startZitadel(clock: ManualClock, project: readonly string[]): Promise<Zitadel> {
  const standIn = await startStandIn(clock, '', {
    token_endpoint: '/oauth/v2/token',
    introspection_endpoint: '/oauth/v2/introspect',
    token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
  })
  const opaque = new Map<string, Record<string, unknown>>()

  function issueOpaque(claims: Record<string, unknown>): string {
    const token = randomBytes(30).toString('base64url')
    const iat = standIn.seconds()
    const times = { iat, exp: iat + 3_600 }
    opaque.set(token, { iss: standIn.issuer, aud: [...project], ...times, token_type: 'Bearer', ...claims })
    return token
  }

  const claimsOf = async (token: string) => opaque.get(token) ?? (await standIn.open(token))
  /** Its introspection and its exchange want the client, or its project, in the token's audience. */
  const isFor = (claims: Record<string, unknown>, client: string) => listOf(claims['aud']).includes(client)

  standIn.tokenEndpoint('/oauth/v2/introspect', async (form, client) => {
    if (client.secret !== STAND_IN_SECRET) return refusal('invalid_client', undefined, { status: 401 })
    const claims = await claimsOf(form.get('token') ?? '')
    const active = claims !== undefined && isFor(claims, client.id)
    return { status: 200, active, ...(active && claims) }
  })

  standIn.tokenEndpoint('/oauth/v2/token', async (form, client) => {
    if (client.secret !== STAND_IN_SECRET) return refusal('invalid_client', 'client not found')
    if (form.has('resource')) return refusal('invalid_target', 'resource parameter not supported')
    const claims = await claimsOf(form.get('subject_token') ?? '')
    if (claims === undefined || !isFor(claims, client.id)) return refusal('invalid_request', 'subject_token invalid')
    const wanted = form.getAll('audience')
    const unknown = wanted.find((audience) => !listOf(claims['aud']).includes(audience))
    if (unknown !== undefined) {
      return refusal('invalid_target', `audience "${unknown}" not found in subject or actor token`)
    }
    const more = { sub: claims['sub'], aud: wanted.length > 0 ? wanted : claims['aud'], client_id: client.id }
    const asJwt = form.get('requested_token_type') === `${TYPE}jwt`
    return {
      access_token: asJwt ? await standIn.mint({ ...more, scope: undefined }) : issueOpaque(more),
      issued_token_type: asJwt ? `${TYPE}jwt` : `${TYPE}access_token`,
      token_type: 'Bearer',
      expires_in: 3_600,
    }
  })

  return { ...standIn, issueOpaque }
}
