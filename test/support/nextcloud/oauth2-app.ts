import {
  basicOf,
  broken,
  empty,
  fieldsOf,
  fresh,
  json,
  notFound,
  page,
  seeOther,
} from '../../../src/testing/nextcloud/exchange.js'
import type { Asked, Told } from '../../../src/testing/nextcloud/exchange.js'
import { grantPage, pickerPage } from './login-flow.js'
import { loginPage, sessionOf, withSession } from './sessions.js'
import { isThrottled } from '../../../src/testing/nextcloud/sign-in.js'
import { addToken, removeToken, type AuthToken, type NextcloudState, type OAuthClient, type Session } from './state.js'

/** A row of its table: a code or refresh token, and the session that came of it. */
interface Row {
  readonly uid: string
  readonly clientId: string
  secret: string
  isCode: boolean
  session: AuthToken | undefined
}

/** The core app `oauth2`: two endpoints, no metadata, no keys, no ID token, and errors that are nearly all 400. */
export interface OAuth2App {
  /** Makes a code, as when somebody has agreed. */
  readonly grantCode: (uid: string, clientId: string) => string
  readonly answer: (asked: Asked) => Told | undefined
}

const APP = '/apps/oauth2'
/** Its count among those of the brute force protection. */
const ACTION = 'oauth2GetToken'
/** Seconds. */
const LIFE = 3_600

