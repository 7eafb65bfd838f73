import { createHash, randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { ManualClock } from '../clock.js'
import type { ReceivedRequest } from '../scripted-authorization-server.js'
import { NONE, refusal, STAND_IN_SECRET, startStandIn, type Refusal, type StandIn } from './stand-in.js'

const APP = '/index.php/apps/oidc'
/** Seconds, by default, of access tokens and of refresh tokens. */
export const LIFE = 900

/** The one row that the app keeps for a grant: a refresh overwrites it. */
interface Row {
  readonly user: string
  readonly clientId: string
  readonly scope: string
  readonly resource: string
  readonly nonce?: string | undefined
  readonly challenge?: string | undefined
  /** The code, and later the refresh token. */
  code: string
  accessToken: string | undefined
  /** Seconds. */
  refreshed: number
}

interface Ways {
  /** As its older versions: a code or refresh token without a row is an `invalid_request`. */
  readonly older?: boolean
}

export interface NextcloudOidcApp extends StandIn {
  readonly rows: Row[]
  /** Somebody signs in and agrees: the path and query of the callback. */
  readonly authorize: (authorizationUrl: URL, user: string) => string
  /** An access token for an MCP client, opaque unless its type is set to JWT; any client may name any resource. */
  readonly issueMcpToken: (token: { user: string; client: string; resource: string; jwt?: boolean }) => Promise<string>
  /** Bearer tokens that Nextcloud was sent, and whether it took them. */
  readonly presented: { readonly token: string; readonly taken: boolean }[]
  readonly refreshes: () => readonly ReceivedRequest[]
}

/** Nextcloud as its own authorization server, by the app `oidc`. */
export async function startNextcloudOidcApp(
  clock: ManualClock,
  { older = false }: Ways = {},
): Promise<NextcloudOidcApp> {
  const standIn = await startStandIn(clock, '')
  const rows: Row[] = []
  const presented: { token: string; taken: boolean }[] = []
  const { seconds } = standIn
  const fresh = (bytes: number): string => randomBytes(bytes).toString('hex')
  const remove = (row: Row): void => void rows.splice(rows.indexOf(row), 1)
  const unknown = older ? 'invalid_request' : 'invalid_grant'

  // The issuer is whatever the request was sent to.
  standIn.as.script('/.well-known/openid-configuration', ({ headers }: ReceivedRequest, res: ServerResponse) => {
    const issuer = `http://${headers.host ?? ''}`
    const document = {
      issuer,
      authorization_endpoint: `${issuer}${APP}/authorize`,
      token_endpoint: `${issuer}${APP}/token`,
      introspection_endpoint: `${issuer}${APP}/introspect`,
      jwks_uri: `${issuer}/jwks`,
      scopes_supported: ['openid', 'profile', 'email', 'roles', 'groups', 'offline_access'],
      response_types_supported: ['code'],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    }
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document))
  })

  standIn.tokenEndpoint(`${APP}/token`, async (form, client) => {
    const grantType = form.get('grant_type') ?? ''
    if (!['authorization_code', 'refresh_token'].includes(grantType)) {
      return refusal('invalid_grant', 'Invalid grant_type provided. Must be authorization_code or refresh_token.')
    }
    const code = form.get(grantType === 'refresh_token' ? 'refresh_token' : 'code')
    const row = rows.find((each) => each.code === code)
    if (row === undefined) return refusal(unknown, 'Could not find access token for code or refresh_token.')
    if (client.id !== row.clientId || client.secret !== STAND_IN_SECRET) {
      return refusal('invalid_client', 'Client authentication failed.')
    }
    const problem = grantType === 'refresh_token' ? ageProblem(row, seconds()) : pkceProblem(row, form)
    if (problem !== undefined) {
      remove(row)
      return problem
    }
    // Nothing is locked: whoever else has read the row by now goes on with it too.
    await new Promise(setImmediate)
    row.code = fresh(64)
    row.accessToken = fresh(36)
    row.refreshed = seconds()
    return {
      access_token: row.accessToken,
      token_type: 'Bearer',
      expires_in: LIFE,
      refresh_expires_in: LIFE,
      refresh_token: row.code,
      id_token: await standIn.mint({ sub: row.user, aud: row.clientId, nonce: row.nonce, ...NONE }),
    }
  })

  standIn.tokenEndpoint(`${APP}/introspect`, (form, client) => {
    if (client.secret !== STAND_IN_SECRET) return refusal('invalid_client', undefined, { status: 401 })
    const row = rows.find(({ accessToken }) => accessToken === form.get('token'))
    if (row === undefined || seconds() > row.refreshed + LIFE) return { status: 200, active: false }
    const { user, clientId, scope, refreshed } = row
    const times = { iat: refreshed, exp: refreshed + LIFE }
    // `aud` is the client that has the token, whatever it is for.
    const answer = { active: true, sub: user, username: user, client_id: clientId, aud: clientId, scope, ...times }
    return { status: 200, token_type: 'Bearer', ...answer }
  })

  standIn.as.script('/ocs/v2.php/cloud/user', ({ headers }: ReceivedRequest, res: ServerResponse) => {
    const token = (headers.authorization ?? '').replace(/^Bearer /, '')
    const row = rows.find(({ accessToken }) => accessToken === token)
    const expired = row !== undefined && seconds() > row.refreshed + LIFE
    // Whoever presents a token after its end loses the grant with it.
    if (expired) remove(row)
    const taken = row !== undefined && !expired
    presented.push({ token, taken })
    res.writeHead(taken ? 200 : 401, { 'content-type': 'application/json' }).end(JSON.stringify({ user: row?.user }))
  })

  return {
    ...standIn,
    rows,
    presented,
    authorize({ searchParams }, user) {
      const code = fresh(64)
      rows.push({
        user,
        clientId: searchParams.get('client_id') ?? '',
        scope: searchParams.get('scope') ?? '',
        resource: searchParams.get('resource') ?? '',
        nonce: searchParams.get('nonce') ?? undefined,
        challenge: searchParams.get('code_challenge') ?? undefined,
        code,
        accessToken: undefined,
        refreshed: seconds(),
      })
      const callback = new URL(searchParams.get('redirect_uri') ?? '')
      callback.searchParams.set('code', code)
      callback.searchParams.set('state', searchParams.get('state') ?? '')
      return callback.pathname + callback.search
    },
    async issueMcpToken({ user, client, resource, jwt = false }) {
      const scope = 'openid profile'
      const claims = { sub: user, aud: resource, client_id: client, scope }
      const accessToken = jwt ? await standIn.mint(claims, { header: { typ: 'at+jwt' } }) : fresh(36)
      rows.push({ user, clientId: client, scope, resource, code: fresh(64), accessToken, refreshed: seconds() })
      return accessToken
    },
    refreshes: () =>
      standIn.as.received(`${APP}/token`).filter(({ form }) => form.get('grant_type') === 'refresh_token'),
  }
}

function ageProblem(row: Row, now: number): Refusal | undefined {
  return now > row.refreshed + LIFE ? refusal('invalid_grant', 'Refresh token is expired.') : undefined
}

function pkceProblem({ challenge }: Row, form: URLSearchParams): Refusal | undefined {
  const verifier = form.get('code_verifier') ?? ''
  const expected = createHash('sha256').update(verifier).digest('base64url')
  return challenge === expected ? undefined : refusal('invalid_grant', 'Invalid code_verifier.')
}
