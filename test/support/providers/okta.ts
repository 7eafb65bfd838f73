import type { ManualClock } from '../clock.js'
import { NONE, refusal, STAND_IN_SECRET, startStandIn, type StandIn } from './stand-in.js'

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

/** A custom authorization server: one audience, scopes of its own. */
interface CustomServer {
  readonly standIn: StandIn
  readonly audience: string
  readonly scopes: readonly string[]
  /** Issuers under "Trusted servers". */
  readonly trusted: Set<string>
}

export interface Okta {
  readonly origin: string
  readonly mcp: CustomServer
  readonly nextcloud: CustomServer
  /** An access token of the first one, as a native app gets it. */
  readonly signIn: (user: string, client: string, scopes: readonly string[]) => Promise<string>
}

/** Two of Okta's custom authorization servers. Their tokens have the client in `cid` and the scopes in `scp`, a list. */
export async function startOkta(clock: ManualClock, mcpAudience: string): Promise<Okta> {
  const first = await startServer(clock, 'ausmcp', mcpAudience, ['notes:read'])
  const second = await startServer(clock, 'ausnextcloud', 'nextcloud', ['nextcloud:access'], first.standIn)
  return {
    origin: first.standIn.origin,
    mcp: first,
    nextcloud: second,
    signIn: (user, client, scopes) => mint(first, user, client, scopes),
  }

  async function startServer(
    on: ManualClock,
    id: string,
    audience: string,
    scopes: readonly string[],
    beside?: StandIn,
  ): Promise<CustomServer> {
    const base = `/oauth2/${id}`
    const metadata = {
      token_endpoint: `${base}/v1/token`,
      introspection_endpoint: `${base}/v1/introspect`,
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    }
    const standIn = await startStandIn(on, base, metadata, beside?.as)
    const server: CustomServer = { standIn, audience, scopes, trusted: new Set([standIn.issuer]) }
    standIn.tokenEndpoint(metadata.token_endpoint, async (form, client) => {
      if (client.secret !== STAND_IN_SECRET) {
        return refusal('invalid_client', 'Invalid value for client_id parameter.', { status: 401 })
      }
      const wanted = (form.get('scope') ?? '').split(' ').filter(Boolean)
      if (wanted.length === 0) {
        return refusal(
          'invalid_scope',
          "The authorization server resource does not have any configured default scopes, 'scope' must be provided.",
        )
      }
      if (!wanted.every((scope) => scopes.includes(scope))) {
        return refusal('invalid_scope', 'One or more scopes are not configured for the authorization server resource.')
      }
      const issuers = [first, server].filter(({ standIn: { issuer } }) => server.trusted.has(issuer))
      const opened = await Promise.all(issuers.map((each) => each.standIn.open(form.get('subject_token') ?? '')))
      const subject = opened.find((claims) => claims !== undefined)
      if (subject === undefined) return refusal('invalid_grant', 'The subject_token is invalid.')
      return {
        access_token: await mint(server, String(subject['sub']), client.id, wanted),
        issued_token_type: ACCESS_TOKEN,
        token_type: 'Bearer',
        expires_in: 3_600,
        scope: wanted.join(' '),
      }
    })
    return server
  }

  function mint({ standIn, audience }: CustomServer, sub: string, cid: string, scp: readonly string[]) {
    return standIn.mint({ ver: 1, sub, aud: audience, cid, uid: `00u${sub}`, scp, ...NONE })
  }
}