export function createOAuth2App(state: NextcloudState): OAuth2App {
  const rows: Row[] = []
  const clientOf = (id: string | null) => state.oauth2Clients.find(({ clientId }) => clientId === id)

  function authorize(asked: Asked): Told {
    const { query, base } = asked
    const client = clientOf(query.get('client_id'))
    const words = 'Your client is not authorized to connect. Please inform the administrator of your client.'
    if (client === undefined) return page(200, `<p>${words}</p>`)
    const given = query.get('state') ?? ''
    if (query.get('response_type') !== 'code')
      return seeOther(`${client.redirectUris[0] ?? ''}?error=unsupported_response_type&state=${given}`)
    return withSession(state, asked, (session) => {
      session.kept.set('oauth-state', given)
      const to = `${base}/login/flow?clientIdentifier=${client.clientId}&providedRedirectUri=`
      return seeOther(to, session.uid === undefined ? {} : { 'x-user-id': session.uid })
    })
  }

  /** The pages of the older login flow, which end with a code. */
  function flow(asked: Asked): Told {
    const { query, base, path, method } = asked
    const given = method === 'POST' ? fieldsOf(asked) : query
    const client = clientOf(given.get('clientIdentifier'))
    const session = sessionOf(state, asked)
    if (client === undefined || session === undefined) return notFound()
    if (path === '/login/flow' && method !== 'POST') return picker(client, session)
    if (session.uid === undefined) return loginPage(asked, `${path}?${asked.target.split('?')[1] ?? ''}`)
    const stateToken = session.kept.get('flow-state-token')
    if (stateToken === undefined || given.get('stateToken') !== stateToken)
      return page(403, '<h2>Access forbidden</h2><p>State token does not match</p>')
    if (method !== 'POST') {
      const fields = { clientIdentifier: client.clientId, stateToken, oauthState: query.get('oauthState') ?? '' }
      const { displayName = '' } = state.accounts.get(session.uid) ?? {}
      const told = grantPage(session, client.name, displayName, fields, `${base}/login/flow`)
      // The part of its policy that binds all redirects behind its form.
      const policy = `form-action 'self' ${client.redirectUris[0] ?? ''}`
      return { ...told, headers: { ...told.headers, 'content-security-policy': policy } }
    }
    if (given.get('requesttoken') !== session.requestToken) return json(412, { message: 'CSRF check failed' })
    session.kept.delete('flow-state-token')
    const code = grantCode(session.uid, client.clientId)
    const kept = encodeURIComponent(session.kept.get('oauth-state') ?? '')
    return seeOther(`${client.redirectUris[0] ?? ''}?state=${kept}&code=${code}`)
  }

  function grantCode(uid: string, clientId: string): string {
    const row: Row = { uid, clientId, secret: fresh(128), isCode: true, session: undefined }
    rows.push(row)
    return row.secret
  }

  function picker({ name, clientId }: OAuthClient, session: Session): Told {
    const stateToken = fresh(64)
    session.kept.set('flow-state-token', stateToken)
    const oauthState = encodeURIComponent(session.kept.get('oauth-state') ?? '')
    const query = `stateToken=${stateToken}&clientIdentifier=${clientId}&oauthState=${oauthState}&user=&direct=0&providedRedirectUri=`
    return pickerPage(name, `/login/flow/grant?${query}`)
  }

  /** Returns the row of a code or refresh token; what it refuses counts as a bad request. */
  function rowOf(form: URLSearchParams, asked: Asked): Row | Told {
    const grantType = form.get('grant_type')
    if (grantType === null) return broken()
    if (grantType !== 'authorization_code' && grantType !== 'refresh_token') return refuse(asked, 'invalid_grant')
    const secret = form.get(grantType === 'refresh_token' ? 'refresh_token' : 'code')
    if (secret === null) return broken()
    const row = rows.find((candidate) => candidate.secret === secret)
    if (row === undefined || row.isCode !== (grantType === 'authorization_code'))
      return refuse(asked, 'invalid_request')
    if (!row.isCode && (row.session === undefined || !state.tokens.includes(row.session)))
      return refuse(asked, 'invalid_request')
    return row
  }

  /** One more than it may be is told so itself. */
  function refuse({ address }: Asked, error: string): Told {
    state.attempts.push({ action: ACTION, address, name: '', at: state.now() })
    const before = state.attempts.filter((attempt) => attempt.action === ACTION).length
    if (isThrottled(state, ACTION, address)) return tooMany()
    // Stated, and never slept.
    const delay = Math.min(100 * 2 ** before, 50_000)
    return json(400, { error }, { 'x-nextcloud-bruteforce-throttled': `${delay}ms` })
  }

  function token(asked: Asked): Told {
    if (isThrottled(state, ACTION, asked.address)) return tooMany()
    const form = fieldsOf(asked)
    const found = rowOf(form, asked)
    if ('status' in found) return found
    const basic = basicOf(asked)
    // Basic wins over the body.
    const id = basic?.name ?? form.get('client_id')
    const secret = basic?.password ?? form.get('client_secret')
    if (id === null || secret === null) return broken()
    if (id !== found.clientId || clientOf(id)?.secret !== secret) return refuse(asked, 'invalid_client')
    return json(200, renewed(found))
  }

  /** The access token of the row before ends. */
  function renewed(row: Row) {
    if (row.session !== undefined) removeToken(state, row.session)
    const name = clientOf(row.clientId)?.name ?? ''
    row.session = addToken(state, { kind: 'oauth2', uid: row.uid, name, endsAt: state.now() + LIFE * 1_000 })
    Object.assign(row, { secret: fresh(128), isCode: false })
    return {
      access_token: row.session.password,
      token_type: 'Bearer',
      expires_in: LIFE,
      refresh_token: row.secret,
      user_id: row.uid,
    }
  }

  function answer(asked: Asked): Told | undefined {
    const { method, path } = asked
    if (path === '/login/flow' || path === '/login/flow/grant') return flow(asked)
    if (path === `${APP}/authorize`) return authorize(asked)
    if (path !== `${APP}/api/v1/token`) return undefined
    return method === 'POST' ? token(asked) : empty(405)
  }

  return { answer, grantCode }
}

function tooMany(): Told {
  const words =
    '<p>Too many requests</p><p>There were too many requests from your network. Retry later or contact your administrator if this is an error.</p>'
  const { headers = {} } = page(429, '')
  return { status: 429, headers, body: words }
}
